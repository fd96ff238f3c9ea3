//! Limits of an agent.

use crate::time::{Duration, Instant};

/// Points in time per interval at which consent is asked for.
const CONSENT_STEPS: u32 = 100;

/// Limits of an [`IceAgent`](super::IceAgent).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IceConfig {
    /// How long a path is used without the peer's consent: 30 s (RFC 7675 section 5.1).
    pub consent_timeout: Duration,
    /// Time between our checks on a path whose last was answered, give or take a fifth: 5 s (RFC 7675 section 5.1).
    pub consent_interval: Duration,
    /// So many times the bytes that came from a path are sent there while no check of ours is answered. 3, as
    /// RFC 9000 section 8 has it.
    pub amplification: u64,
    /// Bytes that a transport may send in addition, once in its life, where signalling vouches for the address: a
    /// handshake's flight, so that it need not wait for the answer to our first check. Less than it takes to make a
    /// transport.
    pub credit: u64,
    /// A change of path is reported once it has lasted for so long: peers that nominate by turns are no news.
    pub path_change_delay: Duration,
}

impl Default for IceConfig {
    fn default() -> Self {
        Self {
            consent_timeout: Duration::from_secs(30),
            consent_interval: Duration::from_secs(5),
            amplification: 3,
            credit: 1_200,
            path_change_delay: Duration::from_secs(1),
        }
    }
}

impl IceConfig {
    /// When the next check is due: in 0.8 to 1.2 intervals, so that the checks of many peers spread (RFC 7675 section
    /// 5.1), but some together, since to wake up costs more than a check.
    pub(super) fn next_consent(&self, now: Instant, spread: u8) -> Instant {
        let wait = self.consent_interval / 5 * 4 + self.consent_interval * 2 / 5 * u32::from(spread) / 255;
        (now + wait).floor_to(self.consent_interval / CONSENT_STEPS)
    }
}
