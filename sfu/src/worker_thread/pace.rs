//! How soon one round of a worker's thread follows another.
//!
//! Each round costs its system calls, and each message that it sends costs most of what a packet costs. The more there is
//! to do, the further apart are the rounds: what came in meanwhile is received by one call, and what is for one subscriber
//! leaves together. While there is little, nothing waits.

use sfu_rtc::time::{Duration, Instant};

/// Shorter rests are not worth a timer.
const LEAST_REST: Duration = Duration::from_micros(100);

/// Keeps rounds apart.
#[derive(Default, Debug)]
pub(super) struct Pace {
    window: Duration,
    /// When the last round began.
    begun: Instant,
}

impl Pace {
    /// Rounds are so far apart from now on.
    pub(super) fn set_window(&mut self, window: Duration) {
        self.window = window;
    }

    /// A round begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = now;
    }

    /// How long to rest before the next round, if at all, where nothing that is known is due before `sleep` is over.
    pub(super) fn rest(&self, now: Instant, sleep: Duration) -> Option<Duration> {
        let rest = (self.begun + self.window).saturating_since(now).min(sleep);
        (rest >= LEAST_REST).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_a_window_apart_and_nothing_due_waits() {
        let us = Duration::from_micros;
        let at = |micros: u64| Instant::from_nanos(micros * 1_000);
        let mut pace = Pace::default();
        pace.begin(at(5_000));
        assert_eq!(pace.rest(at(5_000), us(9_000)), None);
        pace.set_window(us(1_000));
        assert_eq!(pace.rest(at(5_200), us(9_000)), Some(us(800)));
        assert_eq!(pace.rest(at(5_200), us(300)), Some(us(300)));
        assert_eq!(pace.rest(at(5_200), Duration::ZERO), None);
        assert_eq!(pace.rest(at(6_200), us(9_000)), None);
    }
}
