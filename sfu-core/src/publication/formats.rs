//! Payload formats: what the publisher sends, and which subscribers understand it.

use super::Publication;
use crate::context::Context;
use crate::event::Event;
use crate::payload_map::PayloadMap;
use sfu_rtc::ids::PayloadType;
use sfu_rtc::media::{Codec, MediaSection, PayloadFormat, SsrcPair};
use sfu_rtc::time::Duration;

/// A publisher that changes its format is followed once in this time: all subscribers are looked at, and those told whom
/// it concerns.
const JUDGE_INTERVAL: Duration = Duration::from_secs(1);

impl Publication {
    /// The section was negotiated anew, here or at the origin.
    pub(crate) fn update_formats(&mut self, formats: &[PayloadFormat], ctx: &mut Context<'_>) {
        if self.formats == formats {
            return;
        }
        self.formats = formats.to_vec();
        self.describe();
        for forwarder in &mut self.forwarders {
            let peer = ctx.peers.get(forwarder.subscriber);
            if let Some(slot) = peer.and_then(|p| p.transport.sections().get(usize::from(forwarder.section))) {
                forwarder.formats = PayloadMap::new(&self.formats, slot);
            }
        }
        self.judge_formats(ctx);
        self.relay_formats(ctx);
    }

    /// Tells the stream what its description says; layers of one source would need one each.
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
            self.judge_format(index as usize, ctx);
        }
    }

    /// The publication is sent in this format now.
    pub(super) fn follow_format(&mut self, payload_type: PayloadType, ctx: &mut Context<'_>) {
        if self.sent_in != Some(payload_type) && ctx.now >= self.judged_again {
            self.sent_in = Some(payload_type);
            self.judged_again = ctx.now + JUDGE_INTERVAL;
            self.judge_formats(ctx);
        }
    }

    fn judge_formats(&mut self, ctx: &mut Context<'_>) {
        for index in 0..self.forwarders.len() {
            self.judge_format(index, ctx);
        }
    }

    /// Notes, and tells, whether a subscriber understands what is sent. Before the first packet, whether it understands
    /// anything that may be.
    pub(super) fn judge_format(&mut self, index: usize, ctx: &mut Context<'_>) {
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
        let peer = ctx.peers.get(forwarder.subscriber);
        let slot = peer.and_then(|peer| peer.slots.get(usize::from(forwarder.section))?.as_ref());
        if let (Some(peer), Some(slot)) = (peer, slot) {
            let event = Event::SlotPlayable { transport: peer.id, mid: slot.mid, publication: self.id, playable };
            ctx.events.push(event);
        }
        self.request_keyframe_for(index, ctx);
    }
}
