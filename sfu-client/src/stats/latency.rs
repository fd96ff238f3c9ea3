//! Percentiles of latencies in bounded memory.

use hdrhistogram::Histogram;
use std::time::Duration;

/// In microseconds; what is later counts as so late.
const LATEST: u64 = 10_000_000;
/// Decimal digits that are kept.
const DIGITS: u8 = 2;

/// Counts latencies.
#[derive(Clone, Debug)]
pub struct LatencyHistogram(Histogram<u32>);

impl Default for LatencyHistogram {
    fn default() -> Self {
        let counts = Histogram::new_with_bounds(1, LATEST, DIGITS);
        Self(counts.expect("bounds in order, and no more than five digits"))
    }
}

impl LatencyHistogram {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// The latency that `share` (0 to 1) of all do not exceed, to two digits; `None` where there are none.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_micros(self.0.value_at_quantile(share)))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_to_two_digits() {
        let mut histogram = LatencyHistogram::default();
        assert_eq!(histogram.percentile(0.5), None);
        for millis in 1..=100 {
            histogram.record(Duration::from_millis(millis));
        }
        let ratio = |share, millis| histogram.percentile(share).unwrap().as_secs_f64() * 1e3 / millis;
        for (share, millis) in [(0.5, 50.0), (0.95, 95.0), (1.0, 100.0)] {
            assert!((1.0..1.01).contains(&ratio(share, millis)), "{share}: {}", ratio(share, millis));
        }
        histogram.record(Duration::from_secs(60));
        assert!(histogram.percentile(1.0).unwrap() >= Duration::from_secs(10));
        histogram.clear();
        assert_eq!(histogram.percentile(0.5), None);
    }
}
