//! What a worker lends to a room while it works on it.

use crate::config::WorkerConfig;
use crate::event::Event;
use crate::peer::Peer;
use crate::relay::Relays;
use crate::repair::PendingCopy;
use crate::schedule::{DirtyList, FULL_BATCH};
use crate::slab::{Key, Slab};
use sfu_rtc::drop_reason::{DropCounts, DropReason};
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::packet::{Packet, PacketPool};
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::transport::{Handover, PacketClass, RtpOut};
use std::collections::VecDeque;

/// Everything of a worker but its rooms.
#[derive(Debug)]
pub(crate) struct Context<'w> {
    pub(crate) now: Instant,
    pub(crate) config: &'w WorkerConfig,
    /// How long packets of a frame wait for its end.
    pub(crate) window: Duration,
    pub(crate) peers: &'w mut Slab<Box<Peer>>,
    pub(crate) pool: &'w mut PacketPool,
    pub(crate) dirty: &'w mut DirtyList,
    pub(crate) relays: &'w mut Relays,
    pub(crate) events: &'w mut EventQueue,
    pub(crate) drops: &'w mut DropCounts,
    /// Where packets go that nothing holds back; without it all are queued.
    pub(crate) batch: Option<&'w mut TransmitBatch>,
}

impl Context<'_> {
    /// Hands a packet to a subscriber.
    pub(crate) fn send(&mut self, subscriber: Key, packet: &Packet, out: RtpOut) {
        let Some(peer) = self.peers.get_mut(subscriber) else { return };
        let urgent = out.class == PacketClass::Audio;
        let planned = out.group.is_some();
        if planned {
            peer.begin_playout(self.now, &self.config.repair);
        }
        let handed = match self.batch.as_deref_mut() {
            Some(batch) => peer.transport.send_rtp(self.now, packet, out, batch),
            None => peer.transport.queue_rtp(self.now, packet, out),
        };
        let handover = match handed {
            Ok(handover) => handover,
            Err(reason) => return self.drops.count(reason),
        };
        let mut first = peer.report_due == Instant::NEVER;
        if first {
            peer.report_due = self.config.next_report(self.now);
        }
        let planned = planned || (urgent && self.config.repair.planner);
        if planned && peer.repair_due == Instant::NEVER {
            peer.repair_due = self.now + self.config.repair.interval;
            first = true;
        }
        match handover {
            Handover::Queued if urgent => peer.schedule_urgent(subscriber, self.dirty),
            Handover::Queued | Handover::Completed => peer.schedule(subscriber, self.dirty),
            // Its timer has to be set.
            Handover::Sealed if first => peer.schedule(subscriber, self.dirty),
            Handover::Sealed => {}
        }
    }

    /// Has a packet sent to a subscriber once more, later.
    pub(crate) fn send_later(&mut self, subscriber: Key, copy: PendingCopy) {
        let Some(peer) = self.peers.get_mut(subscriber) else { return };
        peer.copies.push(self.now, copy);
        peer.schedule(subscriber, self.dirty);
    }

    /// Whether the batch should leave before more is written to it.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.len() >= FULL_BATCH)
    }

    /// Schedules a peer.
    pub(crate) fn wake(&mut self, key: Key) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.schedule(key, self.dirty);
        }
    }

    /// The bandwidth of a subscriber is to be shared out anew, where it is limited.
    pub(crate) fn share_anew(&mut self, subscriber: Key) {
        let Some(peer) = self.peers.get_mut(subscriber) else { return };
        if peer.estimate().is_some() {
            peer.share.changed();
            peer.schedule(subscriber, self.dirty);
        }
    }

    pub(crate) fn drop_packet(&mut self, reason: DropReason) {
        self.drops.count(reason);
    }
}

/// Events that wait for the control plane.
#[derive(Debug)]
pub(crate) struct EventQueue {
    events: VecDeque<Event>,
    limit: usize,
}

impl EventQueue {
    pub(crate) fn new(limit: usize) -> Self {
        Self { events: VecDeque::new(), limit: limit.max(1) }
    }

    pub(crate) fn push(&mut self, event: Event) {
        if self.events.len() >= self.limit {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
