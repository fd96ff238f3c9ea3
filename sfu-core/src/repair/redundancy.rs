//! How many generations of older audio go along with each packet to a subscriber that loses some (RFC 2198).
//!
//! Audio is not sent again: by the time that it was asked for and came, it would have had to be played. A frame that
//! comes once more with the next packet is late by one frame, which a receiver's buffer has room for. To a subscriber that
//! does not take it along (RED), the packet itself is sent once more: one generation, a little later.

use sfu_rtc::loss::GilbertLoss;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;

/// Most generations.
pub(crate) const MAX_GENERATIONS: u8 = 2;
/// Redundancy begins where so much is lost, as a share: decoders conceal less than that without anybody noticing ...
const BEGIN: f64 = 0.01;
/// ... and is over where no more than this is.
const END: f64 = 0.005;
/// A second generation is added where more than this would stay lost with one ...
const ADD: f64 = 0.005;
/// ... and left out again where no more than this would.
const REMOVE: f64 = 0.0025;
/// Fewer generations than before have to suffice for so long: loss comes in episodes.
const HOLD: Duration = Duration::from_secs(5);

/// What a subscriber's audio and path are like.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct AudioSnapshot {
    /// Loss on the path.
    pub(crate) loss: GilbertLoss,
    /// Share of the packets that are lost where the one a frame before was.
    pub(crate) lost_again: f64,
    /// The path is overused.
    pub(crate) congested: bool,
    /// All its audio, without redundancy.
    pub(crate) rate: Bitrate,
    /// What redundancy may take.
    pub(crate) budget: Bitrate,
}

impl AudioSnapshot {
    /// What serves best where `now` generations are sent at present.
    fn generations(&self, now: u8) -> u8 {
        let (begin, add) = (if now > 0 { END } else { BEGIN }, if now > 1 { REMOVE } else { ADD });
        let one_leaves = self.loss.share * self.lost_again;
        if self.congested || self.loss.share <= begin {
            0
        } else if one_leaves <= add {
            1
        } else {
            MAX_GENERATIONS
        }
    }

    /// How many generations the budget has room for.
    fn affordable(&self) -> u8 {
        let generations = self.budget.as_bps() / self.rate.as_bps().max(1);
        u8::try_from(generations).unwrap_or(u8::MAX)
    }
}

/// Follows what a subscriber's path does: up at once, down late.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct AudioRedundancy {
    generations: u8,
    /// When so many were last wanted.
    wanted: Instant,
}

impl AudioRedundancy {
    /// The generations from now on, 0 to [`MAX_GENERATIONS`].
    pub(crate) fn update(&mut self, now: Instant, snapshot: &AudioSnapshot) -> u8 {
        let wanted = snapshot.generations(self.generations);
        let is_over = now.saturating_since(self.wanted) >= HOLD;
        if wanted >= self.generations || snapshot.congested || is_over {
            (self.generations, self.wanted) = (wanted, now);
        }
        self.generations = self.generations.min(snapshot.affordable());
        self.generations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lossy(share: f64, lost_again: f64) -> AudioSnapshot {
        AudioSnapshot {
            loss: GilbertLoss { share, burst: 1.0 },
            lost_again,
            congested: false,
            rate: Bitrate::from_kbps(32),
            budget: Bitrate::from_kbps(200),
        }
    }

    /// What is sent after each of these seconds.
    fn follow(steps: &[(u64, AudioSnapshot)]) -> Vec<u8> {
        let mut redundancy = AudioRedundancy::default();
        let at = |seconds: &u64| Instant::from_millis(10_000 + seconds * 1_000);
        steps.iter().map(|(seconds, snapshot)| redundancy.update(at(seconds), snapshot)).collect()
    }

    #[test]
    fn more_loss_and_longer_bursts_get_more() {
        let fresh = |share, again| AudioRedundancy::default().update(Instant::ZERO, &lossy(share, again));
        let singly: Vec<_> = [0.0, 0.009, 0.011, 0.03, 0.05, 0.1].map(|share| fresh(share, share)).into();
        assert_eq!(singly, [0, 0, 1, 1, 1, 2]);
        assert_eq!(fresh(0.03, 0.4), 2, "the next packet is lost with the first");
    }

    #[test]
    fn it_rises_at_once_and_falls_after_a_while() {
        let (none, some, more) = (lossy(0.0, 0.0), lossy(0.03, 0.03), lossy(0.1, 0.1));
        assert_eq!(follow(&[(0, none), (1, some), (2, more), (3, some)]), [0, 1, 2, 2]);
        assert_eq!(follow(&[(0, some), (4, none), (5, none)]), [1, 1, 0]);
        assert_eq!(follow(&[(0, more), (5, some), (9, none), (10, none)]), [2, 1, 1, 0]);
        assert_eq!(follow(&[(0, some), (9, lossy(0.006, 0.006))]), [1, 1], "it began at more, and stays at this");
    }

    #[test]
    fn an_overused_path_gets_none_and_a_narrow_one_what_it_has_room_for() {
        let congested = AudioSnapshot { congested: true, ..lossy(0.1, 0.1) };
        assert_eq!(follow(&[(0, lossy(0.1, 0.1)), (1, congested)]), [2, 0]);
        let narrow = |kbps| AudioSnapshot { budget: Bitrate::from_kbps(kbps), ..lossy(0.1, 0.1) };
        assert_eq!(follow(&[(0, narrow(31)), (1, narrow(32)), (2, narrow(64))]), [0, 1, 2]);
    }

    proptest! {
        #[test]
        fn the_budget_holds_and_nothing_lost_gets_nothing(
            share in 0.0..0.5f64, again in 0.0..0.5f64, congested: bool, rate in 0u64..200, budget in 0u64..500, before in 0u8..3,
        ) {
            let [rate, budget] = [rate, budget].map(Bitrate::from_kbps);
            let again = (share + again).min(1.0);
            let snapshot = AudioSnapshot { congested, rate, budget, ..lossy(share, again) };
            let redundancy = AudioRedundancy { generations: before, ..AudioRedundancy::default() };
            let at = Instant::from_millis(60_000);
            let generations = redundancy.clone().update(at, &snapshot);
            prop_assert!(generations <= MAX_GENERATIONS);
            prop_assert!(u64::from(generations) * rate.as_bps() <= budget.as_bps());
            let worse = AudioSnapshot { loss: GilbertLoss { share: (share * 1.5).min(1.0), burst: 1.0 }, ..snapshot };
            prop_assert!(redundancy.clone().update(at, &worse) >= generations);
            let spared = AudioSnapshot { loss: GilbertLoss::NONE, ..snapshot };
            prop_assert_eq!(redundancy.clone().update(at, &spared), 0);
        }
    }
}
