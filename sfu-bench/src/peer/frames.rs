//! Which frames of a stream come whole and can be decoded. Packets behind a hole wait a while for its repair.

use sfu_rtc::ids::SeqNo;
use sfu_rtc::time::{Duration, Instant};
use std::collections::VecDeque;

/// Packets that wait at most: three seconds of 1.5 Mbit/s video.
const MAX_HELD: u64 = 512;

/// What a packet is to its frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) start: bool,
    pub(super) end: bool,
    pub(super) keyframe: bool,
}

/// What a packet completed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Completed {
    /// Whole frames that can be decoded.
    pub(super) frames: u64,
    /// Whether one of them is a keyframe.
    pub(super) keyframe: bool,
}

/// Follows one stream.
#[derive(Debug)]
pub(super) struct Frames {
    /// How long a hole may stay open.
    patience: Duration,
    next: Option<SeqNo>,
    /// Packets from `next` on; the first is missing.
    held: VecDeque<Option<(Part, Instant)>>,
    decodable: bool,
    whole: bool,
    keyframe: bool,
}

impl Frames {
    /// Nothing came. Holes are waited for as long as `patience`.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, next: None, held: VecDeque::new(), decodable: false, whole: false, keyframe: false }
    }

    /// Whether the picture is broken until the next keyframe.
    pub(super) fn is_broken(&self) -> bool {
        !self.decodable
    }

    /// Takes a packet that is no duplicate.
    pub(super) fn on_packet(&mut self, now: Instant, seq: SeqNo, part: Part) -> Completed {
        let mut completed = Completed::default();
        let next = *self.next.get_or_insert(seq);
        if seq == next && self.held.is_empty() {
            self.next = Some(next.next());
            self.take(part, &mut completed);
        } else if seq.0 >= next.0 + MAX_HELD {
            // An interruption.
            self.held.clear();
            self.next = Some(seq.next());
            self.broken();
            self.take(part, &mut completed);
        } else if seq >= next {
            self.hold(now, (seq.0 - next.0) as usize, part);
            self.drain(now, &mut completed);
        }
        completed
    }

    fn hold(&mut self, now: Instant, index: usize, part: Part) {
        if self.held.len() <= index {
            self.held.resize(index + 1, None);
        }
        self.held[index] = Some((part, now));
    }

    /// Takes what follows without a hole, and gives up holes that are too old: those behind which a packet has waited
    /// for too long.
    fn drain(&mut self, now: Instant, completed: &mut Completed) {
        let patience = self.patience;
        let waited_long = |(_, came): &(Part, Instant)| now - *came >= patience;
        while let Some(first) = self.held.front().copied() {
            match first {
                Some((part, _)) => self.take(part, completed),
                None if self.held.iter().flatten().next().is_some_and(waited_long) => self.broken(),
                None => return,
            }
            self.held.pop_front();
            self.next = self.next.map(SeqNo::next);
        }
    }

    fn broken(&mut self) {
        self.whole = false;
        self.decodable = false;
    }

    fn take(&mut self, part: Part, completed: &mut Completed) {
        if part.start {
            self.decodable |= part.keyframe;
            self.whole = true;
            self.keyframe = part.keyframe;
        }
        if part.end && self.whole && self.decodable {
            completed.frames += 1;
            completed.keyframe |= self.keyframe;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of three packets, the first a keyframe; each packet 1 ms after the one before.
    fn part(n: u64) -> Part {
        Part { start: n.is_multiple_of(3), end: n % 3 == 2, keyframe: n / 3 == 0 }
    }

    fn frames(patience: u64, order: impl IntoIterator<Item = u64>) -> (u64, bool) {
        let mut frames = Frames::new(Duration::from_millis(patience));
        let order = order.into_iter().enumerate();
        let whole = order.map(|(ms, n)| frames.on_packet(Instant::from_millis(ms as u64), SeqNo(n), part(n)).frames);
        (whole.sum(), frames.is_broken())
    }

    #[test]
    fn whole_frames_count() {
        assert_eq!(frames(0, 0..12), (4, false));
        assert_eq!(frames(0, 3..12), (0, true), "without its keyframe nothing can be decoded");
        let mut first = Frames::new(Duration::ZERO);
        let completed: Vec<_> = (0..6).map(|n| first.on_packet(Instant::ZERO, SeqNo(n), part(n))).collect();
        assert_eq!(completed[2], Completed { frames: 1, keyframe: true });
        assert_eq!(completed[5], Completed { frames: 1, keyframe: false });
    }

    #[test]
    fn a_hole_breaks_the_picture_unless_it_is_filled_in_time() {
        let with_hole = |hole: u64, filled_at: usize| {
            let mut order: Vec<u64> = (0..18).filter(|n| *n != hole).collect();
            order.insert(filled_at, hole);
            order
        };
        assert_eq!(frames(5, with_hole(4, 8)), (6, false));
        assert_eq!(frames(5, with_hole(4, 14)), (1, true));
        assert_eq!(frames(0, (0..18).filter(|n| *n != 4)), (1, true));
    }

    #[test]
    fn holes_are_waited_for_side_by_side() {
        let mut frames = Frames::new(Duration::from_millis(20));
        // Every tenth packet is missing; all that are older than 20 ms are given up.
        for n in (0..1_000).filter(|n| n % 10 != 1) {
            frames.on_packet(Instant::from_millis(n), SeqNo(n), part(n));
            assert!(frames.held.len() <= 31, "{n}: {}", frames.held.len());
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut frames = Frames::new(Duration::from_secs(1_000));
        frames.on_packet(Instant::ZERO, SeqNo(0), part(0));
        for n in 2..5_000 {
            frames.on_packet(Instant::ZERO, SeqNo(n), part(n));
            assert!(frames.held.len() as u64 <= MAX_HELD);
        }
    }
}
