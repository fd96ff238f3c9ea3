//! How busy pictures keep the machine: where it cannot follow even at the least effort, there are fewer pictures, then smaller
//! ones, before they are late. Time is the caller's.

use std::time::Duration;

/// So long is looked at once: a keyframe or a cut alone is no load.
const WINDOW: Duration = Duration::from_secs(1);
/// Beyond this share of the time that is left for coding, pictures are about to be late: others have work for the machine too.
const BUSY: f64 = 0.8;
/// A step back is taken where it would leave the machine this busy at most.
const CALM: f64 = 0.5;
/// Windows in a row that must be calm, at first and at most: they double each time that a step back was too much.
const PATIENCE: u32 = 10;
const MAX_DOUBLINGS: u32 = 3;

/// Of what the source has and a directive leaves.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct LoadStep {
    /// Share of the source's pictures.
    pub(super) frame_rate: f64,
    /// How much smaller than otherwise each side is.
    pub(super) scale: f64,
}

impl LoadStep {
    const fn new(frame_rate: f64, scale: f64) -> Self {
        Self { frame_rate, scale }
    }

    /// What pictures take, against step 0.
    fn work(self) -> f64 {
        self.frame_rate / (self.scale * self.scale)
    }
}

/// 20 and 15 of 30 pictures per second still look like motion; then sizes, each of which the server's layers have too.
const STEPS: [LoadStep; 6] = [
    LoadStep::new(1.0, 1.0),
    LoadStep::new(2.0 / 3.0, 1.0),
    LoadStep::new(0.5, 1.0),
    LoadStep::new(0.5, 1.5),
    LoadStep::new(0.5, 2.0),
    LoadStep::new(0.5, 4.0),
];

/// Chooses a step from what pictures take.
#[derive(Debug, Default)]
pub(super) struct LoadMeter {
    step: usize,
    /// When the window began, and what coding and drawing pictures have taken since.
    begun: Duration,
    coding: Duration,
    drawing: Duration,
    /// Windows in a row in which a step back would have been calm.
    calm: u32,
    /// How often a step back was too much, as far as it counts.
    regretted: u32,
    went_back: bool,
}

impl LoadMeter {
    /// The source was busy for so long with the next picture, whether that is coded or not.
    pub(super) fn drawn(&mut self, time: Duration) {
        self.drawing += time;
    }

    /// A picture captured `elapsed` after the first took `time` to code, in all its encodings; what to change to, if at all.
    pub(super) fn coded(&mut self, elapsed: Duration, time: Duration) -> Option<LoadStep> {
        self.coding += time;
        let window = elapsed.saturating_sub(self.begun);
        if window < WINDOW {
            return None;
        }
        let left = window.saturating_sub(self.drawing).as_secs_f64();
        let share = self.coding.as_secs_f64() / left.max(1e-3);
        (self.begun, self.coding, self.drawing) = (elapsed, Duration::ZERO, Duration::ZERO);
        let before = self.step;
        if share > BUSY {
            self.step_down();
        } else if self.is_calm_after(share) {
            self.step_back();
        }
        (self.step != before).then(|| STEPS[self.step])
    }

    fn step_down(&mut self) {
        self.calm = 0;
        if std::mem::take(&mut self.went_back) {
            self.regretted = (self.regretted + 1).min(MAX_DOUBLINGS);
        }
        self.step = (self.step + 1).min(STEPS.len() - 1);
    }

    /// Whether a step back has looked harmless for long enough.
    fn is_calm_after(&mut self, share: f64) -> bool {
        let Some(back) = self.step.checked_sub(1) else { return false };
        let is_calm = share * STEPS[back].work() / STEPS[self.step].work() < CALM;
        self.calm = if is_calm { self.calm + 1 } else { 0 };
        self.calm >= PATIENCE << self.regretted
    }

    fn step_back(&mut self) {
        (self.calm, self.went_back) = (0, true);
        self.step -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds on a machine where a whole picture takes `millis`; the step of each.
    fn run(meter: &mut LoadMeter, from: u64, seconds: u64, millis: f64) -> Vec<usize> {
        let second = |second: u64| {
            let step = STEPS[meter.step];
            let pictures = (30.0 * step.frame_rate) as u32;
            let takes = Duration::from_secs_f64(millis / 1_000.0 / (step.scale * step.scale));
            for n in 1..=pictures {
                meter.coded(Duration::from_secs(second) + WINDOW * n / pictures, takes);
            }
            meter.step
        };
        (from..from + seconds).map(second).collect()
    }

    #[test]
    fn who_can_follow_keeps_all() {
        assert_eq!(run(&mut LoadMeter::default(), 0, 5, 25.0), [0; 5]);
    }

    #[test]
    fn a_weak_machine_gets_fewer_pictures_and_then_smaller_ones() {
        assert_eq!(run(&mut LoadMeter::default(), 0, 4, 35.0), [1, 1, 1, 1]);
        assert_eq!(run(&mut LoadMeter::default(), 0, 6, 100.0), [1, 2, 3, 3, 3, 3]);
        assert_eq!(run(&mut LoadMeter::default(), 0, 7, 10_000.0), [1, 2, 3, 4, 5, 5, 5], "there is a last one");
    }

    #[test]
    fn a_cut_alone_is_no_load() {
        let mut meter = LoadMeter::default();
        assert_eq!(meter.coded(Duration::from_millis(500), Duration::from_millis(400)), None);
        assert_eq!(meter.coded(Duration::from_millis(1_000), Duration::from_millis(10)), None);
    }

    #[test]
    fn what_the_source_takes_is_not_left_for_coding() {
        let slow = |drawing: u64| {
            let mut meter = LoadMeter::default();
            meter.drawn(Duration::from_millis(drawing));
            meter.coded(Duration::from_millis(1_000), Duration::from_millis(500))
        };
        assert_eq!((slow(0), slow(450)), (None, Some(STEPS[1])));
    }

    #[test]
    fn it_goes_back_when_it_is_calm_and_later_each_time_that_was_too_much() {
        let mut meter = LoadMeter::default();
        run(&mut meter, 0, 1, 35.0);
        assert_eq!(run(&mut meter, 1, 30, 20.0), [1; 30], "a step back would keep it busy");
        let back = run(&mut meter, 31, 12, 10.0);
        assert_eq!((back[8], back[11]), (1, 0));
        run(&mut meter, 43, 1, 35.0);
        let later = run(&mut meter, 44, 22, 10.0);
        assert_eq!((later[18], later[21]), (1, 0));
    }
}
