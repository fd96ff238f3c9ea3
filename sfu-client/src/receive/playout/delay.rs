//! How long sound must wait so that most of it is there when it is played.
//!
//! A packet's relative delay is how much later it came than the fastest one of the last [`WINDOW`] would have. Relative
//! delays go into a histogram that forgets; its quantile is what the network asks for. Sound that was lost and came with
//! a later packet is late in another way: how far apart copies are sent is the same all the time, but they are needed by
//! turns, where loss comes in bursts. What the last ones of a longer time needed is what repair asks for. The target
//! delay is the larger of both. All times are in samples.

use super::{MS, PlayoutConfig};
use std::collections::VecDeque;

/// Step of the histograms and of the target: what most endpoints put in a packet.
pub(super) const STEP: i64 = 20 * MS;
/// Steps of a histogram: later packets count as this late.
const STEPS: usize = 50;
/// Time in which the fastest packet is looked for: short enough for clocks that drift apart and paths that change.
const WINDOW: i64 = 2_000 * MS;
/// Packets of the window that are remembered at most.
const CAPACITY: usize = 256;
/// Packets that came by others and are remembered at most.
const REPAIRS: usize = 512;
/// A delay that so many of these needed is waited for: of ten seconds one in two hundred.
const NEEDED: u32 = 3;

/// Estimates the target delay of one stream.
pub(super) struct DelayEstimator {
    /// Arrival and delay of packets of the last [`WINDOW`], each faster than all after it; the first is the fastest.
    fastest: VecDeque<(i64, i64)>,
    network: Histogram,
    repair: Repairs,
    quantile: f64,
    least: i64,
    most: i64,
    /// What pictures ask for.
    pictures: i64,
}

impl DelayEstimator {
    pub(super) fn new(config: &PlayoutConfig) -> Self {
        let least = super::ticks(config.min_delay);
        Self {
            fastest: VecDeque::with_capacity(CAPACITY),
            network: Histogram::new(config.forgetting),
            repair: Repairs::new(super::ticks(config.repair_memory)),
            quantile: config.quantile.clamp(0.0, 1.0),
            least,
            most: super::ticks(config.max_delay).max(least),
            pictures: 0,
        }
    }

    /// Takes a packet whose sound begins at `timestamp`.
    pub(super) fn on_packet(&mut self, arrival: i64, timestamp: i64) {
        let delay = arrival - timestamp;
        while self.fastest.front().is_some_and(|(at, _)| *at < arrival - WINDOW) {
            self.fastest.pop_front();
        }
        while self.fastest.back().is_some_and(|(_, slower)| *slower >= delay) {
            self.fastest.pop_back();
        }
        if self.fastest.len() < CAPACITY {
            self.fastest.push_back((arrival, delay));
        }
        self.network.observe(step(self.lag(arrival, timestamp)));
        self.repair.forget(arrival);
    }

    /// Takes that the sound of `timestamp`, which had not come, came with another packet.
    pub(super) fn on_repair(&mut self, arrival: i64, timestamp: i64) {
        self.repair.observe(arrival, step(self.lag(arrival, timestamp)));
    }

    /// The delay that sound is to be played with, against the fastest packet.
    pub(super) fn target(&self) -> i64 {
        let steps = self.network.quantile(self.quantile).max(self.repair.needed()) + 1;
        (steps as i64 * STEP).max(self.pictures).clamp(self.least, self.most)
    }

    /// Sound is to be played with this delay at least, against the fastest packet.
    pub(super) fn wait_for_pictures(&mut self, delay: i64) {
        self.pictures = delay;
    }

    /// The delay with which sound of `timestamp` would be played at `now`; 0 before there was a packet.
    pub(super) fn lag(&self, now: i64, timestamp: i64) -> i64 {
        self.fastest.front().map_or(0, |(_, fastest)| now - timestamp - fastest)
    }

    /// Forgets when packets came, not how much they differed: the stream begins anew on the same path.
    pub(super) fn begin_anew(&mut self) {
        self.fastest.clear();
    }
}

/// How often something was so late, in steps; what is long ago counts little.
struct Histogram {
    /// They sum up to 1.
    shares: [f64; STEPS],
    observed: u32,
    forgetting: f64,
}

impl Histogram {
    fn new(forgetting: f64) -> Self {
        let mut shares = [0.0; STEPS];
        shares[0] = 1.0;
        Self { shares, observed: 0, forgetting: forgetting.clamp(0.0, 0.9999) }
    }

    fn observe(&mut self, step: usize) {
        // The first weigh more, so that what the histogram began with is soon gone.
        let forgetting = self.forgetting.min(1.0 - 1.0 / (f64::from(self.observed) + 1.0));
        self.observed = self.observed.saturating_add(1);
        for share in &mut self.shares {
            *share *= forgetting;
        }
        self.shares[step] += 1.0 - forgetting;
    }

    /// The step up to which `quantile` of all lies.
    fn quantile(&self, quantile: f64) -> usize {
        let mut share = 0.0;
        let step = self.shares.iter().position(|part| {
            share += part;
            share >= quantile
        });
        step.unwrap_or(STEPS - 1)
    }
}

/// How late sound was that came with other packets than its own.
struct Repairs {
    memory: i64,
    /// Arrival and delay, oldest first.
    recent: VecDeque<(i64, usize)>,
    /// Of the recent ones, by delay.
    counts: [u32; STEPS],
}

impl Repairs {
    fn new(memory: i64) -> Self {
        Self { memory, recent: VecDeque::with_capacity(REPAIRS), counts: [0; STEPS] }
    }

    fn observe(&mut self, arrival: i64, step: usize) {
        if self.recent.len() == REPAIRS {
            self.forget_one();
        }
        self.recent.push_back((arrival, step));
        self.counts[step] += 1;
    }

    /// Forgets what is too long ago.
    fn forget(&mut self, now: i64) {
        while self.recent.front().is_some_and(|(at, _)| *at < now - self.memory) {
            self.forget_one();
        }
    }

    fn forget_one(&mut self) {
        if let Some((_, step)) = self.recent.pop_front() {
            self.counts[step] -= 1;
        }
    }

    /// The longest delay that [`NEEDED`] of them had, or more; 0 where there are too few.
    fn needed(&self) -> usize {
        let mut count = 0;
        let step = self.counts.iter().rposition(|part| {
            count += part;
            count >= NEEDED
        });
        step.unwrap_or(0)
    }
}

/// The step in which `late` lies.
fn step(late: i64) -> usize {
    usize::try_from(late / STEP).map_or(0, |step| step.min(STEPS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn estimator() -> DelayEstimator {
        DelayEstimator::new(&PlayoutConfig::default())
    }

    /// Packets of 20 ms from number `from` to `to`, each later than the fastest by what `late` says, in ms.
    fn feed(estimator: &mut DelayEstimator, from: i64, to: i64, late: impl Fn(i64) -> i64) {
        for number in from..to {
            estimator.on_packet(number * STEP + late(number) * MS, number * STEP);
        }
    }

    /// Evenly from 0 to 119 ms, in an order that repeats after long.
    fn uneven(number: i64) -> i64 {
        number * 53 % 120
    }

    #[test]
    fn even_packets_wait_least() {
        let mut estimator = estimator();
        feed(&mut estimator, 0, 500, |number| number % 8);
        assert_eq!(estimator.target(), 20 * MS);
        assert_eq!(estimator.lag(600 * STEP, 599 * STEP), 20 * MS);
    }

    #[test]
    fn the_target_follows_jitter_within_two_seconds_and_goes_back_slowly() {
        let mut estimator = estimator();
        feed(&mut estimator, 0, 500, |_| 60);
        assert_eq!(estimator.target(), 20 * MS);
        feed(&mut estimator, 500, 600, uneven);
        assert!((100 * MS..=120 * MS).contains(&estimator.target()), "{}", estimator.target() / MS);
        // Back in the time of the window, and that in which the histogram forgets.
        feed(&mut estimator, 600, 950, |_| 60);
        assert_eq!(estimator.target(), 20 * MS);
    }

    #[test]
    fn rare_outliers_do_not_count() {
        let mut estimator = estimator();
        feed(&mut estimator, 0, 1000, |number| if number % 100 == 50 { 200 } else { 0 });
        assert_eq!(estimator.target(), 20 * MS);
    }

    #[test]
    fn a_clock_that_drifts_and_a_path_that_changes_add_nothing() {
        let mut estimator = estimator();
        // 500 ppm, then 80 ms longer.
        feed(&mut estimator, 0, 5_000, |number| number / 100);
        assert_eq!(estimator.target(), 20 * MS);
        feed(&mut estimator, 5_000, 5_500, |_| 130);
        assert_eq!(estimator.target(), 20 * MS);
    }

    #[test]
    fn sound_by_later_packets_is_waited_for_between_bursts_of_loss() {
        let mut estimator = estimator();
        for number in 0..1_000 {
            // Each second, three packets are lost and come with the fourth packet after them.
            if number % 50 >= 47 {
                estimator.on_repair((number + 4) * STEP, number * STEP);
            } else {
                estimator.on_packet(number * STEP, number * STEP);
            }
            let expected = if number < 49 { 20 * MS } else { 100 * MS };
            assert_eq!(estimator.target(), expected, "{number}");
        }
        // It does not last forever.
        feed(&mut estimator, 1_000, 1_600, |_| 0);
        assert_eq!(estimator.target(), 20 * MS);
    }

    #[test]
    fn a_rare_repair_is_not_waited_for() {
        let mut estimator = estimator();
        for number in 0..2_000 {
            estimator.on_packet(number * STEP, number * STEP);
            if number % 300 == 7 {
                estimator.on_repair(number * STEP, (number - 5) * STEP);
            }
            assert_eq!(estimator.target(), 20 * MS);
        }
    }

    proptest! {
        #[test]
        fn the_target_stays_within_its_bounds(packets in proptest::collection::vec((any::<i32>(), any::<i32>()), 1..600)) {
            let config = PlayoutConfig::default();
            let mut estimator = estimator();
            for (arrival, timestamp) in packets {
                estimator.on_packet(i64::from(arrival), i64::from(timestamp));
                if timestamp % 3 == 0 {
                    estimator.on_repair(i64::from(arrival), i64::from(timestamp));
                }
                prop_assert!(estimator.target() >= super::super::ticks(config.min_delay));
                prop_assert!(estimator.target() <= super::super::ticks(config.max_delay));
                prop_assert!(estimator.fastest.len() <= CAPACITY);
                prop_assert!((estimator.network.shares.iter().sum::<f64>() - 1.0).abs() < 1e-6);
                prop_assert!(estimator.repair.recent.len() <= REPAIRS);
            }
        }
    }
}
