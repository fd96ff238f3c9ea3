//! Google congestion control as libwebrtc does it (M138; draft-ietf-rmcat-gcc-02): the baseline that all else is
//! measured against.
//!
//! | part | says |
//! |---|---|
//! | `trendline` | whether queues grow |
//! | `aimd` | what rate the delay allows |
//! | `loss` | what rate loss allows |
//! | `probing` | when to try more than is sent |
//! | `receive` | the first two where the peer sends |

mod aimd;
mod loss;
mod probing;
mod receive;
mod trendline;

pub(crate) use receive::ReceiveEstimator;

use super::acknowledged::AcknowledgedRate;
use super::{BandwidthEstimator, PacketResult, ProbeCluster};
use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};
use aimd::Aimd;
use loss::LossBased;
use probing::Prober;
use trendline::{Trendline, Usage};

/// Limits of [`EstimatorConfig::GoogCc`](super::EstimatorConfig::GoogCc).
#[derive(Clone, PartialEq, Debug)]
pub struct GoogCcConfig {
    /// Before anything is known: libwebrtc's own.
    pub start: Bitrate,
    /// Never below: sound and the lowest layer.
    pub min: Bitrate,
    /// Never above.
    pub max: Bitrate,
}

impl Default for GoogCcConfig {
    fn default() -> Self {
        Self { start: Bitrate::from_kbps(300), min: Bitrate::from_kbps(60), max: Bitrate::from_kbps(50_000) }
    }
}

/// No feedback for so long, while something was sent: the rate falls, and again each second.
const SILENCE: Duration = Duration::from_secs(3);
const SILENCE_STEP: Duration = Duration::from_secs(1);
const SILENCE_FALL: f64 = 0.8;

/// libwebrtc's estimator.
#[derive(Clone, Debug)]
pub(super) struct GoogCc {
    config: GoogCcConfig,
    acknowledged: AcknowledgedRate,
    trendline: Trendline,
    aimd: Aimd,
    loss: LossBased,
    prober: Prober,
    estimate: Bitrate,
    /// When it falls, unless feedback comes. `None` while nothing is sent.
    silent_at: Option<Instant>,
    /// There was feedback: from who never gave any it cannot fail to come.
    heard: bool,
}

impl GoogCc {
    /// Begins at the configured start.
    pub(super) fn new(config: GoogCcConfig, now: Instant) -> Self {
        let (min, max) = (config.min, config.max.max(config.min));
        let start = config.start.clamp(min, max);
        Self {
            acknowledged: AcknowledgedRate::default(),
            trendline: Trendline::new(),
            aimd: Aimd::new(start, (min, max), now),
            loss: LossBased::new((min, max)),
            prober: Prober::new(max, now),
            estimate: start,
            silent_at: None,
            heard: false,
            config: GoogCcConfig { start, min, max },
        }
    }

    fn set_estimate(&mut self, now: Instant, estimate: Bitrate) {
        let before = self.estimate;
        self.estimate = estimate.clamp(self.config.min, self.config.max);
        if self.estimate < before {
            self.prober.on_fall(now, before, self.estimate);
        }
    }
}

impl BandwidthEstimator for GoogCc {
    fn on_feedback(&mut self, now: Instant, packets: &[PacketResult]) {
        (self.silent_at, self.heard) = (None, true);
        self.acknowledged.on_feedback(packets);
        for packet in packets {
            self.trendline.on_packet(packet);
            self.loss.on_packet(packet);
        }
        let acknowledged = self.acknowledged.rate();
        let usage = self.trendline.usage();
        match self.prober.on_feedback(packets) {
            Some(probe) if usage != Usage::Over => {
                // libwebrtc leaves 5 % where the probe filled the path.
                let measured = if probe.saturated { probe.measured * 0.95 } else { probe.measured };
                if probe.saturated || measured > self.aimd.rate() {
                    self.aimd.on_probe(now, measured.max(self.aimd.rate() * 0.95));
                }
                self.loss.raise(measured);
            }
            _ => self.aimd.update(now, usage, acknowledged),
        }
        self.loss.update(now, acknowledged, self.aimd.rate());
        self.prober.set_held(now, self.aimd.is_limited());
        self.set_estimate(now, self.aimd.rate().min(self.loss.rate()));
    }

    fn on_rtt(&mut self, _now: Instant, rtt: Duration) {
        self.aimd.set_rtt(rtt);
    }

    fn estimate(&self) -> Option<Bitrate> {
        Some(self.estimate)
    }

    fn on_sent(&mut self, now: Instant, size: DataSize) {
        self.prober.on_sent(now, size, self.estimate);
        if self.heard {
            self.silent_at.get_or_insert(now + SILENCE);
        }
    }

    fn poll_probe(&mut self, now: Instant) -> Option<ProbeCluster> {
        self.prober.poll(now, self.estimate, self.trendline.usage() == Usage::Normal)
    }

    fn set_demand(&mut self, demand: Option<Bitrate>) {
        self.prober.set_demand(demand);
    }

    fn wants_feedback(&self) -> bool {
        true
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.silent_at
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.silent_at.is_some_and(|at| at <= now) {
            let fallen = self.estimate * SILENCE_FALL;
            self.aimd.set_rate(now, fallen);
            self.set_estimate(now, fallen);
            self.silent_at = (self.estimate > self.config.min).then(|| now + SILENCE_STEP);
        }
    }
}
