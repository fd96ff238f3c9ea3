//! When each peer is to be served next.

use sfu_rtc::time::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Times by peer. A peer whose time is moved forward leaves a stale entry behind, which its owner recognizes.
#[derive(Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, usize)>>);

impl Timers {
    pub(super) fn arm(&mut self, at: Instant, peer: usize) {
        if at != Instant::NEVER {
            self.0.push(Reverse((at, peer)));
        }
    }

    /// The earliest time.
    pub(super) fn next(&self) -> Instant {
        self.0.peek().map_or(Instant::NEVER, |Reverse((at, _))| *at)
    }

    /// The earliest entry, if it is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, usize)> {
        if self.next() > now {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| entry)
    }
}
