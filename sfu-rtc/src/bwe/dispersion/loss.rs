//! Loss that the path has at any rate, and loss that is ours.

use crate::time::{Duration, Instant};
use arrayvec::ArrayVec;

/// The least loss of so many seconds is inherent.
const SECONDS: usize = 10;
const SECOND: Duration = Duration::from_secs(1);
/// Fewer packets are chance.
const MIN_PACKETS: u32 = 20;
/// Loss that is so much above the inherent is not chance: four deviations of 5 % among 100 packets.
const EXCESS: f64 = 0.10;

/// Inherent loss.
#[derive(Clone, Default, Debug)]
pub(super) struct InherentLoss {
    /// Of the last seconds.
    shares: ArrayVec<f64, SECONDS>,
    taken: Option<Instant>,
    excess: bool,
}

impl InherentLoss {
    /// The share lost over the last second, of so many packets.
    pub(super) fn update(&mut self, now: Instant, (share, packets): (f64, u32)) {
        self.excess = packets >= MIN_PACKETS && share > self.share() + EXCESS;
        if packets < MIN_PACKETS || self.taken.is_some_and(|at| now.saturating_since(at) < SECOND) {
            return;
        }
        self.taken = Some(now);
        if self.shares.is_full() {
            self.shares.remove(0);
        }
        self.shares.push(share);
    }

    /// A share was shown to be lost at any rate.
    pub(super) fn accept(&mut self, share: f64) {
        self.shares = [share; SECONDS].into();
        self.excess = false;
    }

    /// The share that is lost at any rate.
    pub(super) fn share(&self) -> f64 {
        let least = self.shares.iter().copied().fold(f64::INFINITY, f64::min);
        if least.is_finite() { least } else { 0.0 }
    }

    /// Whether much more is lost than that.
    pub(super) fn is_exceeded(&self) -> bool {
        self.excess
    }
}
