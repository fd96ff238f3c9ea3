//! Long-term references of one publication: what its sender keeps, what its subscribers hold, and when it is to recover.

use super::{Publication, Source};
use crate::context::Context;
use crate::event::Event;
use crate::forwarder::Forwarder;
use crate::references::{ReferenceNews, Subscriber, View};
use sfu_rtc::media::{Codec, MediaKind};
use sfu_rtc::packet::Packet;
use sfu_rtc::rtp::extension::ExtensionKind;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::twcc::FramePacket;

/// Who asks for lost packets gets them within so many round trips, and this.
const REPAIR_ROUND_TRIPS: u32 = 2;
const REPAIR_SLACK: Duration = Duration::from_millis(100);
/// What has not come so long after a receiver missed it, it does not wait for any longer: our client's patience, which is
/// less than others'.
const GIVEN_UP: Duration = Duration::from_millis(400);

impl Publication {
    /// Takes note of a packet that came. Only of streams without layers, whose frames refer to one other.
    pub(super) fn note_reference(&mut self, packet: &Packet, ctx: &Context<'_>) {
        let is_numbered = packet.frame.frame_number.is_some() && matches!(packet.codec, Codec::H264 | Codec::Vp8);
        if is_numbered && self.kind == MediaKind::Video && self.streams.len() == 1 {
            self.references.get_or_insert_default().on_packet(ctx.now, packet);
        }
    }

    /// The sender keeps a frame for long. False where that cannot be. It may say so of its first one before that has come: what
    /// is told of that counts only from then on.
    pub(crate) fn mark_reference(&mut self, (frame, by): (u16, u16), ctx: &mut Context<'_>) -> bool {
        if self.kind != MediaKind::Video || self.streams.len() > 1 {
            return false;
        }
        let is_known = self.references.get_or_insert_default().mark(ctx.now, frame, by);
        self.judge_references(ctx);
        is_known
    }

    /// Feedback of a subscriber on packets of frames.
    pub(crate) fn on_told(&mut self, index: u32, told: &[(FramePacket, bool)], ctx: &mut Context<'_>) {
        let Self { references, forwarders, streams, .. } = self;
        let Some(references) = references.as_ref().filter(|references| references.is_enabled()) else { return };
        let Some(forwarder) = forwarders.get_mut(index as usize) else { return };
        let source = streams.first().and_then(|stream| stream.ssrc());
        let Some(peer) = ctx.peers.get(forwarder.subscriber) else { return };
        // Who is not told what a frame refers to waits for a keyframe, whatever it has.
        let section = peer.transport.sections().get(usize::from(forwarder.section));
        if section.is_none_or(|section| section.extensions.id(ExtensionKind::DependencyDescriptor).is_none()) {
            return;
        }
        let view = View { references, now: ctx.now, patience: peer.transport.rtt_or_default() + GIVEN_UP };
        let holding = forwarder.holding.get_or_insert_default();
        // What the slot carried before was of another source.
        for (packet, arrived) in told.iter().filter(|(packet, _)| Some(packet.source) == source) {
            holding.on_told(view, (packet.frame, packet.seq), *arrived);
        }
        self.judge_references(ctx);
    }

    /// Whether a subscriber that asks for a keyframe gets a frame that refers to what all hold instead.
    pub(super) fn recovers_instead(&mut self, index: u32, ctx: &mut Context<'_>) -> bool {
        let (all_known, rtt) = (self.relays.is_empty(), self.publisher_rtt(ctx));
        let Self { references, forwarders, .. } = self;
        let Some(references) = references else { return false };
        let holdings = forwarders.iter().filter(|forwarder| is_served(forwarder));
        if !references.can_recover(holdings.map(|forwarder| forwarder.holding.as_ref()?.has()), all_known) {
            return false;
        }
        let forwarder = forwarders.get_mut(index as usize).filter(|forwarder| is_served(forwarder));
        let Some(holding) = forwarder.and_then(|forwarder| forwarder.holding.as_mut()) else { return false };
        if !holding.on_keyframe_request(references, ctx.now) {
            return false;
        }
        let news = references.ask((ctx.now, rtt));
        self.report_references(news, ctx);
        true
    }

    /// Tells the sender what has become known since it was looked at, if it is time.
    pub(crate) fn judge_due_references(&mut self, ctx: &mut Context<'_>) {
        if self.references.as_ref().is_some_and(|references| references.due() <= ctx.now) {
            self.judge_references(ctx);
        }
    }

    /// Tells the sender what has become known.
    fn judge_references(&mut self, ctx: &mut Context<'_>) {
        let (all_known, rtt) = (self.relays.is_empty(), self.publisher_rtt(ctx));
        let Self { references, forwarders, .. } = self;
        let Some(references) = references else { return };
        let peers = &*ctx.peers;
        let subscribers = forwarders.iter().filter(|forwarder| is_served(forwarder)).map(|forwarder| {
            let rtt = peers.get(forwarder.subscriber).map(|peer| peer.transport.rtt_or_default());
            let repair = |rtt: Duration| (rtt * REPAIR_ROUND_TRIPS + REPAIR_SLACK).min(rtt + GIVEN_UP);
            let repair = rtt.map_or(REPAIR_SLACK, repair);
            let patience = if forwarder.has_asked { repair } else { Duration::ZERO };
            Subscriber { holding: forwarder.holding.as_deref(), patience }
        });
        let news = references.judge((ctx.now, rtt), subscribers, all_known);
        let due = references.due();
        if news.is_some_and(|news| news.acknowledged.is_some()) {
            let acknowledged = references.acknowledged();
            for holding in forwarders.iter_mut().filter_map(|forwarder| forwarder.holding.as_mut()) {
                holding.hold(acknowledged);
            }
        }
        self.report_references(news, ctx);
        if due != Instant::NEVER {
            self.wake_source(ctx);
        }
    }

    fn report_references(&self, news: Option<ReferenceNews>, ctx: &mut Context<'_>) {
        if let Some(news) = news {
            ctx.events.push(Event::References { transport: self.sender, publication: self.id, news });
        }
    }

    fn publisher_rtt(&self, ctx: &Context<'_>) -> Duration {
        let Source::Peer(publisher) = self.source else { return Duration::ZERO };
        ctx.peers.get(publisher).map_or(Duration::ZERO, |peer| peer.transport.rtt_or_default())
    }
}

/// Whether frames go to it now.
fn is_served(forwarder: &Forwarder) -> bool {
    forwarder.is_active() && forwarder.playable && forwarder.current().is_some()
}
