//! The way from the peer: what it carries, what is lost on it, and what the peer is told to send at most
//! (REMB, draft-alvestrand-rmcat-remb-03).
//!
//! | the peer | is told |
//! |---|---|
//! | gets transport-wide feedback and estimates by itself | a cap, where there is one |
//! | relies on its receiver's estimate | the lower of both |
//!
//! REMB is never answered, so it is repeated. A peer keeps the last that it heard, so the end of a cap has to be told, too.

use crate::bwe::ReceiveEstimator;
use crate::loss::{GilbertLoss, LossMeter};
use crate::media::{Direction, MediaSection};
use crate::rtp::extension::ExtensionKind;
use crate::time::{Duration, Instant};
use crate::twcc::ArrivalCounts;
use crate::units::{Bitrate, DataSize};

/// Limits of what a peer is told to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UplinkConfig {
    /// The estimate is never below, so that sound still comes.
    pub min: Bitrate,
    /// REMB is repeated so often: one that is lost costs no more than this, and a second is kept with one lost.
    pub remb_interval: Duration,
}

impl Default for UplinkConfig {
    fn default() -> Self {
        Self { min: Bitrate::from_kbps(60), remb_interval: Duration::from_millis(450) }
    }
}

/// The way from a peer as it is now.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct UplinkFigures {
    /// RTP that arrives, padding and retransmissions included, once known.
    pub received: Option<Bitrate>,
    /// What the way carries, as far as arrivals have shown: up to half as much again as arrives while nothing queues.
    /// `None` until that is known, and for a peer whose packets do not say when they left (`abs-send-time`).
    pub estimate: Option<Bitrate>,
    /// Share of packets lost over the last second, 0 to 1, before any repair. `None` for a peer without transport-wide
    /// numbers.
    pub loss: Option<f32>,
    /// The same over the last seconds, and how bursty it is.
    pub bursts: Option<GilbertLoss>,
    /// What the peer may send.
    pub cap: Option<Bitrate>,
}

/// The end of a cap is told so often.
const LIFTED_TIMES: u32 = 3;
/// An estimate that falls below this share of what was told is told at once; as in libwebrtc.
const TOLD_AT_ONCE: f64 = 0.97;
/// Time over which loss is measured.
const LOSS_INTERVAL: Duration = Duration::from_secs(1);

/// The way from the peer.
#[derive(Debug)]
pub(super) struct Uplink {
    config: UplinkConfig,
    /// The most that is taken from a peer: no cap.
    most: Bitrate,
    estimator: ReceiveEstimator,
    /// The peer negotiated REMB (draft-alvestrand-rmcat-remb).
    takes_remb: bool,
    /// The peer has no other estimate.
    only_remb: bool,
    cap: Option<Bitrate>,
    /// How often it is still to be told that there is no cap.
    lifted: u32,
    /// What the peer was told last, and when.
    told: Option<(Bitrate, Instant)>,
    loss: Option<f32>,
    bursts: LossMeter,
    counted: (Instant, ArrivalCounts),
}

impl Uplink {
    /// Nothing arrived. A peer may send `most` unless it is told otherwise.
    pub(super) fn new(config: UplinkConfig, most: Bitrate, now: Instant) -> Self {
        Self {
            estimator: ReceiveEstimator::new(config.min.min(most), most, now),
            most,
            takes_remb: false,
            only_remb: false,
            cap: None,
            lifted: 0,
            told: None,
            loss: None,
            bursts: LossMeter::new(now),
            counted: (now, ArrivalCounts::default()),
            config,
        }
    }

    pub(super) fn on_negotiated(&mut self, sections: &[MediaSection]) {
        let mut receiving = sections.iter().filter(|section| section.direction == Direction::Receive);
        self.takes_remb = receiving.clone().any(|section| section.remb);
        self.only_remb =
            self.takes_remb && receiving.all(|section| section.extensions.id(ExtensionKind::TransportCc).is_none());
    }

    pub(super) fn set_cap(&mut self, cap: Option<Bitrate>) {
        if cap == self.cap {
            return;
        }
        self.lifted = if cap.is_none() { LIFTED_TIMES } else { 0 };
        (self.cap, self.told) = (cap, None);
    }

    pub(super) fn on_rtt(&mut self, rtt: Duration) {
        self.estimator.on_rtt(rtt);
    }

    pub(super) fn on_packet(&mut self, now: Instant, send_time: Option<u32>, size: DataSize) {
        self.estimator.on_packet(now, send_time, size);
    }

    /// What arrived so far, by transport-wide numbers. How many packets are newly taken to be lost.
    pub(super) fn on_counts(&mut self, now: Instant, counts: ArrivalCounts) -> u64 {
        let (at, before) = self.counted;
        let sent = counts.sent - before.sent;
        if now - at < LOSS_INTERVAL || sent == 0 {
            return 0;
        }
        // What was late arrived among others than it was sent.
        let lost = sent.saturating_sub(counts.arrived - before.arrived);
        self.loss = Some((lost as f64 / sent as f64) as f32);
        self.counted = (now, counts);
        lost
    }

    /// What became of the next packets, by transport-wide numbers: whether each arrived.
    pub(super) fn on_arrivals(&mut self, now: Instant, arrived: impl Iterator<Item = bool>) {
        self.bursts.on_packets(now, arrived);
    }

    pub(super) fn figures(&self) -> UplinkFigures {
        UplinkFigures {
            received: self.estimator.received(),
            estimate: self.estimator.estimate(),
            loss: self.loss,
            bursts: self.loss.map(|_| self.bursts.loss()),
            cap: self.cap,
        }
    }

    /// When [`Self::tell`] has something; the past means now.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let bitrate = self.allowed()?;
        let Some((told, at)) = self.told else { return Some(Instant::ZERO) };
        let falls = bitrate < told * TOLD_AT_ONCE;
        Some(if falls { Instant::ZERO } else { at + self.config.remb_interval })
    }

    /// What the peer is to be told now, if anything.
    pub(super) fn tell(&mut self, now: Instant) -> Option<Bitrate> {
        let bitrate = self.allowed().filter(|_| self.poll_timeout().is_some_and(|due| due <= now))?;
        self.lifted = self.lifted.saturating_sub(1);
        self.told = Some((bitrate, now));
        Some(bitrate)
    }

    /// What the peer may send; `None` where it need not be told.
    fn allowed(&self) -> Option<Bitrate> {
        let estimate = self.estimator.estimate().filter(|_| self.only_remb);
        let bound = [self.cap, estimate].into_iter().flatten().min();
        bound.or((self.lifted > 0).then_some(self.most)).filter(|_| self.takes_remb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: Bitrate = Bitrate::from_kbps(20_000);

    proptest! {
        /// Whatever caps follow each other, the peer is told the newest at once, again within the interval, and not more
        /// often than that.
        #[test]
        fn the_newest_cap_is_what_was_told_last(
            steps in prop::collection::vec((0u64..3_000, prop::option::weighted(0.8, 1u64..30_000)), 1..50),
        ) {
            let config = UplinkConfig::default();
            let mut now = Instant::from_millis(1_000);
            let mut uplink = Uplink::new(config.clone(), MOST, now);
            uplink.takes_remb = true;
            let (mut told, mut changes) = (0, 0);
            let first = now;
            for (pass, kbps) in steps {
                let cap = kbps.map(Bitrate::from_kbps);
                changes += u32::from(uplink.cap != cap);
                uplink.set_cap(cap);
                let until = now + Duration::from_millis(pass);
                let mut last = now;
                while let Some(due) = uplink.poll_timeout().filter(|due| *due <= until) {
                    now = now.max(due);
                    let bitrate = uplink.tell(now);
                    prop_assert_eq!(bitrate, Some(cap.unwrap_or(MOST)));
                    prop_assert!(now - last <= config.remb_interval);
                    (last, told) = (now, told + 1);
                }
                prop_assert!(cap.is_none() || until - last <= config.remb_interval);
                now = until;
            }
            let most = (now - first).as_nanos() / config.remb_interval.as_nanos() + u128::from(changes) + 1;
            prop_assert!(told <= most, "{} of {}", told, most);
        }
    }
}
