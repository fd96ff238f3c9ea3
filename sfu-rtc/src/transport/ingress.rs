//! How much a peer may send us.
//!
//! What one peer sends is multiplied by all who get it, so it is bounded: in bits, and in packets, which cost more than
//! their bits. Only what has been authenticated counts, or anybody could use a peer's share up.

use crate::spacing::Spacing;
use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};

/// The least time between two events that tell of it.
const TELL_INTERVAL: Duration = Duration::from_secs(5);

/// Limits of what a peer sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IngressConfig {
    /// Bits per second of RTP: 4K at 60 frames/s from a camera and a screen in 1080p with all their layers.
    pub bitrate: Bitrate,
    /// Packets per second of RTP and RTCP: twice what that bitrate comes to in packets of usual size.
    pub packets: u32,
    /// So much time's worth may come at once: a keyframe, or what a network held back.
    pub burst: Duration,
}

impl Default for IngressConfig {
    fn default() -> Self {
        Self { bitrate: Bitrate::from_kbps(20_000), packets: 5_000, burst: Duration::from_secs(1) }
    }
}

/// What a peer has sent, against what it may: two token buckets.
#[derive(Debug)]
pub(super) struct Ingress {
    config: IngressConfig,
    bits: Spacing,
    packets: Spacing,
    told: Option<Instant>,
}

impl Ingress {
    pub(super) fn new(config: IngressConfig) -> Self {
        Self { config, bits: Spacing::default(), packets: Spacing::default(), told: None }
    }

    /// Whether a packet of RTP may come; counts it if so.
    pub(super) fn admits_rtp(&mut self, now: Instant, bytes: usize) -> bool {
        let admitted = self.bits.next(now, self.config.burst) == now && self.admits_rtcp(now);
        if admitted {
            self.bits.count(now, self.config.bitrate.time_for(DataSize::from_bytes(bytes as u64)));
        }
        admitted
    }

    /// Whether a packet of RTCP may come; counts it if so. Its bits are free, so that whoever sends too much video still
    /// says what it receives.
    pub(super) fn admits_rtcp(&mut self, now: Instant) -> bool {
        let admitted = self.packets.next(now, self.config.burst) == now;
        if admitted {
            self.packets.count(now, Duration::from_secs(1) / self.config.packets.max(1));
        }
        admitted
    }

    /// Something was refused. Whether that is to be told.
    pub(super) fn tells(&mut self, now: Instant) -> bool {
        let tells = self.told.is_none_or(|told| now - told >= TELL_INTERVAL);
        if tells {
            self.told = Some(now);
        }
        tells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `count` packets of `bytes`, evenly over `seconds`, are admitted.
    fn admitted(ingress: &mut Ingress, from: u64, seconds: u64, count: u64, bytes: usize) -> u64 {
        let at = |n: u64| Instant::from_nanos((from * count + n * seconds) * 1_000_000_000 / count);
        (0..count).filter(|n| ingress.admits_rtp(at(*n), bytes)).count() as u64
    }

    #[test]
    fn bits_and_packets_are_bounded_over_time() {
        let config = IngressConfig::default();
        let most = admitted(&mut Ingress::new(config), 0, 10, 10 * 20_000, 1_150);
        assert!((23_500..=24_500).contains(&most), "20 Mbit/s for 10 s and the burst of 1 s, of 184: {most}");
        let small = admitted(&mut Ingress::new(config), 0, 10, 10 * 20_000, 60);
        assert!((54_500..=55_500).contains(&small), "5,000 packets/s: {small}");
        let usual = admitted(&mut Ingress::new(config), 0, 10, 10 * 2_100, 1_150);
        assert_eq!(usual, 21_000, "19 Mbit/s pass whole");
    }

    #[test]
    fn who_sends_too_many_bits_may_still_report() {
        let mut ingress = Ingress::new(IngressConfig::default());
        let now = Instant::from_millis(1_000);
        while ingress.admits_rtp(now, 1_400) {}
        assert!(ingress.admits_rtcp(now));
        assert!(ingress.tells(now) && !ingress.tells(now + Duration::from_secs(4)));
        assert!(ingress.tells(now + Duration::from_secs(5)));
    }
}
