//! What a publication may bring in at most, whatever its sender was asked for: a token bucket.

use super::Publication;
use sfu_rtc::time::{Duration, Instant, Spacing};
use sfu_rtc::units::{Bitrate, DataSize};

/// Encoders miss their rate by this much, in percent.
const TOLERANCE_PERCENT: u64 = 5;
/// So much time's worth may come at once: a keyframe.
const BURST: Duration = Duration::from_millis(500);

/// A bound, and what has come in against it.
#[derive(Debug)]
pub(super) struct Cap {
    rate: Bitrate,
    spacing: Spacing,
}

impl Publication {
    /// Bounds what comes in.
    pub(crate) fn set_cap(&mut self, cap: Option<Bitrate>) {
        self.cap = cap.map(|rate| Cap {
            rate: Bitrate::from_bps(rate.as_bps() / 100 * (100 + TOLERANCE_PERCENT)),
            spacing: self.cap.take().map(|before| before.spacing).unwrap_or_default(),
        });
    }

    /// Whether a packet of so many bytes may come in; counts it if so.
    pub(crate) fn is_within_cap(&mut self, now: Instant, bytes: usize) -> bool {
        let Some(cap) = &mut self.cap else { return true };
        let is_within = cap.spacing.next(now, BURST) == now;
        if is_within {
            cap.spacing.count(now, cap.rate.time_for(DataSize::from_bytes(bytes as u64)));
        }
        is_within
    }
}
