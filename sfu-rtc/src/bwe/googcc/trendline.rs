//! Whether the delay grows: libwebrtc's `InterArrivalDelta` and `TrendlineEstimator`
//! (draft-ietf-rmcat-gcc-02 sections 5.2 to 5.4, with a line fitted instead of the Kalman filter).

use crate::bwe::PacketResult;
use crate::time::{Duration, Instant};
use arrayvec::ArrayVec;

/// Packets sent within so much time are one group.
const GROUP: Duration = Duration::from_millis(5);
/// What arrives closer than that, and faster than it was sent, was held up together: it joins the group ...
const BURST_GAP: Duration = Duration::from_millis(5);
/// ... but not for longer than this.
const MAX_BURST: Duration = Duration::from_millis(100);
/// Arrival clocks that move by so much leapt.
const MAX_LEAP: Duration = Duration::from_secs(3);

/// Groups that the line is fitted to.
const WINDOW: usize = 20;
const SMOOTHING: f64 = 0.9;
const GAIN: f64 = 4.0;
/// The slope counts for so many groups at most.
const MAX_GROUPS: u32 = 60;
/// The threshold follows quickly what is above it, else slowly what is below, so that a flow that competes with TCP is
/// not starved (gcc-02 section 5.4).
const K_UP: f64 = 0.0087;
const K_DOWN: f64 = 0.039;
/// Peaks higher than this over the threshold do not move it.
const MAX_PEAK: f64 = 15.0;
/// The delay must grow for longer than this.
const OVERUSE_TIME: f64 = 10.0;

/// What the delay says of the path.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Usage {
    #[default]
    Normal,
    /// Queues grow.
    Over,
    /// Queues shrink.
    Under,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent: Instant,
    sent: Instant,
    first_received: Instant,
    received: Instant,
}

/// Detects growth of the delay.
#[derive(Clone, Debug)]
pub(super) struct Trendline {
    current: Option<Group>,
    previous: Option<Group>,
    groups: u32,
    origin: Instant,
    accumulated: f64,
    smoothed: f64,
    /// Arrival and smoothed delay in milliseconds.
    points: ArrayVec<(f64, f64), WINDOW>,
    trend: f64,
    threshold: f64,
    threshold_moved: Option<Instant>,
    over_for: Option<f64>,
    over_count: u32,
    usage: Usage,
}

impl Trendline {
    pub(super) fn new() -> Self {
        Self {
            current: None,
            previous: None,
            groups: 0,
            origin: Instant::ZERO,
            accumulated: 0.0,
            smoothed: 0.0,
            points: ArrayVec::new(),
            trend: 0.0,
            threshold: 12.5,
            threshold_moved: None,
            over_for: None,
            over_count: 0,
            usage: Usage::Normal,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// A packet that arrived.
    pub(super) fn on_packet(&mut self, packet: &PacketResult) {
        let Some(received) = packet.received else { return };
        let Some(current) = &mut self.current else {
            self.begin(packet.sent, received);
            return;
        };
        if packet.sent < current.first_sent {
            return; // Out of order.
        }
        let leapt = received.saturating_since(current.received) > MAX_LEAP
            || current.received.saturating_since(received) > MAX_LEAP;
        if leapt {
            *self = Self { threshold: self.threshold, ..Self::new() };
            self.begin(packet.sent, received);
        } else if current.takes(packet.sent, received) {
            current.sent = current.sent.max(packet.sent);
            current.received = current.received.max(received);
        } else {
            let done = *current;
            self.begin(packet.sent, received);
            if let Some(before) = self.previous.replace(done) {
                self.on_group(&before, &done);
            }
        }
    }

    fn begin(&mut self, sent: Instant, received: Instant) {
        self.current = Some(Group { first_sent: sent, sent, first_received: received, received });
    }

    fn on_group(&mut self, before: &Group, group: &Group) {
        if group.received < before.received {
            return;
        }
        let sent = millis(group.sent.saturating_since(before.sent));
        let received = millis(group.received.saturating_since(before.received));
        if self.groups == 0 {
            self.origin = group.received;
        }
        self.groups = (self.groups + 1).min(1_000);
        self.accumulated += received - sent;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.accumulated;
        if self.points.is_full() {
            self.points.remove(0);
        }
        self.points.push((millis(group.received.saturating_since(self.origin)), self.smoothed));
        let trend = if self.points.is_full() { slope(&self.points).unwrap_or(self.trend) } else { self.trend };
        self.detect(trend, sent, group.received);
    }

    fn detect(&mut self, trend: f64, sent: f64, at: Instant) {
        if self.groups < 2 {
            self.usage = Usage::Normal;
            return;
        }
        let modified = f64::from(self.groups.min(MAX_GROUPS)) * trend * GAIN;
        if modified > self.threshold {
            let over = self.over_for.map_or(sent / 2.0, |over| over + sent);
            (self.over_for, self.over_count) = (Some(over), self.over_count + 1);
            if over > OVERUSE_TIME && self.over_count > 1 && trend >= self.trend {
                (self.over_for, self.over_count) = (Some(0.0), 0);
                self.usage = Usage::Over;
            }
        } else {
            (self.over_for, self.over_count) = (None, 0);
            self.usage = if modified < -self.threshold { Usage::Under } else { Usage::Normal };
        }
        self.trend = trend;
        self.move_threshold(modified.abs(), at);
    }

    fn move_threshold(&mut self, modified: f64, at: Instant) {
        let passed = millis(at.saturating_since(self.threshold_moved.unwrap_or(at))).min(100.0);
        self.threshold_moved = Some(at);
        if modified > self.threshold + MAX_PEAK {
            return;
        }
        let k = if modified < self.threshold { K_DOWN } else { K_UP };
        self.threshold = (self.threshold + k * (modified - self.threshold) * passed).clamp(6.0, 600.0);
    }
}

impl Group {
    /// Whether a packet belongs to it.
    fn takes(&self, sent: Instant, received: Instant) -> bool {
        let arrival_gap = received.saturating_since(self.received);
        let send_gap = sent.saturating_since(self.sent);
        let held_up = arrival_gap < send_gap
            && arrival_gap <= BURST_GAP
            && received.saturating_since(self.first_received) < MAX_BURST;
        sent.saturating_since(self.first_sent) <= GROUP || held_up
    }
}

/// Slope of the line through the points (least squares).
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    let (sum_x, sum_y) = points.iter().fold((0.0, 0.0), |(sx, sy), (x, y)| (sx + x, sy + y));
    let (mean_x, mean_y) = (sum_x / n, sum_y / n);
    let (over, under) = points.iter().fold((0.0, 0.0), |(over, under), (x, y)| {
        (over + (x - mean_x) * (y - mean_y), under + (x - mean_x) * (x - mean_x))
    });
    (under > 0.0).then(|| over / under)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::DataSize;

    /// Packets each 10 ms, whose delay grows by `growth` each.
    fn usage_at(growth: Duration) -> Usage {
        let mut trendline = Trendline::new();
        for n in 0..100 {
            let sent = Instant::from_millis(n * 10);
            let received = Some(sent + Duration::from_millis(50) + growth * n as u32);
            trendline.on_packet(&PacketResult { sent, received, size: DataSize::from_bytes(1_000), probe: None });
        }
        trendline.usage()
    }

    #[test]
    fn growth_of_the_delay_is_seen() {
        assert_eq!(usage_at(Duration::ZERO), Usage::Normal);
        assert_eq!(usage_at(Duration::from_millis(3)), Usage::Over);
    }
}
