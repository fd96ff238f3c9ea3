//! From one received packet to all who get it.

use super::Publication;
use super::pending::{Content, Pending};
use crate::context::Context;
use crate::event::Event;
use crate::forwarder::{Forwarded, Forwarder};
use crate::ids::PublicationId;
use crate::layer_selector::LayerIndex;
use crate::receive_stream::{ReceiveStream, Taken};
use crate::slab::Key;
use sfu_rtc::codec::red;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::media::{Codec, MediaKind, PayloadFormat};
use sfu_rtc::packet::{Packet, PacketPool};
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::transport::ReceivedRtp;

/// A new subscriber is sent what it missed since the newest keyframe if that is no older. Those who join at about the
/// same time so share one keyframe, and the burst stays a few frames long.
const CATCH_UP: Duration = Duration::from_millis(300);

/// A receiver can keep sound and picture in step only once it knows the new timestamps, so a report follows a switch soon;
/// not at once, since it counts what was sent, and several slots may switch together.
const SWITCH_REPORT_DELAY: Duration = Duration::from_millis(50);

impl Publication {
    /// Takes in a packet, to be forwarded when [`Self::due`]. What it says of loudness, for a source of sound.
    pub(crate) fn receive(
        &mut self,
        received: &ReceivedRtp<'_>,
        ctx: &mut Context<'_>,
    ) -> Result<Option<u8>, DropReason> {
        let layer = self.streams.iter().position(|stream| stream.rid == received.rid);
        let layer = layer.ok_or(DropReason::UnknownStream)? as LayerIndex;
        let stream = &mut self.streams[usize::from(layer)];
        if received.payload.is_empty() {
            stream.receive_padding(received)?;
            self.hold(layer, Content::Padding(received.seq), ctx);
            return Err(DropReason::Padding);
        }
        let spatial_layers = stream.spatial_layers;
        let Taken { packet, restarted } = stream.receive(received, ctx.pool, ctx.config)?;
        let more_layers = stream.spatial_layers != spatial_layers;
        if restarted {
            self.restart(layer, ctx);
        }
        if self.codec != Some(packet.codec) {
            self.follow_codec(packet.codec, ctx);
        }
        if more_layers {
            self.retarget_all(ctx);
        }
        // A layer that begins is told at once, so that its first keyframe serves those who want it.
        if ctx.now >= self.liveness_due || !self.is_alive(layer) {
            self.check_liveness(ctx);
        }
        if self.muted {
            return Err(DropReason::Paused);
        }
        if packet.frame.keyframe && packet.frame.start_of_frame {
            self.streams[usize::from(layer)].keyframes.met();
        }
        let level = packet.extensions.audio_level;
        self.hold(layer, Content::Packet(packet), ctx);
        Ok(level)
    }

    fn hold(&mut self, layer: LayerIndex, content: Content, ctx: &Context<'_>) {
        let highest = self.streams[usize::from(layer)].highest();
        let complete = match &content {
            // One that fills a gap has been waited for long enough.
            Content::Packet(packet) => packet.marker || packet.seq < highest || self.kind == MediaKind::Audio,
            Content::Padding(_) => false,
        };
        self.pending.push(
            ctx.now,
            ctx.config.coalescing,
            Pending { layer, highest, content, stripped: None },
            complete,
        );
    }

    /// When what was received is to be forwarded; [`Instant::NEVER`] while nothing waits.
    pub(crate) fn due(&self) -> Instant {
        self.pending.due()
    }

    /// Notes whether the worker knows that something waits; what was noted before.
    pub(crate) fn set_listed(&mut self, listed: bool) -> bool {
        std::mem::replace(&mut self.pending.listed, listed)
    }

    /// Forwards what waits. Subscriber by subscriber, so that the state of each is fetched into the cache once.
    pub(crate) fn fan_out(&mut self, ctx: &mut Context<'_>) {
        if self.pending.due() == Instant::NEVER {
            return;
        }
        let mut pending = self.pending.take();
        if std::mem::take(&mut self.routes_stale) {
            self.make_routes();
        }
        for layer in 0..self.streams.len() as LayerIndex {
            if pending.iter().any(|waiting| waiting.layer == layer) {
                self.fan_out_layer(layer, &mut pending, ctx);
            }
        }
        self.pending.reuse(pending);
    }

    fn fan_out_layer(&mut self, layer: LayerIndex, pending: &mut [Pending], ctx: &mut Context<'_>) {
        for &index in &self.routes[usize::from(layer)] {
            let Some(forwarder) = self.forwarders.get_mut(index as usize) else { continue };
            for waiting in pending.iter_mut().filter(|waiting| waiting.layer == layer) {
                let packet = match &waiting.content {
                    Content::Padding(seq) => {
                        forwarder.skip(layer, *seq, None);
                        continue;
                    }
                    Content::Packet(packet) if packet.codec == Codec::OpusRed && forwarder.formats.strips_red => {
                        let strip = || strip_red(packet, &self.formats, ctx.pool);
                        let Some(primary) = waiting.stripped.get_or_insert_with(strip) else { continue };
                        primary
                    }
                    Content::Packet(packet) => packet,
                };
                match forwarder.forward(ctx.now, layer, packet, &self.streams) {
                    Ok(Forwarded { out, switch, announce }) => {
                        let (subscriber, section) = (forwarder.subscriber, forwarder.section);
                        ctx.send(subscriber, out);
                        if switch {
                            self.routes_stale = true;
                            announce_switch(subscriber, section, announce.then_some(self.id), ctx);
                            // Packets of its frame that came before it could not be sent without it.
                            replay(forwarder, layer, packet.seq.next(), waiting.highest, &self.streams, ctx);
                        }
                    }
                    Err(reason) => ctx.drop_packet(reason),
                }
            }
        }
    }

    /// Sends a new subscriber what was received since the newest keyframe, if that is recent.
    pub(super) fn catch_up(&mut self, index: usize, ctx: &mut Context<'_>) {
        if self.kind == MediaKind::Audio || self.muted {
            return;
        }
        let Some(forwarder) = self.forwarders.get_mut(index) else { return };
        let Some(layer) = forwarder.awaits_keyframe() else { return };
        let stream = &self.streams[usize::from(layer)];
        let Some(first) = stream.recent_keyframe(ctx.now, CATCH_UP) else { return };
        replay(forwarder, layer, first, stream.highest(), &self.streams, ctx);
        let caught_up = forwarder.awaits_keyframe().is_none();
        let announcement = (forwarder.subscriber, forwarder.section);
        self.routes_stale = true;
        if caught_up {
            announce_switch(announcement.0, announcement.1, Some(self.id), ctx);
        }
    }

    /// Which forwarders the packets of each stream concern.
    fn make_routes(&mut self) {
        for (layer, route) in self.routes.iter_mut().enumerate() {
            route.clear();
            let concerned = self.forwarders.iter().enumerate().filter(|(_, f)| f.is_interested(layer as LayerIndex));
            route.extend(concerned.map(|(index, _)| index as u32));
        }
    }

    /// A stream's source was replaced, or began anew.
    fn restart(&mut self, layer: LayerIndex, ctx: &mut Context<'_>) {
        self.fan_out(ctx);
        for forwarder in &mut self.forwarders {
            forwarder.restart(layer);
            forwarder.forget_clock(layer);
        }
        self.retarget_all(ctx);
    }

    /// The publisher changed its codec.
    fn follow_codec(&mut self, codec: Codec, ctx: &mut Context<'_>) {
        let selects_alike =
            |codec: Option<Codec>| codec.map(|codec| (codec.kind(), matches!(codec, Codec::Vp9 | Codec::Av1)));
        if self.codec.is_none_or(|before| before.kind() == MediaKind::Video) {
            ctx.events.push(Event::PublicationCodec { publication: self.id, codec });
        }
        if selects_alike(self.codec) != selects_alike(Some(codec)) {
            self.fan_out(ctx);
            let layers = self.streams.len();
            self.forwarders.iter_mut().for_each(|forwarder| forwarder.select_by(layers, Some(codec)));
            self.codec = Some(codec);
            self.retarget_all(ctx);
        }
        self.codec = Some(codec);
    }
}

/// Sends what is held of a stream from `from` to `to` to one subscriber.
fn replay(
    forwarder: &mut Forwarder,
    layer: LayerIndex,
    from: SeqNo,
    to: SeqNo,
    streams: &[ReceiveStream],
    ctx: &mut Context<'_>,
) {
    for seq in from.0..=to.0 {
        let Some(packet) = streams[usize::from(layer)].history.get(SeqNo(seq)) else { continue };
        match forwarder.forward(ctx.now, layer, packet, streams) {
            Ok(forwarded) => ctx.send(forwarder.subscriber, forwarded.out),
            Err(reason) => ctx.drop_packet(reason),
        }
    }
}

fn announce_switch(subscriber: Key, section: u16, publication: Option<PublicationId>, ctx: &mut Context<'_>) {
    let Some(peer) = ctx.peers.get_mut(subscriber) else { return };
    peer.report_by(ctx.now + SWITCH_REPORT_DELAY);
    let mid = peer.slots.get(usize::from(section)).and_then(|slot| slot.as_ref()).map(|slot| slot.mid);
    if let (Some(mid), Some(publication)) = (mid, publication) {
        ctx.events.push(Event::SlotSwitched { transport: peer.id, mid, publication });
    }
}

/// The primary block of a packet of redundant audio (RFC 2198), as if it had been sent alone.
fn strip_red(packet: &Packet, formats: &[PayloadFormat], pool: &mut PacketPool) -> Option<Packet> {
    let primary = red::primary(packet.payload())?;
    let opus = formats.iter().find(|format| format.codec == Codec::Opus)?;
    pool.take(|data| {
        data.arrival = packet.arrival;
        data.ssrc = packet.ssrc;
        data.payload_type = opus.payload_type;
        data.codec = Codec::Opus;
        data.seq = packet.seq;
        data.timestamp = packet.timestamp;
        data.marker = packet.marker;
        data.frame = packet.frame;
        data.extensions.audio_level = packet.extensions.audio_level;
        data.repaired = packet.repaired;
        data.set_bytes(&packet.payload()[primary.clone()], 0..primary.len())
    })
}
