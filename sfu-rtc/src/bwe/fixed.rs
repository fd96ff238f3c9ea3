//! No estimation: a constant.

use super::{BandwidthEstimator, LossReport, PacketResult};
use crate::time::{Duration, Instant};
use crate::units::Bitrate;

/// Says the same whatever happens.
#[derive(Clone, Debug)]
pub struct Fixed(Option<Bitrate>);

impl Fixed {
    /// Always `rate`; `None` for no limit.
    pub fn new(rate: Option<Bitrate>) -> Self {
        Self(rate)
    }
}

impl BandwidthEstimator for Fixed {
    fn on_feedback(&mut self, _now: Instant, _packets: &[PacketResult]) {}
    fn on_rtt(&mut self, _now: Instant, _rtt: Duration) {}
    fn on_loss(&mut self, _now: Instant, _loss: LossReport) {}
    fn on_remb(&mut self, _now: Instant, _bitrate: Bitrate) {}

    fn estimate(&self) -> Option<Bitrate> {
        self.0
    }
}
