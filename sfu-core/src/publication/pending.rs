//! Packets that wait a moment for the rest of their frame, so that a subscriber gets them together.
//!
//! What goes to one destination at once costs a fraction of what it costs packet by packet: the kernel splits one
//! message into datagrams, and a subscriber's state is fetched into the cache once. A frame is complete at its marker;
//! where that does not come soon, the window ends the wait. So does the rhythm in which packets come, where the next is
//! not to be expected before the window's end. Audio never waits.

use super::audio_forms::AudioForms;
use crate::layer_order::LayerIndex;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::net::MAX_SEGMENTS;
use sfu_rtc::packet::Packet;
use sfu_rtc::time::{Duration, Instant};

/// Most packets that wait: a keyframe of 70 kB. What is beyond goes out in several parts.
const MAX_PENDING: usize = 64;

/// Most packets that wait while earlier ones are still going out: half a second of 10 Mbit/s. The worker is past its
/// limit then, and sheds.
const MAX_BACKLOG: usize = 512;

/// A received packet that has not been forwarded yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) layer: LayerIndex,
    /// The stream's highest number when it came; above its own where it came late.
    pub(super) highest: SeqNo,
    pub(super) content: Content,
    /// Bytes that make it as long as the others of its run.
    pub(super) padding: u8,
    /// Of audio: with more redundancy, or with less.
    pub(super) forms: AudioForms,
}

#[derive(Debug)]
pub(super) enum Content {
    /// Media.
    Packet(Packet),
    /// A number with nothing to forward, and the VP8 picture id of what was left out.
    Skipped(SeqNo, Option<u16>),
}

impl Pending {
    pub(super) fn new(layer: LayerIndex, highest: SeqNo, content: Content) -> Self {
        Self { layer, highest, content, padding: 0, forms: AudioForms::default() }
    }

    /// Whether it is this packet.
    pub(super) fn is(&self, layer: LayerIndex, seq: SeqNo) -> bool {
        self.layer == layer && matches!(&self.content, Content::Packet(packet) if packet.seq == seq)
    }

    /// Bytes in which the packets of a stream differ.
    fn varying_len(&self) -> Option<usize> {
        match &self.content {
            Content::Packet(packet) => Some(packet.varying_len()),
            Content::Skipped(..) => None,
        }
    }
}

/// How far a fan-out has come: layer by layer, along the route of each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Cursor {
    pub(super) layer: LayerIndex,
    pub(super) position: usize,
}

/// The packets of one publication that wait.
#[derive(Debug)]
pub(super) struct PendingPackets {
    gathered: Vec<Pending>,
    /// When the first of them arrived.
    since: Instant,
    due: Instant,
    /// When the newest packet came, where more of its frame is to come.
    unfinished: Option<Instant>,
    /// Time between the last two packets of a frame.
    gap: Duration,
    /// Those whose fan-out has begun, and how far it came.
    going: Vec<Pending>,
    /// When the first of those arrived.
    going_since: Instant,
    cursor: Cursor,
    /// The worker knows that something waits.
    pub(super) listed: bool,
}

impl Default for PendingPackets {
    fn default() -> Self {
        Self {
            gathered: Vec::new(),
            since: Instant::NEVER,
            due: Instant::NEVER,
            unfinished: None,
            gap: Duration::ZERO,
            going: Vec::new(),
            going_since: Instant::NEVER,
            cursor: Cursor::default(),
            listed: false,
        }
    }
}

impl PendingPackets {
    /// One more. `complete`: nothing is worth waiting for.
    pub(super) fn push(
        &mut self,
        now: Instant,
        window: Duration,
        pending: Pending,
        complete: bool,
    ) -> Result<(), DropReason> {
        if self.gathered.len() >= MAX_BACKLOG {
            return Err(DropReason::QueueFull);
        }
        if matches!(pending.content, Content::Packet(_)) {
            self.gap = self.unfinished.map_or(self.gap, |before| now - before);
            self.unfinished = (!complete).then_some(now);
        }
        let arrival = match &pending.content {
            Content::Packet(packet) => packet.arrival,
            Content::Skipped(..) => now,
        };
        self.since = self.since.min(arrival);
        self.gathered.push(pending);
        let end = self.due.min(now + window);
        let is_last = complete || self.gathered.len() >= MAX_PENDING || now + self.gap > end;
        self.due = if is_last { now } else { end };
        Ok(())
    }

    /// Whether the packet waits for its fan-out to begin.
    pub(super) fn holds(&self, layer: LayerIndex, seq: SeqNo) -> bool {
        self.gathered.iter().any(|waiting| waiting.is(layer, seq))
    }

    /// When they are to go out; [`Instant::NEVER`] while none wait.
    pub(super) fn due(&self) -> Instant {
        if self.going.is_empty() { self.due } else { Instant::ZERO }
    }

    /// When the packet arrived that has waited longest; [`Instant::NEVER`] while none waits.
    pub(super) fn oldest(&self) -> Instant {
        if self.going.is_empty() { self.since } else { self.going_since }
    }

    /// What is to go out now: the rest of what was paused, or what was gathered. To be given back to [`Self::pause`]
    /// or [`Self::finish`].
    pub(super) fn begin(&mut self, max_padding: u8) -> (Vec<Pending>, Cursor) {
        if self.going.is_empty() {
            std::mem::swap(&mut self.going, &mut self.gathered);
            (self.going_since, self.since) = (self.since, Instant::NEVER);
            self.due = Instant::NEVER;
            self.cursor = Cursor::default();
            pad_runs(&mut self.going, max_padding);
        }
        (std::mem::take(&mut self.going), self.cursor)
    }

    /// The batch is full; the fan-out goes on at `cursor`.
    pub(super) fn pause(&mut self, going: Vec<Pending>, cursor: Cursor) {
        self.going = going;
        self.cursor = cursor;
    }

    /// All have them.
    pub(super) fn finish(&mut self, mut going: Vec<Pending>) {
        going.clear();
        self.going = going;
    }

    /// Forgets all that waits, since nobody is left to get it.
    pub(super) fn clear(&mut self) {
        self.gathered.clear();
        self.going.clear();
        (self.since, self.due) = (Instant::NEVER, Instant::NEVER);
    }
}

/// Pads packets of a layer that differ by a few bytes to equal length, so that they leave as one run (UDP_SEGMENT),
/// in which only the last may be shorter. Packetizers cut a frame into packets that differ by a byte, the longer ones
/// last, which would end the run in its middle: a byte costs less than a message.
fn pad_runs(packets: &mut [Pending], max_padding: u8) {
    let mut rest = packets;
    while let Some(first) = rest.first() {
        let (count, longest) = run_ahead(first.layer, rest, usize::from(max_padding));
        let (run, following) = rest.split_at_mut(count);
        for waiting in &mut run[..count - 1] {
            let missing = longest - waiting.varying_len().unwrap_or(longest);
            waiting.padding = u8::try_from(missing).unwrap_or(0);
        }
        rest = following;
    }
}

/// How many of the leading packets can leave as one run, at least one, and the length of the longest of them.
fn run_ahead(layer: LayerIndex, packets: &[Pending], max_padding: usize) -> (usize, usize) {
    let (mut shortest, mut longest, mut count) = (usize::MAX, 0, 0);
    for waiting in packets.iter().take(MAX_SEGMENTS).take_while(|waiting| waiting.layer == layer) {
        let Some(len) = waiting.varying_len() else { break };
        let (low, high) = (shortest.min(len), longest.max(len));
        if high - low > max_padding {
            break;
        }
        (shortest, longest, count) = (low, high, count + 1);
    }
    (count.max(1), longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu_rtc::packet::PacketPool;

    /// The paddings that packets of these layers and lengths get.
    fn paddings(packets: &[(LayerIndex, usize)], max: u8) -> Vec<u8> {
        let mut pool = PacketPool::new(64);
        let mut pending: Vec<_> = packets
            .iter()
            .map(|&(layer, len)| {
                let packet = pool.take(|data| data.set_bytes(&vec![0; 12 + len], 12..12 + len)).unwrap();
                Pending::new(layer, SeqNo(0), Content::Packet(packet))
            })
            .collect();
        pad_runs(&mut pending, max);
        pending.iter().map(|waiting| waiting.padding).collect()
    }

    /// When packets of one frame are due that come at these times, each with what came before it; in milliseconds.
    fn dues(pending: &mut PendingPackets, times: &[u64], window: u64) -> Vec<u64> {
        let mut pool = PacketPool::new(64);
        let mut due = |at: u64| {
            let packet = pool.take(|data| data.set_bytes(&[0; 112], 12..112)).unwrap();
            let waiting = Pending::new(0, SeqNo(0), Content::Packet(packet));
            let (now, window) = (Instant::from_millis(at), Duration::from_millis(window));
            if pending.due() <= now {
                let (going, _) = pending.begin(8);
                pending.finish(going);
            }
            pending.push(now, window, waiting, false).unwrap();
            (pending.due() - Instant::ZERO).as_millis() as u64
        };
        times.iter().map(|at| due(*at)).collect()
    }

    #[test]
    fn nobody_waits_for_what_cannot_come_in_time() {
        let mut pending = PendingPackets::default();
        assert_eq!(dues(&mut pending, &[100, 106, 112, 118], 4), [104, 106, 112, 118], "of the first it is not known");
        let mut pending = PendingPackets::default();
        assert_eq!(dues(&mut pending, &[100, 103, 106, 109, 112, 115], 8), [108, 108, 106, 117, 117, 115]);
        assert_eq!(dues(&mut pending, &[116, 117], 8), [124, 124], "a burst is waited for again");
        let mut pending = PendingPackets::default();
        assert_eq!(dues(&mut pending, &[100, 103, 106], 0), [100, 103, 106]);
    }

    #[test]
    fn a_frame_as_packetizers_cut_it_becomes_one_run() {
        assert_eq!(paddings(&[(0, 1_050), (0, 1_050), (0, 1_051), (0, 1_051)], 8), [1, 1, 0, 0]);
    }

    #[test]
    fn the_last_may_be_shorter_and_what_differs_more_begins_anew() {
        assert_eq!(paddings(&[(0, 1_050), (0, 1_047)], 8), [0, 0]);
        assert_eq!(paddings(&[(0, 1_050), (0, 1_051), (0, 400), (0, 401), (0, 400)], 8), [1, 0, 1, 0, 0]);
        assert_eq!(paddings(&[(0, 1_050), (1, 1_051), (0, 1_052)], 8), [0, 0, 0], "layers go their own ways");
        assert_eq!(paddings(&[(0, 1_050), (0, 1_051)], 0), [0, 0]);
    }
}
