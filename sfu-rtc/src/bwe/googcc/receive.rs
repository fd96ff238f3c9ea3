//! The way from a peer, estimated where it ends: the delay-based part at the receiver (draft-ietf-rmcat-gcc-02 section 3),
//! fed by arrivals and by the time at which each packet left (`abs-send-time`).
//!
//! No loss: a sender without transport-wide feedback learns of that from our reports, and answers by itself.

use super::aimd::{Aimd, INCREASE_LIMIT};
use super::trendline::{Trendline, Usage};
use crate::bwe::PacketResult;
use crate::bwe::acknowledged::AcknowledgedRate;
use crate::rtp::extension::SEND_TIME_FRACTION;
use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};
use std::slice;

/// Between two looks at the rate, as long as queues do not grow.
const UPDATE_INTERVAL: Duration = Duration::from_millis(100);
/// Whoever begins is held down only by queues, not by the little that it has sent; as in libwebrtc.
const BEGINNING: Duration = Duration::from_secs(5);

/// Estimates what the way from a peer carries.
#[derive(Debug)]
pub(crate) struct ReceiveEstimator {
    clock: SendClock,
    received: AcknowledgedRate,
    trendline: Trendline,
    aimd: Aimd,
    began: Option<Instant>,
    updated: Instant,
    known: bool,
}

impl ReceiveEstimator {
    /// Nothing arrived.
    pub(crate) fn new(min: Bitrate, max: Bitrate, now: Instant) -> Self {
        let max = max.max(min);
        Self {
            clock: SendClock::default(),
            received: AcknowledgedRate::default(),
            trendline: Trendline::new(),
            aimd: Aimd::new(max, (min, max), now),
            began: None,
            updated: now,
            known: false,
        }
    }

    /// What arrives.
    pub(crate) fn received(&self) -> Option<Bitrate> {
        self.received.rate()
    }

    /// What the way carries, as far as it was shown: up to half as much again as arrives, while nothing queues. `None`
    /// until that is known, and where packets do not say when they left.
    pub(crate) fn estimate(&self) -> Option<Bitrate> {
        self.known.then(|| self.aimd.rate())
    }

    /// A new measurement of the round trip.
    pub(crate) fn on_rtt(&mut self, rtt: Duration) {
        self.aimd.set_rtt(rtt);
    }

    /// A packet came that left at `send_time`: 24 bits in units of 1/2^18 s.
    pub(crate) fn on_packet(&mut self, now: Instant, send_time: Option<u32>, size: DataSize) {
        let sent = send_time.map(|wire| self.clock.extend(now, wire));
        let (sent_at, leapt) = sent.unwrap_or((now, false));
        let packet = PacketResult { sent: sent_at, received: Some(now), size, probe: None };
        self.received.on_feedback(slice::from_ref(&packet));
        if sent.is_none() {
            return;
        }
        if leapt {
            self.trendline = Trendline::new();
        }
        self.trendline.on_packet(&packet);
        if self.trendline.usage() == Usage::Over || now - self.updated >= UPDATE_INTERVAL {
            self.update(now);
        }
    }

    fn update(&mut self, now: Instant) {
        self.updated = now;
        let began = *self.began.get_or_insert(now);
        let Some(received) = self.received.rate() else { return };
        let usage = self.trendline.usage();
        self.aimd.update(now, usage, Some(received));
        if !self.known && now - began >= BEGINNING {
            self.aimd.set_rate(now, self.aimd.rate().min(received * INCREASE_LIMIT));
            self.known = true;
        }
        self.known |= usage == Usage::Over;
    }
}

/// A sender's clock of 24 bits, which wraps every 64 s.
#[derive(Clone, Copy, Default, Debug)]
struct SendClock {
    /// The time on the wire of the last packet, and when it came.
    last: Option<(u32, Instant)>,
    /// The same without wrapping.
    units: i64,
}

/// Far from zero, so that what left before the first packet has a time.
const EPOCH: i64 = 1 << 40;
/// A clock that moves by so much more or less than ours leapt.
const MAX_LEAP: Duration = Duration::from_secs(3);

impl SendClock {
    /// When a packet left, and whether the clock leapt before it.
    fn extend(&mut self, now: Instant, wire: u32) -> (Instant, bool) {
        let before = self.last.replace((wire, now));
        let leapt = match before {
            None => true,
            Some((last, came)) => {
                // The lower 24 bits, as a signed number.
                let ahead = i64::from((wire.wrapping_sub(last) << 8).cast_signed() >> 8);
                self.units = self.units.saturating_add(ahead);
                let passed = ((now - came).as_nanos() << SEND_TIME_FRACTION) / 1_000_000_000;
                let passed = i64::try_from(passed).unwrap_or(i64::MAX);
                let tolerance = (MAX_LEAP.as_secs() as i64) << SEND_TIME_FRACTION;
                ahead.saturating_sub(passed).abs() > tolerance
            }
        };
        if leapt || self.units < 0 {
            self.units = EPOCH;
        }
        let nanos = (u128::from(self.units.unsigned_abs()) * 1_000_000_000) >> SEND_TIME_FRACTION;
        (Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)), leapt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::extension::{abs_send_time, parse_abs_send_time};
    use proptest::prelude::*;

    const MIN: Bitrate = Bitrate::from_kbps(60);
    const MAX: Bitrate = Bitrate::from_kbps(20_000);

    /// A sender of `sends(estimate)` over a path of `carries` kbit/s, for so many seconds; what was estimated at the end
    /// of each.
    fn run(seconds: u64, carries: impl Fn(u64) -> u64, sends: impl Fn(Option<Bitrate>) -> u64) -> Vec<Option<u64>> {
        const SIZE: DataSize = DataSize::from_bytes(1_000);
        // Near the wrap of the sender's clock.
        let mut sent = Instant::from_millis(60_000);
        let (mut free, mut all) = (sent, Vec::new());
        let mut estimator = ReceiveEstimator::new(MIN, MAX, sent);
        for second in 0..seconds {
            let end = Instant::from_millis(61_000 + second * 1_000);
            while sent < end {
                sent += Bitrate::from_kbps(sends(estimator.estimate())).time_for(SIZE);
                free = free.max(sent) + Bitrate::from_kbps(carries(second)).time_for(SIZE);
                let arrival = free + Duration::from_millis(40);
                estimator.on_packet(arrival, parse_abs_send_time(&abs_send_time(sent)), SIZE);
            }
            all.push(estimator.estimate().map(Bitrate::as_kbps));
        }
        all
    }

    #[test]
    fn a_sender_that_has_room_is_allowed_half_as_much_again() {
        let all = run(20, |_| 10_000, |_| 1_000);
        assert_eq!(all[3], None, "it has only begun");
        assert!(all[5..].iter().all(|rate| rate.is_some_and(|rate| (1_300..1_650).contains(&rate))), "{all:?}");
    }

    #[test]
    fn a_sender_that_obeys_uses_its_path_and_no_more() {
        let carries = |second| if (30..60).contains(&second) { 500 } else { 2_000 };
        let all = run(90, carries, |estimate| estimate.map_or(300, Bitrate::as_kbps));
        let mean = |from: usize, to: usize| all[from..to].iter().flatten().sum::<u64>() / (to - from) as u64;
        assert!((1_400..2_100).contains(&mean(25, 30)), "{all:?}");
        assert!((350..550).contains(&mean(40, 60)), "{all:?}");
        assert!((1_000..2_100).contains(&mean(85, 90)), "{all:?}");
    }

    #[test]
    fn without_times_only_the_rate_is_known() {
        let mut estimator = ReceiveEstimator::new(MIN, MAX, Instant::ZERO);
        for n in 0..1_000 {
            estimator.on_packet(Instant::from_millis(n * 10), None, DataSize::from_bytes(1_250));
        }
        assert_eq!(estimator.estimate(), None);
        let received = estimator.received().unwrap().as_kbps();
        assert!((900..1_100).contains(&received), "{received}");
    }

    #[test]
    fn a_clock_that_leaps_begins_anew() {
        let mut clock = SendClock::default();
        let at = |millis| Instant::from_millis(millis);
        let wire = |millis| parse_abs_send_time(&abs_send_time(at(millis))).unwrap();
        clock.extend(at(0), wire(63_990));
        let before = clock.extend(at(10), wire(64_000));
        let after = clock.extend(at(20), wire(64_010));
        assert!(!before.1 && !after.1);
        let passed = (after.0 - before.0).as_micros();
        assert!(passed.abs_diff(10_000) < 10, "{passed} us over the wrap");
        assert!(clock.extend(at(30), wire(80_000)).1);
        assert!(!clock.extend(at(40), wire(80_010)).1);
        assert!(clock.extend(at(50), wire(70_000)).1);
    }

    proptest! {
        #[test]
        fn whatever_comes_the_estimate_keeps_its_bounds(
            packets in prop::collection::vec((0u64..3_000_000_000, prop::option::weighted(0.9, any::<u32>()), any::<u64>()), 0..300),
        ) {
            let mut now = Instant::ZERO;
            let mut estimator = ReceiveEstimator::new(MIN, MAX, now);
            for (passed, wire, size) in packets {
                now += Duration::from_nanos(passed);
                estimator.on_packet(now, wire.map(|wire| wire & 0xff_ffff), DataSize::from_bytes(size));
                prop_assert!(estimator.estimate().is_none_or(|rate| rate >= MIN && rate <= MAX));
            }
        }
    }
}
