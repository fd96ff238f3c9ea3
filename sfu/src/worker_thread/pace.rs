//! How soon one round of a worker's thread follows another.
//!
//! Each round costs its system calls, and each message that it sends costs most of what a packet costs. While there is
//! much to do, rounds are the coalescing window apart: what came in meanwhile is received by one call, and what is for
//! one subscriber leaves together. While there is little, nothing waits.

use sfu_core::overload::Load;
use sfu_rtc::time::{Duration, Instant};

/// Share of time busy from which on rounds are kept apart.
const BUSY: f32 = 0.2;
/// Share of time busy below which they are not any more; lower, since keeping them apart makes less of it.
const IDLE: f32 = 0.1;
/// Shorter rests are not worth a timer.
const LEAST_REST: Duration = Duration::from_micros(100);

/// Keeps rounds apart.
#[derive(Debug)]
pub(super) struct Pace {
    window: Duration,
    busy: bool,
    /// When the last round began.
    begun: Instant,
}

impl Pace {
    /// Rounds are `window` apart where there is much to do.
    pub(super) fn new(window: Duration) -> Self {
        Self { window, busy: false, begun: Instant::ZERO }
    }

    /// A round begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = now;
    }

    /// The thread was looked at.
    pub(super) fn note(&mut self, load: Load) {
        self.busy = load.busy >= if self.busy { IDLE } else { BUSY };
    }

    /// How long to rest before the next round, if at all, where nothing that is known is due before `sleep` is over.
    pub(super) fn rest(&self, now: Instant, sleep: Duration) -> Option<Duration> {
        let rest = (self.begun + self.window).saturating_since(now).min(sleep);
        (self.busy && rest >= LEAST_REST).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_apart_only_under_load_and_nothing_due_waits() {
        let us = Duration::from_micros;
        let at = |micros: u64| Instant::from_nanos(micros * 1_000);
        let load = |busy| Load { busy, queue_age: Duration::ZERO };
        let mut pace = Pace::new(us(1_000));
        pace.begin(at(5_000));
        assert_eq!(pace.rest(at(5_200), us(9_000)), None);
        pace.note(load(0.25));
        assert_eq!(pace.rest(at(5_200), us(9_000)), Some(us(800)));
        assert_eq!(pace.rest(at(5_200), us(300)), Some(us(300)));
        assert_eq!(pace.rest(at(5_200), Duration::ZERO), None);
        assert_eq!(pace.rest(at(6_200), us(9_000)), None);
        pace.note(load(0.15));
        assert!(pace.rest(at(5_200), us(9_000)).is_some(), "it was busy before");
        pace.note(load(0.05));
        assert_eq!(pace.rest(at(5_200), us(9_000)), None);
        let mut off = Pace::new(Duration::ZERO);
        off.note(load(0.9));
        off.begin(at(5_000));
        assert_eq!(off.rest(at(5_000), us(9_000)), None);
    }
}
