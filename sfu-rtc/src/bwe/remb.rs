//! The peer's estimate (REMB), held down by the loss that it reports.
//!
//! The loss rule is that of draft-ietf-rmcat-gcc-02 section 6: above 10 % the rate falls by half the loss, below
//! 2 % it rises by 8 % per second, and in between it stays.

use super::{BandwidthEstimator, LossReport};
use crate::time::{Duration, Instant};
use crate::units::Bitrate;

/// Limits of [`Remb`].
#[derive(Clone, PartialEq, Debug)]
pub struct RembConfig {
    /// Before the peer says anything. 2 Mbit/s lets a call begin at a middle simulcast layer.
    pub start: Bitrate,
    /// Never below: sound and the lowest layer.
    pub min: Bitrate,
    /// Never above.
    pub max: Bitrate,
    /// What the peer says lowers the estimate only while it loses packets. Some receivers' estimates fall by their own
    /// jitter, and never rise above 1.5 times what they receive: what is paused for it would be paused for good.
    pub only_with_loss: bool,
}

impl Default for RembConfig {
    fn default() -> Self {
        Self {
            start: Bitrate::from_kbps(2_000),
            min: Bitrate::from_kbps(60),
            max: Bitrate::from_kbps(50_000),
            only_with_loss: false,
        }
    }
}

/// Above this loss the rate falls.
const HIGH_LOSS: f32 = 0.10;
/// Below this loss the rate rises.
const LOW_LOSS: f32 = 0.02;
/// How much it rises per second.
const RISE_PER_SECOND: f64 = 0.08;
/// Loss that was reported counts for so long: some reports.
const LOSSY_FOR: Duration = Duration::from_secs(5);
/// Two falls lie at least so far apart, since one loss episode spans several reports.
const FALL_INTERVAL: Duration = Duration::from_millis(300);

/// Follows REMB, but falls with loss.
#[derive(Clone, Debug)]
pub struct Remb {
    config: RembConfig,
    remb: Option<Bitrate>,
    by_loss: Bitrate,
    last_fall: Option<Instant>,
    last_loss: Instant,
    /// Until when the peer counts as one that loses packets.
    lossy_until: Instant,
    /// What the peer says lowers the estimate.
    lowers: bool,
    rtt: Duration,
}

impl Remb {
    /// Begins at the configured start.
    pub fn new(config: RembConfig, now: Instant) -> Self {
        let (by_loss, lowers) = (config.start, !config.only_with_loss);
        let (lossy_until, rtt) = (Instant::ZERO, Duration::ZERO);
        Self { config, remb: None, by_loss, last_fall: None, last_loss: now, lossy_until, lowers, rtt }
    }

    fn ceiling(&self) -> Bitrate {
        self.remb.filter(|_| self.lowers).unwrap_or(self.config.max).min(self.config.max)
    }
}

impl BandwidthEstimator for Remb {
    fn on_rtt(&mut self, _now: Instant, rtt: Duration) {
        self.rtt = rtt;
    }

    fn on_loss(&mut self, now: Instant, loss: LossReport) {
        let elapsed = now.saturating_since(self.last_loss).min(Duration::from_secs(1));
        self.last_loss = now;
        if loss.fraction >= LOW_LOSS {
            self.lossy_until = now + LOSSY_FOR;
        }
        self.lowers = !self.config.only_with_loss || now < self.lossy_until;
        if loss.fraction > HIGH_LOSS {
            let may_fall = self.last_fall.is_none_or(|at| now.saturating_since(at) >= FALL_INTERVAL + self.rtt);
            if may_fall {
                self.by_loss = (self.by_loss * f64::from(1.0 - 0.5 * loss.fraction)).max(self.config.min);
                self.last_fall = Some(now);
            }
        } else if loss.fraction < LOW_LOSS {
            let rise = 1.0 + RISE_PER_SECOND * elapsed.as_secs_f64();
            self.by_loss = (self.by_loss * rise).min(self.ceiling()).max(self.config.min);
        }
    }

    fn on_remb(&mut self, _now: Instant, bitrate: Bitrate) {
        let first = self.remb.is_none();
        self.remb = Some(bitrate);
        let rises = self.config.only_with_loss && bitrate > self.by_loss;
        if rises || self.lowers && (first || self.by_loss > bitrate) {
            self.by_loss = bitrate.min(self.config.max).max(self.config.min);
        }
    }

    fn estimate(&self) -> Option<Bitrate> {
        Some(self.by_loss.min(self.ceiling()).max(self.config.min))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loss(fraction: f32) -> LossReport {
        LossReport { fraction, packets: 100 }
    }

    fn kbps(estimator: &Remb) -> u64 {
        estimator.estimate().unwrap().as_kbps()
    }

    #[test]
    fn follows_the_peer() {
        let mut remb = Remb::new(RembConfig::default(), Instant::ZERO);
        assert_eq!(kbps(&remb), 2_000);
        remb.on_remb(Instant::from_millis(100), Bitrate::from_kbps(5_000));
        assert_eq!(kbps(&remb), 5_000);
        remb.on_remb(Instant::from_millis(200), Bitrate::from_kbps(700));
        assert_eq!(kbps(&remb), 700);
        remb.on_remb(Instant::from_millis(300), Bitrate::from_kbps(1));
        assert_eq!(kbps(&remb), 60);
    }

    #[test]
    fn a_peer_that_loses_nothing_lowers_nothing() {
        let config = RembConfig { only_with_loss: true, ..RembConfig::default() };
        let mut remb = Remb::new(config, Instant::ZERO);
        let at = |seconds: u64| Instant::from_millis(seconds * 1_000);
        remb.on_remb(at(1), Bitrate::from_kbps(3_000));
        remb.on_remb(at(2), Bitrate::from_kbps(300));
        assert_eq!(kbps(&remb), 3_000);
        remb.on_loss(at(3), loss(0.03));
        assert_eq!(kbps(&remb), 300);
        remb.on_loss(at(5), loss(0.0));
        remb.on_remb(at(6), Bitrate::from_kbps(310));
        assert_eq!(kbps(&remb), 310, "for a while");
        (7..100).for_each(|second| remb.on_loss(at(second), loss(0.0)));
        assert!(kbps(&remb) > 3_000);
    }

    #[test]
    fn falls_with_loss_and_rises_without() {
        let mut remb = Remb::new(RembConfig::default(), Instant::ZERO);
        remb.on_loss(Instant::from_millis(1_000), loss(0.2));
        let fallen = kbps(&remb);
        assert!((1_799..=1_800).contains(&fallen), "{fallen}");
        remb.on_loss(Instant::from_millis(1_100), loss(0.2));
        assert_eq!(kbps(&remb), fallen, "one episode, one fall");
        for second in 2..40 {
            remb.on_loss(Instant::from_millis(second * 1_000), loss(0.0));
        }
        assert!(kbps(&remb) > 10_000);
        let before = kbps(&remb);
        remb.on_loss(Instant::from_millis(50_000), loss(0.05));
        assert_eq!(kbps(&remb), before);
    }

    proptest! {
        #[test]
        fn stays_within_its_limits(steps in prop::collection::vec((0u8..3, any::<u64>(), 0.0f32..=1.0, 0u64..3_000), 0..200)) {
            let config = RembConfig::default();
            let mut remb = Remb::new(config.clone(), Instant::ZERO);
            let mut now = Instant::ZERO;
            for (what, bps, fraction, wait) in steps {
                now += Duration::from_millis(wait);
                match what {
                    0 => remb.on_remb(now, Bitrate::from_bps(bps)),
                    1 => remb.on_loss(now, loss(fraction)),
                    _ => remb.on_rtt(now, Duration::from_millis(wait)),
                }
                let estimate = remb.estimate().unwrap();
                prop_assert!(estimate >= config.min && estimate <= config.max);
            }
        }
    }
}
