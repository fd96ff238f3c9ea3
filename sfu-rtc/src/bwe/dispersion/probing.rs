//! When to probe: at the beginning, after a drop, and while too little is sent to show what the path carries.

use crate::bwe::PacketResult;
use crate::bwe::probe::{Attempts, PACKETS, ProbeCluster, ProbeResult};
use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};

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

    /// What to send now. It is asked with each drain, so `known` is worked out only where it counts.
    pub(super) fn poll(&mut self, now: Instant, estimate: Bitrate, known: impl Fn() -> Known) -> Option<ProbeCluster> {
        self.attempts.update(now, estimate);
        if self.attempts.is_under_way() {
            return None;
        }
        if !std::mem::replace(&mut self.started, true) {
            self.next = Some(estimate * STEP);
        }
        let is_short = self.next.is_none() && estimate < SHORT_BELOW;
        let attempts = &self.attempts;
        let target = match (self.next.take(), attempts.recovery()) {
            (Some(next), _) => next,
            (None, Some(lost))
                if attempts.waited_at_most(now, RECOVERY_INTERVAL, LONGEST_WAIT) && known() != Known::Exactly =>
            {
                if is_short {
                    lost
                } else {
                    lost.min(estimate * GENTLE)
                }
            }
            (None, None) if attempts.waited(now, LIMITED_INTERVAL) && known() == Known::Little => estimate * STEP,
            _ => return None,
        };
        let bitrate = target.min(self.attempts.most(1.5));
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

    #[test]
    fn after_a_drop_it_asks_until_bursts_tell() {
        assert_eq!(after_a_drop(Known::Exactly), 0);
        assert!(after_a_drop(Known::AtLeast) >= 5 && after_a_drop(Known::Little) >= 5);
    }
}
