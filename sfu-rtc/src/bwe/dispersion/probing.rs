//! When to probe: at the beginning, after a drop, and while too little is sent to show what the path carries.

use crate::bwe::PacketResult;
use crate::bwe::probe::{Attempts, ProbeCluster, ProbeResult};
use crate::time::{Duration, Instant};
use crate::units::Bitrate;

const DURATION: Duration = Duration::from_millis(20);
/// The first probe tries so much more than the start, and each that finds no limit is followed by one of so much more.
const STEP: f64 = 3.0;
/// One that measures so much of what it tried found no limit.
const SUCCESS: f64 = 0.8;
/// Attempts lie so far apart, after a drop and while too little is sent; each failure doubles it.
const RECOVERY_INTERVAL: Duration = Duration::from_millis(1_000);
/// After a drop they are gentle, so that they need not be seldom: what fails stands as a queue, the longer the more was
/// tried. What succeeds is followed by more.
const GENTLE: f64 = 1.6;
const LONGEST_WAIT: Duration = Duration::from_secs(3);
const LIMITED_INTERVAL: Duration = Duration::from_secs(3);

/// Decides what to probe for.
#[derive(Clone, Debug)]
pub(super) struct Prober {
    attempts: Attempts,
    /// What is to be tried next, whenever it can be.
    next: Option<Bitrate>,
    started: bool,
}

impl Prober {
    pub(super) fn new(max: Bitrate, now: Instant) -> Self {
        Self { attempts: Attempts::new(max, now), next: None, started: false }
    }

    pub(super) fn set_demand(&mut self, demand: Option<Bitrate>) {
        self.attempts.set_demand(demand);
    }

    /// The rate dropped from `before`.
    pub(super) fn on_drop(&mut self, now: Instant, before: Bitrate) {
        self.attempts.on_drop(now, before);
        self.next = None;
    }

    /// Whatever was tried before, it is time to try again: the path is back.
    pub(super) fn encourage(&mut self) {
        self.attempts.encourage();
    }

    /// The outcome of a probe that these results complete.
    pub(super) fn on_feedback(&mut self, packets: &[PacketResult]) -> Option<ProbeResult> {
        let (result, succeeded) = self.attempts.on_feedback(packets, SUCCESS)?;
        if succeeded {
            self.next = Some(result.measured * STEP);
        }
        Some(result)
    }

    /// What to send now. `limited` says that what is sent does not show what the path carries.
    pub(super) fn poll(&mut self, now: Instant, estimate: Bitrate, limited: bool) -> Option<ProbeCluster> {
        self.attempts.update(now, estimate);
        if self.attempts.is_under_way() {
            return None;
        }
        if !std::mem::replace(&mut self.started, true) {
            self.next = Some(estimate * STEP);
        }
        let wish = match (self.next.take(), self.attempts.recovery()) {
            (Some(next), _) => next,
            (None, Some(lost)) if self.attempts.waited_at_most(now, RECOVERY_INTERVAL, LONGEST_WAIT) => {
                lost.min(estimate * GENTLE)
            }
            (None, None) if limited && self.attempts.waited(now, LIMITED_INTERVAL) => estimate * STEP,
            _ => return None,
        };
        let bitrate = wish.min(self.attempts.most(1.5));
        if bitrate <= estimate * 1.1 {
            return None;
        }
        Some(self.attempts.begin(now, bitrate, DURATION))
    }
}
