//! One source in a room: its received streams, and the forwarders of all who get it.

mod fan_out;
mod feedback;
mod layers;
mod pending;
mod receive;

use crate::config::WorkerConfig;
use crate::context::Context;
use crate::forwarder::Forwarder;
use crate::ids::PublicationId;
use crate::payload_map::PayloadMap;
use crate::peer::Place;
use crate::receive_stream::ReceiveStream;
use crate::sender_report::PublisherClock;
use crate::slab::Key;
use pending::PendingPackets;
use sfu_rtc::media::{Codec, MediaKind, MediaSection, PayloadFormat};
use sfu_rtc::time::Instant;

/// A source.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) id: PublicationId,
    /// Transport that sends it.
    pub(crate) publisher: Key,
    pub(crate) kind: MediaKind,
    muted: bool,
    codec: Option<Codec>,
    formats: Vec<PayloadFormat>,
    /// Lowest layer first; never empty.
    streams: Vec<ReceiveStream>,
    /// One after the other, so that a packet goes through them without a look-up.
    forwarders: Vec<Forwarder>,
    /// By stream: which forwarders its packets concern.
    routes: Vec<Vec<u32>>,
    /// The routes are to be made anew.
    routes_stale: bool,
    /// What was received and not yet forwarded.
    pending: PendingPackets,
    /// Bit per stream that is alive.
    alive: u8,
    /// When it is looked at again which streams are alive.
    liveness_due: Instant,
    clock: PublisherClock,
    /// Reused for every request for repair.
    missing: Vec<u16>,
}

impl Publication {
    /// A source that comes on section `media` of `publisher`.
    pub(crate) fn new(id: PublicationId, publisher: Key, media: &MediaSection, config: &WorkerConfig) -> Self {
        let stream = |rid| ReceiveStream::new(rid, media.nack, config);
        let streams: Vec<_> = if media.rids.is_empty() {
            vec![stream(None)]
        } else {
            media.rids.iter().take(config.max_layers.clamp(1, 8)).map(|rid| stream(Some(*rid))).collect()
        };
        Self {
            id,
            publisher,
            kind: media.kind,
            muted: false,
            codec: None,
            formats: media.formats.clone(),
            routes: streams.iter().map(|_| Vec::new()).collect(),
            streams,
            forwarders: Vec::new(),
            routes_stale: false,
            pending: PendingPackets::default(),
            alive: 0,
            liveness_due: Instant::ZERO,
            clock: PublisherClock::default(),
            missing: Vec::new(),
        }
    }

    /// Index that the next forwarder gets.
    pub(crate) fn next_index(&self) -> u32 {
        self.forwarders.len() as u32
    }

    /// Takes in a subscriber's forwarder, at [`Self::next_index`].
    pub(crate) fn attach(&mut self, mut forwarder: Forwarder, slot: &MediaSection, ctx: &mut Context<'_>) {
        self.settle(ctx);
        let formats = PayloadMap::new(&self.formats, slot);
        forwarder.attach(formats, self.streams.len(), self.codec);
        let index = self.forwarders.len();
        self.forwarders.push(forwarder);
        self.begin(index, ctx);
    }

    /// Lets a subscriber's stream begin as soon as it can: with what is held since a recent keyframe, or with the next
    /// keyframe, which is asked for. Nothing while the subscriber is not connected.
    pub(crate) fn begin(&mut self, index: usize, ctx: &mut Context<'_>) {
        // What waits must not come twice, from the history and then as a newcomer.
        self.settle(ctx);
        let subscriber = self.forwarders.get(index).and_then(|forwarder| ctx.peers.get(forwarder.subscriber));
        let connected = subscriber.is_some_and(|peer| peer.transport.is_connected());
        if let Some(forwarder) = self.forwarders.get_mut(index) {
            forwarder.connected = connected;
        }
        self.retarget(index, ctx);
        if connected {
            self.catch_up(index, ctx);
        }
    }

    /// Gives back a subscriber's forwarder. Another may take its index; its slot is told.
    pub(crate) fn detach(&mut self, index: u32, ctx: &mut Context<'_>) -> Option<Forwarder> {
        let index = index as usize;
        if index >= self.forwarders.len() {
            return None;
        }
        self.settle(ctx);
        let mut forwarder = self.forwarders.swap_remove(index);
        forwarder.detach();
        self.routes_stale = true;
        if let Some(moved) = self.forwarders.get(index)
            && let Some(peer) = ctx.peers.get_mut(moved.subscriber)
            && let Some(Some(slot)) = peer.slots.get_mut(usize::from(moved.section))
            && let Place::Carrying { index: place, .. } = &mut slot.place
        {
            *place = index as u32;
        }
        if self.forwarders.is_empty() {
            self.streams.iter_mut().for_each(|stream| stream.keyframes.met());
        }
        Some(forwarder)
    }

    /// Gives back all forwarders, since the publication ends.
    pub(crate) fn detach_all(&mut self) -> Vec<Forwarder> {
        self.routes_stale = true;
        self.pending.clear();
        let mut forwarders = std::mem::take(&mut self.forwarders);
        forwarders.iter_mut().for_each(Forwarder::detach);
        forwarders
    }

    /// The section was negotiated anew.
    pub(crate) fn update_section(&mut self, media: &MediaSection) {
        self.formats.clone_from(&media.formats);
    }

    /// Formats of a subscriber's slot changed, or ours.
    pub(crate) fn update_formats(&mut self, index: u32, slot: &MediaSection) {
        if let Some(forwarder) = self.forwarders.get_mut(index as usize) {
            forwarder.formats = PayloadMap::new(&self.formats, slot);
        }
    }

    pub(crate) fn forwarder(&self, index: u32) -> Option<&Forwarder> {
        self.forwarders.get(index as usize)
    }

    pub(crate) fn forwarder_mut(&mut self, index: u32) -> Option<&mut Forwarder> {
        self.forwarders.get_mut(index as usize)
    }

    pub(crate) fn streams(&self) -> &[ReceiveStream] {
        &self.streams
    }

    /// Stops or resumes forwarding. What resumes begins at a keyframe.
    pub(crate) fn set_muted(&mut self, muted: bool, ctx: &mut Context<'_>) {
        if std::mem::replace(&mut self.muted, muted) == muted {
            return;
        }
        self.settle(ctx);
        self.forwarders.iter_mut().for_each(Forwarder::restart_all);
        self.routes_stale = true;
        if !muted {
            self.retarget_all(ctx);
        }
    }
}
