//! How fast something may go on average, and how much of it at once: the generic cell rate algorithm (ITU-T I.371 annex A).

use crate::time::{Duration, Instant};

/// Lets things through that each cost some time, as long as what is not paid for does not get too much.
#[derive(Clone, Copy, Default, Debug)]
pub struct Spacing {
    /// When all that was let through is paid for.
    paid: Instant,
}

impl Spacing {
    /// When the next is let through: at `now`, or when no more than `ahead` is left to be paid.
    pub fn next(&self, now: Instant, ahead: Duration) -> Instant {
        now.max(self.paid - ahead)
    }

    /// One is let through at `at` that costs so much time.
    pub fn count(&mut self, at: Instant, cost: Duration) {
        self.paid = self.paid.max(at) + cost;
    }
}
