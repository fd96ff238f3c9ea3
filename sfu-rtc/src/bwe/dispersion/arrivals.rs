//! What arrives: the rate of the last moment, its loss, and what trains of packets tell of the capacity.

use crate::bwe::PacketResult;
use crate::bwe::train::Train;
use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};
use std::collections::VecDeque;

/// Packets further apart are of different trains: the pacer's bursts are 5 ms apart ...
const TRAIN_GAP: Duration = Duration::from_millis(8);
/// ... or, where a packet takes longer than that, so much of the time that it takes at the estimate.
const PACED: f64 = 0.8;
/// A train of fewer packets is too short to tell by itself.
const MIN_TRAIN: u32 = 4;
/// A longer one is two.
const MAX_TRAIN: u32 = 40;
/// Trains that are kept, those that count, and how old they may be.
const KEPT: usize = 32;
const TRAINS: usize = 8;
const MAX_AGE: Duration = Duration::from_millis(600);
/// Fewer are chance; and of short ones, so many packets behind the first.
const MIN_TRAINS: usize = 3;
const MIN_BEHIND: u32 = 6;
/// A train is spread where it arrives at less than this share of the rate at which it left.
const SPREAD: f64 = 0.9;
/// So many times the noise of arrivals may be chance, in one train.
const NOISE: f64 = 2.0;

/// The rate of arrivals is measured over so much time, and so many packets.
const WINDOW: Duration = Duration::from_millis(150);
const MIN_PACKETS: u32 = 8;
/// So long without an arrival is a stall of the path, since a packet of 1,200 bytes takes less at any rate that is of use.
/// What it delivers at once afterwards is measured from the stall's end on, over less time.
const STALL: Duration = Duration::from_millis(200);
const AFTER_STALL: Duration = Duration::from_millis(40);
/// Who sends nothing for so long is idle: a frame of audio takes 20 to 120 ms.
const IDLE: Duration = Duration::from_millis(250);
/// So long at less than the first share of the estimate leaves the path idle as well, as a screen does that stands still
/// while somebody speaks; at the second share it is used again. What leaves is measured over about so many seconds.
const LITTLE_FOR: Duration = Duration::from_secs(1);
const LITTLE: (f64, f64) = (0.2, 0.5);
const LEAVING_OVER: f64 = 0.25;
/// Loss is counted over so much time.
pub(super) const LOSS_WINDOW: Duration = Duration::from_millis(1_000);
const REPORTS: usize = 64;

/// What trains tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Capacity {
    /// The path spread them to this rate.
    Is(Bitrate),
    /// They arrived as they were sent.
    AtLeast(Bitrate),
}

#[derive(Clone, Copy, Debug)]
struct Report {
    at: Instant,
    last_sent: Instant,
    last_received: Instant,
    sent: u64,
    received: u64,
    packets: u32,
    lost: u32,
}

/// A train that is complete: its rates in bit/s.
#[derive(Clone, Copy, Debug)]
struct Past {
    at: Instant,
    packets: u32,
    bits: f64,
    /// Without end where it left at once.
    sent: f64,
    received: f64,
}

/// Trains together: how long each rate takes for their bits.
struct Sums {
    count: usize,
    behind: u32,
    bits: f64,
    sent: f64,
    received: f64,
}

fn sums<'t>(trains: impl Iterator<Item = &'t Past>) -> Sums {
    let none = Sums { count: 0, behind: 0, bits: 0.0, sent: 0.0, received: 0.0 };
    trains.fold(none, |sums, train| Sums {
        count: sums.count + 1,
        behind: sums.behind + train.packets - 1,
        bits: sums.bits + train.bits,
        sent: sums.sent + train.bits / train.sent,
        received: sums.received + train.bits / train.received,
    })
}

/// Where little is sent, most trains are of two or three packets. What is behind the first packet arrives no faster than
/// the path carries, so many of them show what it carries at least (packet pairs; Dovrolis et al., see `train`).
fn short_trains<'t>(trains: impl Iterator<Item = &'t Past>) -> Option<Capacity> {
    let sums = sums(trains);
    let rate = sums.bits / sums.received.max(sums.sent);
    (sums.behind >= MIN_BEHIND).then_some(Capacity::AtLeast(Bitrate::from_bps(rate as u64)))
}

/// Arrivals of the last second.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    reports: VecDeque<Report>,
    train: Train,
    trains: VecDeque<Past>,
    /// When something last left, and the first after being idle.
    left: Instant,
    resumed: Instant,
    /// What left lately, in bit/s; since when and until when that was little; and the first that left after it was.
    leaving: f64,
    little: Option<(Instant, Instant)>,
    used_since: Instant,
    /// When the first packet arrived after a stall, on the peer's clock.
    stall_ended: Instant,
}

/// The newest reports together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) sent: Bitrate,
    pub(super) received: Bitrate,
}

impl Arrivals {
    pub(super) fn new() -> Self {
        Self {
            reports: VecDeque::with_capacity(REPORTS),
            train: Train::default(),
            trains: VecDeque::with_capacity(KEPT),
            left: Instant::ZERO,
            resumed: Instant::ZERO,
            leaving: 0.0,
            little: None,
            used_since: Instant::ZERO,
            stall_ended: Instant::ZERO,
        }
    }

    /// A packet leaves, while the path is taken to carry `estimate` bit/s.
    pub(super) fn on_sent(&mut self, now: Instant, size: DataSize, estimate: f64) {
        let since = now.saturating_since(self.left);
        if since > IDLE {
            self.resumed = now;
        }
        self.left = now;
        self.leaving *= (-since.as_secs_f64() / LEAVING_OVER).exp();
        if self.leaving < LITTLE.0 * estimate {
            self.little = Some((self.little.map_or(now, |(since, _)| since), now));
        }
        self.leaving += size.as_bytes() as f64 * 8.0 / LEAVING_OVER;
        if self.leaving >= LITTLE.1 * estimate
            && let Some((since, until)) = self.little.take()
            && until.saturating_since(since) >= LITTLE_FOR
        {
            self.used_since = until;
        }
    }

    /// What was sent before `at`, and what became of it, tells no rate.
    pub(super) fn resume(&mut self, at: Instant) {
        self.resumed = self.resumed.max(at);
    }

    /// With each report; packets are paced at some times `estimate`.
    pub(super) fn on_feedback<'p>(
        &mut self,
        now: Instant,
        packets: impl Iterator<Item = &'p PacketResult> + Clone,
        estimate: Bitrate,
    ) {
        let before = self.reports.back();
        let (mut last_sent, mut last_received) =
            before.map_or((Instant::ZERO, Instant::ZERO), |report| (report.last_sent, report.last_received));
        let leapt = packets.clone().filter_map(|packet| packet.received).any(|received| {
            last_received != Instant::ZERO
                && (received + Duration::from_secs(5) < last_received
                    || received > last_received + Duration::from_secs(60))
        });
        if leapt {
            let Self { left, resumed, leaving, little, used_since, .. } = *self;
            *self = Self { left, resumed, leaving, little, used_since, ..Self::new() };
            last_received = Instant::ZERO;
        }
        let (mut sent, mut received, mut count, mut lost) = (0_u64, 0_u64, 0_u32, 0);
        for packet in packets {
            self.add_to_train(now, packet, estimate);
            count += 1;
            last_sent = last_sent.max(packet.sent);
            sent = sent.saturating_add(packet.size.as_bytes());
            match packet.received {
                Some(at) => {
                    if last_received != Instant::ZERO && at.saturating_since(last_received) >= STALL {
                        self.stall_ended = at;
                    }
                    last_received = last_received.max(at);
                    received = received.saturating_add(packet.size.as_bytes());
                }
                None => lost += 1,
            }
        }
        if self.reports.len() == REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(Report { at: now, last_sent, last_received, sent, received, packets: count, lost });
    }

    fn add_to_train(&mut self, now: Instant, packet: &PacketResult, estimate: Bitrate) {
        let longest = TRAIN_GAP.max(estimate.time_for(packet.size).mul_f64(PACED));
        let gap = self.train.last_sent().map(|last| packet.sent.saturating_since(last));
        if gap.is_some_and(|gap| gap > longest) || self.train.packets() >= MAX_TRAIN {
            let train = std::mem::take(&mut self.train);
            if let Some(rates) = train.rates() {
                if self.trains.len() == KEPT {
                    self.trains.pop_front();
                }
                self.trains.push_back(Past {
                    at: now,
                    packets: train.packets(),
                    bits: train.measured().as_bytes() as f64 * 8.0,
                    sent: rates.sent.map_or(f64::INFINITY, |sent| sent.as_bps() as f64),
                    received: rates.received.as_bps() as f64,
                });
            }
        }
        self.train.add(packet);
    }

    /// What the last trains tell, where arrivals vary by `noise` milliseconds. Of rates the harmonic mean: trains that
    /// were held up and came together count little.
    pub(super) fn capacity(&self, now: Instant, noise: f64) -> Option<Capacity> {
        let recent = || self.trains.iter().rev().take_while(|train| now.saturating_since(train.at) <= MAX_AGE);
        let sums = sums(recent().filter(|train| train.packets >= MIN_TRAIN).take(TRAINS));
        if sums.count < MIN_TRAINS {
            return short_trains(recent());
        }
        let bitrate = |time: f64| Bitrate::from_bps((sums.bits / time) as u64);
        let chance = NOISE * noise / 1_000.0 * (sums.count as f64).sqrt();
        if sums.received > sums.sent / SPREAD + chance {
            return Some(Capacity::Is(bitrate(sums.received)));
        }
        Some(Capacity::AtLeast(bitrate((sums.received - chance).max(sums.sent))))
    }

    /// The rates of the last moment; `None` where nothing was sent for a part of it: then the bottleneck was idle too, and
    /// what arrived is not what it carries.
    pub(super) fn rates(&self) -> Option<Rates> {
        let newest = self.reports.back()?;
        let (mut sent, mut received, mut packets) = (0_u64, 0_u64, 0_u32);
        let mut since_stall = None;
        for pair in 1..self.reports.len() {
            let at = self.reports.len() - pair;
            let (report, before) = (self.reports[at], self.reports[at - 1]);
            if before.last_sent < self.resumed {
                return None;
            }
            let spans_little = before.last_sent < self.used_since;
            let spans_stall = before.last_received < self.stall_ended;
            if spans_little || (spans_stall && since_stall.is_some()) {
                return since_stall;
            }
            sent = report.sent.saturating_add(sent);
            received = report.received.saturating_add(received);
            packets += report.packets;
            let spread = newest.last_received.saturating_since(before.last_received);
            let took = newest.last_sent.saturating_since(before.last_sent);
            if took == Duration::ZERO || packets < MIN_PACKETS {
                continue;
            }
            let rate = |bytes: u64, time| DataSize::from_bytes(bytes).per(time);
            let rates = Rates { sent: rate(sent, took), received: rate(received, spread) };
            if spread >= WINDOW {
                return Some(rates);
            }
            if !spans_stall && spread >= AFTER_STALL {
                since_stall = Some(rates);
            }
        }
        None
    }

    /// The share lost over the last second, with the packets that it is of.
    pub(super) fn loss(&self, now: Instant) -> (f64, u32) {
        let recent = self.reports.iter().filter(|report| now.saturating_since(report.at) <= LOSS_WINDOW);
        let (lost, packets) = recent.fold((0, 0), |(lost, packets), r| (lost + r.lost, packets + r.packets));
        (f64::from(lost) / f64::from(packets.max(1)), packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: DataSize = DataSize::from_bytes(1_200);

    /// Packets sent each 10 ms, of which packet `n` arrives at `arrival(n)` milliseconds; each 50 ms feedback on what has
    /// arrived. The rate received in kbit/s, after each feedback.
    fn received(packets: u64, arrival: impl Fn(u64) -> u64) -> Vec<Option<u64>> {
        let (mut arrivals, mut next, mut rates) = (Arrivals::new(), 0, Vec::new());
        for at in (50..arrival(packets - 1) + 50).step_by(50) {
            let due = (next..packets).take_while(|n| arrival(*n) <= at).last().map_or(next, |last| last + 1);
            let result = |n: u64| {
                let (sent, received) = (Instant::from_millis(1_000 + 10 * n), Instant::from_millis(arrival(n)));
                PacketResult { sent, received: Some(received), size: SIZE, probe: None }
            };
            let results: Vec<_> = (next..due).map(result).collect();
            next = due;
            if !results.is_empty() {
                arrivals.on_feedback(Instant::from_millis(1_000 + at), results.iter(), Bitrate::from_kbps(1_000));
                rates.push(arrivals.rates().map(|rates| rates.received.as_kbps()));
            }
        }
        rates
    }

    #[test]
    fn after_a_stall_what_the_path_delivers_at_once_is_its_rate() {
        // From 2 to 3 s nothing arrives, and then one packet each 2 ms until all that waited has.
        let rates = received(300, |n| if n < 200 { 10 * n } else { (10 * n).max(3_000 + 2 * (n - 200)) });
        let stalled = rates.iter().position(|rate| rate.is_some_and(|rate| rate < 500)).unwrap();
        assert!(rates[stalled + 1].unwrap() > 4_000, "{rates:?}");
    }

    #[test]
    fn a_path_that_delivers_a_packet_now_and_then_is_slow() {
        let rates = received(230, |n| if n < 200 { 10 * n } else { 2_000 + 300 * (n - 200) });
        let slow = &rates[rates.len() - 20..];
        assert!(slow.iter().all(|rate| rate.is_some_and(|rate| rate < 100)), "{slow:?}");
    }

    /// A page after two seconds of nothing but sound, on a path of 1 Mbit/s.
    #[test]
    fn what_arrived_before_the_path_was_used_is_no_measure_of_it() {
        let estimate = Bitrate::from_kbps(1_000);
        let (mut arrivals, mut free, mut results) = (Arrivals::new(), 0.0_f64, Vec::new());
        let mut measured = Vec::new();
        for at in (1_000..4_000).step_by(10) {
            let size = match at {
                3_000.. => 2_400,
                _ if at % 20 == 0 => 100,
                _ => continue,
            };
            let (sent, size) = (Instant::from_millis(at), DataSize::from_bytes(size));
            arrivals.on_sent(sent, size, estimate.as_bps() as f64);
            free = free.max(at as f64) + size.as_bytes() as f64 * 8.0 / 1_000.0;
            let received = Some(Instant::from_millis(free as u64));
            results.push(PacketResult { sent, received, size, probe: None });
            if at % 50 == 0 {
                let known =
                    results.partition_point(|packet: &PacketResult| packet.sent < Instant::from_millis(at - 100));
                arrivals.on_feedback(
                    Instant::from_millis(at),
                    results.drain(..known).collect::<Vec<_>>().iter(),
                    estimate,
                );
                measured.extend(arrivals.rates().filter(|_| at > 3_100).map(|rates| rates.received.as_kbps()));
            }
        }
        assert!(measured.len() > 10 && measured.iter().all(|rate| (900..1_100).contains(rate)), "{measured:?}");
    }
}
