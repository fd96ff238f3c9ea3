//! A token bucket (as in RFC 2697, one rate): so much per second over time, with bursts of some seconds' worth.

use sfu_rtc::time::Instant;

/// A burst may be worth this many seconds of the rate.
const BURST_SECONDS: f64 = 4.0;

/// How fast something may happen.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    tokens: f64,
    last: Instant,
}

impl Rate {
    /// So much per second.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, tokens: per_second * BURST_SECONDS, last: now }
    }

    /// Takes `amount`; false, and nothing taken, where that would be too much.
    pub(crate) fn take(&mut self, amount: usize, now: Instant) -> bool {
        let earned = (now - self.last).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + earned).min(self.per_second * BURST_SECONDS);
        self.last = now;
        let amount = amount as f64;
        let enough = self.tokens >= amount;
        if enough {
            self.tokens -= amount;
        }
        enough
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
}
