//! Loss on one path: how much, and how bursty.

use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// Time after which what was seen counts half.
const HALF_LIFE: Duration = Duration::from_secs(4);
/// A path is not believed to be without loss before so many packets, nor to lose more than was seen after fewer.
const PRIOR_PACKETS: f64 = 20.0;
/// Losses whose bursts are believed to be single until others were seen.
const PRIOR_BURSTS: f64 = 2.0;
/// A burst that is longer in the mean is no noise of a path, but the path gone.
const MAX_BURST: f64 = 20.0;

/// Loss after Gilbert: a good state without loss and a bad one where all is lost.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GilbertLoss {
    /// Share of packets lost, 0 to 1.
    pub share: f64,
    /// Mean number of packets lost in a row, at least 1.
    pub burst: f64,
}

impl GilbertLoss {
    /// None.
    pub const NONE: Self = Self { share: 0.0, burst: 1.0 };

    /// Probability that a loss follows what arrived, and that one follows a loss.
    ///
    /// Losses that come one by one have a mean burst of 1 / (1 - share), since the next may be lost by chance.
    pub fn transitions(self) -> (f64, f64) {
        let share = self.share.clamp(0.0, 0.99);
        let burst = self.burst.max(1.0 / (1.0 - share));
        let stays = 1.0 - 1.0 / burst;
        let begins = share / (burst * (1.0 - share));
        (begins.min(1.0), stays)
    }

    /// The same for every `step`-th packet only.
    pub fn transitions_over(self, step: usize) -> (f64, f64) {
        let (begins, stays) = self.transitions();
        let share = self.share.clamp(0.0, 0.99);
        let memory = (stays - begins).powi(i32::try_from(step).unwrap_or(i32::MAX));
        (share * (1.0 - memory), share + (1.0 - share) * memory)
    }
}

/// Fits [`GilbertLoss`] to what became of packets, told in the order of sending. What never was sent, for instance since
/// it was lost on the way to us, must be left out.
#[derive(Clone, Debug)]
pub struct LossMeter {
    packets: f64,
    lost: f64,
    bursts: f64,
    in_burst: bool,
    updated: Instant,
}

impl LossMeter {
    /// Nothing is known.
    pub fn new(now: Instant) -> Self {
        Self { packets: 0.0, lost: 0.0, bursts: 0.0, in_burst: false, updated: now }
    }

    /// What became of the next packets: whether each arrived.
    pub fn on_packets(&mut self, now: Instant, arrived: impl IntoIterator<Item = bool>) {
        let elapsed = now.saturating_since(self.updated).as_secs_f64();
        self.updated = now;
        let keep = 0.5_f64.powf(elapsed / HALF_LIFE.as_secs_f64());
        self.packets *= keep;
        self.lost *= keep;
        self.bursts *= keep;
        for arrived in arrived {
            self.packets += 1.0;
            if arrived {
                self.in_burst = false;
            } else {
                self.lost += 1.0;
                self.bursts += if self.in_burst { 0.0 } else { 1.0 };
                self.in_burst = true;
            }
        }
    }

    /// So many packets that were told lost have come after all.
    pub fn on_found(&mut self, packets: usize) {
        self.lost = (self.lost - packets as f64).max(0.0);
    }

    /// The loss that fits best.
    pub fn loss(&self) -> GilbertLoss {
        let share = self.lost / (self.packets + PRIOR_PACKETS);
        let burst = (self.lost + PRIOR_BURSTS) / (self.bursts + PRIOR_BURSTS);
        GilbertLoss { share, burst: burst.clamp(1.0, MAX_BURST) }
    }
}

/// What is sent at this distance behind a lost packet is looked at.
pub const RECURRENCE: Duration = Duration::from_millis(25);
/// More or less by so much: some packets of every stream of pictures are there.
const RECURRENCE_SPREAD: Duration = Duration::from_millis(10);
/// Lost packets that are remembered: more within [`RECURRENCE`] are a path gone.
const MAX_LOST: usize = 128;
/// Losses that recur no more than by chance, until so many packets behind lost ones were seen.
const PRIOR_FOLLOWERS: f64 = 10.0;

/// How likely a packet is lost that is sent [`RECURRENCE`] behind a lost one. Bursts in packets ([`GilbertLoss`]) do not say:
/// radio links lose a part of all packets for some tens of milliseconds, and a slow stream has few packets in this time.
#[derive(Clone, Debug)]
pub struct RecurrenceMeter {
    /// When packets were sent that were lost lately, oldest first.
    lost: VecDeque<Instant>,
    followers: f64,
    lost_again: f64,
    updated: Instant,
}

impl RecurrenceMeter {
    /// Nothing is known.
    pub fn new(now: Instant) -> Self {
        Self { lost: VecDeque::with_capacity(MAX_LOST), followers: 0.0, lost_again: 0.0, updated: now }
    }

    /// What became of the next packets: when each was sent, and whether it arrived.
    pub fn on_packets(&mut self, now: Instant, packets: impl IntoIterator<Item = (Instant, bool)>) {
        let elapsed = now.saturating_since(self.updated).as_secs_f64();
        self.updated = now;
        let keep = 0.5_f64.powf(elapsed / HALF_LIFE.as_secs_f64());
        self.followers *= keep;
        self.lost_again *= keep;
        for (sent, arrived) in packets {
            while self.lost.pop_front_if(|lost| *lost + RECURRENCE + RECURRENCE_SPREAD < sent).is_some() {}
            if self.lost.front().is_some_and(|lost| *lost + RECURRENCE <= sent + RECURRENCE_SPREAD) {
                self.followers += 1.0;
                self.lost_again += if arrived { 0.0 } else { 1.0 };
            }
            if !arrived && self.lost.len() < MAX_LOST {
                self.lost.push_back(sent);
            }
        }
    }

    /// The share of packets that are lost again, on a path that loses `share` of all: no less than that.
    pub fn share(&self, share: f64) -> f64 {
        let again = (self.lost_again + PRIOR_FOLLOWERS * share) / (self.followers + PRIOR_FOLLOWERS);
        again.clamp(share.min(1.0), 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A path that loses `loss`, drawn by a generator of its own, so that a test repeats.
    fn draw(loss: GilbertLoss, packets: usize) -> Vec<bool> {
        let (begins, stays) = loss.transitions();
        let (mut state, mut lost) = (0x2545_f491_4f6c_dd1d_u64, false);
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        std::iter::repeat_with(|| {
            lost = next() < if lost { stays } else { begins };
            !lost
        })
        .take(packets)
        .collect()
    }

    #[test]
    fn the_model_is_found_again() {
        for (share, burst) in [(0.02, 1.02), (0.05, 3.0), (0.15, 1.2), (0.3, 5.0)] {
            let mut meter = LossMeter::new(Instant::ZERO);
            for (n, packets) in draw(GilbertLoss { share, burst }, 40_000).chunks(40).enumerate() {
                meter.on_packets(Instant::from_millis(n as u64 * 10), packets.iter().copied());
            }
            let found = meter.loss();
            assert!((found.share / share - 1.0).abs() < 0.15, "{found:?} of {share}, {burst}");
            assert!((found.burst / burst - 1.0).abs() < 0.15, "{found:?} of {share}, {burst}");
        }
    }

    #[test]
    fn one_loss_among_the_first_packets_is_no_high_loss() {
        let mut meter = LossMeter::new(Instant::ZERO);
        assert_eq!(meter.loss(), GilbertLoss::NONE);
        meter.on_packets(Instant::from_millis(100), [true, false]);
        assert!(meter.loss().share < 0.05);
    }

    /// Packets 5 ms apart, of which those are lost that `lost` names.
    fn recurrence(lost: impl Fn(u64) -> bool) -> f64 {
        let mut meter = RecurrenceMeter::new(Instant::ZERO);
        for round in 0..400 {
            let packets = (round * 20..round * 20 + 20).map(|n| (Instant::from_millis(n * 5), !lost(n)));
            meter.on_packets(Instant::from_millis(round * 100 + 150), packets);
        }
        meter.share(0.1)
    }

    #[test]
    fn losses_that_recur_are_told_from_those_that_do_not() {
        assert!(recurrence(|n| n % 20 == 0) < 0.11);
        let again = recurrence(|n| matches!(n % 40, 0 | 3 | 5 | 8));
        assert!((0.15..0.3).contains(&again), "{again}");
        assert!(recurrence(|n| n % 20 < 8) > 0.3);
        assert!(recurrence(|n| n % 200 < 100) > 0.85, "episodes of half a second");
        let empty = RecurrenceMeter::new(Instant::ZERO);
        assert_eq!((empty.share(0.1), empty.share(0.0)), (0.1, 0.0));
    }

    #[test]
    fn what_is_long_past_counts_little() {
        let mut meter = LossMeter::new(Instant::ZERO);
        meter.on_packets(Instant::ZERO, draw(GilbertLoss { share: 0.2, burst: 2.0 }, 1_000));
        meter.on_packets(Instant::from_millis(40_000), [true; 1_000]);
        assert!(meter.loss().share < 0.001, "{:?}", meter.loss());
    }

    proptest! {
        #[test]
        fn steps_keep_the_share(share in 0.0..0.9f64, burst in 1.0..20.0f64, step in 1usize..40) {
            let loss = GilbertLoss { share, burst };
            let (begins, stays) = loss.transitions_over(step);
            prop_assert!((0.0..=1.0).contains(&begins) && (0.0..=1.0).contains(&stays), "{begins} {stays}");
            // What flows into loss is what flows out of it.
            prop_assert!(((1.0 - share) * begins - share * (1.0 - stays)).abs() < 1e-9);
        }

        #[test]
        fn whatever_comes_the_model_is_one(packets in prop::collection::vec(any::<bool>(), 0..500), step in 0u64..10_000) {
            let mut meter = LossMeter::new(Instant::ZERO);
            for (n, chunk) in packets.chunks(7).enumerate() {
                meter.on_packets(Instant::from_millis(n as u64 * step), chunk.iter().copied());
            }
            let loss = meter.loss();
            prop_assert!((0.0..1.0).contains(&loss.share) && (1.0..=MAX_BURST).contains(&loss.burst));
        }
    }
}
