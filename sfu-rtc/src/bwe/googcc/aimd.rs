//! The rate that the delay allows: libwebrtc's `AimdRateControl` (draft-ietf-rmcat-gcc-02 section 5.5).
//!
//! Falls to 0.85 of what arrives where queues grow; rises by 8 % per second, or by about a packet per response time where
//! it is near the capacity at which queues grew before.

use super::trendline::Usage;
use crate::time::{Duration, Instant};
use crate::units::Bitrate;

const DECREASE: f64 = 0.85;
const INCREASE_PER_SECOND: f64 = 1.08;
/// No increase beyond this times what arrives, since nothing shows that the path carries it.
pub(super) const INCREASE_LIMIT: f64 = 1.5;
const INCREASE_MARGIN: Bitrate = Bitrate::from_kbps(10);
/// Two falls lie a round trip apart, within these bounds.
const MIN_FALL_INTERVAL: Duration = Duration::from_millis(10);
const MAX_FALL_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Hold,
    Increase,
}

/// Additive increase, multiplicative decrease.
#[derive(Clone, Debug)]
pub(super) struct Aimd {
    state: State,
    current: Bitrate,
    min: Bitrate,
    max: Bitrate,
    changed: Instant,
    fell: Option<Instant>,
    rtt: Duration,
    capacity: LinkCapacity,
    limited: bool,
}

impl Aimd {
    pub(super) fn new(start: Bitrate, (min, max): (Bitrate, Bitrate), now: Instant) -> Self {
        Self {
            state: State::Hold,
            current: start,
            min,
            max,
            changed: now,
            fell: None,
            rtt: Duration::from_millis(200),
            capacity: LinkCapacity::default(),
            limited: false,
        }
    }

    pub(super) fn rate(&self) -> Bitrate {
        self.current
    }

    pub(super) fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    /// Whether only what is sent keeps it from rising.
    pub(super) fn is_limited(&self) -> bool {
        self.limited
    }

    /// From now on `rate`, which was measured or is all that goes.
    pub(super) fn set_rate(&mut self, now: Instant, rate: Bitrate) {
        self.current = rate.clamp(self.min, self.max);
        self.changed = now;
        self.limited = false;
    }

    /// A probe measured what the path carries.
    pub(super) fn on_probe(&mut self, now: Instant, measured: Bitrate) {
        self.capacity.add(measured, 0.5);
        self.set_rate(now, measured);
    }

    /// With each feedback: what the delay says, and what arrives.
    pub(super) fn update(&mut self, now: Instant, usage: Usage, acknowledged: Option<Bitrate>) {
        match usage {
            Usage::Over => {
                if self.may_fall(now, acknowledged) {
                    self.fall(now, acknowledged);
                }
                self.state = State::Hold;
            }
            Usage::Under => self.state = State::Hold,
            Usage::Normal if self.state == State::Hold => (self.state, self.changed) = (State::Increase, now),
            Usage::Normal => self.rise(now, acknowledged),
        }
    }

    fn may_fall(&self, now: Instant, acknowledged: Option<Bitrate>) -> bool {
        let interval = self.rtt.clamp(MIN_FALL_INTERVAL, MAX_FALL_INTERVAL);
        self.fell.is_none_or(|fell| now.saturating_since(fell) >= interval)
            || acknowledged.is_some_and(|rate| rate < self.current * 0.5)
    }

    fn fall(&mut self, now: Instant, acknowledged: Option<Bitrate>) {
        let mut to = acknowledged.map_or(self.current * 0.5, |rate| rate * DECREASE);
        if to > self.current
            && let Some(capacity) = self.capacity.estimate()
        {
            to = capacity * DECREASE;
        }
        if let Some(rate) = acknowledged {
            if self.capacity.bounds().is_some_and(|(lower, _)| rate < lower) {
                self.capacity = LinkCapacity::default();
            }
            self.capacity.add(rate, 0.05);
        }
        self.set_rate(now, to.min(self.current));
        self.fell = Some(now);
    }

    fn rise(&mut self, now: Instant, acknowledged: Option<Bitrate>) {
        let limit = acknowledged.map_or(self.max, |rate| rate * INCREASE_LIMIT + INCREASE_MARGIN);
        if let Some(rate) = acknowledged
            && self.capacity.bounds().is_some_and(|(_, upper)| rate > upper)
        {
            self.capacity = LinkCapacity::default();
        }
        let passed = now.saturating_since(self.changed).min(Duration::from_secs(1)).as_secs_f64();
        self.changed = now;
        self.limited = self.current >= limit;
        if self.limited {
            return;
        }
        let risen = if self.capacity.estimate().is_some() {
            self.current + self.additive_per_second() * passed
        } else {
            (self.current * INCREASE_PER_SECOND.powf(passed)).max(self.current + Bitrate::from_kbps(1) * passed)
        };
        self.current = risen.min(limit).clamp(self.min, self.max);
    }

    /// About a packet per response time.
    fn additive_per_second(&self) -> Bitrate {
        let frame = self.current.as_bps() as f64 / 30.0;
        let packets = (frame / (1_200.0 * 8.0)).ceil().max(1.0);
        let response = (self.rtt + Duration::from_millis(100)).as_secs_f64();
        Bitrate::from_bps((frame / packets / response) as u64).max(Bitrate::from_kbps(4))
    }
}

/// Where queues grew, with its deviation: libwebrtc's `LinkCapacityEstimator`, in kbit/s.
#[derive(Clone, Default, Debug)]
struct LinkCapacity(Option<(f64, f64)>);

impl LinkCapacity {
    fn add(&mut self, rate: Bitrate, weight: f64) {
        let sample = rate.as_bps() as f64 / 1_000.0;
        let (before, deviation) = self.0.unwrap_or((sample, 0.4));
        let estimate = (1.0 - weight) * before + weight * sample;
        let error = estimate - sample;
        let deviation = (1.0 - weight) * deviation + weight * error * error / estimate.max(1.0);
        self.0 = Some((estimate, deviation.clamp(0.4, 2.5)));
    }

    fn estimate(&self) -> Option<Bitrate> {
        self.0.map(|(kbps, _)| Bitrate::from_bps((kbps * 1_000.0) as u64))
    }

    fn bounds(&self) -> Option<(Bitrate, Bitrate)> {
        let (estimate, deviation) = self.0?;
        let sigma = 3.0 * (deviation * estimate).sqrt();
        let bitrate = |kbps: f64| Bitrate::from_bps((kbps.max(0.0) * 1_000.0) as u64);
        Some((bitrate(estimate - sigma), bitrate(estimate + sigma)))
    }
}
