//! Messages between workers about publications that are relayed from one to another.
//!
//! A publication has its origin on the worker of the peer that sends it. Each other worker whose peers want it has a
//! publication of the same name, which forwards what is relayed to it. The origin counts such a worker as one
//! subscriber: the worker says which layers it wants and of which it awaits a keyframe, and gets what it wants in the
//! order in which it came. All that belongs to the worker's own subscribers (selection, repair, keyframe requests)
//! stays there.
//!
//! Orders and messages take different ways and may overtake each other. The origin offers the publication when it
//! begins, and the destination says what it wants when it begins and whenever it is offered something; whichever worker
//! begins last, the origin gets one `Wanted` after it has begun, and answers the first with all it knows. When the
//! destination ends, it says so; a `Wanted` of before, which an order to begin again has overtaken, is not taken for
//! the first of the new relay then.

use crate::ids::{PublicationId, WorkerId};
use crate::layer_order::{LayerIndex, LayerRanks};
use crate::slab::{Key, Slab};
use crate::timer_queue::TimerQueue;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::media::PayloadFormat;
use sfu_rtc::packet::Packet;
use sfu_rtc::time::{Instant, NtpTime};
use sfu_rtc::units::Bitrate;
use std::collections::VecDeque;
use std::sync::Arc;

/// One message from worker to worker. Only workers read it; others carry it.
#[derive(Clone, Debug)]
pub struct RelayMessage {
    pub(crate) publication: PublicationId,
    pub(crate) body: RelayBody,
}

/// A number of a stream with nothing to forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Skipped {
    pub(crate) layer: LayerIndex,
    pub(crate) seq: SeqNo,
    /// What it had was left out, and is missing.
    pub(crate) left_out: bool,
    /// The VP8 picture id of that.
    pub(crate) picture: Option<u16>,
}

#[derive(Clone, Debug)]
pub(crate) enum RelayBody {
    /// To the destination: the publication can be had.
    Offered,
    /// To the destination: a packet.
    Packet(RelayedPacket),
    /// To the destination: loudness of an audio packet that it did not want.
    Level(u8),
    /// To the destination: a number with nothing to forward.
    Skipped(Skipped),
    /// To the destination: which layers are alive (bit per layer), which are better than which, and of one the
    /// bitrate, and width and height.
    Layer { layer: LayerIndex, alive: u8, ranks: LayerRanks, rate: Bitrate, resolution: Option<(u16, u16)> },
    /// To the destination: what a layer's newest sender report says.
    Report { layer: LayerIndex, epoch: u32, clock_rate: u32, rtp: u32, ntp: NtpTime },
    /// To the destination: our time less the publisher's, in nanoseconds, as learned at that time.
    Clock { offset: i64, learned: Instant },
    /// To the destination: forwarding stopped or resumed.
    Muted(bool),
    /// To the destination: payload formats that were negotiated with the publisher.
    Formats(Arc<Vec<PayloadFormat>>),
    /// To the origin: layers that are wanted there, and those of which a keyframe is awaited (bit per layer).
    Wanted(Interest),
    /// To the origin: a decoder needs a keyframe.
    Keyframe { layer: LayerIndex },
    /// To the origin: nothing is wanted any more, and what was sent is forgotten.
    Left,
}

/// A packet on its way to another worker.
#[derive(Clone, Debug)]
pub(crate) struct RelayedPacket {
    pub(crate) packet: Packet,
    /// Grows whenever the layer's stream restarts.
    pub(crate) epoch: u32,
    pub(crate) clock_rate: u32,
    pub(crate) layer: LayerIndex,
    /// Packets of the layer before this one did not find room in the queue.
    pub(crate) gap: bool,
}

/// What a destination needs of a publication: one bit per layer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Interest {
    pub(crate) layers: u8,
    /// Those of which a keyframe is awaited.
    pub(crate) awaited: u8,
}

impl RelayBody {
    /// Whether it is, or stands for, a packet.
    pub(crate) fn is_media(&self) -> bool {
        matches!(self, Self::Packet(_) | Self::Level(_) | Self::Skipped(_))
    }

    /// Whether another of its kind makes up for it, so that it may be left out where the queue is full.
    fn is_expendable(&self) -> bool {
        match self {
            Self::Packet(_) | Self::Level(_) | Self::Skipped(_) | Self::Keyframe { .. } => true,
            Self::Layer { .. } | Self::Report { .. } | Self::Clock { .. } => true,
            // As many as there are orders of the control plane, which are not dropped either.
            Self::Offered | Self::Muted(_) | Self::Formats(_) | Self::Left => false,
            // Sent again until it has found room.
            Self::Wanted(_) => true,
        }
    }
}

/// The destination's end of a relay.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) origin: WorkerId,
    pub(crate) id: PublicationId,
    pub(crate) router: Key,
    /// Its key in the router; none while it is being made.
    pub(crate) publication: Option<Key>,
    /// The interest that the origin was sent last.
    pub(crate) sent_interest: Option<Interest>,
    /// When packets held are looked at for age; [`Instant::NEVER`] while none are.
    pub(crate) expiry: Instant,
    /// In the list of those that may have something to send.
    dirty: bool,
}

impl Upstream {
    pub(crate) fn new(origin: WorkerId, id: PublicationId, router: Key) -> Self {
        Self { origin, id, router, publication: None, sent_interest: None, expiry: Instant::NEVER, dirty: false }
    }
}

/// What goes to other workers, and what comes from them.
#[derive(Debug)]
pub(crate) struct Relays {
    /// By the number of the worker: what waits to be taken over.
    outboxes: Vec<VecDeque<RelayMessage>>,
    /// Most messages that wait for one worker.
    limit: usize,
    upstreams: Slab<Upstream>,
    dirty: VecDeque<Key>,
    timers: TimerQueue,
    /// Packets handed to other workers, and taken from them.
    pub(crate) packets_out: u64,
    pub(crate) packets_in: u64,
}

impl Relays {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            outboxes: Vec::new(),
            limit,
            upstreams: Slab::default(),
            dirty: VecDeque::new(),
            timers: TimerQueue::default(),
            packets_out: 0,
            packets_in: 0,
        }
    }

    /// Puts a message where it will be taken over; false where there is no room.
    pub(crate) fn push(&mut self, to: WorkerId, publication: PublicationId, body: RelayBody) -> bool {
        let index = usize::from(to.0);
        if index >= self.outboxes.len() {
            self.outboxes.resize_with(index + 1, VecDeque::new);
        }
        let outbox = &mut self.outboxes[index];
        if outbox.len() >= self.limit && body.is_expendable() {
            return false;
        }
        outbox.push_back(RelayMessage { publication, body });
        true
    }

    /// Hands `take` what waits for each worker. What it leaves goes on waiting.
    pub(crate) fn hand_over(&mut self, take: &mut dyn FnMut(WorkerId, &mut VecDeque<RelayMessage>)) {
        for (index, outbox) in self.outboxes.iter_mut().enumerate().filter(|(_, outbox)| !outbox.is_empty()) {
            take(WorkerId(index as u16), outbox);
        }
    }

    pub(crate) fn insert(&mut self, upstream: Upstream) -> Key {
        self.upstreams.insert(upstream)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Upstream> {
        self.upstreams.get_mut(key)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Upstream> {
        self.timers.set(key, None);
        self.upstreams.remove(key)
    }

    /// A relay may have something to send to its origin.
    pub(crate) fn wake(&mut self, key: Key) {
        if let Some(upstream) = self.upstreams.get_mut(key)
            && !std::mem::replace(&mut upstream.dirty, true)
        {
            self.dirty.push_back(key);
        }
    }

    /// The next relay that may have something to send.
    pub(crate) fn take_dirty(&mut self) -> Option<Key> {
        loop {
            let key = self.dirty.pop_front()?;
            if let Some(upstream) = self.upstreams.get_mut(key) {
                upstream.dirty = false;
                return Some(key);
            }
        }
    }

    /// Lists the relays that are due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.timers.pop_due(now) {
            self.wake(key);
        }
    }

    pub(crate) fn set_timer(&mut self, key: Key, due: Instant) {
        self.timers.set(key, (due != Instant::NEVER).then_some(due));
    }

    /// When something is due; the past where a relay has something to send.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.dirty.is_empty() { self.timers.next() } else { Some(Instant::ZERO) }
    }
}
