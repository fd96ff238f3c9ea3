//! A browser's picture: frames are put together, wait for their time, are shown, and freeze as webrtc-stats counts it.
//!
//! As libwebrtc does: a frame is shown when it is whole, what it depends on was shown, and its playout delay is over.
//! Frames that are overtaken are dropped, so that a lost frame of an upper temporal layer is no freeze.

use sfu_rtc::codec::FrameFacts;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::time::{Duration, Instant};
use std::collections::{BTreeMap, VecDeque};

/// Frames whose lateness the playout delay is made of: ten seconds.
const LATENESS_WINDOW: usize = 300;
/// Share of them that are to be there in time.
const IN_TIME: f64 = 0.95;
/// How fast the playout delay changes at most, as libwebrtc's `VCMTiming`: so much per second.
const DELAY_CHANGE: f64 = 0.1;
/// Gaps of which the mean is taken for what a freeze is.
const GAPS: usize = 30;
/// Without a frame for so long, a keyframe is asked for: three times the `rtx-time` of 200 ms, as Chromium does.
const FRAME_PATIENCE: Duration = Duration::from_millis(600);
/// The same while a keyframe is awaited.
const KEYFRAME_PATIENCE: Duration = Duration::from_millis(200);
/// A stream that is silent for longer is not asked for keyframes.
const ACTIVE: Duration = Duration::from_secs(5);
/// A picture that is not there by then is a freeze of the time beyond. Joining takes several round trips, which are not
/// what is measured here.
const FIRST_FRAME: Duration = Duration::from_secs(2);

/// One packet of a frame.
#[derive(Clone, Copy, Debug)]
struct Part {
    facts: FrameFacts,
    captured: Instant,
    timestamp: u32,
}

/// A frame of which all packets are there.
#[derive(Clone, Copy, Debug)]
struct Frame {
    last_seq: u64,
    facts: FrameFacts,
    sync: bool,
    captured: Instant,
    whole_at: Instant,
}

/// What of the last shown frame others depend on.
#[derive(Clone, Copy, Debug)]
struct Shown {
    last_seq: u64,
    tl0_pic_idx: u8,
    /// Highest temporal layer but the top one that was shown since its base frame.
    middle: bool,
    at: Instant,
    captured: Instant,
}

/// What a viewer saw.
#[derive(Clone, Default, Debug)]
pub(super) struct Picture {
    /// Freezes: when the picture stood still from, and how long.
    pub(super) freezes: Vec<(Instant, Duration)>,
    /// When each frame was shown.
    pub(super) shown: Vec<Instant>,
}

/// Puts frames together and shows them.
#[derive(Debug)]
pub(super) struct Decoder {
    began: Instant,
    parts: BTreeMap<u64, Part>,
    whole: BTreeMap<u64, Frame>,
    last: Option<Shown>,
    lateness: VecDeque<Duration>,
    /// How long a frame of the least delay is to be kept, at least.
    min_delay: Duration,
    /// From capture to showing, as it is and as it is to be.
    delay: Duration,
    wanted_delay: Duration,
    gaps: VecDeque<Duration>,
    last_packet: Option<Instant>,
    last_key_packet: Option<Instant>,
    next_request: Instant,
    pub(super) picture: Picture,
}

impl Decoder {
    /// Nothing is there yet; the viewer waits since `began`.
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            parts: BTreeMap::new(),
            whole: BTreeMap::new(),
            last: None,
            lateness: VecDeque::new(),
            min_delay: Duration::ZERO,
            delay: Duration::ZERO,
            wanted_delay: Duration::ZERO,
            gaps: VecDeque::new(),
            last_packet: None,
            last_key_packet: None,
            next_request: Instant::NEVER,
            picture: Picture::default(),
        }
    }

    /// The sender asks for a playout delay of at least so much beyond the way (header extension playout-delay).
    pub(super) fn set_min_delay(&mut self, delay: Duration) {
        self.min_delay = delay;
    }

    /// Takes a packet that is no duplicate, of a frame captured at `captured`.
    pub(super) fn on_packet(&mut self, now: Instant, seq: SeqNo, facts: FrameFacts, timestamp: u32, captured: Instant) {
        self.last_packet = Some(now);
        if self.next_request == Instant::NEVER {
            self.next_request = now + if self.last.is_some() { FRAME_PATIENCE } else { KEYFRAME_PATIENCE };
        }
        if facts.keyframe {
            self.last_key_packet = Some(now);
        }
        if self.last.is_some_and(|last| seq.0 <= last.last_seq) {
            return;
        }
        self.parts.insert(seq.0, Part { facts, captured, timestamp });
        if let Some((first_seq, frame)) = self.whole_frame(now, seq.0, timestamp) {
            self.record_lateness(now - frame.captured);
            self.whole.insert(first_seq, frame);
        }
        self.show(now);
    }

    /// The frame around `seq`, if all of it is there.
    fn whole_frame(&self, now: Instant, seq: u64, timestamp: u32) -> Option<(u64, Frame)> {
        let part = |at: u64| self.parts.get(&at).filter(|part| part.timestamp == timestamp);
        let (mut first, mut last) = (seq, seq);
        while !part(first)?.facts.start_of_frame {
            first = first.checked_sub(1)?;
        }
        while !part(last)?.facts.end_of_frame {
            last += 1;
        }
        let start = part(first)?;
        let facts = start.facts;
        let sync = facts.switching_point;
        Some((first, Frame { last_seq: last, facts, sync, captured: start.captured, whole_at: now }))
    }

    fn record_lateness(&mut self, lateness: Duration) {
        let is_first = self.lateness.is_empty();
        if self.lateness.len() == LATENESS_WINDOW {
            self.lateness.pop_front();
        }
        self.lateness.push_back(lateness);
        let mut sorted: Vec<_> = self.lateness.iter().copied().collect();
        let index = ((sorted.len() - 1) as f64 * IN_TIME) as usize;
        let (earlier, in_time, _) = sorted.select_nth_unstable(index);
        let least = earlier.iter().copied().min().unwrap_or(*in_time);
        self.wanted_delay = (*in_time).max(least + self.min_delay);
        // Before anything is shown the delay is what it is to be at once.
        if is_first {
            self.delay = self.wanted_delay;
        }
    }

    /// The first frame that can be shown next, and when.
    fn next(&self) -> Option<(u64, Instant)> {
        let (seq, frame) = self.whole.iter().find(|(_, frame)| self.can_show(frame))?;
        let at = (frame.captured + self.delay).max(frame.whole_at);
        Some((*seq, self.last.map_or(at, |last| at.max(last.at))))
    }

    /// Whether what the frame depends on was shown (RFC 7741 section 4.2: TL0PICIDX, TID and Y).
    fn can_show(&self, frame: &Frame) -> bool {
        let Some(last) = &self.last else { return frame.facts.keyframe };
        let tl0_pic_idx = frame.facts.tl0_pic_idx.unwrap_or(0);
        match frame.facts.temporal {
            _ if frame.facts.keyframe => true,
            0 => tl0_pic_idx == last.tl0_pic_idx.wrapping_add(1),
            _ => tl0_pic_idx == last.tl0_pic_idx && (frame.sync || last.middle),
        }
    }

    /// Shows what is due.
    fn show(&mut self, now: Instant) {
        while let Some((seq, at)) = self.next().filter(|(_, at)| *at <= now) {
            let Some(frame) = self.whole.get(&seq).copied() else { return };
            self.whole = self.whole.split_off(&(seq + 1));
            self.parts = self.parts.split_off(&(frame.last_seq + 1));
            self.record_shown(at, &frame);
        }
    }

    fn record_shown(&mut self, at: Instant, frame: &Frame) {
        match self.last {
            Some(last) => {
                self.record_gap(last.at, at - last.at);
                let change = Duration::from_secs_f64((frame.captured - last.captured).as_secs_f64() * DELAY_CHANGE);
                let (low, high) = (self.delay.saturating_sub(change), self.delay + change);
                self.delay = self.wanted_delay.clamp(low, high);
            }
            None if at - self.began > FIRST_FRAME => {
                self.freeze(self.began + FIRST_FRAME, at - self.began - FIRST_FRAME)
            }
            None => {}
        }
        let middle = match (frame.facts.temporal, self.last) {
            (0, _) => false,
            (1, _) => true,
            (_, last) => last.is_some_and(|last| last.middle),
        };
        let tl0_pic_idx = frame.facts.tl0_pic_idx.unwrap_or(0);
        self.last = Some(Shown { last_seq: frame.last_seq, tl0_pic_idx, middle, at, captured: frame.captured });
        self.picture.shown.push(at);
        self.next_request = at + FRAME_PATIENCE;
    }

    /// Freeze as in webrtc-stats: a gap of at least max(3 d, d + 150 ms), d being the mean of the last 30.
    fn record_gap(&mut self, from: Instant, gap: Duration) {
        if !self.gaps.is_empty() {
            let mean = self.gaps.iter().sum::<Duration>() / self.gaps.len() as u32;
            if gap >= (mean * 3).max(mean + Duration::from_millis(150)) {
                self.freeze(from, gap);
            }
        }
        if self.gaps.len() == GAPS {
            self.gaps.pop_front();
        }
        self.gaps.push_back(gap);
    }

    fn freeze(&mut self, from: Instant, length: Duration) {
        self.picture.freezes.push((from, length));
    }

    /// The source pauses: what comes next is not late. What waits is forgotten.
    pub(super) fn pause(&mut self, until: Instant) {
        if let Some(last) = &mut self.last {
            last.at = until;
        }
        self.gaps.clear();
    }

    /// Ends at `now`: a picture that stands still counts.
    pub(super) fn finish(&mut self, now: Instant) {
        match self.last {
            Some(last) if now > last.at => self.record_gap(last.at, now - last.at),
            None if now - self.began > FIRST_FRAME => self.freeze(self.began, now - self.began),
            _ => {}
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.next().map_or(Instant::NEVER, |(_, at)| at).min(self.next_request)
    }

    /// Shows what is due; whether a keyframe is to be asked for.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        self.show(now);
        if now < self.next_request {
            return false;
        }
        self.next_request = now + KEYFRAME_PATIENCE;
        let within = |at: Option<Instant>, time| at.is_some_and(|at| now - at <= time);
        if !within(self.last_packet, ACTIVE) {
            self.next_request = Instant::NEVER;
            return false;
        }
        !within(self.last_key_packet, KEYFRAME_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Frames of one packet, 30 ms apart, in the order T0 T2 T1 T2; 40 ms on the way.
    fn play(decoder: &mut Decoder, frames: impl IntoIterator<Item = u64>) {
        for n in frames {
            let captured = ms(30 * n);
            let facts = FrameFacts {
                start_of_frame: true,
                end_of_frame: true,
                keyframe: n == 0,
                temporal: [0, 2, 1, 2][n as usize % 4],
                switching_point: n % 4 < 3,
                tl0_pic_idx: Some((n / 4) as u8),
                ..FrameFacts::default()
            };
            let now = captured + Duration::from_millis(40);
            while decoder.poll_timeout() < now {
                let at = decoder.poll_timeout();
                decoder.handle_timeout(at);
            }
            decoder.on_packet(now, SeqNo(100 + n), facts, n as u32, captured);
        }
    }

    fn shown(lost: &[u64], frames: u64) -> (usize, usize) {
        let mut decoder = Decoder::new(ms(0));
        play(&mut decoder, (0..frames).filter(|n| !lost.contains(n)));
        (decoder.picture.shown.len(), decoder.picture.freezes.len())
    }

    #[test]
    fn what_nothing_depends_on_may_be_lost() {
        assert_eq!(shown(&[], 40), (40, 0));
        assert_eq!(shown(&[9], 40), (39, 0));
        assert_eq!(shown(&[10], 40), (38, 0), "the frame behind it depends on it");
        let (frames, _) = shown(&[12], 40);
        assert_eq!(frames, 12, "nothing can be shown without the base layer");
    }

    #[test]
    fn a_picture_that_stands_still_is_a_freeze_and_asks_for_a_keyframe() {
        let mut decoder = Decoder::new(ms(0));
        play(&mut decoder, 0..30);
        let last = *decoder.picture.shown.last().unwrap();
        assert!(!decoder.handle_timeout(last + Duration::from_millis(599)));
        assert!(decoder.handle_timeout(last + Duration::from_millis(600)));
        decoder.finish(last + Duration::from_millis(1_000));
        assert_eq!(decoder.picture.freezes, [(last, Duration::from_millis(1_000))]);
    }

    #[test]
    fn a_pause_of_the_source_is_none() {
        let mut decoder = Decoder::new(ms(0));
        play(&mut decoder, 0..20);
        decoder.pause(ms(30 * 100));
        play(&mut decoder, 100..101);
        assert_eq!(decoder.picture.freezes.len(), 0);
    }

    #[test]
    fn a_picture_that_never_comes_is_one_freeze() {
        let mut decoder = Decoder::new(ms(0));
        decoder.finish(ms(5_000));
        assert_eq!(decoder.picture.freezes, [(ms(0), Duration::from_secs(5))]);
    }

    #[test]
    fn packets_of_a_frame_may_come_in_any_order() {
        let mut decoder = Decoder::new(ms(0));
        let part = |start, end| FrameFacts {
            start_of_frame: start,
            end_of_frame: end,
            keyframe: start,
            tl0_pic_idx: Some(1),
            ..FrameFacts::default()
        };
        decoder.on_packet(ms(50), SeqNo(3), part(false, true), 9, ms(0));
        decoder.on_packet(ms(51), SeqNo(1), part(true, false), 9, ms(0));
        assert!(decoder.picture.shown.is_empty());
        decoder.on_packet(ms(52), SeqNo(2), part(false, false), 9, ms(0));
        assert_eq!(decoder.picture.shown, [ms(52)]);
    }
}
