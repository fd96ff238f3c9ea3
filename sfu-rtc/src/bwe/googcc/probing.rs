//! When to probe: libwebrtc's `ProbeController` and `AlrDetector`, but for one thing.
//!
//! There, a probe after a drop is sent once, and only where little is sent; if nothing can be sent just then, or if the
//! path is slow still, the rate stays low for long. Here a probe is requested again, ever more seldom, until one is
//! answered by the rate that was; and a request waits while nothing can be sent.

use crate::bwe::PacketResult;
use crate::bwe::probe::{Attempts, PACKETS, ProbeCluster, ProbeResult};
use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};
use arrayvec::ArrayVec;

const FIRST: [f64; 2] = [3.0, 6.0];
const FURTHER: f64 = 2.0;
/// A probe that measures so much of what it tried is followed by a higher one.
const GO_ON_ABOVE: f64 = 0.7;
const DURATION: Duration = Duration::from_millis(15);
/// While little is sent, whether the path carries more is tried so often.
const LIMITED_INTERVAL: Duration = Duration::from_secs(5);
/// A fall to less than this share is a drop.
const DROP: f64 = 0.66;
/// Falls within so much time are one.
const ONE_DROP: Duration = Duration::from_secs(5);
/// Attempts at recovery lie so far apart; each failure doubles it.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(2);

/// Sending less than 0.65 of the estimate for a while is being limited by the application: a budget of half a second.
const USED: f64 = 0.65;
const LIMITED_ABOVE: f64 = 0.8;
const LIMITED_UNTIL: f64 = 0.5;
const BUDGET: f64 = 0.5;

/// Decides what to probe for.
#[derive(Clone, Debug)]
pub(super) struct Prober {
    attempts: Attempts,
    started: bool,
    requests: ArrayVec<Bitrate, 2>,
    /// The rate before the newest falls, and when they began.
    high: Option<(Bitrate, Instant)>,
    limited: Limited,
}

impl Prober {
    pub(super) fn new(max: Bitrate, now: Instant) -> Self {
        Self {
            attempts: Attempts::new(max, now),
            started: false,
            requests: ArrayVec::new(),
            high: None,
            limited: Limited::default(),
        }
    }

    pub(super) fn set_demand(&mut self, demand: Option<Bitrate>) {
        self.attempts.set_demand(demand);
    }

    pub(super) fn on_sent(&mut self, now: Instant, size: DataSize, estimate: Bitrate) {
        self.limited.on_sent(now, size, estimate);
    }

    /// The estimate fell. What falls in steps is one drop.
    pub(super) fn on_fall(&mut self, now: Instant, before: Bitrate, after: Bitrate) {
        let high = match self.high {
            Some((high, at)) if high >= before && now.saturating_since(at) < ONE_DROP => high,
            _ => before,
        };
        if self.high.is_none_or(|(known, _)| known != high) {
            self.high = Some((high, now));
        }
        if after < high * DROP {
            self.attempts.on_drop(now, high);
        }
        self.requests.clear();
    }

    /// The outcome of a probe that these results complete.
    pub(super) fn on_feedback(&mut self, packets: &[PacketResult]) -> Option<ProbeResult> {
        let goes_on = |result: &ProbeResult| result.measured >= result.requested * GO_ON_ABOVE;
        let (result, succeeded) = self.attempts.on_feedback(packets, goes_on)?;
        if succeeded {
            self.request(result.measured * FURTHER);
        } else {
            self.requests.clear();
        }
        Some(result)
    }

    /// What to send now.
    pub(super) fn poll(&mut self, now: Instant, estimate: Bitrate, may_rise: bool) -> Option<ProbeCluster> {
        self.attempts.update(now, estimate);
        if !self.started {
            self.started = true;
            FIRST.into_iter().for_each(|factor| self.request(estimate * factor));
        }
        if self.requests.is_empty() && !self.attempts.is_under_way() && may_rise {
            self.request_again(now, estimate);
        }
        // The first two leave one after the other; else one is under way at a time.
        self.requests.retain(|request| *request > estimate);
        let bitrate = self.requests.first().copied()?.min(self.attempts.most(FURTHER));
        // Of a stream that begins, nobody knows yet what it takes: the request waits until that is more than this.
        if bitrate <= estimate {
            return None;
        }
        self.requests.remove(0);
        Some(self.attempts.begin(now, bitrate, DURATION, PACKETS))
    }

    fn request_again(&mut self, now: Instant, estimate: Bitrate) {
        let limited = self.limited.since.map(|at| now.saturating_since(at.max(self.attempts.probed())));
        if let Some(lost) = self.attempts.recovery().filter(|_| self.attempts.waited(now, RECOVERY_INTERVAL)) {
            self.request(lost);
        } else if limited.is_some_and(|limited| limited >= LIMITED_INTERVAL) {
            self.request(estimate * FURTHER);
        }
    }

    fn request(&mut self, bitrate: Bitrate) {
        let _ = self.requests.try_push(bitrate); // two are enough
    }

    /// The increase was held by what is sent, or no longer is.
    pub(super) fn set_held(&mut self, now: Instant, held: bool) {
        self.limited.held = held;
        self.limited.judge(now);
    }
}

/// Whether the application limits what is sent.
#[derive(Clone, Default, Debug)]
struct Limited {
    since: Option<Instant>,
    /// Bytes that could have been sent.
    budget: f64,
    size: f64,
    sent: Instant,
    /// The increase is held by what is sent: the same, though more than 0.65 is used.
    held: bool,
}

impl Limited {
    fn on_sent(&mut self, now: Instant, size: DataSize, estimate: Bitrate) {
        let target = estimate.as_bps() as f64 * USED / 8.0;
        self.size = target * BUDGET;
        self.budget += target * now.saturating_since(self.sent).as_secs_f64();
        self.budget = (self.budget.min(self.size) - size.as_bytes() as f64).max(-self.size);
        self.sent = now;
        self.judge(now);
    }

    fn judge(&mut self, now: Instant) {
        let left = self.budget / self.size.max(1.0);
        if left > LIMITED_ABOVE || self.held {
            self.since.get_or_insert(now);
        } else if left < LIMITED_UNTIL {
            self.since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_probes_wait_until_something_could_be_sent() {
        let kbps = Bitrate::from_kbps;
        let mut prober = Prober::new(kbps(50_000), Instant::from_millis(1_000));
        let mut poll = |demand, at| {
            prober.set_demand(Some(kbps(demand)));
            prober.poll(Instant::from_millis(at), kbps(300), true).map(|cluster| cluster.bitrate.as_kbps())
        };
        assert_eq!(poll(50, 1_010), None, "sound alone: the picture's rate is not known yet");
        assert_eq!([poll(1_500, 1_100), poll(1_500, 1_101)], [Some(900), Some(1_800)]);
        assert_eq!(poll(1_500, 1_102), None);
    }
}
