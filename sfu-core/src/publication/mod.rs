//! One source in a room: its received streams, and the forwarders of all who get it.

mod audio_forms;
mod cap;
mod fan_out;
mod formats;
mod ingress;
mod layers;
mod limit;
mod origin;
mod pending;
mod references;
mod replica;
mod requests;
mod uplink_parity;

use crate::command::EncoderTarget;
use crate::config::WorkerConfig;
use crate::context::Context;
use crate::forwarder::{Forwarder, Grant};
use crate::ids::{PublicationId, TransportId};
use crate::layer_order::{LayerOrder, MAX_LAYERS};
use crate::payload_map::PayloadMap;
use crate::peer::Place;
use crate::publisher_clock::PublisherClock;
use crate::qos::LayerId;
use crate::receive_stream::ReceiveStream;
use crate::references::References;
use crate::slab::Key;
use arrayvec::ArrayVec;
use cap::Cap;
use fan_out::CATCH_UP;
use origin::Downstream;
use pending::PendingPackets;
use sfu_rtc::fec::Scheme;
use sfu_rtc::ids::{PayloadType, Rid};
use sfu_rtc::media::{Codec, MediaKind, MediaSection, PayloadFormat};
use sfu_rtc::time::Instant;
use sfu_rtc::units::Bitrate;
use std::sync::Arc;
use uplink_parity::UplinkParity;

pub(crate) use fan_out::SubscriberPart;
pub(crate) use ingress::PublicationPart;
pub(crate) use requests::Asker;

/// Where a publication's packets come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// A transport of this worker.
    Peer(Key),
    /// A relay from another worker.
    Relay(Key),
}

/// A source.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) id: PublicationId,
    pub(crate) source: Source,
    /// The peer's transport, which may be another worker's.
    pub(crate) sender: TransportId,
    pub(crate) kind: MediaKind,
    muted: bool,
    /// Most that comes in.
    cap: Option<Box<Cap>>,
    /// By stream: what its sender could send if it were asked to.
    attainable: ArrayVec<Bitrate, MAX_LAYERS>,
    codec: Option<Codec>,
    /// The codec that was reported last, and when another may be reported.
    announced_codec: Option<Codec>,
    codec_due: Instant,
    formats: Arc<Vec<PayloadFormat>>,
    /// Payload type of the last check of who can play it; and when the next check may be.
    sent_in: Option<PayloadType>,
    next_format_check: Instant,
    /// As the publisher names its layers; never empty.
    streams: Vec<ReceiveStream>,
    /// One after the other, so that a packet goes through them without a look-up.
    forwarders: Vec<Forwarder>,
    /// By stream: which forwarders its packets concern.
    routes: Vec<Vec<u32>>,
    /// The routes have to be rebuilt.
    routes_stale: bool,
    /// What was received and not yet forwarded.
    pending: PendingPackets,
    /// Bit per stream that is alive.
    alive: u8,
    /// Width and height of each, as far as known.
    sizes: ArrayVec<Option<(u16, u16)>, MAX_LAYERS>,
    /// Which of them are better than which.
    order: LayerOrder,
    /// When it is looked at again which streams are alive.
    liveness_due: Instant,
    /// When something is to be reported of why subscribers get no better layers.
    limits_due: Option<Instant>,
    clock: PublisherClock,
    /// Workers that it is relayed to.
    relays: Vec<Downstream>,
    /// When they are sent the state of the layers again.
    layers_due: Instant,
    /// Reused for every request for repair.
    missing: Vec<u16>,
    /// Reused for every payload of redundant audio.
    audio_scratch: Vec<u8>,
    /// What its sender is to protect, where it can.
    pub(crate) uplink_parity: Option<Box<UplinkParity>>,
    /// What its sender keeps for long and subscribers hold, where it numbers its frames.
    references: Option<Box<References>>,
}

impl Publication {
    /// A source that comes on section `media` of `publisher`.
    pub(crate) fn new(
        id: PublicationId,
        (publisher, sender): (Key, TransportId),
        media: &MediaSection,
        config: &WorkerConfig,
    ) -> Self {
        let stream = |rid| ReceiveStream::new(rid, media.nack, config);
        let streams = streams_of(&media.rids, config, stream);
        // Others decide themselves how much of it they send.
        let takes_directives = media.remote_fec.is_some_and(|fec| fec.scheme == Scheme::ReedSolomon);
        let takes_parity = takes_directives && streams.len() == 1;
        let mut publication = Self {
            formats: Arc::clone(&media.formats),
            uplink_parity: takes_parity.then(Box::default),
            ..Self::with_streams(id, (Source::Peer(publisher), sender), media.kind, streams)
        };
        publication.describe();
        publication
    }

    /// A source that comes by `relay`, which will send its formats.
    pub(crate) fn relayed(
        id: PublicationId,
        (relay, sender): (Key, TransportId),
        (kind, rids): (MediaKind, &[Rid]),
        config: &WorkerConfig,
    ) -> Self {
        // Its origin asks for what is missing.
        let streams = streams_of(rids, config, |rid| ReceiveStream::new(rid, false, config));
        Self::with_streams(id, (Source::Relay(relay), sender), kind, streams)
    }

    fn with_streams(
        id: PublicationId,
        (source, sender): (Source, TransportId),
        kind: MediaKind,
        streams: Vec<ReceiveStream>,
    ) -> Self {
        Self {
            id,
            source,
            sender,
            kind,
            muted: false,
            cap: None,
            attainable: ArrayVec::new(),
            codec: None,
            announced_codec: None,
            codec_due: Instant::ZERO,
            formats: Arc::default(),
            sent_in: None,
            next_format_check: Instant::ZERO,
            routes: streams.iter().map(|_| Vec::new()).collect(),
            streams,
            forwarders: Vec::new(),
            routes_stale: false,
            pending: PendingPackets::default(),
            alive: 0,
            sizes: ArrayVec::new(),
            order: LayerOrder::default(),
            liveness_due: Instant::ZERO,
            limits_due: None,
            clock: PublisherClock::default(),
            relays: Vec::new(),
            layers_due: Instant::ZERO,
            missing: Vec::new(),
            audio_scratch: Vec::new(),
            uplink_parity: None,
            references: None,
        }
    }

    /// Index that the next forwarder gets.
    pub(crate) fn next_index(&self) -> u32 {
        self.forwarders.len() as u32
    }

    /// Takes in a subscriber's forwarder, at [`Self::next_index`].
    pub(crate) fn attach(&mut self, mut forwarder: Forwarder, slot: &MediaSection, ctx: &mut Context<'_>) {
        self.flush_pending(ctx);
        let formats = PayloadMap::new(&self.formats, slot);
        forwarder.attach(formats, self.streams.len(), self.codec);
        if slot.red.is_some() {
            forwarder.rewriter.name_base_frames();
        }
        let limited = ctx.peers.get(forwarder.subscriber).is_some_and(|peer| peer.estimate().is_some());
        forwarder.granted = if limited { Grant::UpTo(LayerId::LOWEST) } else { Grant::All };
        let index = self.forwarders.len();
        self.forwarders.push(forwarder);
        self.update_playable(index, ctx);
        self.begin(index, ctx);
    }

    /// Begins a subscriber's stream as soon as possible: with what is held since a recent keyframe, or with the next
    /// keyframe, which is asked for. While the subscriber is not connected, only a far publisher is asked.
    pub(crate) fn begin(&mut self, index: usize, ctx: &mut Context<'_>) {
        // What waits must not come twice, from the history and then as a newcomer.
        self.flush_pending(ctx);
        let subscriber = self.forwarders.get(index).and_then(|forwarder| ctx.peers.get(forwarder.subscriber));
        let connected = subscriber.is_some_and(|peer| peer.transport.is_connected());
        if let Some(forwarder) = self.forwarders.get_mut(index) {
            forwarder.connected = connected;
        }
        self.retarget(index, ctx);
        if let Some(forwarder) = self.forwarders.get(index) {
            ctx.share_anew(forwarder.subscriber);
        }
        if connected {
            self.catch_up(index, ctx);
        } else if self.is_far(ctx) {
            self.prepare(index, ctx);
        }
    }

    /// Whether a keyframe takes so long to come that it is asked for before the subscriber is heard: asked for at its
    /// first check, a round trip after it was answered, it would come after the keys of a subscriber as far away. From
    /// nearer publishers it would come too early to be held for it.
    fn is_far(&self, ctx: &Context<'_>) -> bool {
        self.round_trip(ctx) >= CATCH_UP / 2
    }

    /// Gives back a subscriber's forwarder. Another may take its index; its slot is updated.
    pub(crate) fn detach(&mut self, index: u32, ctx: &mut Context<'_>) -> Option<Forwarder> {
        let index = index as usize;
        if index >= self.forwarders.len() {
            return None;
        }
        self.flush_pending(ctx);
        let mut forwarder = self.forwarders.swap_remove(index);
        forwarder.detach();
        ctx.share_anew(forwarder.subscriber);
        self.routes_changed(ctx);
        if let Some(moved) = self.forwarders.get(index)
            && let Some(peer) = ctx.peers.get_mut(moved.subscriber)
            && let Some(Some(slot)) = peer.slots.get_mut(usize::from(moved.section))
            && let Place::Carrying { index: place, .. } = &mut slot.place
        {
            *place = index as u32;
        }
        if self.forwarders.is_empty() && self.relays.is_empty() {
            self.streams.iter_mut().for_each(|stream| stream.keyframes.cancel());
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

    pub(crate) fn forwarders(&self) -> &[Forwarder] {
        &self.forwarders
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
        self.flush_pending(ctx);
        self.forwarders.iter_mut().for_each(Forwarder::restart_all);
        self.routes_changed(ctx);
        self.relay_muted(ctx);
        self.share_anew(ctx);
        if !muted {
            self.streams.iter_mut().for_each(ReceiveStream::close_past);
            self.retarget_all(ctx);
        }
    }

    /// Takes what its sender was asked to send for what it will send.
    pub(crate) fn set_target(&mut self, target: &EncoderTarget, ctx: &mut Context<'_>) {
        self.attainable.clear();
        for stream in &mut self.streams {
            let target = target.layers.iter().find(|layer| layer.rid == stream.rid).copied().unwrap_or_default();
            if let Some(bitrate) = target.bitrate {
                stream.set_target(bitrate);
            }
            self.attainable.push(target.attainable);
        }
        self.share_anew(ctx);
    }

    /// Other packets concern other subscribers from now on.
    fn routes_changed(&mut self, ctx: &mut Context<'_>) {
        self.routes_stale = true;
        if let Source::Relay(relay) = self.source {
            ctx.relays.wake(relay);
        }
    }

    /// Its sender is to be asked for something.
    fn wake_source(&self, ctx: &mut Context<'_>) {
        match self.source {
            Source::Peer(publisher) => ctx.wake(publisher),
            Source::Relay(relay) => ctx.relays.wake(relay),
        }
    }
}

/// A stream per simulcast layer, or one.
fn streams_of(
    rids: &[Rid],
    config: &WorkerConfig,
    stream: impl Fn(Option<Rid>) -> ReceiveStream,
) -> Vec<ReceiveStream> {
    if rids.is_empty() {
        return vec![stream(None)];
    }
    rids.iter().take(config.max_layers.clamp(1, MAX_LAYERS)).map(|rid| stream(Some(*rid))).collect()
}
