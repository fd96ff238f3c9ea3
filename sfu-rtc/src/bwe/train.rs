//! How fast packets left and how fast they arrived: what a train of packets tells of a path.
//!
//! Sent faster than the path carries, a train is spread by the bottleneck to the rate at which it serves (packet pair and
//! train dispersion; Dovrolis, Ramanathan, Moore, IEEE/ACM Transactions on Networking 2004).

use super::PacketResult;
use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};

/// Packets closer than that left together.
const BURST_GAP: Duration = Duration::from_millis(1);
/// A smaller packet neither begins nor ends a train: sound is not paced, and what is measured from a large packet to a
/// small one seems slow.
pub(super) const MIN_EDGE: DataSize = DataSize::from_bytes(300);

/// Both rates are measured from burst to burst: the bytes of the last burst are not sent, and those of the first not
/// received, within the time between them.
#[derive(Clone, Default, Debug)]
pub(super) struct Train {
    first_sent: Option<Instant>,
    last_sent: Instant,
    first_received: Option<Instant>,
    /// When the newest packet of the first burst arrived, and the newest of all.
    first_burst_received: Instant,
    last_received: Instant,
    first_size: u64,
    first_burst: u64,
    last_burst: u64,
    bytes: u64,
    packets: u32,
    /// Small packets behind the last large one.
    trailing: u64,
}

/// The rates of a train.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TrainRates {
    /// `None` where it left at once.
    pub(super) sent: Option<Bitrate>,
    pub(super) received: Bitrate,
}

impl Train {
    /// Of lost packets nothing is taken: loss is no sign of the rate at which the others were served.
    pub(super) fn add(&mut self, packet: &PacketResult) {
        let Some(received) = packet.received else { return };
        let size = packet.size.as_bytes();
        if packet.size < MIN_EDGE {
            self.trailing = self.trailing.saturating_add(size);
            return;
        }
        let between = std::mem::take(&mut self.trailing);
        self.bytes = self.bytes.saturating_add(if self.packets > 0 { between } else { 0 });
        let first = *self.first_sent.get_or_insert(packet.sent);
        if packet.sent.saturating_since(self.last_sent) > BURST_GAP {
            self.last_burst = 0;
        }
        self.last_sent = self.last_sent.max(packet.sent);
        self.last_burst = self.last_burst.saturating_add(size);
        self.bytes = self.bytes.saturating_add(size);
        self.packets += 1;
        if self.first_received.is_none() {
            (self.first_received, self.first_size) = (Some(received), size);
        }
        self.last_received = self.last_received.max(received);
        if packet.sent.saturating_since(first) <= BURST_GAP {
            self.first_burst = self.first_burst.saturating_add(size);
            self.first_burst_received = self.first_burst_received.max(received);
        }
    }

    /// When its newest packet left; `None` where it is empty.
    pub(super) fn last_sent(&self) -> Option<Instant> {
        self.first_sent.map(|_| self.last_sent)
    }

    /// How many packets it is measured by: those that arrived and are not small.
    pub(super) fn packets(&self) -> u32 {
        self.packets
    }

    /// How much it is measured by.
    pub(super) fn measured(&self) -> DataSize {
        DataSize::from_bytes(self.bytes)
    }

    /// The rates; `None` where too little arrived, or all at the same time.
    pub(super) fn rates(&self) -> Option<TrainRates> {
        let took = self.last_sent.saturating_since(self.first_sent?);
        let in_bursts = took > BURST_GAP && self.first_burst > 0;
        let (bytes, spread) = if in_bursts {
            (self.bytes - self.first_burst, self.last_received.saturating_since(self.first_burst_received))
        } else {
            (self.bytes - self.first_size, self.last_received.saturating_since(self.first_received?))
        };
        let received = DataSize::from_bytes(bytes).per(spread);
        let sent = in_bursts.then(|| DataSize::from_bytes(self.bytes - self.last_burst).per(took));
        (received > Bitrate::ZERO).then_some(TrainRates { sent, received })
    }
}
