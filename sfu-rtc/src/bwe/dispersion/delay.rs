//! The queue on the way, by the one-way delay over the least that there was lately.
//!
//! The clocks of both ends differ by any offset and drift apart by up to some hundred millionths, so the least delay is
//! that of the last half minute: a drift makes 6 ms at most.

use crate::bwe::PacketResult;
use crate::time::{Duration, Instant};
use arrayvec::ArrayVec;

const BUCKET: Duration = Duration::from_secs(2);
const BUCKETS: usize = 15;
/// The least of so many packets is the queue that stands; of fewer, jitter. It reaches back so many reports at most.
const ENOUGH: u32 = 3;
const REPORTS: usize = 4;
/// Delays that move by so much between two packets: a clock leapt. In microseconds.
const MAX_LEAP: i64 = 5_000_000;
/// So many times the noise between reports is no queue; and most that the noise may be, in milliseconds.
const NOISE: f64 = 3.0;
const MAX_NOISE: f64 = 20.0;

/// Queueing delay in milliseconds.
#[derive(Clone, Default, Debug)]
pub(super) struct QueueDelay {
    /// The least delays, in microseconds on clocks of any offset, oldest first; each with its beginning.
    least: ArrayVec<(Instant, i64), BUCKETS>,
    last: Option<i64>,
    /// The least delay of the newest reports, and how many packets each is of.
    reports: ArrayVec<(i64, u32), REPORTS>,
    /// The least delay of the last report.
    lowest: Option<i64>,
    change: f64,
    noise: f64,
}

impl QueueDelay {
    /// With each report. The queue that was there for the whole time that it covers; `None` where nothing arrived. While
    /// somebody else keeps the queue full, the least delay known before is kept: `hold`.
    pub(super) fn on_feedback(&mut self, now: Instant, packets: &[PacketResult], hold: bool) -> Option<f64> {
        let mut least: Option<i64> = None;
        let mut count = 0;
        for packet in packets {
            let Some(received) = packet.received else { continue };
            let delay = micros(received).saturating_sub(micros(packet.sent));
            if self.last.is_some_and(|last| last.saturating_sub(delay).saturating_abs() > MAX_LEAP) {
                *self = Self::default();
                (least, count) = (None, 0);
            }
            self.last = Some(delay);
            least = Some(least.map_or(delay, |least| least.min(delay)));
            count += 1;
        }
        let lowest = self.lowest_lately(least?, count);
        let base = self.base(now, lowest, hold);
        let queue = lowest.saturating_sub(base) as f64 / 1_000.0;
        let change = lowest.saturating_sub(self.lowest.unwrap_or(lowest)) as f64 / 1_000.0;
        // Noise goes up and down; a queue that builds up or drains goes on in one direction.
        let turned = change * self.change < 0.0;
        let sample = if turned { change.abs().min(self.change.abs()).min(MAX_NOISE) } else { 0.0 };
        self.noise += (sample - self.noise) / 16.0;
        self.change = change;
        self.lowest = Some(lowest);
        Some((queue - NOISE * self.noise).max(0.0))
    }

    /// The least of the newest reports that have enough packets together.
    fn lowest_lately(&mut self, least: i64, count: u32) -> i64 {
        if self.reports.is_full() {
            self.reports.remove(0);
        }
        self.reports.push((least, count));
        let (mut lowest, mut packets) = (least, 0);
        for (least, count) in self.reports.iter().rev() {
            lowest = lowest.min(*least);
            packets += count;
            if packets >= ENOUGH {
                break;
            }
        }
        lowest
    }

    /// How much the delay varies from report to report, in milliseconds.
    pub(super) fn noise(&self) -> f64 {
        self.noise
    }

    fn base(&mut self, now: Instant, lowest: i64, hold: bool) -> i64 {
        match self.least.last_mut() {
            Some((begun, least)) if hold || now.saturating_since(*begun) < BUCKET => *least = lowest.min(*least),
            _ => {
                if self.least.is_full() {
                    self.least.remove(0);
                }
                self.least.push((now, lowest));
            }
        }
        self.least.iter().map(|(_, least)| *least).min().unwrap_or(lowest)
    }
}

fn micros(at: Instant) -> i64 {
    i64::try_from(at.as_micros()).unwrap_or(i64::MAX)
}
