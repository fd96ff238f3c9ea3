//! Publications that hold packets back for a moment, and when the first of them is due.

use crate::slab::Key;
use sfu_rtc::time::Instant;

/// Router and publication of each that waits, in the order in which they began to.
#[derive(Debug)]
pub(super) struct FanOutList {
    waiting: Vec<(Key, Key)>,
    due: Instant,
}

impl Default for FanOutList {
    fn default() -> Self {
        Self { waiting: Vec::new(), due: Instant::NEVER }
    }
}

impl FanOutList {
    /// One more publication waits.
    pub(super) fn add(&mut self, router: Key, publication: Key) {
        self.waiting.push((router, publication));
    }

    /// One that waits is due then.
    pub(super) fn note(&mut self, due: Instant) {
        self.due = self.due.min(due);
    }

    /// When the first is due; [`Instant::NEVER`] while none waits.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Takes all out, to be sorted; those that still wait come back by [`Self::give_back`].
    pub(super) fn take(&mut self) -> Vec<(Key, Key)> {
        self.due = Instant::NEVER;
        std::mem::take(&mut self.waiting)
    }

    /// Those that still wait, in the vector that was taken, so that its memory is kept.
    pub(super) fn give_back(&mut self, waiting: Vec<(Key, Key)>) {
        self.waiting = waiting;
    }
}
