//! Probes: a request to send at a rate for a moment, and what feedback tells of it.

use super::PacketResult;
use super::train::{MIN_EDGE, Train};
use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};
use arrayvec::ArrayVec;

/// Names a probe within one estimator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ProbeId(pub u32);

/// A probe that an estimator requests: all that leaves from its beginning on is part of it and leaves at its rate, and
/// padding fills what is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeCluster {
    /// Its name, which its packets' [`PacketResult`]s carry.
    pub id: ProbeId,
    /// At what rate.
    pub bitrate: Bitrate,
    /// For how long.
    pub duration: Duration,
    /// At least so many packets that are not small, whatever the rate.
    pub packets: u32,
}

impl ProbeCluster {
    /// Whether a packet of this size counts as one of a probe's: of small ones nothing can be measured.
    pub fn is_measured_by(size: DataSize) -> bool {
        size >= MIN_EDGE
    }
}

/// A probe's outcome.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct ProbeResult {
    /// The rate that was requested.
    pub(super) requested: Bitrate,
    /// The rate at which it was sent and arrived: the lower of both.
    pub(super) measured: Bitrate,
    /// It arrived more slowly than it was sent: what the path carries, not only a lower bound.
    pub(super) saturated: bool,
}

/// Most probes that are followed at once: the request after the next is older than any round trip.
const MAX_PROBES: usize = 4;
/// Share of a probe's packets and bytes that must arrive for it to tell something; as in libwebrtc.
const LEAST_ARRIVED: f64 = 0.8;
/// Arriving more slowly than this share of its rate, a probe has filled the path; as in libwebrtc.
const SATURATED: f64 = 0.9;
/// Something that arrives so much faster than it was sent was held up on the way, and tells nothing.
const HELD_UP: f64 = 2.0;

/// Follows the probes under way.
#[derive(Clone, Default, Debug)]
struct ProbeMeter {
    probes: ArrayVec<(ProbeCluster, Train), MAX_PROBES>,
    last: u32,
}

impl ProbeMeter {
    /// A new probe, to be sent at once.
    fn begin(&mut self, bitrate: Bitrate, duration: Duration, packets: u32) -> ProbeCluster {
        self.last = self.last.wrapping_add(1);
        let cluster = ProbeCluster { id: ProbeId(self.last), bitrate, duration, packets };
        if self.probes.is_full() {
            self.probes.remove(0);
        }
        self.probes.push((cluster, Train::default()));
        cluster
    }

    /// The outcome of the newest probe that these results complete.
    fn on_feedback(&mut self, packets: &[PacketResult]) -> Option<ProbeResult> {
        let mut complete = None;
        for packet in packets.iter().filter(|packet| packet.probe.is_some()) {
            let known = self.probes.iter_mut().find(|(cluster, _)| Some(cluster.id) == packet.probe);
            if let Some((cluster, train)) = known {
                train.add(packet);
                complete = result(cluster, train).map(|result| (cluster.id, result)).or(complete);
            }
        }
        let (id, result) = complete?;
        // What else comes of it, or of those before it, tells nothing new.
        let done = self.probes.iter().position(|(cluster, _)| cluster.id == id)?;
        self.probes.drain(..=done);
        Some(result)
    }
}

/// Once enough of it has arrived.
fn result(cluster: &ProbeCluster, train: &Train) -> Option<ProbeResult> {
    let requested = cluster.bitrate.in_duration(cluster.duration).as_bytes();
    let enough = f64::from(train.packets()) >= LEAST_ARRIVED * f64::from(cluster.packets)
        && train.measured().as_bytes() as f64 >= LEAST_ARRIVED * requested as f64;
    let rates = train.rates().filter(|_| enough)?;
    let sent = rates.sent.unwrap_or(cluster.bitrate);
    if rates.received > sent * HELD_UP {
        return None;
    }
    let saturated = rates.received < sent * SATURATED;
    Some(ProbeResult { requested: cluster.bitrate, measured: sent.min(rates.received), saturated })
}

/// At least so many packets make a probe: with fewer, jitter hides its rate; as in libwebrtc.
pub(super) const PACKETS: u32 = 5;
/// A probe is answered within so much time, or it was lost; and within a round trip and so much, where that is known:
/// feedback is due each 100 ms at first, and a probe may stand as a queue.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
const FEEDBACK_TAKES: Duration = Duration::from_millis(150);
/// After a drop, this share of the rate before is tried.
const RECOVERY: f64 = 0.85;
/// A rate of so long ago tells nothing of the path as it is now.
const FORGET_AFTER: Duration = Duration::from_secs(120);
/// Each failure doubles the time between two attempts, up to so often.
const MAX_DOUBLINGS: u32 = 3;

/// The probes of one estimator: which is under way, how patiently to try again, and the rate to return to after a drop.
#[derive(Clone, Debug)]
pub(super) struct Attempts {
    meter: ProbeMeter,
    max: Bitrate,
    demand: Option<Bitrate>,
    /// How long its feedback may take.
    patience: Duration,
    /// A probe is under way since.
    asked: Option<Instant>,
    probed: Instant,
    /// How many in a row nothing came of.
    failures: u32,
    /// The rate before a drop that has not been made good, and when it dropped.
    lost: Option<(Bitrate, Instant)>,
}

impl Attempts {
    /// None yet; never above `max`.
    pub(super) fn new(max: Bitrate, now: Instant) -> Self {
        Self {
            meter: ProbeMeter::default(),
            max,
            demand: None,
            patience: ANSWERED_WITHIN,
            asked: None,
            probed: now,
            failures: 0,
            lost: None,
        }
    }

    /// What the peer could be sent at most.
    pub(super) fn set_demand(&mut self, demand: Option<Bitrate>) {
        self.demand = demand;
    }

    /// The round trip is so long.
    pub(super) fn on_rtt(&mut self, rtt: Duration) {
        self.patience = (rtt + FEEDBACK_TAKES).min(ANSWERED_WITHIN);
    }

    /// The rate dropped from `before`.
    pub(super) fn on_drop(&mut self, now: Instant, before: Bitrate) {
        let higher = self.lost.map_or(before, |(lost, _)| lost.max(before));
        self.lost = Some((higher, now));
    }

    /// Whatever was tried before, it is time to try again: the path is back.
    pub(super) fn encourage(&mut self) {
        (self.failures, self.probed) = (0, Instant::ZERO);
    }

    /// The outcome of a probe that these results complete, and whether it is a success. One that is not complete when packets
    /// behind it are told of was lost, or the feedback on it.
    pub(super) fn on_feedback(
        &mut self,
        packets: &[PacketResult],
        is_success: impl Fn(&ProbeResult) -> bool,
    ) -> Option<(ProbeResult, bool)> {
        let Some(result) = self.meter.on_feedback(packets) else {
            let asked = self.asked.unwrap_or(Instant::NEVER);
            if packets.iter().any(|packet| packet.probe.is_none() && packet.sent > asked) {
                self.fail();
            }
            return None;
        };
        let succeeded = is_success(&result);
        self.asked = None;
        self.failures = if succeeded { 0 } else { (self.failures + 1).min(MAX_DOUBLINGS) };
        Some((result, succeeded))
    }

    /// Time passed, and the estimate is this: a probe that was not answered is over, and a drop that was made good.
    pub(super) fn update(&mut self, now: Instant, estimate: Bitrate) {
        if self.given_up().is_some_and(|at| at <= now) {
            self.fail();
        }
        if self.lost.is_some_and(|(lost, at)| estimate >= lost * RECOVERY || now.saturating_since(at) > FORGET_AFTER) {
            (self.lost, self.failures) = (None, 0);
        }
    }

    /// The probe under way is over, and tells nothing.
    fn fail(&mut self) {
        self.asked = None;
        self.failures = (self.failures + 1).min(MAX_DOUBLINGS);
    }

    /// When the probe under way is taken to be lost.
    pub(super) fn given_up(&self) -> Option<Instant> {
        self.asked.map(|asked| asked + self.patience)
    }

    /// Whether a probe is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.asked.is_some()
    }

    /// When the last began, or the estimator.
    pub(super) fn probed(&self) -> Instant {
        self.probed
    }

    /// The rate to try after a drop that has not been made good.
    pub(super) fn recovery(&self) -> Option<Bitrate> {
        self.lost.map(|(lost, _)| lost * RECOVERY)
    }

    /// Whether `interval`, doubled by each failure, has passed since the last.
    pub(super) fn waited(&self, now: Instant, interval: Duration) -> bool {
        now.saturating_since(self.probed) >= interval * (1 << self.failures)
    }

    /// The same, but never longer than `longest`.
    pub(super) fn waited_at_most(&self, now: Instant, interval: Duration, longest: Duration) -> bool {
        self.waited(now, interval) || now.saturating_since(self.probed) >= longest
    }

    /// The most that is tried: `factor` more than the peer could be sent.
    pub(super) fn most(&self, factor: f64) -> Bitrate {
        self.demand.map_or(self.max, |demand| (demand * factor).min(self.max))
    }

    /// A new probe of at least so many packets, to be sent at once.
    pub(super) fn begin(&mut self, now: Instant, bitrate: Bitrate, duration: Duration, packets: u32) -> ProbeCluster {
        (self.asked, self.probed) = (Some(now), now);
        self.meter.begin(bitrate, duration, packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: DataSize = DataSize::from_bytes(625);

    /// A probe of 2 Mbit/s in bursts each 5 ms, of which packet `n` arrives at `arrival(n, sent)`.
    fn probe(mut arrival: impl FnMut(u64, Instant) -> Option<Instant>) -> Option<ProbeResult> {
        let mut meter = ProbeMeter::default();
        let cluster = meter.begin(Bitrate::from_kbps(2_000), Duration::from_millis(20), 5);
        let result = |n: u64| {
            let sent = Instant::from_millis(1_000 + n / 2 * 5);
            PacketResult { sent, received: arrival(n, sent), size: SIZE, probe: Some(cluster.id) }
        };
        meter.on_feedback(&(0..10).map(result).collect::<Vec<_>>())
    }

    /// Over a path of `path` bits per second.
    fn probe_over(path: u64) -> ProbeResult {
        let mut free = Instant::ZERO;
        let arrival = |_, sent: Instant| {
            free = free.max(sent) + Bitrate::from_bps(path).time_for(SIZE);
            Some(free)
        };
        probe(arrival).unwrap()
    }

    #[test]
    fn a_slow_path_is_measured_and_a_fast_one_bounded() {
        let slow = probe_over(1_000_000);
        assert!(slow.saturated && slow.measured.as_kbps().abs_diff(1_000) < 50, "{slow:?}");
        let fast = probe_over(20_000_000);
        assert!(!fast.saturated && fast.measured.as_kbps().abs_diff(2_000) < 100, "{fast:?}");
    }

    #[test]
    fn a_probe_that_was_lost_or_held_up_tells_nothing() {
        assert_eq!(probe(|n, sent| (n < 5).then_some(sent)), None);
        assert_eq!(probe(|_, _| Some(Instant::from_millis(2_000))), None);
    }
}
