//! Packets that wait a moment for the rest of their frame, so that a subscriber gets them together.
//!
//! What goes to one destination at once costs a fraction of what it costs packet by packet: the kernel splits one
//! message into datagrams, and a subscriber's state is fetched into the cache once. A frame is complete at its marker;
//! where that does not come soon, the window ends the wait. Sound never waits.

use crate::layer_selector::LayerIndex;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::packet::Packet;
use sfu_rtc::time::{Duration, Instant};

/// Most packets that wait: a keyframe of 70 kB. What is beyond goes out in several parts.
const MAX_PENDING: usize = 64;

/// A received packet that has not been forwarded yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) layer: LayerIndex,
    /// The stream's highest number when it came; above its own where it came late.
    pub(super) highest: SeqNo,
    pub(super) content: Content,
    /// The primary block of redundant audio, made for the first who does not know redundancy.
    pub(super) stripped: Option<Option<Packet>>,
}

#[derive(Debug)]
pub(super) enum Content {
    /// Media.
    Packet(Packet),
    /// A number with nothing to forward.
    Padding(SeqNo),
}

/// The packets of one publication that wait.
#[derive(Debug)]
pub(super) struct PendingPackets {
    packets: Vec<Pending>,
    due: Instant,
    /// The worker knows that something waits.
    pub(super) listed: bool,
}

impl Default for PendingPackets {
    fn default() -> Self {
        Self { packets: Vec::new(), due: Instant::NEVER, listed: false }
    }
}

impl PendingPackets {
    /// One more. `complete`: nothing is worth waiting for.
    pub(super) fn push(&mut self, now: Instant, window: Duration, pending: Pending, complete: bool) {
        self.packets.push(pending);
        let due = if complete || self.packets.len() >= MAX_PENDING { now } else { now + window };
        self.due = self.due.min(due);
    }

    /// When they are to go out; [`Instant::NEVER`] while none wait.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Takes all out; to be given back emptied, by [`Self::reuse`].
    pub(super) fn take(&mut self) -> Vec<Pending> {
        self.due = Instant::NEVER;
        std::mem::take(&mut self.packets)
    }

    /// Keeps the memory for the next.
    pub(super) fn reuse(&mut self, mut packets: Vec<Pending>) {
        packets.clear();
        self.packets = packets;
    }
}
