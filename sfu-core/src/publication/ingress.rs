//! From what a publisher's transport hands up to a packet that waits to be forwarded. What a stream keeps of its
//! packets, and what it asks for, is in [`ReceiveStream`].

use super::Publication;
use super::pending::{Content, Pending};
use crate::context::Context;
use crate::layer_order::LayerIndex;
use crate::receive_stream::Taken;
use crate::relay::Skipped;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::media::MediaKind;
use sfu_rtc::packet::Packet;
use sfu_rtc::prefetch::prefetch;
use sfu_rtc::time::Instant;
use sfu_rtc::transport::ReceivedRtp;
use std::ops::Range;

/// What is fetched of a publication, in this order: one leads to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PublicationPart {
    Publication,
    Streams,
    /// Where the histories name their oldest packets, which go next.
    Places,
    Oldest,
}

impl Publication {
    /// Takes in a packet, to be forwarded when [`Self::due`]. Its audio level (RFC 6464), for an audio source.
    pub(crate) fn receive(
        &mut self,
        received: &ReceivedRtp<'_>,
        ctx: &mut Context<'_>,
    ) -> Result<Option<u8>, DropReason> {
        let layer = self.streams.iter().position(|stream| stream.rid == received.rid);
        let layer = layer.ok_or(DropReason::UnknownStream)? as LayerIndex;
        let stream = &mut self.streams[usize::from(layer)];
        if received.payload.is_empty() {
            let empty = stream.receive_padding(received)?;
            self.skip_empty(layer, empty, ctx);
            return Err(DropReason::Padding);
        }
        let known = stream.layers_inside();
        let Taken { inserted, packet, restarted, empty } = stream.receive(received, ctx.pool, ctx.config)?;
        if let Some(parity) = &mut self.uplink_parity {
            parity.on_packet(ctx.now, &packet);
        }
        if restarted {
            self.restart(layer, ctx);
        }
        self.note_reference(&packet, ctx);
        self.update_content(layer, known, &packet, ctx);
        // A layer that begins is reported at once, so that its first keyframe serves those who want it.
        if ctx.now >= self.liveness_due || !self.is_alive(layer) {
            self.check_liveness(ctx);
        }
        if self.is_silenced(layer, packet.seq) {
            return Err(DropReason::Paused);
        }
        self.skip_empty(layer, empty, ctx);
        if self.cap.is_some() && !self.is_within_cap(layer, &packet, ctx) {
            inserted.iter().chain([&packet]).for_each(|packet| self.leave_out(layer, packet, ctx));
            return Err(DropReason::OverCap);
        }
        let level = packet.extensions.audio_level;
        let highest = self.streams[usize::from(layer)].highest();
        for packet in inserted {
            self.relay_and_enqueue((layer, packet.seq), packet, received.clock_rate, ctx);
        }
        self.relay_and_enqueue((layer, highest), packet, received.clock_rate, ctx);
        Ok(level)
    }

    /// Nothing of a stream has these numbers.
    fn skip_empty(&mut self, layer: LayerIndex, empty: Range<u64>, ctx: &mut Context<'_>) {
        for seq in empty.map(SeqNo) {
            self.skip(Skipped { layer, seq, left_out: false, picture: None }, ctx);
        }
    }

    /// Relays a packet and queues it for the fan-out. `highest` is the stream's highest number so far.
    fn relay_and_enqueue(
        &mut self,
        (layer, highest): (LayerIndex, SeqNo),
        packet: Packet,
        clock_rate: u32,
        ctx: &mut Context<'_>,
    ) {
        // To other workers at once, which then work at the same time.
        if !self.relays.is_empty() {
            self.relay(layer, &packet, clock_rate, ctx);
        }
        if packet.frame.keyframe && packet.frame.start_of_frame {
            self.streams[usize::from(layer)].keyframes.arrived();
        }
        self.enqueue((layer, highest), Content::Packet(packet), ctx);
    }

    /// Queues what has just come for the fan-out.
    pub(super) fn enqueue_newest(&mut self, layer: LayerIndex, content: Content, ctx: &mut Context<'_>) {
        self.enqueue((layer, self.streams[usize::from(layer)].highest()), content, ctx);
    }

    /// Queues something for the fan-out, of a stream whose highest number is `highest`.
    fn enqueue(&mut self, (layer, highest): (LayerIndex, SeqNo), content: Content, ctx: &mut Context<'_>) {
        let complete = match &content {
            // One that fills a gap has been waited for long enough.
            Content::Packet(packet) => packet.marker || packet.seq < highest || self.kind == MediaKind::Audio,
            Content::Skipped(..) => false,
        };
        let pending = Pending::new(layer, highest, content);
        if let Err(reason) = self.pending.push(ctx.now, ctx.window, pending, complete) {
            ctx.drop_packet(reason);
        }
    }

    /// Whether the packet is not to be forwarded, since its source is muted, or was when it was sent.
    pub(super) fn is_silenced(&self, layer: LayerIndex, seq: SeqNo) -> bool {
        self.muted || self.streams[usize::from(layer)].is_closed(seq)
    }

    /// A stream's source was replaced or restarted.
    pub(super) fn restart(&mut self, layer: LayerIndex, ctx: &mut Context<'_>) {
        self.flush_pending(ctx);
        if let Some(references) = &mut self.references {
            references.restart();
        }
        for forwarder in &mut self.forwarders {
            forwarder.holding = None;
            forwarder.restart(layer);
        }
        self.retarget_all(ctx);
    }

    /// Parity came, which may have been the last of its block.
    pub(crate) fn on_parity(&mut self, now: Instant, completes: bool) {
        self.streams.iter_mut().for_each(|stream| stream.on_parity(now, completes));
    }

    /// A packet came and is dropped: it is not to be requested again.
    pub(crate) fn refuse(&mut self, received: &ReceivedRtp<'_>) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.rid == received.rid) {
            stream.refuse(received);
        }
    }

    /// When what was received is to be forwarded; [`Instant::NEVER`] while nothing waits.
    pub(crate) fn due(&self) -> Instant {
        self.pending.due()
    }

    /// When the packet arrived that has waited longest; [`Instant::NEVER`] while none waits.
    pub(crate) fn oldest(&self) -> Instant {
        self.pending.oldest()
    }

    /// Sets whether the worker knows that something waits; what it was before.
    pub(crate) fn set_listed(&mut self, listed: bool) -> bool {
        std::mem::replace(&mut self.pending.listed, listed)
    }

    /// Whether the worker knows that something waits.
    pub(crate) fn is_listed(&self) -> bool {
        self.pending.listed
    }

    /// Fetches one part of what [`Self::receive`] and the fan-out after it need.
    pub(crate) fn prefetch(&self, part: PublicationPart) {
        match part {
            PublicationPart::Publication => prefetch(self),
            PublicationPart::Streams => {
                prefetch(self.routes.as_slice());
                self.streams.iter().for_each(prefetch);
            }
            PublicationPart::Places => {
                self.routes.iter().for_each(|route| prefetch(route.as_slice()));
                self.streams.iter().for_each(|stream| {
                    stream.history.prefetch_place();
                    stream.rates.prefetch();
                });
            }
            PublicationPart::Oldest => self.streams.iter().for_each(|stream| stream.history.prefetch_oldest()),
        }
    }
}
