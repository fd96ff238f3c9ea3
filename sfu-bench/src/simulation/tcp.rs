//! A TCP-like sender and its receiver: CUBIC (RFC 9438) with the recovery of losses by counting later
//! acknowledgements. Its stream is of packets that are alike, so that what is lost need not be sent again by content.

use sfu_rtc::time::{Duration, Instant};
use std::collections::BTreeMap;

/// Bytes of a data packet.
pub(super) const SEGMENT: usize = 1_400;
/// Bytes of an acknowledgement.
pub(super) const ACK: usize = 40;
/// First window (RFC 6928).
const INITIAL_WINDOW: f64 = 10.0;
/// What becomes of the window at a loss (RFC 9438 section 4.6).
const BETA: f64 = 0.7;
/// How fast the window grows (RFC 9438 section 5).
const C: f64 = 0.4;
/// A packet is lost when so many behind it were acknowledged (RFC 5681 section 3.2).
const LATER_ACKS: u64 = 3;
/// Shortest time until what is not acknowledged is taken for lost (RFC 6298 section 2.4).
const MIN_RTO: Duration = Duration::from_secs(1);

/// The sender. What it sends is a number; its receiver sends that number back.
#[derive(Debug)]
pub(super) struct TcpSender {
    window: f64,
    threshold: f64,
    /// Window before the last loss, and when that was.
    max_window: f64,
    epoch: Option<Instant>,
    next: u64,
    in_flight: BTreeMap<u64, Instant>,
    /// Losses up to here belong to one event.
    recovery_end: u64,
    rtt: Option<Duration>,
    last_ack: Instant,
    /// Packets that are to be delivered still; `None` for no end.
    left: Option<u64>,
}

impl TcpSender {
    /// One that has `bytes` to deliver, or no end of them.
    pub(super) fn new(bytes: Option<u64>, now: Instant) -> Self {
        Self {
            window: INITIAL_WINDOW,
            threshold: f64::MAX,
            max_window: 0.0,
            epoch: None,
            next: 0,
            in_flight: BTreeMap::new(),
            recovery_end: 0,
            rtt: None,
            last_ack: now,
            left: bytes.map(|bytes| bytes.div_ceil(SEGMENT as u64)),
        }
    }

    /// Whether all is delivered.
    pub(super) fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// The number of the next packet, if one may be sent.
    pub(super) fn poll(&mut self, now: Instant) -> Option<u64> {
        let wanted = self.left.unwrap_or(u64::MAX).min(self.window as u64);
        if self.in_flight.len() as u64 >= wanted {
            return None;
        }
        if self.in_flight.is_empty() {
            self.last_ack = now;
        }
        self.next += 1;
        self.in_flight.insert(self.next, now);
        Some(self.next)
    }

    /// A packet was acknowledged.
    pub(super) fn on_ack(&mut self, now: Instant, number: u64) {
        let Some(sent) = self.in_flight.remove(&number) else { return };
        self.last_ack = now;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        let rtt = now - sent;
        self.rtt = Some(self.rtt.map_or(rtt, |smoothed| (smoothed * 7 + rtt) / 8));
        if number > self.recovery_end {
            self.grow(now);
        }
        let lost: Vec<u64> =
            self.in_flight.range(..number.saturating_sub(LATER_ACKS - 1)).map(|(lost, _)| *lost).collect();
        if let Some(last) = lost.last() {
            if *last > self.recovery_end {
                self.shrink();
            }
            for lost in lost {
                self.in_flight.remove(&lost);
            }
        }
    }

    fn grow(&mut self, now: Instant) {
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        let rtt = self.rtt.unwrap_or_default().as_secs_f64();
        let begin = *self.epoch.get_or_insert(now);
        let elapsed = (now - begin).as_secs_f64() + rtt;
        let to_max = (self.max_window * (1.0 - BETA) / C).cbrt();
        let cubic = C * (elapsed - to_max).powi(3) + self.max_window;
        // As fast as Reno at least (RFC 9438 section 4.3).
        let reno = 3.0 * (1.0 - BETA) / (1.0 + BETA);
        let step = ((cubic - self.window) / self.window).clamp(reno / self.window, 0.5);
        self.window += step;
    }

    fn shrink(&mut self) {
        self.max_window = self.window;
        self.window = (self.window * BETA).max(2.0);
        self.threshold = self.window;
        self.recovery_end = self.next;
        self.epoch = None;
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Instant {
        if self.in_flight.is_empty() { Instant::NEVER } else { self.last_ack + self.timeout() }
    }

    /// Nothing was acknowledged for too long: all is taken for lost.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if now >= self.poll_timeout() {
            self.shrink();
            self.window = 1.0;
            self.in_flight.clear();
            self.last_ack = now;
        }
    }

    fn timeout(&self) -> Duration {
        self.rtt.map_or(MIN_RTO, |rtt| (rtt * 2).max(MIN_RTO))
    }
}

/// The number in a data packet or an acknowledgement.
pub(super) fn number(packet: &[u8]) -> Option<u64> {
    packet.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// A data packet or an acknowledgement.
pub(super) fn packet(number: u64, len: usize) -> Vec<u8> {
    let mut packet = number.to_be_bytes().to_vec();
    packet.resize(len, 0);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use netsim::{Link, LinkConfig, QueueLimit, Rate};

    /// Share of 5 Mbit/s that it uses of 20 s, and how much is dropped.
    fn run(bytes: Option<u64>) -> (f64, u64) {
        let rate = Some(Rate::from_kbps(5_000));
        let queue = QueueLimit::Time(Duration::from_millis(100));
        let mut link: Link = Link::new(LinkConfig { rate, queue, ..LinkConfig::delayed(Duration::from_millis(50)) }, 1);
        let mut sender = TcpSender::new(bytes, Instant::ZERO);
        let mut now = Instant::ZERO;
        while now < Instant::from_millis(20_000) {
            let time = now - Instant::ZERO;
            while let Some(packet) = link.poll(time) {
                sender.on_ack(now, number(&packet).unwrap());
            }
            sender.handle_timeout(now);
            while let Some(number) = sender.poll(now) {
                link.send(time, packet(number, SEGMENT));
            }
            let arrival = link.next_timeout().map_or(Instant::NEVER, |at| Instant::ZERO + at);
            now = arrival.min(sender.poll_timeout()).min(Instant::from_millis(20_000));
        }
        let stats = link.stats();
        (stats.bytes_delivered as f64 * 8.0 / 20.0 / 5e6, stats.dropped)
    }

    #[test]
    fn fills_a_link_and_backs_off() {
        let (share, dropped) = run(None);
        assert!(share > 0.85 && share <= 1.0, "{share}");
        assert!((1..600).contains(&dropped), "{dropped}");
    }

    #[test]
    fn a_short_flow_ends() {
        let (share, _) = run(Some(140_000));
        assert!((0.0112..0.0125).contains(&share), "{share}");
    }
}
