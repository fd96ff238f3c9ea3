//! How much a path carries: one estimator per policy behind [`BandwidthEstimator`].

mod acknowledged;
mod dispersion;
mod fixed;
mod googcc;
mod or_remb;
mod probe;
mod remb;
mod train;

pub use dispersion::DispersionConfig;
pub use fixed::Fixed;
pub use googcc::GoogCcConfig;
pub(crate) use googcc::ReceiveEstimator;
pub use probe::{ProbeCluster, ProbeId};
pub use remb::{Remb, RembConfig};

use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};
use dispersion::Dispersion;
use googcc::GoogCc;
use or_remb::OrRemb;
use std::fmt::Debug;

/// What became of one sent packet, as transport-wide feedback tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketResult {
    /// When it was sent, on our clock.
    pub sent: Instant,
    /// When it arrived, on the peer's clock (only differences mean anything); `None` where it was lost.
    pub received: Option<Instant>,
    /// Its size on the wire.
    pub size: DataSize,
    /// The probe that it was part of.
    pub probe: Option<ProbeId>,
}

/// Loss in the direction from us to the peer, over one reporting interval.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LossReport {
    /// Share of packets lost, 0 to 1, over all streams, weighed by their packets.
    pub fraction: f32,
    /// How many packets the report covers.
    pub packets: u64,
}

/// Estimates what the path to one peer carries. Takes what the peer reports, gives one number.
pub trait BandwidthEstimator: Debug + Send {
    /// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01), packets in the order of sending.
    fn on_feedback(&mut self, _now: Instant, _packets: &[PacketResult]) {}
    /// A new measurement of the round trip.
    fn on_rtt(&mut self, _now: Instant, _rtt: Duration) {}
    /// Loss from receiver reports.
    fn on_loss(&mut self, _now: Instant, _loss: LossReport) {}
    /// The peer's own estimate (draft-alvestrand-rmcat-remb-03).
    fn on_remb(&mut self, _now: Instant, _bitrate: Bitrate) {}
    /// The estimate; `None` where the path is taken to carry all there is.
    fn estimate(&self) -> Option<Bitrate>;
    /// The same without what is held back for a moment so that a queue of ours drains: for those who plan for longer.
    fn sustained(&self) -> Option<Bitrate> {
        self.estimate()
    }
    /// Whether a queue stands at the bottleneck that what leaves much faster than the estimate keeps there, or overflows.
    fn is_queued(&self) -> bool {
        false
    }
    /// A packet that feedback will tell of leaves.
    fn on_sent(&mut self, _now: Instant, _size: DataSize) {}
    /// A probe that is requested now. To be asked only by who can send one: a request waits until then, and one that is
    /// not answered comes again.
    fn poll_probe(&mut self, _now: Instant) -> Option<ProbeCluster> {
        None
    }
    /// What the peer could be sent at most: nothing above it is probed for. `None` where that is not known.
    fn set_demand(&mut self, _demand: Option<Bitrate>) {}
    /// Whether this estimator reads transport-wide feedback; without, none is matched to what was sent.
    fn wants_feedback(&self) -> bool {
        false
    }
    /// When [`BandwidthEstimator::handle_timeout`] wants to be called.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    /// Time has come.
    fn handle_timeout(&mut self, _now: Instant) {}
}

/// Which estimator a transport uses.
#[derive(Clone, PartialEq, Debug)]
pub enum EstimatorConfig {
    /// A constant; `None` sends everything at once.
    Fixed(Option<Bitrate>),
    /// The peer's REMB, held down by loss.
    Remb(RembConfig),
    /// Google congestion control, as libwebrtc does it; REMB and loss for a peer without transport-wide feedback.
    GoogCc(GoogCcConfig),
    /// Capacity by the dispersion of bursts, held down by queueing delay; REMB and loss for a peer without
    /// transport-wide feedback.
    Dispersion(DispersionConfig),
}

impl Default for EstimatorConfig {
    fn default() -> Self {
        Self::Fixed(None)
    }
}

impl EstimatorConfig {
    /// Whether the estimator reads transport-wide feedback.
    pub fn wants_feedback(&self) -> bool {
        self.build(Instant::ZERO).wants_feedback()
    }

    /// Where it begins; `None` for one that learns nothing.
    pub fn start(&self) -> Option<Bitrate> {
        match self {
            Self::Fixed(_) => None,
            Self::Remb(config) => Some(config.start),
            Self::GoogCc(config) => Some(config.start),
            Self::Dispersion(config) => Some(config.start),
        }
    }

    /// The same, beginning at `start`, within its bounds.
    pub fn starting_at(mut self, start: Bitrate) -> Self {
        let (own, min, max) = match &mut self {
            Self::Fixed(_) => return self,
            Self::Remb(config) => (&mut config.start, config.min, config.max),
            Self::GoogCc(config) => (&mut config.start, config.min, config.max),
            Self::Dispersion(config) => (&mut config.start, config.min, config.max),
        };
        *own = start.min(max).max(min);
        self
    }

    /// Makes the estimator.
    pub fn build(&self, now: Instant) -> Box<dyn BandwidthEstimator> {
        match self {
            Self::Fixed(rate) => Box::new(Fixed::new(*rate)),
            Self::Remb(config) => Box::new(Remb::new(config.clone(), now)),
            Self::GoogCc(config) => {
                let GoogCcConfig { start, min, max } = *config;
                Box::new(OrRemb::new(
                    GoogCc::new(config.clone(), now),
                    RembConfig { start, min, max, ..RembConfig::default() },
                    now,
                ))
            }
            Self::Dispersion(config) => {
                let DispersionConfig { start, min, max, .. } = *config;
                Box::new(OrRemb::new(
                    Dispersion::new(config.clone(), now),
                    RembConfig { start, min, max, ..RembConfig::default() },
                    now,
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests;
