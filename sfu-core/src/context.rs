//! What a worker lends to a room while it works on it.

use crate::config::WorkerConfig;
use crate::event::Event;
use crate::peer::Peer;
use crate::relay::Relays;
use crate::slab::{Key, Slab};
use crate::turns::Turn;
use sfu_rtc::drop_reason::{DropCounts, DropReason};
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::packet::{Packet, PacketPool};
use sfu_rtc::prefetch::prefetch;
use sfu_rtc::time::Instant;
use sfu_rtc::transport::{Handover, PacketClass, RtpOut};
use std::collections::VecDeque;

/// A batch is full at so many bytes: what was sealed is still in the first caches when the kernel copies it, and its
/// owner gets to read what came in meanwhile.
pub(crate) const FULL_BATCH: usize = 96 * 1024;

/// Everything of a worker but its rooms.
#[derive(Debug)]
pub(crate) struct Context<'w> {
    pub(crate) now: Instant,
    pub(crate) config: &'w WorkerConfig,
    pub(crate) peers: &'w mut Slab<Peer>,
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
        let handed = match self.batch.as_deref_mut() {
            Some(batch) => peer.transport.send_rtp(self.now, packet, out, batch),
            None => peer.transport.queue_rtp(packet, out),
        };
        let handover = match handed {
            Ok(handover) => handover,
            Err(reason) => return self.drops.count(reason),
        };
        let first = peer.report_due == Instant::NEVER;
        if first {
            peer.report_due = self.config.next_report(self.now);
        }
        match handover {
            Handover::Queued if urgent => self.dirty.add_urgent(subscriber, peer),
            Handover::Queued => self.dirty.add(subscriber, peer),
            // Its timer has to be set.
            Handover::Sealed if first => self.dirty.add(subscriber, peer),
            Handover::Sealed => {}
        }
    }

    /// Fetches a subscriber that will be sent to soon.
    pub(crate) fn prefetch(&self, subscriber: Key) {
        if let Some(peer) = self.peers.get(subscriber) {
            peer.transport.prefetch();
        }
    }

    /// Fetches the rest of what [`Self::prefetch`] began to fetch.
    pub(crate) fn prefetch_keys(&self, subscriber: Key) {
        if let Some(peer) = self.peers.get(subscriber) {
            prefetch(&peer.report_due);
            peer.transport.prefetch_keys();
        }
    }

    /// Whether the batch should leave before more is written to it.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.len() >= FULL_BATCH)
    }

    /// Schedules a peer.
    pub(crate) fn wake(&mut self, key: Key) {
        if let Some(peer) = self.peers.get_mut(key) {
            self.dirty.add(key, peer);
        }
    }

    pub(crate) fn drop_packet(&mut self, reason: DropReason) {
        self.drops.count(reason);
    }
}

/// Peers that have something to do or to send, each once; those with audio to send first.
#[derive(Default, Debug)]
pub(crate) struct DirtyList {
    urgent: VecDeque<Key>,
    /// With their rooms, which take turns.
    normal: VecDeque<(Key, Key)>,
    spare: VecDeque<(Key, Key)>,
    turn: Turn,
}

/// In which lists of the [`DirtyList`] a peer waits.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Dirty {
    pub(crate) urgent: bool,
    pub(crate) normal: bool,
}

impl DirtyList {
    pub(crate) fn add(&mut self, key: Key, peer: &mut Peer) {
        if !std::mem::replace(&mut peer.dirty.normal, true) {
            self.normal.push_back((peer.router, key));
        }
    }

    /// The peer has audio to send.
    pub(crate) fn add_urgent(&mut self, key: Key, peer: &mut Peer) {
        if !std::mem::replace(&mut peer.dirty.urgent, true) {
            self.urgent.push_back(key);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.normal.is_empty()
    }

    pub(crate) fn pop_urgent(&mut self) -> Option<Key> {
        self.urgent.pop_front()
    }

    /// The next peer, with its room.
    pub(crate) fn pop_normal(&mut self) -> Option<(Key, Key)> {
        let next = self.normal.pop_front();
        if next.is_none() {
            self.turn = Turn::default();
        }
        next
    }

    /// A peer of `room` that was popped has sent so much.
    pub(crate) fn record_sent(&mut self, room: Key, bytes: usize) {
        self.turn.record(room, bytes);
    }

    /// The batch is full.
    pub(crate) fn end_batch(&mut self) {
        self.spare.clear();
        self.turn.end_batch(&mut self.normal, &mut self.spare);
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
