//! The destination's end of a relay: a publication whose packets another worker received.

use super::pending::Content;
use super::{Asker, Publication, Source};
use crate::context::Context;
use crate::ids::WorkerId;
use crate::layer_order::LayerIndex;
use crate::publisher_clock::PublisherClock;
use crate::receive_stream::ReceiveStream;
use crate::relay::{Interest, RelayBody, RelayedPacket, Skipped};
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::media::MediaKind;
use sfu_rtc::packet::Packet;
use sfu_rtc::time::{Duration, Instant};

impl Publication {
    /// Whether it comes from another worker.
    pub(crate) fn is_relayed(&self) -> bool {
        matches!(self.source, Source::Relay(_))
    }

    /// Takes in a packet that its origin relayed, and forwards it. Its audio level (RFC 6464), for an audio source.
    pub(crate) fn receive_relayed(
        &mut self,
        relayed: &RelayedPacket,
        ctx: &mut Context<'_>,
    ) -> Result<Option<u8>, DropReason> {
        let (layer, packet) = (relayed.layer, &relayed.packet);
        self.set_epoch(layer, relayed.epoch, ctx)?;
        let stream = self.streams.get_mut(usize::from(layer)).ok_or(DropReason::UnknownStream)?;
        let known = stream.layers_inside();
        stream.receive_relayed(relayed, ctx.config)?;
        self.update_content(layer, known, packet, ctx);
        if self.is_silenced(layer, packet.seq) {
            return Err(DropReason::Paused);
        }
        if packet.frame.keyframe && packet.frame.start_of_frame {
            self.streams[usize::from(layer)].keyframes.arrived();
        } else if relayed.gap && self.kind == MediaKind::Video && self.is_sent(layer) {
            // What was dropped on the way here cannot be had again.
            self.request_keyframe(layer, ctx.now, Asker::All, ctx);
        }
        self.enqueue_newest(layer, Content::Packet(Packet::clone(packet)), ctx);
        Ok(packet.extensions.audio_level)
    }

    /// A number that has nothing to forward.
    pub(crate) fn skip_relayed(&mut self, skipped: Skipped, ctx: &mut Context<'_>) -> Result<Option<u8>, DropReason> {
        let Skipped { layer, seq, picture, .. } = skipped;
        let stream = self.streams.get_mut(usize::from(layer)).ok_or(DropReason::UnknownStream)?;
        stream.skip_relayed(ctx.now, skipped);
        self.enqueue_newest(layer, Content::Skipped(seq, picture), ctx);
        Ok(None)
    }

    /// A relay message about this publication that is no packet.
    pub(crate) fn on_relay(
        &mut self,
        from: WorkerId,
        body: RelayBody,
        ctx: &mut Context<'_>,
    ) -> Result<(), DropReason> {
        match body {
            RelayBody::Wanted(interest) => self.on_interest(from, interest, ctx),
            RelayBody::Keyframe { layer } => {
                self.request_keyframe(layer, ctx.now, Asker::Another, ctx);
            }
            RelayBody::Left => self.on_left(from),
            _ if !self.is_relayed() => return Err(DropReason::NotPublished),
            RelayBody::Layer { layer, alive, ranks, rate, resolution } => {
                let stream = self.streams.get_mut(usize::from(layer));
                let resized = stream.is_some_and(|stream| stream.set_origin(ctx.now, rate, resolution));
                let reordered = self.order.set(ranks);
                if std::mem::replace(&mut self.alive, alive) != alive || reordered || resized {
                    self.retarget_all(ctx);
                }
            }
            RelayBody::Report { layer, epoch, clock_rate, rtp, ntp } => {
                self.set_epoch(layer, epoch, ctx)?;
                if let Some(stream) = self.streams.get_mut(usize::from(layer)) {
                    stream.set_clock((ntp, rtp), clock_rate);
                }
            }
            RelayBody::Clock { offset, learned } => self.clock = PublisherClock::from_offset(offset, learned),
            RelayBody::Formats(formats) => self.update_formats(&formats, ctx),
            // The worker's own matter, or the room's.
            RelayBody::Packet(_) | RelayBody::Level(_) | RelayBody::Skipped(_) => {}
            RelayBody::Muted(_) | RelayBody::Offered => {}
        }
        Ok(())
    }

    /// What the origin has to know of what is wanted here.
    pub(crate) fn interest(&self) -> Interest {
        let mut interest = Interest::default();
        for forwarder in &self.forwarders {
            let wanted = (0..self.streams.len() as LayerIndex).filter(|layer| forwarder.is_interested(*layer));
            interest.layers |= wanted.fold(0, |layers, layer| layers | 1 << layer);
            interest.awaited |= forwarder.awaits_keyframe().map_or(0, |layer| 1 << layer);
        }
        if self.muted {
            interest.awaited = 0;
        }
        interest
    }

    /// The next layer of which the origin is to be asked for a keyframe now, since a subscriber sent PLI or FIR.
    pub(crate) fn take_keyframe_request(&mut self, ctx: &Context<'_>) -> Option<LayerIndex> {
        let rtt = Duration::ZERO; // the origin knows that of the publisher
        let due = |stream: &mut ReceiveStream| {
            if !stream.keyframes.is_requested() {
                stream.keyframes.cancel();
            }
            stream.keyframes.take_due(ctx.now, rtt, &ctx.config.keyframes)
        };
        self.streams.iter_mut().position(due).map(|layer| layer as LayerIndex)
    }

    /// When [`Self::take_keyframe_request`] will have something; [`Instant::NEVER`] where no keyframe is requested.
    pub(crate) fn keyframes_due(&self) -> Instant {
        self.streams.iter().map(|stream| stream.keyframes.due()).min().unwrap_or(Instant::NEVER)
    }

    /// Drops packets that are older than the history. Whether others are still held.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        self.streams.iter_mut().for_each(|stream| stream.history.expire(now));
        self.streams.iter().any(|stream| !stream.history.is_empty())
    }

    fn is_sent(&self, layer: LayerIndex) -> bool {
        self.forwarders.iter().any(|forwarder| forwarder.current() == Some(layer))
    }

    /// A stream that restarted at the origin restarts here.
    fn set_epoch(&mut self, layer: LayerIndex, epoch: u32, ctx: &mut Context<'_>) -> Result<(), DropReason> {
        let stream = self.streams.get_mut(usize::from(layer)).ok_or(DropReason::UnknownStream)?;
        if stream.set_epoch(epoch) {
            self.restart(layer, ctx);
        }
        Ok(())
    }
}
