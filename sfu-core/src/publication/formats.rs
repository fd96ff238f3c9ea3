//! Codecs and payload formats: what the publisher sends, and which subscribers can play it.

use super::{Publication, Source};
use crate::context::Context;
use crate::event::Event;
use crate::layer_order::LayerIndex;
use crate::payload_map::PayloadMap;
use sfu_rtc::ids::PayloadType;
use sfu_rtc::media::{Codec, MediaKind, MediaSection, PayloadFormat, SsrcPair};
use sfu_rtc::packet::PacketData;
use sfu_rtc::time::Duration;
use std::sync::Arc;

/// A change of format counts once in this time: all subscribers are looked at, and an event goes out for each whom
/// it concerns.
const FORMAT_INTERVAL: Duration = Duration::from_secs(1);

/// Shortest time between two reports of a codec: a publisher may change it with every packet, and the whole room is
/// informed.
const CODEC_INTERVAL: Duration = Duration::from_secs(1);

impl Publication {
    /// The section was renegotiated, here or at the origin.
    pub(crate) fn update_formats(&mut self, formats: &Arc<Vec<PayloadFormat>>, ctx: &mut Context<'_>) {
        if self.formats == *formats {
            return;
        }
        self.formats = Arc::clone(formats);
        self.describe();
        for forwarder in &mut self.forwarders {
            let peer = ctx.peers.get(forwarder.subscriber);
            if let Some(slot) = peer.and_then(|p| p.transport.sections().get(usize::from(forwarder.section))) {
                forwarder.formats = PayloadMap::new(&self.formats, slot);
            }
        }
        self.update_all_playable(ctx);
        self.relay_formats(ctx);
    }

    /// Hands the description to the stream; layers of one source would need one each.
    pub(super) fn describe(&mut self) {
        if let [stream] = self.streams.as_mut_slice() {
            stream.describe(&self.formats);
        }
    }

    /// Formats of a subscriber's slot changed.
    pub(crate) fn update_slot(&mut self, index: u32, slot: &MediaSection, ssrcs: SsrcPair, ctx: &mut Context<'_>) {
        if let Some(forwarder) = self.forwarders.get_mut(index as usize) {
            forwarder.formats = PayloadMap::new(&self.formats, slot);
            forwarder.set_sources(ssrcs);
            self.update_playable(index as usize, ctx);
        }
    }

    /// The publication is sent with this payload type now.
    pub(super) fn set_payload_type(&mut self, payload_type: PayloadType, ctx: &mut Context<'_>) {
        if self.sent_in != Some(payload_type) && ctx.now >= self.next_format_check {
            self.sent_in = Some(payload_type);
            self.next_format_check = ctx.now + FORMAT_INTERVAL;
            self.update_all_playable(ctx);
        }
    }

    fn update_all_playable(&mut self, ctx: &mut Context<'_>) {
        for index in 0..self.forwarders.len() {
            self.update_playable(index, ctx);
        }
    }

    /// Reports why nothing is sent to a subscriber, where that has changed.
    pub(super) fn report_pause(&mut self, index: usize, ctx: &mut Context<'_>) {
        let Some(forwarder) = self.forwarders.get_mut(index) else { return };
        let Some(reason) = forwarder.news_of_pause() else { return };
        let peer = ctx.peers.get(forwarder.subscriber);
        let slot = peer.and_then(|peer| peer.slots.get(usize::from(forwarder.section))?.as_ref());
        if let (Some(peer), Some(slot)) = (peer, slot) {
            let (transport, mid, publication) = (peer.id, slot.mid, self.id);
            ctx.events.push(Event::SlotPaused { transport, mid, publication, reason });
        }
    }

    /// Updates, and reports, whether a subscriber understands what is sent. Before the first packet, whether it
    /// understands anything that may be.
    pub(super) fn update_playable(&mut self, index: usize, ctx: &mut Context<'_>) {
        let Some(forwarder) = self.forwarders.get_mut(index) else { return };
        let formats = &forwarder.formats;
        let playable = match self.sent_in {
            Some(_) if self.codec == Some(Codec::OpusRed) && formats.strips_red => true,
            Some(payload_type) => formats.understands(payload_type),
            None => self.formats.is_empty() || !formats.is_empty(),
        };
        if std::mem::replace(&mut forwarder.playable, playable) == playable {
            return;
        }
        self.report_pause(index, ctx);
        self.need_keyframe_for(index, ctx);
    }

    /// Updates what a packet shows of its stream: codec, payload type, and layers inside that were not known.
    pub(super) fn update_content(
        &mut self,
        layer: LayerIndex,
        known: usize,
        packet: &PacketData,
        ctx: &mut Context<'_>,
    ) {
        if self.codec != Some(packet.codec) {
            self.set_codec(packet.codec, ctx);
        }
        self.set_payload_type(packet.payload_type, ctx);
        if self.streams[usize::from(layer)].layers_inside() != known {
            self.retarget_all(ctx);
        }
    }

    /// The publisher sends another codec.
    fn set_codec(&mut self, codec: Codec, ctx: &mut Context<'_>) {
        let selects_alike =
            |codec: Option<Codec>| codec.map(|codec| (codec.kind(), matches!(codec, Codec::Vp9 | Codec::Av1)));
        if selects_alike(self.codec) != selects_alike(Some(codec)) {
            self.flush_pending(ctx);
            let layers = self.streams.len();
            self.forwarders.iter_mut().for_each(|forwarder| forwarder.select_by(layers, Some(codec)));
            self.codec = Some(codec);
            self.retarget_all(ctx);
        }
        self.codec = Some(codec);
        self.announce_codec(ctx);
    }

    /// Reports which codec the publisher uses, unless it is known or another was reported a moment ago.
    pub(super) fn announce_codec(&mut self, ctx: &mut Context<'_>) {
        let Some(codec) = self.codec.filter(|codec| self.announced_codec != Some(*codec)) else { return };
        // Audio changes between Opus and RED as it goes.
        let is_news = self.announced_codec.is_none_or(|announced| announced.kind() == MediaKind::Video);
        if is_news && ctx.now >= self.codec_due && matches!(self.source, Source::Peer(_)) {
            ctx.events.push(Event::PublicationCodec { transport: self.sender, publication: self.id, codec });
            self.announced_codec = Some(codec);
            self.codec_due = ctx.now + CODEC_INTERVAL;
        }
    }
}
