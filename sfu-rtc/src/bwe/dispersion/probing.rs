//! When to probe: at the beginning, after a drop, and while too little is sent to show what the path carries.

use crate::bwe::PacketResult;
use crate::bwe::probe::{ProbeCluster, ProbeMeter, ProbeResult};
use crate::time::{Duration, Instant};
use crate::units::Bitrate;

const DURATION: Duration = Duration::from_millis(20);
const PACKETS: u32 = 5;
/// The first probe tries so much more than the start, and each that finds no limit is followed by one of so much more.
const STEP: f64 = 3.0;
/// One that measures so much of what it tried found no limit.
const SUCCESS: f64 = 0.8;
/// A probe is answered within so much time, or it was lost.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// After a drop, this share of the rate before is tried.
const RECOVERY: f64 = 0.85;
/// Not at once: what fails stands as a queue, the longer the more was tried.
const GENTLE: f64 = 1.6;
/// Attempts lie so far apart, each failure doubling it up to the most.
const RECOVERY_INTERVAL: Duration = Duration::from_millis(1_000);
const LIMITED_INTERVAL: Duration = Duration::from_secs(3);
const MAX_DOUBLINGS: u32 = 3;
/// A rate of so long ago tells nothing of the path as it is now.
const FORGET_AFTER: Duration = Duration::from_secs(120);

/// Decides what to probe for.
#[derive(Clone, Debug)]
pub(super) struct Prober {
    meter: ProbeMeter,
    max: Bitrate,
    demand: Option<Bitrate>,
    /// What is to be tried next, whenever it can be.
    next: Option<Bitrate>,
    started: bool,
    asked: Option<Instant>,
    probed: Instant,
    failures: u32,
    /// The rate before a drop that has not been made good, and when it dropped.
    lost: Option<(Bitrate, Instant)>,
}

impl Prober {
    pub(super) fn new(max: Bitrate, now: Instant) -> Self {
        Self {
            meter: ProbeMeter::default(),
            max,
            demand: None,
            next: None,
            started: false,
            asked: None,
            probed: now,
            failures: 0,
            lost: None,
        }
    }

    pub(super) fn set_demand(&mut self, demand: Option<Bitrate>) {
        self.demand = demand;
    }

    /// The rate dropped from `before`.
    pub(super) fn on_drop(&mut self, now: Instant, before: Bitrate) {
        let higher = self.lost.map_or(before, |(lost, _)| lost.max(before));
        (self.lost, self.next) = (Some((higher, now)), None);
    }

    /// Whatever was tried before, it is time to try again: the path is back.
    pub(super) fn encourage(&mut self) {
        (self.failures, self.probed) = (0, Instant::ZERO);
    }

    /// The outcome of a probe that these results complete.
    pub(super) fn on_feedback(&mut self, packets: &[PacketResult]) -> Option<ProbeResult> {
        let result = self.meter.on_feedback(packets)?;
        self.asked = None;
        if result.measured >= result.wished * SUCCESS {
            self.failures = 0;
            self.next = Some(result.measured * STEP);
        } else {
            self.failures = (self.failures + 1).min(MAX_DOUBLINGS);
        }
        Some(result)
    }

    /// What to send now. `limited` says that what is sent does not show what the path carries.
    pub(super) fn poll(&mut self, now: Instant, estimate: Bitrate, limited: bool) -> Option<ProbeCluster> {
        if self.asked.is_some_and(|asked| now.saturating_since(asked) >= ANSWERED_WITHIN) {
            self.asked = None;
            self.failures = (self.failures + 1).min(MAX_DOUBLINGS);
        }
        if self.lost.is_some_and(|(lost, at)| estimate >= lost * RECOVERY || now.saturating_since(at) > FORGET_AFTER) {
            (self.lost, self.failures) = (None, 0);
        }
        if self.asked.is_some() {
            return None;
        }
        if !std::mem::replace(&mut self.started, true) {
            self.next = Some(estimate * STEP);
        }
        let doubled = |interval: Duration| interval * (1 << self.failures);
        let waited = now.saturating_since(self.probed);
        let wish = match (self.next.take(), self.lost) {
            (Some(next), _) => next,
            (None, Some((lost, _))) if waited >= doubled(RECOVERY_INTERVAL) => (lost * RECOVERY).min(estimate * GENTLE),
            (None, None) if limited && waited >= doubled(LIMITED_INTERVAL) => estimate * STEP,
            _ => return None,
        };
        let most = self.demand.map_or(self.max, |demand| (demand * 1.5).min(self.max));
        let bitrate = wish.min(most);
        if bitrate <= estimate * 1.1 {
            return None;
        }
        (self.asked, self.probed) = (Some(now), now);
        Some(self.meter.begin(bitrate, DURATION, PACKETS))
    }
}
