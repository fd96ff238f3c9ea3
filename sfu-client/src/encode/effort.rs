//! How much the encoder tries: as much as the slowest picture allows. Time is the caller's.
//!
//! A picture that costs much more than those before it, such as a cut, would be late before its time is known. So what
//! pictures take is also reckoned by what they cost to code, and the effort falls before such a picture.

use super::codec::Effort;
use std::time::Duration;

/// Beyond this share of the time between two pictures, one has taken too long: others have work for the machine too.
const BUSY: f64 = 0.6;
/// Only where the slowest took less than this share, more is tried: each step may double what a picture takes.
const IDLE: f64 = 0.2;
/// Pictures before more is tried, at first and at most: it doubles each time that it was too much.
const WAIT: u32 = 150;
const MAX_WAIT: u32 = WAIT << 6;
/// Share of the time for a unit of cost that is forgotten with each picture: the slowest of the last few seconds count.
const FORGET: f64 = 0.01;
/// What a step of effort makes of the time that pictures take, at most.
const STEP: f64 = 2.0;

/// Chooses an effort from what pictures take.
#[derive(Clone, Debug)]
pub struct EffortControl {
    effort: Effort,
    most: Effort,
    wait: u32,
    /// Pictures since the last choice, and the largest share among them.
    pictures: u32,
    worst: f64,
    /// Seconds for a unit of cost, at this effort, of the slowest pictures.
    per_cost: f64,
}

impl EffortControl {
    /// Begins with the least, and goes up to `most`.
    pub const fn new(most: Effort) -> Self {
        Self { effort: Effort::Low, most, wait: WAIT, pictures: 0, worst: 0.0, per_cost: 0.0 }
    }

    /// A picture of `cost` is about to be coded, and there is `interval` for each; what to change to before, if at all.
    pub fn foresee(&mut self, cost: f64, interval: Duration) -> Option<Effort> {
        let takes = self.per_cost * cost.max(1.0) / interval.as_secs_f64().max(1e-6);
        if takes <= BUSY || self.effort == Effort::Low {
            return None;
        }
        // It says nothing of the pictures after it, so that more is tried again as soon as otherwise.
        self.change(lower(self.effort))
    }

    /// A picture of `cost` took `time`, and there is `interval` for each; what to change to, if at all.
    pub fn record(&mut self, time: Duration, cost: f64, interval: Duration) -> Option<Effort> {
        let share = time.as_secs_f64() / interval.as_secs_f64().max(1e-6);
        self.per_cost = (self.per_cost * (1.0 - FORGET)).max(time.as_secs_f64() / cost.max(1.0));
        self.pictures += 1;
        self.worst = self.worst.max(share);
        let next = if share > BUSY && self.effort > Effort::Low {
            self.wait = (self.wait * 2).min(MAX_WAIT);
            lower(self.effort)
        } else if self.pictures < self.wait {
            return None;
        } else if self.worst < IDLE {
            higher(self.effort).min(self.most)
        } else {
            self.effort
        };
        self.change(next)
    }

    fn change(&mut self, next: Effort) -> Option<Effort> {
        (self.pictures, self.worst) = (0, 0.0);
        let changed = next != self.effort;
        if changed {
            self.per_cost *= if next > self.effort { STEP } else { 1.0 / STEP };
        }
        self.effort = next;
        changed.then_some(next)
    }
}

const fn lower(effort: Effort) -> Effort {
    match effort {
        Effort::High => Effort::Medium,
        Effort::Medium | Effort::Low => Effort::Low,
    }
}

const fn higher(effort: Effort) -> Effort {
    match effort {
        Effort::Low => Effort::Medium,
        Effort::Medium | Effort::High => Effort::High,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(33);

    /// Pictures on a machine where each step of effort doubles `millis`; how many of each effort there were.
    fn run(control: &mut EffortControl, millis: f64, pictures: u32) -> [u32; 3] {
        let mut counts = [0; 3];
        for _ in 0..pictures {
            let step = control.effort as usize;
            counts[step] += 1;
            control.record(Duration::from_secs_f64(millis / 1000.0 * f64::from(1 << step)), 1.0, INTERVAL);
        }
        counts
    }

    #[test]
    fn a_fast_machine_tries_more_and_a_slow_one_stays() {
        let mut control = EffortControl::new(Effort::High);
        run(&mut control, 2.0, 1_000);
        assert_eq!(run(&mut control, 2.0, 1_000), [0, 0, 1_000]);
        assert_eq!(run(&mut EffortControl::new(Effort::Medium), 2.0, 1_000), [150, 850, 0]);
        assert_eq!(run(&mut EffortControl::new(Effort::High), 10.0, 1_000), [1_000, 0, 0]);
    }

    #[test]
    fn load_takes_effort_back_at_once_and_for_longer_each_time() {
        let mut control = EffortControl::new(Effort::Medium);
        run(&mut control, 3.0, 300);
        assert_eq!(control.effort, Effort::Medium);
        assert_eq!(run(&mut control, 15.0, 10), [9, 1, 0]);
        // Light again: it waits for twice as long as before.
        assert!(run(&mut control, 3.0, 280)[1] == 0);
        assert!(run(&mut control, 3.0, 400)[1] > 0);
    }

    #[test]
    fn effort_falls_before_a_picture_that_would_be_late() {
        let mut control = EffortControl::new(Effort::Medium);
        run(&mut control, 3.0, 300);
        assert_eq!((control.effort, control.foresee(2.0, INTERVAL)), (Effort::Medium, None));
        // 6 ms at cost 1: 24 ms at cost 4.
        assert_eq!(control.foresee(4.0, INTERVAL), Some(Effort::Low));
        // At the least there is nothing to fall to, and a few seconds later more is tried again.
        assert_eq!(control.foresee(40.0, INTERVAL), None);
        assert_eq!(run(&mut control, 3.0, 200)[1], 50);
    }

    #[test]
    fn no_interval_is_no_division_by_zero() {
        let mut control = EffortControl::new(Effort::High);
        for _ in 0..1_000 {
            assert_ne!(control.record(Duration::ZERO, 0.0, Duration::ZERO), Some(Effort::Low));
        }
    }
}
