//! Loss that the path has at any rate, and loss that is ours.

use crate::time::{Duration, Instant};
use arrayvec::ArrayVec;

/// Of the loss of so many seconds, the least but two is inherent: overuse is answered within fewer, and the least of all is
/// chance where few packets are sent.
const SECONDS: usize = 10;
const LEAST_BUT: usize = 2;
const SECOND: Duration = Duration::from_secs(1);
/// Fewer packets are chance.
const MIN_PACKETS: u32 = 20;
/// Loss that is so much above the inherent, and so many deviations of what is usual, is not chance.
const EXCESS: f64 = 0.10;
const DEVIATIONS: f64 = 4.0;

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
        let usual = self.shares.iter().sum::<f64>() / self.shares.len().max(1) as f64;
        let deviation = (usual * (1.0 - usual) / f64::from(packets.max(1))).sqrt();
        self.excess = packets >= MIN_PACKETS && share > self.share() + EXCESS.max(DEVIATIONS * deviation);
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
        let mut shares = self.shares.clone();
        shares.sort_unstable_by(f64::total_cmp);
        let place = LEAST_BUT * shares.len() / SECONDS;
        shares.get(place).copied().unwrap_or(0.0)
    }

    /// The least of it, as where somebody else's losses come every few seconds.
    pub(super) fn least(&self) -> f64 {
        self.shares.iter().copied().reduce(f64::min).unwrap_or(0.0)
    }

    /// Whether much more is lost than that.
    pub(super) fn is_exceeded(&self) -> bool {
        self.excess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a path that loses 15 % of what it carries, of which so little is sent that a second now and then loses little.
    #[test]
    fn chance_is_no_excess_where_little_is_sent() {
        let (mut loss, mut random, mut exceeded) = (InherentLoss::default(), 1_u64, 0);
        for second in 0..3_600 {
            let mut lost = 0;
            for _ in 0..60 {
                // xorshift64 (Marsaglia 2003)
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                lost += u32::from(random % 100 < 15);
            }
            loss.update(Instant::from_millis(1_000 * (second + 1)), (f64::from(lost) / 60.0, 60));
            exceeded += u32::from(second > 10 && loss.is_exceeded());
        }
        assert!(exceeded <= 18, "{exceeded} seconds of an hour");
        loss.update(Instant::from_millis(9_000_000), (0.6, 60));
        assert!(loss.is_exceeded(), "what is too much shows all the same");
    }
}
