//! The rate at which the peer receives, smoothed: libwebrtc's `BitrateEstimator`.
//!
//! Each window gives a sample, weighed by how far it is from what is known: a sample far off is more likely to be
//! chance than one nearby, and what is known becomes less certain with time.

use super::PacketResult;
use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};

const FIRST_WINDOW: Duration = Duration::from_millis(500);
const WINDOW: Duration = Duration::from_millis(150);
/// How uncertain a sample is, for its relative distance.
const SAMPLE_UNCERTAINTY: f64 = 10.0;
/// How much less certain the estimate becomes with each window, in (kbit/s)^2.
const DRIFT: f64 = 5.0;

/// Rate of arrivals.
#[derive(Clone, Default, Debug)]
pub(super) struct AcknowledgedRate {
    bytes: u64,
    window: Duration,
    last: Option<Instant>,
    /// In kbit/s, with its variance.
    estimate: Option<(f64, f64)>,
}

impl AcknowledgedRate {
    /// The rate, once known.
    pub(super) fn rate(&self) -> Option<Bitrate> {
        self.estimate.map(|(kbps, _)| Bitrate::from_bps((kbps * 1_000.0) as u64))
    }

    /// What became of packets, in the order of sending.
    pub(super) fn on_feedback(&mut self, packets: &[PacketResult]) {
        for packet in packets {
            if let Some(received) = packet.received {
                self.add(received, packet.size);
            }
        }
    }

    fn add(&mut self, at: Instant, size: DataSize) {
        let length = if self.estimate.is_none() { FIRST_WINDOW } else { WINDOW };
        if let Some(last) = self.last {
            let passed = at.saturating_since(last);
            if at < last || passed > Duration::from_secs(10) {
                // The peer's clock leapt.
                (self.bytes, self.window) = (0, Duration::ZERO);
            } else if passed > length {
                self.bytes = 0;
                self.window = Duration::from_nanos(((self.window + passed).as_nanos() % length.as_nanos()) as u64);
            } else {
                self.window += passed;
            }
        }
        self.last = Some(at);
        if self.window >= length {
            let sample = self.bytes as f64 * 8.0 / length.as_secs_f64() / 1_000.0;
            (self.bytes, self.window) = (0, self.window - length);
            self.weigh(sample);
        }
        self.bytes = self.bytes.saturating_add(size.as_bytes());
    }

    fn weigh(&mut self, sample: f64) {
        let Some((estimate, variance)) = self.estimate else {
            self.estimate = Some((sample, 50.0));
            return;
        };
        let uncertainty = SAMPLE_UNCERTAINTY * (estimate - sample).abs() / estimate.max(1.0);
        let (sample_variance, variance) = (uncertainty * uncertainty, variance + DRIFT);
        let sum = sample_variance + variance;
        self.estimate =
            Some(((sample_variance * estimate + variance * sample) / sum, sample_variance * variance / sum));
    }
}
