//! When to probe: at the beginning, after a drop, and while too little is sent to show what the path carries.

use crate::bwe::PacketResult;
use crate::bwe::probe::{Attempts, PACKETS, ProbeCluster, ProbeResult};
use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};

const DURATION: Duration = Duration::from_millis(20);
/// Each that finds no limit is followed by one of so much more.
const STEP: f64 = 3.0;
/// The first tries so much more than the start: it decides whether video begins at all. More would fill a queue in which
/// somebody else stands already.
const FIRST_STEP: f64 = 4.0;
/// Of what the peer could be sent, so much is tried; and by the first so much, since video begins with a keyframe, which is
/// many frames at once.
const AMPLE: f64 = 1.5;
const FIRST_AMPLE: f64 = 3.0;
/// What began a climb is tried so often again where nothing is heard of it: neither a lost probe nor the loss of the feedback
/// on it says that the path carries less, and until one is answered a newcomer may see nothing.
const REPEATS: u32 = 3;
/// One that measures so much of what it tried found no limit, and one that arrives as fast as it left: a short one may leave
/// more slowly than was asked for.
const SUCCESS: f64 = 0.8;
/// Attempts lie so far apart, after a drop and while too little is sent; each failure doubles it.
const RECOVERY_INTERVAL: Duration = Duration::from_millis(1_000);
/// After a drop they are gentle, so that they need not be seldom: what fails stands as a queue, the longer the more was
/// tried. What succeeds is followed by more.
const GENTLE: f64 = 1.6;
/// At low rates a probe costs by its packets, whatever its rate: there it is of fewer, and tries all that was lost.
const SHORT_BELOW: Bitrate = Bitrate::from_kbps(300);
const SHORT_PACKETS: u32 = 3;
const SHORT: DataSize = DataSize::from_bytes(3 * 1_200);
const LONGEST_WAIT: Duration = Duration::from_secs(3);
const LIMITED_INTERVAL: Duration = Duration::from_secs(3);

/// How much of the path's capacity is known without a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Known {
    /// Too little is sent to show it.
    Little,
    /// It is what is sent, or more.
    AtLeast,
    /// Bursts arrive more slowly than they leave: a probe could tell nothing new, and would stand as a queue.
    Exactly,
}

/// Decides what to probe for.
#[derive(Clone, Debug)]
pub(super) struct Prober {
    attempts: Attempts,
    /// What is to be tried next, whenever it can be.
    next: Option<Climb>,
    /// What was tried last that way, and is under way.
    climbing: Option<Climb>,
    started: bool,
}

/// A step towards what the path carries.
#[derive(Clone, Copy, Debug)]
struct Climb {
    bitrate: Bitrate,
    is_first: bool,
    /// How often it has been sent in vain.
    repeats: u32,
}

impl Prober {
    pub(super) fn new(max: Bitrate, now: Instant) -> Self {
        Self { attempts: Attempts::new(max, now), next: None, climbing: None, started: false }
    }

    pub(super) fn set_demand(&mut self, demand: Option<Bitrate>) {
        self.attempts.set_demand(demand);
    }

    /// The rate dropped from `before`.
    pub(super) fn on_drop(&mut self, now: Instant, before: Bitrate) {
        self.attempts.on_drop(now, before);
        (self.next, self.climbing) = (None, None);
    }

    /// The round trip is so long: what was not answered well after it was lost.
    pub(super) fn on_rtt(&mut self, rtt: Duration) {
        self.attempts.on_rtt(rtt);
    }

    /// Whatever was tried before, it is time to try again: the path is back.
    pub(super) fn encourage(&mut self) {
        self.attempts.encourage();
    }

    /// When a probe that is to be tried again is given up, which nothing else may tell of: perhaps nothing is sent.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.climbing.filter(|climb| climb.repeats < REPEATS).and(self.attempts.given_up())
    }

    /// Time has come.
    pub(super) fn handle_timeout(&mut self, now: Instant, estimate: Bitrate) {
        self.attempts.update(now, estimate);
    }

    /// The outcome of a probe that these results complete.
    pub(super) fn on_feedback(&mut self, packets: &[PacketResult]) -> Option<ProbeResult> {
        let found_no_limit = |result: &ProbeResult| !result.saturated || result.measured >= result.requested * SUCCESS;
        let (result, succeeded) = self.attempts.on_feedback(packets, found_no_limit)?;
        self.climbing = None;
        if succeeded {
            self.next = Some(Climb { bitrate: result.measured * STEP, is_first: false, repeats: 0 });
        }
        Some(result)
    }

    /// What to send now. It is asked with each drain, so `known` is worked out only where it counts.
    pub(super) fn poll(&mut self, now: Instant, estimate: Bitrate, known: impl Fn() -> Known) -> Option<ProbeCluster> {
        self.attempts.update(now, estimate);
        if self.attempts.is_under_way() {
            return None;
        }
        if !std::mem::replace(&mut self.started, true) {
            self.next = Some(Climb { bitrate: estimate * FIRST_STEP, is_first: true, repeats: 0 });
        }
        if let Some(unanswered) = self.climbing.take().filter(|climb| climb.repeats < REPEATS) {
            self.next = Some(Climb { repeats: unanswered.repeats + 1, ..unanswered });
        }
        match self.next.take() {
            _ if self.attempts.most(AMPLE) <= estimate * 1.1 => None,
            Some(climb) => self.climb(now, estimate, climb),
            None => self.try_again(now, estimate, known),
        }
    }

    fn climb(&mut self, now: Instant, estimate: Bitrate, climb: Climb) -> Option<ProbeCluster> {
        let ample = if climb.is_first { FIRST_AMPLE } else { AMPLE };
        let bitrate = climb.bitrate.min(self.attempts.most(ample));
        if bitrate <= estimate * 1.1 {
            return None;
        }
        self.climbing = Some(climb);
        Some(self.attempts.begin(now, bitrate, DURATION, PACKETS))
    }

    /// After a drop, and while too little is sent.
    fn try_again(&mut self, now: Instant, estimate: Bitrate, known: impl Fn() -> Known) -> Option<ProbeCluster> {
        let is_short = estimate < SHORT_BELOW;
        let attempts = &self.attempts;
        let target = match attempts.recovery() {
            Some(lost)
                if attempts.waited_at_most(now, RECOVERY_INTERVAL, LONGEST_WAIT) && known() != Known::Exactly =>
            {
                if is_short {
                    lost
                } else {
                    lost.min(estimate * GENTLE)
                }
            }
            None if attempts.waited(now, LIMITED_INTERVAL) && known() == Known::Little => estimate * STEP,
            _ => return None,
        };
        let bitrate = target.min(attempts.most(AMPLE));
        if bitrate <= estimate * 1.1 {
            return None;
        }
        let (duration, packets) =
            if is_short { (bitrate.time_for(SHORT).min(DURATION), SHORT_PACKETS) } else { (DURATION, PACKETS) };
        Some(self.attempts.begin(now, bitrate, duration, packets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probes within 20 s after a drop from 2,500 to 600 kbit/s.
    fn after_a_drop(known: Known) -> usize {
        let mut prober = Prober::new(Bitrate::from_kbps(50_000), Instant::ZERO);
        let poll = |prober: &mut Prober, ms| prober.poll(Instant::from_millis(ms), Bitrate::from_kbps(600), || known);
        assert!(poll(&mut prober, 0).is_some(), "the first is due at once");
        prober.on_drop(Instant::from_millis(5_000), Bitrate::from_kbps(2_500));
        (5_000..25_000).step_by(50).filter(|ms| poll(&mut prober, *ms).is_some()).count()
    }

    #[test]
    fn at_a_low_rate_it_tries_all_that_was_lost_with_few_packets() {
        let mut prober = Prober::new(Bitrate::from_kbps(50_000), Instant::ZERO);
        let mut poll = |ms, kbps, lost: Option<u64>| {
            let now = Instant::from_millis(ms);
            lost.into_iter().for_each(|kbps| prober.on_drop(now, Bitrate::from_kbps(kbps)));
            prober.poll(now, Bitrate::from_kbps(kbps), || Known::Little)
        };
        poll(0, 600, None).unwrap();
        let short = poll(5_000, 100, Some(2_000)).unwrap();
        assert_eq!((short.bitrate.as_kbps(), short.packets), (1_700, 3));
        assert!(short.bitrate.in_duration(short.duration) <= DataSize::from_bytes(3_600), "{short:?}");
        let usual = poll(15_000, 400, Some(2_000)).unwrap();
        assert_eq!((usual.bitrate.as_kbps(), usual.packets), (640, 5));
    }

    /// When probes leave within two seconds, in ms, where feedback each 50 ms tells of a packet that left just now, and of no
    /// probe.
    fn unanswered(demand: Bitrate, feedback: bool) -> Vec<u64> {
        let mut prober = Prober::new(Bitrate::from_kbps(50_000), Instant::ZERO);
        prober.set_demand(Some(demand));
        prober.on_rtt(Duration::from_millis(50));
        let mut probes = Vec::new();
        for ms in 1..2_000 {
            let now = Instant::from_millis(ms);
            if prober.poll(now, Bitrate::from_kbps(600), || Known::Little).is_some() {
                probes.push(ms);
            }
            if feedback && ms % 50 == 0 {
                let size = DataSize::from_bytes(100);
                let packet =
                    PacketResult { sent: now - Duration::from_millis(25), received: Some(now), size, probe: None };
                assert_eq!(prober.on_feedback(&[packet]), None);
            }
        }
        probes
    }

    #[test]
    fn what_is_lost_of_a_climb_is_tried_again_soon_and_not_for_ever() {
        let more = Bitrate::from_kbps(1_600);
        assert_eq!(unanswered(more, true), [1, 51, 101, 151], "feedback passes it over");
        assert_eq!(unanswered(more, false), [1, 201, 401, 601], "there is none");
        assert_eq!(unanswered(Bitrate::from_kbps(400), true), [0; 0], "nobody wants more");
    }

    #[test]
    fn the_first_has_room_for_a_keyframe() {
        let first = |demand| {
            let mut prober = Prober::new(Bitrate::from_kbps(50_000), Instant::ZERO);
            prober.set_demand(Some(Bitrate::from_kbps(demand)));
            prober.poll(Instant::ZERO, Bitrate::from_kbps(600), || Known::Little).unwrap().bitrate.as_kbps()
        };
        assert_eq!([first(700), first(1_600)], [2_100, 2_400]);
    }

    /// The pacer sends a short one more slowly than was asked for.
    #[test]
    fn what_arrives_as_fast_as_it_left_found_no_limit() {
        let mut prober = Prober::new(Bitrate::from_kbps(50_000), Instant::ZERO);
        let probe = prober.poll(Instant::ZERO, Bitrate::from_kbps(600), || Known::Little).unwrap();
        let results = [0, 0, 9, 9, 18, 18].map(|ms| {
            let sent = Instant::from_millis(ms);
            PacketResult { sent, received: Some(sent), size: DataSize::from_bytes(1_000), probe: Some(probe.id) }
        });
        let result = prober.on_feedback(&results).unwrap();
        assert!(!result.saturated && result.measured < probe.bitrate * SUCCESS, "{result:?}");
        assert!(prober.poll(Instant::from_millis(50), result.measured, || Known::Little).is_some());
    }

    #[test]
    fn after_a_drop_it_asks_until_bursts_tell() {
        assert_eq!(after_a_drop(Known::Exactly), 0);
        assert!(after_a_drop(Known::AtLeast) >= 5 && after_a_drop(Known::Little) >= 5);
    }
}
