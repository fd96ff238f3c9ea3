//! What a path does to packets: loss, queueing delay and jitter, from transport-wide feedback.
//!
//! Only what was sent has a transport-wide number, so what had been lost on the way to us counts nowhere.

use crate::bwe::PacketResult;
use crate::loss::{GilbertLoss, LossMeter, RecurrenceMeter};
use crate::time::{Duration, Instant};

/// Within so long a path is without a queue at least once. Two clocks part by some milliseconds in this time.
const MEMORY: Duration = Duration::from_secs(30);
/// Weight of a new packet in the mean delay and its deviation.
const WEIGHT: f64 = 1.0 / 64.0;

/// What a path was like lately.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PathQuality {
    /// Loss.
    pub loss: GilbertLoss,
    /// Share of packets lost of those that were sent [`RECURRENCE`](crate::loss::RECURRENCE) behind a lost one, at least
    /// that of all.
    pub lost_again: f64,
    /// Mean delay beyond the least that was seen.
    pub queue: Duration,
    /// What packets are later by than the mean, but for a few: twice the mean deviation.
    pub jitter: Duration,
}

/// Measures a path.
#[derive(Clone, Debug)]
pub struct PathMeter {
    loss: LossMeter,
    recurrence: RecurrenceMeter,
    /// When the newest packet was sent that feedback told of.
    newest: Instant,
    /// Least delay between the two clocks, in nanoseconds: of the last period of `MEMORY / 2`, and of this one.
    least: [i64; 2],
    period: Instant,
    /// Mean delay beyond the least, and mean deviation from it, in seconds; `None` before the first packet.
    delay: Option<(f64, f64)>,
}

impl PathMeter {
    /// Nothing is known.
    pub fn new(now: Instant) -> Self {
        Self {
            loss: LossMeter::new(now),
            recurrence: RecurrenceMeter::new(now),
            newest: Instant::ZERO,
            least: [i64::MAX; 2],
            period: now,
            delay: None,
        }
    }

    /// What became of packets, in the order of sending.
    pub fn on_feedback(&mut self, now: Instant, packets: &[PacketResult]) {
        // One that was told lost before, and came late, is behind the newest.
        let newest = self.newest;
        let told = packets.iter().filter(|p| p.sent >= newest).map(|p| (p.sent, p.received.is_some()));
        self.loss.on_packets(now, told.clone().map(|(_, arrived)| arrived));
        self.recurrence.on_packets(now, told);
        self.loss.on_found(packets.iter().filter(|p| p.sent < newest && p.received.is_some()).count());
        self.newest = packets.iter().fold(newest, |newest, packet| newest.max(packet.sent));
        if now - self.period > MEMORY / 2 {
            (self.period, self.least) = (now, [self.least[1], i64::MAX]);
        }
        for packet in packets {
            if let Some(received) = packet.received {
                self.on_delay(signed(received).saturating_sub(signed(packet.sent)));
            }
        }
    }

    /// What the path was like lately; `None` before the first packet has arrived.
    pub fn quality(&self) -> Option<PathQuality> {
        let (mean, deviation) = self.delay?;
        let [queue, jitter] = [mean, 2.0 * deviation].map(|seconds| Duration::from_nanos((seconds * 1e9) as u64));
        let loss = self.loss.loss();
        Some(PathQuality { loss, lost_again: self.recurrence.share(loss.share), queue, jitter })
    }

    fn on_delay(&mut self, delay: i64) {
        self.least[1] = self.least[1].min(delay);
        let beyond = delay.saturating_sub(self.least[0].min(self.least[1])) as f64 / 1e9;
        self.delay = Some(match self.delay {
            None => (beyond, 0.0),
            Some((mean, deviation)) => {
                let apart = (beyond - mean).abs();
                (mean + (beyond - mean) * WEIGHT, deviation + (apart - deviation) * WEIGHT)
            }
        });
    }
}

fn signed(at: Instant) -> i64 {
    i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::DataSize;

    /// Five packets each 50 ms, of which those are lost that `arrives` has no delay for, in milliseconds.
    fn run(meter: &mut PathMeter, rounds: std::ops::Range<u64>, mut arrives: impl FnMut(u64) -> Option<u64>) {
        for round in rounds {
            let packets: Vec<_> = (0..5)
                .map(|n| {
                    let (number, sent) = (round * 5 + n, round * 50 + n * 10);
                    let received = arrives(number).map(|delay| Instant::from_millis(sent + 5_000 + delay));
                    PacketResult {
                        sent: Instant::from_millis(sent),
                        received,
                        size: DataSize::from_bytes(1_000),
                        probe: None,
                    }
                })
                .collect();
            meter.on_feedback(Instant::from_millis(round * 50 + 100), &packets);
        }
    }

    #[test]
    fn nothing_is_known_of_a_path_from_which_nothing_came() {
        assert_eq!(PathMeter::new(Instant::ZERO).quality(), None);
    }

    #[test]
    fn delay_beyond_the_least_is_a_queue_and_the_clocks_do_not_matter() {
        let mut meter = PathMeter::new(Instant::ZERO);
        run(&mut meter, 0..100, |_| Some(40));
        let quiet = meter.quality().unwrap();
        assert_eq!((quiet.loss.share, quiet.queue, quiet.jitter), (0.0, Duration::ZERO, Duration::ZERO));
        run(&mut meter, 100..200, |_| Some(190));
        let full = meter.quality().unwrap();
        assert!((145..=150).contains(&full.queue.as_millis()), "{full:?}");
        run(&mut meter, 200..1_100, |_| Some(190));
        assert!(meter.quality().unwrap().queue < Duration::from_millis(10), "the path has become longer");
    }

    #[test]
    fn jitter_is_what_varies() {
        let mut meter = PathMeter::new(Instant::ZERO);
        run(&mut meter, 0..200, |n| Some(40 + n % 2 * 20));
        let quality = meter.quality().unwrap();
        assert!((8..=12).contains(&quality.queue.as_millis()), "{quality:?}");
        assert!((18..=22).contains(&quality.jitter.as_millis()), "{quality:?}");
    }

    #[test]
    fn what_was_told_lost_and_came_late_is_not_lost() {
        let mut meter = PathMeter::new(Instant::ZERO);
        run(&mut meter, 0..100, |n| (n % 10 != 0).then_some(40));
        let before = meter.quality().unwrap().loss.share;
        assert!((0.08..0.11).contains(&before), "{before}");
        let late = |n: u64| PacketResult {
            sent: Instant::from_millis(4_900 - n),
            received: Some(Instant::from_millis(10_500)),
            size: DataSize::from_bytes(1_000),
            probe: None,
        };
        meter.on_feedback(Instant::from_millis(5_060), &[late(40), late(30), late(20), late(10)]);
        assert!(meter.quality().unwrap().loss.share < before - 0.005);
    }
}
