//! A log-linear histogram of durations: constant memory, 1.6 % resolution from a nanosecond to hours.

use std::time::Duration;

/// Buckets per power of two: 2^6 keep a bucket's width below 1/64 of its value.
const SUB_BITS: u32 = 6;
const SUB: usize = 1 << SUB_BITS;
/// Powers of two above the linear part; 2^(6+41) ns is 39 hours.
const POWERS: usize = 42;

/// Counts of durations.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
    sum: u128,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; SUB * (POWERS + 1)], total: 0, max: 0, sum: 0 }
    }
}

impl Histogram {
    /// One more duration.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let last = self.counts.len() - 1;
        self.counts[bucket(nanos).min(last)] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
        self.sum += u128::from(nanos);
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
        self.sum += other.sum;
    }

    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// Their mean; zero where there are none.
    pub fn mean(&self) -> Duration {
        let mean = self.sum / u128::from(self.total.max(1));
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// Milliseconds and the share of all durations that did not exceed them, rising, down to the resolution.
    pub fn distribution(&self) -> Vec<(f64, f64)> {
        let mut seen = 0;
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        filled
            .map(|(index, count)| {
                seen += count;
                (upper(index).min(self.max) as f64 / 1e6, seen as f64 / self.total as f64)
            })
            .collect()
    }

    /// The duration that `share` (0 to 1) of all do not exceed; `None` where there are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, &count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && count > 0 {
                return Some(Duration::from_nanos(upper(index).min(self.max)));
            }
        }
        None
    }
}

fn bucket(nanos: u64) -> usize {
    let power = (u64::BITS - nanos.leading_zeros()).saturating_sub(SUB_BITS + 1);
    ((power as usize) << SUB_BITS) + (nanos >> power) as usize
}

/// Largest value of a bucket.
fn upper(index: usize) -> u64 {
    let power = (index >> SUB_BITS).saturating_sub(1);
    let within = (index - (power << SUB_BITS)) as u64;
    ((within + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_everything_in_order() {
        let mut last = 0;
        for nanos in (0..100_000).chain((17..47).map(|p| 1u64 << p)) {
            let index = bucket(nanos);
            assert!(index >= last && nanos <= upper(index), "{nanos}");
            assert!(upper(index) as f64 <= nanos as f64 * (1.0 + 1.0 / SUB as f64) + 1.0, "{nanos}");
            last = index;
        }
    }

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
