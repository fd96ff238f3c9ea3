//! A browser's own estimate of what it gets (REMB), where the server wants no feedback on every packet: the delay-based
//! part of draft-ietf-rmcat-gcc-02 at the receiver, with libwebrtc's trendline and constants.

use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;
use std::collections::VecDeque;

/// Time over which what comes in is measured.
const RATE_WINDOW: Duration = Duration::from_millis(500);
/// Before so long nothing is estimated.
const BEGIN: Duration = Duration::from_secs(1);
/// Groups that the trend is taken of.
const TREND_WINDOW: usize = 20;
/// Share of the smoothed delay that stays from group to group.
const SMOOTHING: f64 = 0.9;
/// What makes a threshold's measure of a trend.
const TREND_GAIN: f64 = 4.0;
/// How fast the threshold follows the trend, upwards and downwards.
const THRESHOLD_GAINS: (f64, f64) = (0.0087, 0.039);
/// Bounds of the threshold.
const THRESHOLD: (f64, f64) = (6.0, 600.0);
/// The trend must be over the threshold for so long.
const OVERUSE_TIME: Duration = Duration::from_millis(10);
/// What becomes of the rate that came in, where the path is overused.
const DECREASE: f64 = 0.85;
/// How much the estimate rises per second.
const INCREASE: f64 = 1.08;
/// The estimate is at most so much more than what comes in.
const HEADROOM: f64 = 1.5;
/// Time between two messages, unless the estimate falls.
const INTERVAL: Duration = Duration::from_secs(1);
/// A fall by so much is told at once.
const NOTABLE_FALL: f64 = 0.97;

/// Estimates from arrivals.
#[derive(Debug)]
pub(super) struct ReceiveEstimator {
    began: Option<Instant>,
    received: VecDeque<(Instant, usize)>,
    /// RTP timestamp and last arrival of the group under way, and of the one before.
    group: Option<(u32, Instant)>,
    before: Option<(u32, Instant)>,
    groups: u32,
    accumulated: f64,
    smoothed: f64,
    points: VecDeque<(f64, f64)>,
    threshold: f64,
    last_trend: f64,
    over_since: Option<Instant>,
    /// The path is overused until the trend says otherwise.
    overused: bool,
    draining: bool,
    estimate: Option<f64>,
    updated: Instant,
    told: Option<(Instant, f64)>,
}

impl ReceiveEstimator {
    pub(super) fn new() -> Self {
        Self {
            began: None,
            received: VecDeque::new(),
            group: None,
            before: None,
            groups: 0,
            accumulated: 0.0,
            smoothed: 0.0,
            points: VecDeque::new(),
            threshold: 12.5,
            last_trend: 0.0,
            over_since: None,
            overused: false,
            draining: false,
            estimate: None,
            updated: Instant::ZERO,
            told: None,
        }
    }

    /// A packet of `bytes` came; of video the RTP timestamp tells when it was sent.
    pub(super) fn on_packet(&mut self, now: Instant, bytes: usize, video_timestamp: Option<u32>) {
        self.began.get_or_insert(now);
        self.received.push_back((now, bytes));
        while self.received.front().is_some_and(|(at, _)| now - *at > RATE_WINDOW) {
            self.received.pop_front();
        }
        let Some(timestamp) = video_timestamp else { return };
        match &mut self.group {
            Some((group, last)) if *group == timestamp => *last = now,
            Some((group, _)) if timestamp.wrapping_sub(*group).cast_signed() > 0 => {
                let whole = self.group.replace((timestamp, now));
                self.on_group(now, whole);
            }
            Some(_) => {} // a retransmission
            None => self.group = Some((timestamp, now)),
        }
    }

    fn on_group(&mut self, now: Instant, group: Option<(u32, Instant)>) {
        if let Some(((timestamp, arrival), (before, before_arrival))) = group.zip(self.before) {
            let sent = f64::from(timestamp.wrapping_sub(before)) / 90.0;
            let arrived = (arrival - before_arrival).as_secs_f64() * 1e3;
            self.update_trend(arrival, arrived - sent, arrived.min(100.0));
        }
        self.before = group;
        self.update_rate(now);
    }

    fn update_trend(&mut self, arrival: Instant, variation: f64, elapsed: f64) {
        self.groups = (self.groups + 1).min(60);
        self.accumulated += variation;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.accumulated;
        if self.points.len() == TREND_WINDOW {
            self.points.pop_front();
        }
        self.points.push_back((arrival.as_micros() as f64 / 1e3, self.smoothed));
        let slope = if self.points.len() == TREND_WINDOW { slope(&self.points) } else { 0.0 };
        let trend = f64::from(self.groups) * slope * TREND_GAIN;
        if trend > self.threshold {
            let since = *self.over_since.get_or_insert(arrival);
            self.overused |= arrival - since >= OVERUSE_TIME && trend >= self.last_trend;
        } else {
            self.over_since = None;
            self.overused = false;
        }
        self.draining = trend < -self.threshold;
        self.last_trend = trend;
        let distance = trend.abs() - self.threshold;
        if distance <= 15.0 {
            let gain = if distance > 0.0 { THRESHOLD_GAINS.0 } else { THRESHOLD_GAINS.1 };
            self.threshold = (self.threshold + gain * distance * elapsed).clamp(THRESHOLD.0, THRESHOLD.1);
        }
    }

    fn update_rate(&mut self, now: Instant) {
        let bytes: usize = self.received.iter().map(|(_, bytes)| bytes).sum();
        let incoming = bytes as f64 * 8.0 / RATE_WINDOW.as_secs_f64();
        if self.began.is_none_or(|began| now - began < BEGIN) {
            return;
        }
        let estimate = self.estimate.get_or_insert(incoming);
        if self.overused {
            *estimate = estimate.min(incoming * DECREASE);
        } else if !self.draining {
            let elapsed = (now - self.updated).min(Duration::from_secs(1)).as_secs_f64();
            let risen = *estimate * INCREASE.powf(elapsed);
            *estimate = risen.min(incoming * HEADROOM + 10_000.0).max(*estimate);
        }
        self.updated = now;
    }

    /// The message that is due.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Bitrate> {
        let estimate = self.estimate?;
        let due = self.told.is_none_or(|(at, told)| now - at >= INTERVAL || estimate < told * NOTABLE_FALL);
        due.then(|| {
            self.told = Some((now, estimate));
            Bitrate::from_bps(estimate as u64)
        })
    }
}

/// Slope of the line that fits best.
fn slope(points: &VecDeque<(f64, f64)>) -> f64 {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        (above + (point.0 - x) * (point.1 - y), below + (point.0 - x).powi(2))
    });
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame every 33 ms at 1 Mbit/s, each `later` µs later than the one before.
    fn estimate(estimator: &mut ReceiveEstimator, frames: std::ops::Range<u64>, later: u64) -> f64 {
        for n in frames.clone() {
            let at = Instant::from_nanos((33_333 * n + later * (n - frames.start)) * 1_000);
            for _ in 0..4 {
                estimator.on_packet(at, 1_042, Some((3_000 * n) as u32));
            }
        }
        estimator.estimate.unwrap()
    }

    #[test]
    fn rises_while_the_delay_is_steady_and_falls_when_it_grows() {
        let mut estimator = ReceiveEstimator::new();
        let steady = estimate(&mut estimator, 0..200, 0);
        assert!(steady > 1_200_000.0 && steady <= 1_550_000.0, "{steady}");
        assert!(estimator.poll(Instant::from_millis(7_000)).is_some());
        assert!(estimator.poll(Instant::from_millis(7_100)).is_none());
        let fallen = estimate(&mut estimator, 200..230, 8_000);
        assert!(fallen < 900_000.0, "{fallen}");
        assert!(estimator.poll(Instant::from_millis(7_200)).is_some(), "a fall is told at once");
    }
}
