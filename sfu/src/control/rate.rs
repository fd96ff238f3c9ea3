//! A token bucket (as in RFC 2697, one rate): so much per second over time, with bursts of some seconds' worth.

use sfu_rtc::time::{Duration, Instant};

/// A burst may be worth this many seconds of the rate, where nothing else is said.
const BURST_SECONDS: f64 = 4.0;

/// How fast something may happen.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    per_second: f64,
    burst: f64,
    tokens: f64,
    last: Instant,
}

impl Rate {
    /// So much per second.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self::with_burst(per_second, BURST_SECONDS, now)
    }

    /// The same, with bursts worth so many seconds.
    pub(crate) fn with_burst(per_second: u32, seconds: f64, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        let burst = per_second * seconds;
        Self { per_second, burst, tokens: burst, last: now }
    }

    /// Whether `amount` may happen now. What is more than the largest burst may where nothing has been taken.
    pub(crate) fn has(&self, amount: usize, now: Instant) -> bool {
        self.earned(now) >= (amount as f64).min(self.burst)
    }

    /// Takes `amount`; false, and nothing taken, where that would be too much.
    pub(crate) fn take(&mut self, amount: usize, now: Instant) -> bool {
        let enough = self.has(amount, now);
        if enough {
            self.spend(amount, now);
        }
        enough
    }

    /// Whether [`Self::reserve`] would give no more than `patience`.
    pub(crate) fn admits(&self, amount: usize, patience: Duration, now: Instant) -> bool {
        self.wait(amount, now) <= patience
    }

    /// Takes `amount` for when there is enough: how long that is from now.
    pub(crate) fn reserve(&mut self, amount: usize, now: Instant) -> Duration {
        let wait = self.wait(amount, now);
        self.spend(amount, now);
        wait
    }

    fn wait(&self, amount: usize, now: Instant) -> Duration {
        let missing = (amount as f64).min(self.burst) - self.earned(now);
        Duration::try_from_secs_f64(missing.max(0.0) / self.per_second).unwrap_or(Duration::MAX)
    }

    fn spend(&mut self, amount: usize, now: Instant) {
        self.tokens = self.earned(now) - amount as f64;
        self.last = now;
    }

    /// What there is by now; less than nothing where more was taken than there was.
    fn earned(&self, now: Instant) -> f64 {
        (self.tokens + (now - self.last).as_secs_f64() * self.per_second).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_pass_and_floods_do_not() {
        let mut rate = Rate::new(10, Instant::ZERO);
        let passed = |rate: &mut Rate, now| (0..1_000).filter(|_| rate.take(1, now)).count();
        assert_eq!(passed(&mut rate, Instant::ZERO), 40);
        assert_eq!(passed(&mut rate, Instant::from_millis(500)), 5);
        assert_eq!(passed(&mut rate, Instant::from_millis(3_600_000)), 40);
    }

    #[test]
    fn what_is_larger_than_any_burst_passes_alone_and_is_paid_for() {
        let mut rate = Rate::new(10, Instant::ZERO);
        assert!(rate.take(100, Instant::ZERO));
        assert!(!rate.take(1, Instant::from_millis(5_900)), "60 are owed");
        assert!(rate.take(1, Instant::from_millis(6_200)));
    }

    #[test]
    fn reservations_queue_and_have_an_end() {
        let mut rate = Rate::new(10, Instant::ZERO);
        let (seconds, at) = (Duration::from_secs, Instant::from_millis);
        assert_eq!([40, 10, 10].map(|amount| rate.reserve(amount, at(0))), [seconds(0), seconds(1), seconds(2)]);
        assert!(rate.admits(1, Duration::from_millis(2_100), at(0)) && !rate.admits(1, seconds(2), at(0)));
        assert_eq!(rate.reserve(1, at(1_000)), Duration::from_millis(1_100));
    }
}
