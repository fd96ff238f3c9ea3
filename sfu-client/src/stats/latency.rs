//! Percentiles of latencies in bounded memory.

use std::time::Duration;

/// Width of a bucket: a quarter of a millisecond is finer than any difference that is seen.
const BUCKET: Duration = Duration::from_micros(250);
/// Number of buckets: two seconds; what is later counts as two seconds.
const BUCKETS: usize = 8_000;

/// Counts latencies.
#[derive(Clone, Debug)]
pub struct LatencyHistogram {
    buckets: Vec<u32>,
    count: u64,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS + 1], count: 0 }
    }
}

impl LatencyHistogram {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let bucket = usize::try_from(latency.as_nanos() / BUCKET.as_nanos()).map_or(BUCKETS, |b| b.min(BUCKETS));
        self.buckets[bucket] = self.buckets[bucket].saturating_add(1);
        self.count += 1;
    }

    /// How many were counted.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The latency that `share` (0 to 1) of all do not exceed, to a quarter of a millisecond; `None` where there are
    /// none.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted
        })?;
        u32::try_from(bucket + 1).ok().map(|bucket| BUCKET * bucket)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buckets.fill(0);
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_to_a_bucket() {
        let mut histogram = LatencyHistogram::default();
        assert_eq!(histogram.percentile(0.5), None);
        for millis in 1..=100 {
            histogram.record(Duration::from_millis(millis));
        }
        assert_eq!(histogram.percentile(0.5), Some(Duration::from_micros(50_250)));
        assert_eq!(histogram.percentile(0.95), Some(Duration::from_micros(95_250)));
        assert_eq!(histogram.percentile(1.0), Some(Duration::from_micros(100_250)));
        histogram.record(Duration::from_secs(60));
        assert_eq!(histogram.percentile(1.0), Some(Duration::from_micros(2_000_250)));
        histogram.clear();
        assert_eq!((histogram.count(), histogram.percentile(0.5)), (0, None));
    }
}
