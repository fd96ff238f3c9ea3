//! How much the encoder tries: as much as the slowest picture allows. Time is the caller's.

use super::h264::Effort;
use std::time::Duration;

/// Beyond this share of the time between two pictures, one has taken too long: others have work for the machine too.
const BUSY: f64 = 0.6;
/// Only where the slowest took less than this share, more is tried: each step may double what a picture takes.
const IDLE: f64 = 0.2;
/// Pictures before more is tried, at first and at most: it doubles each time that it was too much.
const WAIT: u32 = 150;
const MAX_WAIT: u32 = WAIT << 6;

/// Chooses an effort from what pictures take.
#[derive(Clone, Debug)]
pub struct EffortControl {
    effort: Effort,
    most: Effort,
    wait: u32,
    /// Pictures since the last choice, and the largest share among them.
    pictures: u32,
    worst: f64,
}

impl EffortControl {
    /// Begins with the least, and goes up to `most`.
    pub const fn new(most: Effort) -> Self {
        Self { effort: Effort::Low, most, wait: WAIT, pictures: 0, worst: 0.0 }
    }

    /// A picture took `time`, and there is `interval` for each; what to change to, if at all.
    pub fn record(&mut self, time: Duration, interval: Duration) -> Option<Effort> {
        let share = time.as_secs_f64() / interval.as_secs_f64().max(1e-6);
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
        (self.pictures, self.worst) = (0, 0.0);
        let changed = next != self.effort;
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
            control.record(Duration::from_secs_f64(millis / 1000.0 * f64::from(1 << step)), INTERVAL);
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
    fn no_interval_is_no_division_by_zero() {
        let mut control = EffortControl::new(Effort::High);
        for _ in 0..1_000 {
            assert_ne!(control.record(Duration::ZERO, Duration::ZERO), Some(Effort::Low));
        }
    }
}
