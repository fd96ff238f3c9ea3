//! From packets that wait to all who get them.

use super::audio_forms::AudioParts;
use super::pending::{Content, Cursor, Pending};
use super::{Publication, Source};
use crate::context::Context;
use crate::event::Event;
use crate::forwarder::{Forwarded, Forwarder};
use crate::ids::PublicationId;
use crate::layer_order::LayerIndex;
use crate::peer::Peer;
use crate::receive_stream::ReceiveStream;
use crate::slab::Slab;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::media::MediaKind;
use sfu_rtc::prefetch::prefetch;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;

/// A new subscriber is sent what it missed since the newest keyframe if that is no older. Those who join at about the
/// same time so share one keyframe, and the burst stays a few frames long.
pub(super) const CATCH_UP: Duration = Duration::from_millis(300);

/// An encoder's next frame comes within so long of a request.
const NEXT_FRAME: Duration = Duration::from_millis(40);

/// While no other keyframe is allowed, what is held since the last one may be so much that it takes this long on the way to
/// the subscriber: it sees the beginning at once, and is no later than the others by then.
const LONGEST_BURST: Duration = Duration::from_millis(1_500);

/// A receiver can keep audio and video in step only once it knows the new timestamps, so a report follows a switch
/// soon; not at once, since it counts what was sent, and several slots may switch together.
const SWITCH_REPORT_DELAY: Duration = Duration::from_millis(50);

/// What is fetched of a subscriber, in this order: one leads to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SubscriberPart {
    Forwarder,
    Transport,
    Keys,
    Window,
}

impl SubscriberPart {
    /// Fetches this part of the subscriber that `forwarder` serves.
    pub(crate) fn fetch(self, forwarder: &Forwarder, peers: &Slab<Box<Peer>>) {
        let peer = || peers.get(forwarder.subscriber);
        match self {
            Self::Forwarder => prefetch(forwarder),
            Self::Transport => {
                forwarder.prefetch();
                if let Some(peer) = peer() {
                    peer.transport.prefetch();
                }
            }
            Self::Keys => {
                if let Some(peer) = peer() {
                    prefetch(&peer.report_due);
                    peer.transport.prefetch_keys(usize::from(forwarder.section));
                }
            }
            Self::Window => {
                if let Some(peer) = peer() {
                    peer.transport.prefetch_window(forwarder.source());
                }
            }
        }
    }
}

impl Publication {
    /// Forwards what is due, into the batch that `ctx` has. Where that gets full, the rest follows with the next.
    pub(crate) fn fan_out(&mut self, ctx: &mut Context<'_>) {
        while self.pending.due() <= ctx.now {
            if !self.fan_out_once(ctx) {
                return;
            }
        }
    }

    /// Forwards all that waits, due or not, before a change that must not overtake it. Without a batch it
    /// is queued at the subscribers.
    pub(super) fn flush_pending(&mut self, ctx: &mut Context<'_>) {
        let batch = ctx.batch.take();
        while self.pending.due() != Instant::NEVER {
            self.fan_out_once(ctx);
        }
        ctx.batch = batch;
    }

    /// Subscriber by subscriber, so that the state of each is fetched into the cache once. False where the batch got
    /// full before the end.
    fn fan_out_once(&mut self, ctx: &mut Context<'_>) -> bool {
        #[cfg(test)]
        crate::test_support::panic_on_demand(self.id);
        let (mut going, mut cursor) = self.pending.begin(ctx.config.max_run_padding);
        if cursor == Cursor::default() && std::mem::take(&mut self.routes_stale) {
            self.make_routes();
        }
        while usize::from(cursor.layer) < self.streams.len() {
            let concerned = going.iter().any(|waiting| waiting.layer == cursor.layer);
            let route = self.routes.get(usize::from(cursor.layer)).filter(|_| concerned);
            let Some(&index) = route.and_then(|route| route.get(cursor.position)) else {
                cursor = Cursor { layer: cursor.layer + 1, position: 0 };
                continue;
            };
            if ctx.is_full() {
                self.pending.pause(going, cursor);
                return false;
            }
            self.look_ahead(cursor, ctx);
            self.forward_to(index as usize, cursor.layer, &mut going, ctx);
            cursor.position += 1;
        }
        self.pending.finish(going);
        true
    }

    /// Fetches the state of subscribers that come soon, the further ones first.
    fn look_ahead(&self, cursor: Cursor, ctx: &Context<'_>) {
        let Some(route) = self.routes.get(usize::from(cursor.layer)) else { return };
        for (distance, part) in [
            (4, SubscriberPart::Forwarder),
            (3, SubscriberPart::Transport),
            (1, SubscriberPart::Keys),
            (0, SubscriberPart::Window),
        ] {
            let index = route.get(cursor.position + distance);
            if let Some(forwarder) = index.and_then(|index| self.forwarders.get(*index as usize)) {
                part.fetch(forwarder, ctx.peers);
            }
        }
    }

    /// Forwards the packets of one layer to one subscriber.
    fn forward_to(&mut self, index: usize, layer: LayerIndex, going: &mut [Pending], ctx: &mut Context<'_>) {
        let Some(forwarder) = self.forwarders.get_mut(index) else { return };
        let mut switched = false;
        for position in 0..going.len() {
            let (before, after) = going.split_at_mut(position + 1);
            let Some(waiting) = before.last_mut().filter(|waiting| waiting.layer == layer) else { continue };
            let packet = match &waiting.content {
                Content::Skipped(seq, picture) => {
                    forwarder.skip(layer, *seq, *picture);
                    continue;
                }
                Content::Packet(packet) if self.kind == MediaKind::Audio => {
                    let Some(stream) = self.streams.get(usize::from(layer)) else { continue };
                    let (formats, pool, scratch) = (self.formats.as_slice(), &mut *ctx.pool, &mut self.audio_scratch);
                    let parts = &mut AudioParts { stream, formats, pool, scratch };
                    let Some(form) = waiting.forms.get(packet, forwarder.audio_form(layer), parts) else { continue };
                    form
                }
                Content::Packet(packet) => packet,
            };
            match forwarder.forward(ctx.now, layer, packet, &self.streams) {
                Ok(Forwarded { mut out, switch, announce, copy }) => {
                    out.padding = waiting.padding;
                    ctx.send(forwarder.subscriber, packet, out);
                    if let Some(copy) = copy {
                        ctx.send_later(forwarder.subscriber, copy);
                    }
                    if switch {
                        switched = true;
                        announce_switch(forwarder, announce.then_some(self.id), ctx);
                        // Packets of its frame that came before it could not be sent without it.
                        let comes =
                            |seq| after.iter().any(|other| other.is(layer, seq)) || self.pending.holds(layer, seq);
                        replay(forwarder, layer, (packet.seq.next(), waiting.highest), comes, &self.streams, ctx);
                    }
                }
                Err(reason) => ctx.drop_packet(reason),
            }
        }
        if switched {
            self.routes_changed(ctx);
        }
    }

    /// Sends a subscriber that is new, or gets the publication again, what was received since the newest keyframe, where that
    /// is worth it.
    pub(super) fn catch_up(&mut self, index: usize, ctx: &mut Context<'_>) {
        if self.kind == MediaKind::Audio || self.muted {
            return;
        }
        let Some(forwarder) = self.forwarders.get_mut(index) else { return };
        let Some(layer) = forwarder.awaits_keyframe() else { return };
        self.streams[usize::from(layer)].hold_keyframe(ctx.now, ctx.config);
        let estimate = ctx.peers.get(forwarder.subscriber).and_then(|peer| peer.estimate());
        let Some(first) = self.held_start(layer, estimate, ctx) else { return };
        let Some(forwarder) = self.forwarders.get_mut(index) else { return };
        let stream = &self.streams[usize::from(layer)];
        replay(forwarder, layer, (first, stream.highest()), |_| false, &self.streams, ctx);
        if forwarder.awaits_keyframe().is_none() {
            announce_switch(forwarder, Some(self.id), ctx);
        }
        self.routes_changed(ctx);
    }

    /// The first packet of a keyframe with which a subscriber is better off, its path of this bitrate, than with another:
    /// one that has just come, or one from which on it catches up before another would be there. Of an unknown path nothing is
    /// believed where another may be asked for at once.
    fn held_start(&self, layer: LayerIndex, estimate: Option<Bitrate>, ctx: &Context<'_>) -> Option<SeqNo> {
        let (stream, config) = (self.streams.get(usize::from(layer))?, &ctx.config.keyframes);
        if let Some(first) = stream.recent_keyframe(ctx.now, CATCH_UP) {
            return Some(first);
        }
        let first = stream.recent_keyframe(ctx.now, config.longest_wait)?;
        let allowed = stream.keyframes.next_for_few(ctx.now + stream.keyframe_wait(ctx.now, config), config);
        let another = allowed - ctx.now + self.round_trip(ctx) + NEXT_FRAME;
        let longest = if allowed > ctx.now { another.max(LONGEST_BURST) } else { another };
        let is_short = |path: Bitrate| path.time_for(stream.history.size_from(first)) <= longest;
        estimate.map_or(allowed > ctx.now, is_short).then_some(first)
    }

    /// To its publisher, as far as known.
    pub(super) fn round_trip(&self, ctx: &Context<'_>) -> Duration {
        let Source::Peer(publisher) = self.source else { return Duration::ZERO };
        ctx.peers.get(publisher).and_then(|peer| peer.transport.rtt()).unwrap_or_default()
    }

    /// Which forwarders the packets of each stream concern.
    fn make_routes(&mut self) {
        for (layer, route) in self.routes.iter_mut().enumerate() {
            route.clear();
            let concerned = self.forwarders.iter().enumerate().filter(|(_, f)| f.is_interested(layer as LayerIndex));
            route.extend(concerned.map(|(index, _)| index as u32));
        }
    }
}

/// Sends what is held of a stream from `from` to `to` to one subscriber, but for what `comes` by itself: it is in the
/// history already, and no number may be used twice.
fn replay(
    forwarder: &mut Forwarder,
    layer: LayerIndex,
    (from, to): (SeqNo, SeqNo),
    comes: impl Fn(SeqNo) -> bool,
    streams: &[ReceiveStream],
    ctx: &mut Context<'_>,
) {
    for seq in (from.0..=to.0).map(SeqNo).filter(|seq| !comes(*seq)) {
        let history = &streams[usize::from(layer)].history;
        let Some(packet) = history.get(seq) else {
            if history.knows(seq) {
                forwarder.skip(layer, seq, None);
            }
            continue;
        };
        match forwarder.forward_held(ctx.now, layer, packet, streams) {
            Ok(forwarded) => ctx.send(forwarder.subscriber, packet, forwarded.out),
            Err(reason) => ctx.drop_packet(reason),
        }
    }
}

fn announce_switch(forwarder: &Forwarder, publication: Option<PublicationId>, ctx: &mut Context<'_>) {
    let Some(peer) = ctx.peers.get_mut(forwarder.subscriber) else { return };
    peer.report_by(ctx.now + SWITCH_REPORT_DELAY);
    let mid = peer.slots.get(usize::from(forwarder.section)).and_then(|slot| slot.as_ref()).map(|slot| slot.mid);
    if let (Some(mid), Some(publication)) = (mid, publication) {
        ctx.events.push(Event::SlotSwitched { transport: peer.id, mid, publication });
    }
}
