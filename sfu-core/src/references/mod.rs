//! Acknowledged long-term references: which frame every subscriber of a publication can decode and keeps, so that its
//! sender can recover who has lost something by a frame that refers to it, instead of by a keyframe.
//!
//! What a frame refers to says the dependency descriptor; which of its packets reached a subscriber tells transport-wide
//! feedback. A frame is *held* by who got all of it and of what it refers to. Who gives no feedback, or has got a packet
//! by parity only, counts as one who does not hold it: the reference of all then grows older, or there is none, and
//! keyframes are asked for as ever.
//!
//! The sender says which frames it keeps (`References::mark`). That is a word of its own, to be believed only as far as
//! frames were seen: what was never sent is held by nobody. Nothing here grows: frames, candidates and what is known of
//! each subscriber have fixed places.

mod holding;

use arrayvec::ArrayVec;
pub(crate) use holding::Holding;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::packet::PacketData;
use sfu_rtc::time::{Duration, Instant};

/// Frames that are known: eight seconds at 30 per second.
const WINDOW: usize = 256;
/// A frame of more packets is held by nobody.
const MAX_PACKETS: u64 = 64;
/// A mark may come that many frames before the frame itself, on another way.
const MAX_AHEAD: u64 = 64;
/// So far back, a keyframe is no late one.
const TOO_LATE: u64 = 1_024;
/// Frames of which it is not known yet whether all hold them: an encoder has one or two, and a keyframe.
const MAX_CANDIDATES: usize = 4;
/// A candidate of which nobody tells anything for so long is given up.
const CANDIDATE_LASTS: Duration = Duration::from_millis(1_500);
/// What one subscriber holds takes about 9 us to look at, and each feedback of any may change what all hold: for each beyond
/// so many, the next look is so much later. Of 200 it takes 5 % of a core then, else it would take several cores.
const LOOKED_AT_ONCE: u32 = 24;
const REST: Duration = Duration::from_micros(200);
/// On top of two round trips a sender may take so long to recover: its encoder's next frame.
const ANSWER_SLACK: Duration = Duration::from_millis(150);

/// What the sender of a publication is to know of its references.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ReferenceNews {
    /// The newest frame that it keeps and every subscriber holds; its number in the dependency descriptor.
    pub acknowledged: Option<u16>,
    /// A frame that it keeps and somebody lacks: it is of no use.
    pub refused: Option<u16>,
    /// The next frame is to refer to the acknowledged one.
    pub recover: bool,
}

/// One frame as it came.
#[derive(Clone, Copy, Default, Debug)]
struct Frame {
    /// Extended number; shows whether the place still holds it. 0: none.
    number: u64,
    /// Number of the frame that it refers to; itself where it stands alone, 0 where that is not known.
    refers: u64,
    /// Its first packet, and its last.
    first: Option<SeqNo>,
    last: Option<SeqNo>,
    /// When its newest packet came.
    at: Instant,
}

impl Frame {
    /// Bits of all its packets, where they are known.
    fn packets(&self) -> Option<u64> {
        let (first, last) = (self.first?.0, self.last?.0);
        let count = last.checked_sub(first)? + 1;
        (count <= MAX_PACKETS).then(|| u64::MAX >> (MAX_PACKETS - count))
    }
}

/// A frame that the sender keeps, if all hold it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Candidate {
    frame: u64,
    /// With this one it became a long-term reference: who lacks that does not keep it.
    by: u64,
    since: Instant,
}

/// What is known of one subscriber when it is decided on it.
pub(crate) struct Subscriber<'h> {
    /// `None`: nothing.
    pub(crate) holding: Option<&'h Holding>,
    /// Lost packets may still be repaired for so long after they came to us.
    pub(crate) patience: Duration,
}

/// The frames of one publication, and what all hold of them.
#[derive(Debug)]
pub(crate) struct References {
    frames: Box<[Frame; WINDOW]>,
    newest: SeqNo,
    /// The sender keeps long-term references and has said so.
    enabled: bool,
    candidates: ArrayVec<Candidate, MAX_CANDIDATES>,
    acknowledged: Option<u64>,
    /// The newest frame that recovers: it refers to the acknowledged one, or is a keyframe.
    recovery: u64,
    /// The newest keyframe: nothing is known from before it.
    keyframe: u64,
    /// When the sender was asked to recover and has not yet.
    asked: Option<Instant>,
    /// Before that, no subscriber is looked at again; and whether that was asked for.
    rests_until: Instant,
    unseen: bool,
}

impl Default for References {
    fn default() -> Self {
        Self {
            frames: Box::new([Frame::default(); WINDOW]),
            // Far from zero, so that what comes before the first frame has a number too.
            newest: SeqNo(0),
            enabled: false,
            candidates: ArrayVec::new(),
            acknowledged: None,
            recovery: 0,
            keyframe: 0,
            asked: None,
            rests_until: Instant::ZERO,
            unseen: false,
        }
    }
}

impl References {
    /// A packet of the publication came. Packets without frame numbers are not of use.
    pub(crate) fn on_packet(&mut self, now: Instant, packet: &PacketData) {
        let Some(wire) = packet.frame.frame_number else { return };
        if self.newest.0 == 0 {
            self.newest = SeqNo((1 << 16) + u64::from(wire));
        }
        let mut number = self.newest.extend(wire).0;
        if number + WINDOW as u64 <= self.newest.0 {
            // The sender has begun anew, or this is late.
            if !packet.frame.keyframe || number + TOO_LATE > self.newest.0 {
                return;
            }
            self.restart();
            number = (1 << 16) + u64::from(wire);
            self.newest = SeqNo(number);
        }
        let refers = match packet.frame.reference {
            Some(back) => number.saturating_sub(back.into()),
            None if packet.frame.keyframe => number,
            None => 0,
        };
        let frame = &mut self.frames[place(number)];
        let is_new = frame.number != number;
        if is_new {
            *frame = Frame { number, refers, ..Frame::default() };
        }
        frame.at = now;
        frame.first = if packet.frame.start_of_frame { Some(packet.seq) } else { frame.first };
        frame.last = if packet.frame.end_of_frame { Some(packet.seq) } else { frame.last };
        self.newest = self.newest.max(SeqNo(number));
        if is_new && refers == number {
            self.begin(now, number);
        } else if is_new && Some(refers) == self.acknowledged && number > self.recovery {
            (self.recovery, self.asked) = (number, None);
        }
    }

    /// A keyframe: nothing before it is of use.
    fn begin(&mut self, now: Instant, number: u64) {
        if number < self.recovery {
            return;
        }
        (self.acknowledged, self.asked) = (None, None);
        (self.recovery, self.keyframe) = (number, number);
        self.candidates.clear();
        self.candidates.push(Candidate { frame: number, by: number, since: now });
    }

    /// Another source sends the stream: nothing of what is known fits, but that the sender keeps references.
    pub(crate) fn restart(&mut self) {
        *self = Self { enabled: self.enabled, ..Self::default() };
    }

    /// The sender keeps `frame` from frame `by` on. False where that cannot be: too old, or far from what was sent. Before the
    /// first frame that is a keyframe, which is a candidate by itself.
    pub(crate) fn mark(&mut self, now: Instant, frame: u16, by: u16) -> bool {
        self.enabled = true;
        if self.newest.0 == 0 {
            return frame == by;
        }
        let [frame, by] = [frame, by].map(|wire| self.newest.extend(wire).0);
        let is_known = |number: u64| number + WINDOW as u64 > self.newest.0 && number <= self.newest.0 + MAX_AHEAD;
        if !is_known(frame) || !is_known(by) || by < frame || by - frame > MAX_AHEAD {
            return false;
        }
        if self.acknowledged.is_some_and(|known| frame <= known) || self.candidates.iter().any(|c| c.frame >= frame) {
            // Said before, or out of order.
            return self.candidates.iter().any(|candidate| candidate.frame == frame);
        }
        if self.candidates.is_full() {
            self.candidates.remove(0);
        }
        self.candidates.push(Candidate { frame, by, since: now });
        true
    }

    /// Whether the sender has said that it keeps long-term references.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// What the sender is to be told, after something became known: of its candidates, and whether to recover. With many
    /// subscribers that is not looked at before [`Self::due`]. Where it names an acknowledged frame, every subscriber is to be
    /// told that it holds that. `all_known`: there are no subscribers but these.
    pub(crate) fn judge<'h>(
        &mut self,
        (now, rtt): (Instant, Duration),
        subscribers: impl Iterator<Item = Subscriber<'h>>,
        all_known: bool,
    ) -> Option<ReferenceNews> {
        self.unseen = self.enabled && now < self.rests_until;
        if !self.enabled || self.unseen {
            return None;
        }
        let mut count = 0u32;
        let mut found = Found { held: [all_known; MAX_CANDIDATES], refused: [false; MAX_CANDIDATES] };
        let (mut all_hold, mut somebody_waits) = (all_known, false);
        for Subscriber { holding, patience } in subscribers {
            count = count.saturating_add(1);
            let Some(holding) = holding else {
                (found.held, all_hold) = ([false; MAX_CANDIDATES], false);
                continue;
            };
            let decodable = holding.decodable(self);
            let view = View { references: self, now, patience };
            found.ask(
                &self.candidates,
                |frame| (holding.fate(view, frame), decodable.has(frame)),
                |frame| holding.is_settled(view, frame),
            );
            all_hold &= self.acknowledged.is_some() && holding.has() == self.acknowledged;
            somebody_waits |= holding.waits(view, &decodable);
        }
        self.rests_until = now + REST * count.saturating_sub(LOOKED_AT_ONCE);
        let mut news = ReferenceNews::default();
        if count > 0 {
            self.settle(now, &found, &mut news);
        }
        if somebody_waits && all_hold && !self.is_asked(now, rtt) {
            self.asked = Some(now);
            news.recover = true;
        }
        (news != ReferenceNews::default()).then_some(news)
    }

    /// Decides on the candidates: the newest that all hold is acknowledged, and what is older than that forgotten. Of those
    /// that are refused one is told at a time.
    fn settle(&mut self, now: Instant, found: &Found, news: &mut ReferenceNews) {
        let newest = self.candidates.iter().zip(found.held).rposition(|(_, held)| held);
        if let Some(candidate) = newest.and_then(|at| self.candidates.get(at)).copied() {
            self.acknowledged = Some(candidate.frame);
            news.acknowledged = Some(SeqNo(candidate.frame).wire());
            self.candidates.retain(|other| other.frame > candidate.frame);
            return;
        }
        let mut refused = found.refused.into_iter();
        self.candidates.retain(|candidate| {
            let is_over = refused.next().unwrap_or(false) || now - candidate.since >= CANDIDATE_LASTS;
            let is_told = is_over && news.refused.is_none();
            if is_told {
                news.refused = Some(SeqNo(candidate.frame).wire());
            }
            !is_told
        });
    }

    /// When [`Self::judge`] is to be called again; [`Instant::NEVER`] where it has seen everything.
    pub(crate) fn due(&self) -> Instant {
        if self.unseen { self.rests_until } else { Instant::NEVER }
    }

    /// The frame that all subscribers hold.
    pub(crate) fn acknowledged(&self) -> Option<u64> {
        self.acknowledged
    }

    fn is_asked(&self, now: Instant, rtt: Duration) -> bool {
        self.asked.is_some_and(|asked| now - asked < rtt * 2 + ANSWER_SLACK)
    }

    /// Whether a frame that refers to the acknowledged one can answer a subscriber's request for a keyframe: all hold that.
    pub(crate) fn can_recover(&self, mut holdings: impl Iterator<Item = Option<u64>>, all_known: bool) -> bool {
        let holds = |has: Option<u64>| has.is_some() && has == self.acknowledged;
        self.enabled && all_known && self.acknowledged.is_some() && holdings.all(holds)
    }

    /// The sender is to recover at a subscriber's request, unless it has been asked already.
    pub(crate) fn ask(&mut self, (now, rtt): (Instant, Duration)) -> Option<ReferenceNews> {
        if self.is_asked(now, rtt) {
            return None;
        }
        self.asked = Some(now);
        Some(ReferenceNews { recover: true, ..ReferenceNews::default() })
    }

    fn frame(&self, number: u64) -> Option<&Frame> {
        Some(&self.frames[place(number)]).filter(|frame| frame.number == number && number > 0)
    }
}

/// What of the candidates is held by all so far, and refused by somebody.
struct Found {
    held: [bool; MAX_CANDIDATES],
    refused: [bool; MAX_CANDIDATES],
}

impl Found {
    /// Takes in one subscriber: what became of a frame and whether it can decode it, and whether that is final.
    fn ask(&mut self, candidates: &[Candidate], of: impl Fn(u64) -> (Fate, bool), is_settled: impl Fn(u64) -> bool) {
        for ((candidate, held), refused) in candidates.iter().zip(&mut self.held).zip(&mut self.refused) {
            let ((fate, can_decode), (by, _)) = (of(candidate.frame), of(candidate.by));
            *held &= can_decode && fate == Fate::Arrived && by == Fate::Arrived;
            // What has all come but cannot be decoded is of no use either.
            let in_vain = fate == Fate::Arrived && !can_decode && is_settled(candidate.frame);
            *refused |= fate == Fate::Lost || by == Fate::Lost || in_vain;
        }
    }
}

/// What a subscriber's frames are looked at with.
#[derive(Clone, Copy)]
pub(crate) struct View<'r> {
    pub(crate) references: &'r References,
    pub(crate) now: Instant,
    /// Lost packets may still be repaired for so long after they came to us.
    pub(crate) patience: Duration,
}

/// What became of a frame on the way to one subscriber.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Not all is known.
    Unknown,
    /// All of it came.
    Arrived,
    /// Some of it did not, and will not.
    Lost,
}

fn place(number: u64) -> usize {
    (number % WINDOW as u64) as usize // below 256
}

#[cfg(test)]
mod tests;
