//! A histogram of durations: constant memory, 0.8 % resolution from a nanosecond to hours.

use std::time::Duration;

/// The longest duration that is told from longer ones: 39 hours, in nanoseconds.
const LONGEST: u64 = 1 << 47;
/// Decimal digits that are kept.
const DIGITS: u8 = 2;

/// Counts of durations.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: hdrhistogram::Histogram<u64>,
    /// Exactly.
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = hdrhistogram::Histogram::new_with_bounds(1, LONGEST, DIGITS);
        Self { counts: counts.expect("bounds in order, and no more than five digits"), max: Duration::ZERO }
    }
}

impl Histogram {
    /// One more duration.
    pub fn record(&mut self, duration: Duration) {
        self.counts.saturating_record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        self.max = self.max.max(duration);
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.counts += &other.counts;
        self.max = self.max.max(other.max);
    }

    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// Milliseconds and the share of all durations that did not exceed them, rising, down to the resolution.
    pub fn distribution(&self) -> Vec<(f64, f64)> {
        let recorded = self.counts.iter_recorded();
        recorded.map(|step| (self.up_to(step.value_iterated_to()).as_secs_f64() * 1e3, step.quantile())).collect()
    }

    /// The duration that `share` (0 to 1) of all do not exceed; `None` where there are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        (!self.counts.is_empty()).then(|| self.up_to(self.counts.value_at_quantile(share)))
    }

    /// What falls together with the longest is no longer than that.
    fn up_to(&self, nanos: u64) -> Duration {
        Duration::from_nanos(nanos).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_the_resolution() {
        let mut histogram = Histogram::default();
        for micros in 1..=1_000u64 {
            histogram.record(Duration::from_micros(micros));
        }
        for (share, micros) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0)] {
            let found = histogram.quantile(share).unwrap().as_secs_f64() * 1e6;
            assert!((found / micros - 1.0).abs() < 0.02, "{share}: {found}");
        }
        let distribution = histogram.distribution();
        assert!(distribution.is_sorted() && distribution.len() > 50);
        assert_eq!(*distribution.last().unwrap(), (1.0, 1.0));
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_millis(1)));
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
