//! Rates over the last second.

use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::{Bitrate, DataSize};

/// Length of one bucket.
const BUCKET_MILLIS: u64 = 100;
const BUCKET: Duration = Duration::from_millis(BUCKET_MILLIS);
/// Buckets that make a second.
const BUCKETS: usize = 10;
/// After a second of silence counting begins anew; what comes then is taken to be of so many buckets more, as it may be all
/// at once: the next page of a screen.
const AFTER_SILENCE: u64 = 4;

/// Counts something over the last second, in steps of 100 ms, without being called when nothing happens.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct RateMeter {
    buckets: [u32; BUCKETS],
    /// Number of the newest bucket since the clock's start.
    newest: u64,
    /// Number of the bucket in which counting began.
    first: Option<u64>,
}

impl RateMeter {
    /// `amount` more.
    pub(crate) fn add(&mut self, now: Instant, amount: u32) {
        let bucket = bucket_of(now);
        if bucket != self.newest {
            self.advance(bucket);
        }
        self.first.get_or_insert(bucket);
        let current = &mut self.buckets[(self.newest % BUCKETS as u64) as usize];
        *current = current.saturating_add(amount);
    }

    /// How much there was per second, seen at `now`.
    pub(crate) fn per_second(&self, now: Instant) -> f64 {
        let Some(first) = self.first else { return 0.0 };
        let now_bucket = bucket_of(now).max(self.newest);
        let sum: u64 = (0..BUCKETS as u64)
            .map(|back| now_bucket.saturating_sub(back))
            .filter(|bucket| *bucket <= self.newest && *bucket + BUCKETS as u64 > self.newest)
            .map(|bucket| u64::from(self.buckets[(bucket % BUCKETS as u64) as usize]))
            .sum();
        // The newest bucket has only begun.
        let full = (now_bucket - first).min(BUCKETS as u64 - 1) as u32;
        let covered = (BUCKET * full + (now - Instant::from_millis(now_bucket * BUCKET_MILLIS))).max(BUCKET);
        sum as f64 / covered.as_secs_f64()
    }

    /// The bitrate, where bytes were counted.
    pub(crate) fn bitrate(&self, now: Instant) -> Bitrate {
        DataSize::from_bytes(self.per_second(now) as u64).per(Duration::from_secs(1))
    }

    /// What was counted so far is taken to have been so many times as much.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.buckets.iter_mut().for_each(|bucket| *bucket = (f64::from(*bucket) * factor) as u32);
    }

    fn advance(&mut self, bucket: u64) {
        if bucket < self.newest {
            return;
        }
        let steps = (bucket - self.newest).min(BUCKETS as u64);
        for step in 0..steps {
            self.buckets[((bucket - step) % BUCKETS as u64) as usize] = 0;
        }
        if steps == BUCKETS as u64 && self.first.is_some() {
            self.first = Some(bucket.saturating_sub(AFTER_SILENCE));
        }
        self.newest = bucket;
    }
}

fn bucket_of(now: Instant) -> u64 {
    now.as_millis() / BUCKET_MILLIS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_the_last_second_and_forgets() {
        let mut meter = RateMeter::default();
        for ms in (5_000..8_000).step_by(10) {
            meter.add(Instant::from_millis(ms), 125);
        }
        assert_eq!(meter.bitrate(Instant::from_millis(8_000)), Bitrate::from_kbps(100));
        assert_eq!(meter.bitrate(Instant::from_millis(8_500)), Bitrate::from_bps(44_440), "400 ms of 900");
        assert_eq!(meter.bitrate(Instant::from_millis(13_000)), Bitrate::ZERO);
    }

    #[test]
    fn a_young_stream_is_not_underrated() {
        let mut meter = RateMeter::default();
        for ms in (1_000..1_250).step_by(10) {
            meter.add(Instant::from_millis(ms), 125);
        }
        assert_eq!(meter.bitrate(Instant::from_millis(1_250)), Bitrate::from_kbps(100));
    }
}
