//! An estimator that reads transport-wide feedback, for a peer that may give none: until it does, REMB and loss count.

use super::{BandwidthEstimator, LossReport, PacketResult, ProbeCluster, Remb, RembConfig};
use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};

/// `E`, once there is feedback for it.
#[derive(Clone, Debug)]
pub(super) struct OrRemb<E> {
    with: E,
    without: Remb,
    heard: bool,
}

impl<E> OrRemb<E> {
    /// No feedback yet; `limits` are those of `with`.
    pub(super) fn new(with: E, limits: RembConfig, now: Instant) -> Self {
        let limits = RembConfig { only_with_loss: true, ..limits };
        Self { with, without: Remb::new(limits, now), heard: false }
    }
}

impl<E: BandwidthEstimator> BandwidthEstimator for OrRemb<E> {
    fn on_feedback(&mut self, now: Instant, packets: &[PacketResult]) {
        self.heard = true;
        self.with.on_feedback(now, packets);
    }

    fn on_rtt(&mut self, now: Instant, rtt: Duration) {
        self.with.on_rtt(now, rtt);
        self.without.on_rtt(now, rtt);
    }

    fn on_loss(&mut self, now: Instant, loss: LossReport) {
        self.without.on_loss(now, loss);
    }

    fn on_remb(&mut self, now: Instant, bitrate: Bitrate) {
        self.without.on_remb(now, bitrate);
    }

    fn estimate(&self) -> Option<Bitrate> {
        if self.heard { self.with.estimate() } else { self.without.estimate() }
    }

    fn sustained(&self) -> Option<Bitrate> {
        if self.heard { self.with.sustained() } else { self.without.sustained() }
    }

    fn is_queued(&self) -> bool {
        self.heard && self.with.is_queued()
    }

    fn on_sent(&mut self, now: Instant, size: DataSize) {
        self.with.on_sent(now, size);
    }

    fn poll_probe(&mut self, now: Instant) -> Option<ProbeCluster> {
        self.with.poll_probe(now)
    }

    fn set_demand(&mut self, demand: Option<Bitrate>) {
        self.with.set_demand(demand);
    }

    fn wants_feedback(&self) -> bool {
        self.with.wants_feedback()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.with.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.with.handle_timeout(now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::EstimatorConfig;
    use super::*;

    #[test]
    fn remb_counts_until_there_is_feedback() {
        let start = Bitrate::from_kbps(500);
        let configs = [
            EstimatorConfig::GoogCc(super::super::GoogCcConfig { start, ..Default::default() }),
            EstimatorConfig::Dispersion(super::super::DispersionConfig { start, ..Default::default() }),
        ];
        for config in configs {
            let at = Instant::from_millis;
            let mut estimator = config.build(at(1_000));
            estimator.on_remb(at(1_100), Bitrate::from_kbps(900));
            estimator.on_sent(at(1_100), DataSize::from_bytes(1_200));
            assert_eq!(estimator.estimate(), Some(Bitrate::from_kbps(900)));
            assert_eq!(estimator.poll_timeout(), None, "silence tells nothing of a peer that gives none");
            let result =
                PacketResult { sent: at(1_100), received: Some(at(5)), size: DataSize::from_bytes(1_200), probe: None };
            estimator.on_feedback(at(1_200), &[result]);
            assert_eq!(estimator.estimate(), Some(start));
            estimator.on_sent(at(1_300), DataSize::from_bytes(1_200));
            assert!(estimator.poll_timeout().is_some());
        }
    }
}
