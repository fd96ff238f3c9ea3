//! How much a worker's thread has to do.

use super::ThreadStats;
use sfu_core::overload::Load;
use sfu_rtc::time::{Duration, Instant};

/// How often the load is looked at: a few frames, so that one burst does not count as overload.
const INTERVAL: Duration = Duration::from_millis(100);
/// A datagram that is so old when its round ends is late: receivers whose jitter buffers are short show that.
const LATE: Duration = Duration::from_millis(50);

/// Measures the load from round to round.
#[derive(Debug)]
pub(super) struct LoadMeter {
    begun: Instant,
    busy: Duration,
    /// Longest wait in the socket since `begun`.
    queue_age: Duration,
    /// Longest wait in the socket of what the running round received.
    round_age: Duration,
}

impl LoadMeter {
    pub(super) fn new(now: Instant) -> Self {
        Self { begun: now, busy: Duration::ZERO, queue_age: Duration::ZERO, round_age: Duration::ZERO }
    }

    /// Datagrams were received of which the first had waited so long.
    pub(super) fn record_queue_age(&mut self, age: Duration) {
        self.round_age = self.round_age.max(age);
    }

    /// A round took from `begin` to `end`. The load, where it is time to look at it.
    pub(super) fn record_round(&mut self, begin: Instant, end: Instant, stats: &ThreadStats) -> Option<Load> {
        let age = std::mem::take(&mut self.round_age);
        self.queue_age = self.queue_age.max(age);
        if age + (end - begin) >= LATE {
            stats.late_rounds.add(1);
        }
        self.busy += end - begin;
        let elapsed = end - self.begun;
        if elapsed < INTERVAL {
            return None;
        }
        let busy = (self.busy.as_secs_f32() / elapsed.as_secs_f32()).min(1.0);
        let load = Load { busy, queue_age: self.queue_age };
        stats.busy_micros.add(u64::try_from(self.busy.as_micros()).unwrap_or(0));
        stats.busy_permille.set((busy * 1_000.0) as u64);
        stats.queue_age_micros.set(u64::try_from(self.queue_age.as_micros()).unwrap_or(u64::MAX));
        *self = Self::new(end);
        Some(load)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_time_and_the_longest_wait_are_told() {
        let stats = ThreadStats::default();
        let ms = |n| Instant::from_millis(n);
        let mut meter = LoadMeter::new(ms(0));
        meter.record_queue_age(Duration::from_millis(7));
        meter.record_queue_age(Duration::from_millis(3));
        assert_eq!(meter.record_round(ms(10), ms(35), &stats), None);
        let load = meter.record_round(ms(90), ms(115), &stats).unwrap();
        assert!((load.busy - 50.0 / 115.0).abs() < 1e-3);
        assert_eq!((load.queue_age, stats.queue_age_micros.get()), (Duration::from_millis(7), 7_000));
        assert_eq!(meter.record_round(ms(115), ms(116), &stats), None, "begins anew");
    }

    #[test]
    fn a_round_is_late_by_its_length_and_by_what_waited_before_it() {
        let stats = ThreadStats::default();
        let ms = |n| Instant::from_millis(n);
        let mut meter = LoadMeter::new(ms(0));
        meter.record_queue_age(Duration::from_millis(30));
        meter.record_round(ms(40), ms(59), &stats);
        assert_eq!(stats.late_rounds.get(), 0, "49 ms");
        meter.record_queue_age(Duration::from_millis(30));
        meter.record_round(ms(70), ms(90), &stats);
        assert_eq!(stats.late_rounds.get(), 1, "30 ms in the socket and 20 in the round");
        meter.record_round(ms(90), ms(110), &stats);
        assert_eq!(stats.late_rounds.get(), 1, "the wait was that of the round before");
        meter.record_round(ms(110), ms(160), &stats);
        assert_eq!(stats.late_rounds.get(), 2, "50 ms in the round");
    }
}
