//! Probes: a wish to send at a rate for a moment, and what feedback tells of it.

use super::PacketResult;
use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};
use arrayvec::ArrayVec;

/// Names a probe within one estimator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ProbeId(pub u32);

/// A probe that an estimator wishes: all that leaves from its beginning on is part of it and leaves at its rate, and
/// padding fills what is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeCluster {
    /// Its name, which its packets' [`PacketResult`]s carry.
    pub id: ProbeId,
    /// At what rate.
    pub bitrate: Bitrate,
    /// For how long.
    pub duration: Duration,
    /// At least so many packets, whatever the rate.
    pub packets: u32,
}

/// A probe's outcome.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct ProbeResult {
    /// The rate that was wished.
    pub(super) wished: Bitrate,
    /// The rate at which it was sent and arrived: the lower of both.
    pub(super) measured: Bitrate,
    /// It arrived more slowly than it was sent: what the path carries, not only a lower bound.
    pub(super) saturated: bool,
}

/// Most probes that are followed at once: the wish after the next is older than any round trip.
const MAX_PROBES: usize = 4;
/// Packets closer than that left together.
const BURST_GAP: Duration = Duration::from_millis(1);
/// Share of a probe's packets and bytes that must arrive for it to tell something; as in libwebrtc.
const LEAST_ARRIVED: f64 = 0.8;
/// Arriving more slowly than this share of its rate, a probe has filled the path; as in libwebrtc.
const SATURATED: f64 = 0.9;
/// Something that arrives so much faster than it was sent was held up on the way, and tells nothing.
const HELD_UP: f64 = 2.0;

/// Follows the probes under way.
#[derive(Clone, Default, Debug)]
pub(super) struct ProbeMeter {
    probes: ArrayVec<Probe, MAX_PROBES>,
    last: u32,
}

/// Both rates are measured from burst to burst: the bytes of the last burst are not sent, and those of the first not
/// received, within the time between them.
#[derive(Clone, Debug)]
struct Probe {
    cluster: ProbeCluster,
    first_sent: Option<Instant>,
    last_sent: Instant,
    first_received: Option<Instant>,
    /// When the newest packet of the first burst arrived, and the newest of all.
    first_burst_received: Instant,
    last_received: Instant,
    first_size: u64,
    first_burst: u64,
    last_burst: u64,
    sent: u64,
    received: u64,
    packets: u32,
}

impl ProbeMeter {
    /// A new probe, to be sent at once.
    pub(super) fn begin(&mut self, bitrate: Bitrate, duration: Duration, packets: u32) -> ProbeCluster {
        self.last = self.last.wrapping_add(1);
        let cluster = ProbeCluster { id: ProbeId(self.last), bitrate, duration, packets };
        if self.probes.is_full() {
            self.probes.remove(0);
        }
        self.probes.push(Probe::new(cluster));
        cluster
    }

    /// The outcome of the newest probe that these results complete.
    pub(super) fn on_feedback(&mut self, packets: &[PacketResult]) -> Option<ProbeResult> {
        let mut complete = None;
        for packet in packets {
            let probe = self.probes.iter_mut().find(|probe| Some(probe.cluster.id) == packet.probe);
            if let Some(probe) = probe {
                probe.add(packet);
                complete = probe.result().map(|result| (probe.cluster.id, result)).or(complete);
            }
        }
        let (id, result) = complete?;
        // What else comes of it, or of those before it, tells nothing new.
        let done = self.probes.iter().position(|probe| probe.cluster.id == id)?;
        self.probes.drain(..=done);
        Some(result)
    }
}

impl Probe {
    fn new(cluster: ProbeCluster) -> Self {
        Self {
            cluster,
            first_sent: None,
            last_sent: Instant::ZERO,
            first_received: None,
            first_burst_received: Instant::ZERO,
            last_received: Instant::ZERO,
            first_size: 0,
            first_burst: 0,
            last_burst: 0,
            sent: 0,
            received: 0,
            packets: 0,
        }
    }

    fn add(&mut self, packet: &PacketResult) {
        let size = packet.size.as_bytes();
        let first = *self.first_sent.get_or_insert(packet.sent);
        if packet.sent.saturating_since(self.last_sent) > BURST_GAP {
            self.last_burst = 0;
        }
        self.last_sent = self.last_sent.max(packet.sent);
        self.last_burst += size;
        self.sent += size;
        let Some(received) = packet.received else { return };
        self.packets += 1;
        self.received += size;
        if self.first_received.is_none() {
            (self.first_received, self.first_size) = (Some(received), size);
        }
        self.last_received = self.last_received.max(received);
        if packet.sent.saturating_since(first) <= BURST_GAP {
            self.first_burst += size;
            self.first_burst_received = self.first_burst_received.max(received);
        }
    }

    /// Once enough of it has arrived.
    fn result(&self) -> Option<ProbeResult> {
        let wished = self.cluster.bitrate.in_duration(self.cluster.duration).as_bytes();
        let enough = f64::from(self.packets) >= LEAST_ARRIVED * f64::from(self.cluster.packets)
            && self.received as f64 >= LEAST_ARRIVED * wished as f64;
        if !enough {
            return None;
        }
        let rate = |bytes: u64, time: Duration| DataSize::from_bytes(bytes).per(time);
        let took = self.last_sent.saturating_since(self.first_sent?);
        let (sent, received) = if took > BURST_GAP {
            (
                rate(self.sent - self.last_burst, took),
                rate(self.received - self.first_burst, self.last_received.saturating_since(self.first_burst_received)),
            )
        } else {
            // One burst: how it spread is all there is to know.
            let spread = self.last_received.saturating_since(self.first_received?);
            (self.cluster.bitrate, rate(self.received - self.first_size, spread))
        };
        if received == Bitrate::ZERO || received.as_bps() as f64 > HELD_UP * sent.as_bps() as f64 {
            return None;
        }
        let saturated = (received.as_bps() as f64) < SATURATED * sent.as_bps() as f64;
        Some(ProbeResult { wished: self.cluster.bitrate, measured: sent.min(received), saturated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A probe of 2 Mbit/s in bursts each 5 ms, over a path of `path` bits per second.
    fn probe_over(path: u64) -> Option<ProbeResult> {
        let mut meter = ProbeMeter::default();
        let cluster = meter.begin(Bitrate::from_kbps(2_000), Duration::from_millis(20), 5);
        let size = DataSize::from_bytes(625);
        let (mut free, mut results) = (Instant::ZERO, Vec::new());
        for n in 0..10 {
            let sent = Instant::from_millis(1_000 + n / 2 * 5);
            free = free.max(sent) + Bitrate::from_bps(path).time_for(size);
            results.push(PacketResult { sent, received: Some(free), size, probe: Some(cluster.id) });
        }
        meter.on_feedback(&results)
    }

    #[test]
    fn a_slow_path_is_measured_and_a_fast_one_bounded() {
        let slow = probe_over(1_000_000).unwrap();
        assert!(slow.saturated && slow.measured.as_kbps().abs_diff(1_000) < 50, "{slow:?}");
        let fast = probe_over(20_000_000).unwrap();
        assert!(!fast.saturated && fast.measured.as_kbps().abs_diff(2_000) < 100, "{fast:?}");
    }

    #[test]
    fn a_probe_that_was_lost_or_held_up_tells_nothing() {
        let mut meter = ProbeMeter::default();
        let cluster = meter.begin(Bitrate::from_kbps(2_000), Duration::from_millis(20), 5);
        let packet = |n: u64, received| PacketResult {
            sent: Instant::from_millis(n * 2),
            received,
            size: DataSize::from_bytes(625),
            probe: Some(cluster.id),
        };
        let lost: Vec<_> = (0..10).map(|n| packet(n, (n < 5).then_some(Instant::from_millis(100 + n * 2)))).collect();
        assert_eq!(meter.on_feedback(&lost), None);
        let mut meter = ProbeMeter::default();
        meter.begin(Bitrate::from_kbps(2_000), Duration::from_millis(20), 5);
        let together: Vec<_> = (0..10).map(|n| packet(n, Some(Instant::from_millis(100)))).collect();
        assert_eq!(meter.on_feedback(&together), None);
    }
}
