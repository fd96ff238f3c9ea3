//! The origin's end of relays: other workers that get what is received here.

use super::Publication;
use super::fan_out::CATCH_UP;
use super::pending::Content;
use crate::context::Context;
use crate::ids::WorkerId;
use crate::layer_order::LayerIndex;
use crate::relay::{Interest, RelayBody, RelayedPacket, Skipped};
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::media::MediaKind;
use sfu_rtc::packet::Packet;
use sfu_rtc::time::Duration;
use std::sync::Arc;

/// How often the bitrates of layers are sent: as often as a subscriber's path is shared out, and once more.
const LAYERS_INTERVAL: Duration = Duration::from_millis(500);

/// A worker that a publication is relayed to.
#[derive(Debug)]
pub(super) struct Downstream {
    to: WorkerId,
    /// It has said what it wants, and been sent the state.
    joined: bool,
    interest: Interest,
    /// Bit per layer of which it missed packets, since its queue was full.
    gaps: u8,
}

impl Downstream {
    pub(super) fn wants(&self, layer: LayerIndex) -> bool {
        self.interest.layers & (1 << layer) != 0
    }

    pub(super) fn awaits(&self, layer: LayerIndex) -> bool {
        self.interest.awaited & (1 << layer) != 0
    }
}

impl Publication {
    /// Begins to relay to a worker. False where it is relayed there already, or came from another worker itself.
    pub(crate) fn relay_to(&mut self, to: WorkerId, ctx: &mut Context<'_>) -> bool {
        let is_origin = matches!(self.source, super::Source::Peer(_));
        if !is_origin || self.relays.iter().any(|relay| relay.to == to) {
            return false;
        }
        self.relays.push(Downstream { to, joined: false, interest: Interest::default(), gaps: 0 });
        ctx.relays.push(to, self.id, RelayBody::Offered)
    }

    /// Relays to a worker no longer. False where it was not relayed there.
    pub(crate) fn stop_relay(&mut self, to: WorkerId) -> bool {
        let before = self.relays.len();
        self.relays.retain(|relay| relay.to != to);
        self.relays.len() != before
    }

    /// What a destination needs from now on.
    pub(crate) fn on_interest(&mut self, from: WorkerId, interest: Interest, ctx: &mut Context<'_>) {
        let Some(index) = self.relays.iter().position(|relay| relay.to == from) else { return };
        let relay = &mut self.relays[index];
        let before = std::mem::replace(&mut relay.interest, interest);
        if !std::mem::replace(&mut relay.joined, true) {
            self.send_state(from, ctx);
        }
        let mut served = 0;
        for layer in
            (0..self.streams.len() as LayerIndex).filter(|layer| interest.layers & !before.layers & 1 << layer != 0)
        {
            served |= u8::from(self.relay_recent(index, layer, ctx)) << layer;
        }
        // What was held since a keyframe serves as one; if it does not, the layer is still awaited a little later.
        let begun = interest.awaited & !before.awaited & !served;
        for layer in (0..self.streams.len() as LayerIndex).filter(|layer| begun & (1 << layer) != 0) {
            if !self.muted {
                self.need_keyframe(layer, ctx);
            }
        }
    }

    /// A destination ended. The next one there is sent the whole state.
    pub(super) fn on_left(&mut self, from: WorkerId) {
        for relay in self.relays.iter_mut().filter(|relay| relay.to == from) {
            (relay.joined, relay.interest) = (false, Interest::default());
        }
    }

    /// Asks for the keyframes that a destination awaits.
    pub(super) fn need_keyframes_for_relay(&mut self, index: usize, ctx: &mut Context<'_>) {
        let awaited = self.relays.get(index).map_or(0, |relay| relay.interest.awaited);
        for layer in (0..self.streams.len() as LayerIndex).filter(|layer| awaited & (1 << layer) != 0) {
            if !self.muted {
                self.need_keyframe(layer, ctx);
            }
        }
    }

    /// Relays a packet of stream `layer` to those who want it; of audio, its loudness to all.
    pub(super) fn relay(&mut self, layer: LayerIndex, packet: &Packet, clock_rate: u32, ctx: &mut Context<'_>) {
        for index in 0..self.relays.len() {
            if self.relays[index].wants(layer) {
                self.relay_packet(index, layer, packet, clock_rate, ctx);
            } else if self.kind == MediaKind::Audio
                && let Some(level) = packet.extensions.audio_level
                && self.relays[index].joined
            {
                ctx.relays.push(self.relays[index].to, self.id, RelayBody::Level(level));
            }
        }
    }

    fn relay_packet(
        &mut self,
        index: usize,
        layer: LayerIndex,
        packet: &Packet,
        clock_rate: u32,
        ctx: &mut Context<'_>,
    ) {
        let relay = &mut self.relays[index];
        let (bit, epoch) = (1 << layer, self.streams[usize::from(layer)].epoch);
        let gap = relay.gaps & bit != 0;
        let relayed = RelayedPacket { packet: Packet::clone(packet), epoch, clock_rate, layer, gap };
        if ctx.relays.push(relay.to, self.id, RelayBody::Packet(relayed)) {
            relay.gaps &= !bit;
            ctx.relays.packets_out += 1;
        } else {
            relay.gaps |= bit;
            ctx.drop_packet(DropReason::RelayFull);
        }
    }

    /// Relays what is held of a stream since its newest keyframe, if that is recent.
    fn relay_recent(&mut self, index: usize, layer: LayerIndex, ctx: &mut Context<'_>) -> bool {
        let stream = &self.streams[usize::from(layer)];
        let Some(first) = stream.recent_keyframe(ctx.now, CATCH_UP).filter(|_| !self.muted) else { return false };
        let (last, clock_rate) = (stream.highest(), stream.newest().map_or(90_000, |newest| newest.clock_rate));
        for seq in first.0..=last.0 {
            let history = &self.streams[usize::from(layer)].history;
            match history.get(SeqNo(seq)).cloned() {
                Some(packet) => self.relay_packet(index, layer, &packet, clock_rate, ctx),
                None if history.knows(SeqNo(seq)) => {
                    let skipped = Skipped { layer, seq: SeqNo(seq), left_out: false, picture: None };
                    ctx.relays.push(self.relays[index].to, self.id, RelayBody::Skipped(skipped));
                }
                None => {}
            }
        }
        true
    }

    /// A number has nothing to forward: neither here nor on other workers.
    pub(super) fn skip(&mut self, skipped: Skipped, ctx: &mut Context<'_>) {
        let Skipped { layer, seq, picture, .. } = skipped;
        for relay in self.relays.iter().filter(|relay| relay.wants(layer)) {
            ctx.relays.push(relay.to, self.id, RelayBody::Skipped(skipped));
        }
        self.enqueue_newest(layer, Content::Skipped(seq, picture), ctx);
    }

    /// Sends destinations which layers are alive, and at what bitrates.
    pub(super) fn relay_layers(&mut self, ctx: &mut Context<'_>) {
        self.layers_due = ctx.now + LAYERS_INTERVAL;
        for relay in self.relays.iter().filter(|relay| relay.joined) {
            self.send_layers(relay.to, ctx);
        }
    }

    /// Sends destinations what the newest sender report of a stream says.
    pub(super) fn relay_report(&mut self, layer: LayerIndex, ctx: &mut Context<'_>) {
        for relay in self.relays.iter().filter(|relay| relay.joined) {
            self.send_clock(relay.to, layer, ctx);
        }
    }

    pub(super) fn relay_muted(&mut self, ctx: &mut Context<'_>) {
        for relay in self.relays.iter().filter(|relay| relay.joined) {
            ctx.relays.push(relay.to, self.id, RelayBody::Muted(self.muted));
        }
    }

    pub(super) fn relay_formats(&mut self, ctx: &mut Context<'_>) {
        for relay in self.relays.iter().filter(|relay| relay.joined) {
            ctx.relays.push(relay.to, self.id, RelayBody::Formats(Arc::clone(&self.formats)));
        }
    }

    /// Sends a destination that begins the whole state.
    fn send_state(&self, to: WorkerId, ctx: &mut Context<'_>) {
        ctx.relays.push(to, self.id, RelayBody::Formats(Arc::clone(&self.formats)));
        ctx.relays.push(to, self.id, RelayBody::Muted(self.muted));
        self.send_layers(to, ctx);
        for layer in 0..self.streams.len() {
            self.send_clock(to, layer as LayerIndex, ctx);
        }
    }

    fn send_layers(&self, to: WorkerId, ctx: &mut Context<'_>) {
        for (layer, stream) in self.streams.iter().enumerate() {
            let rate = stream.usual_rate(ctx.now, u8::MAX, u8::MAX);
            let (alive, ranks, resolution) = (self.alive, self.order.ranks(), stream.resolution());
            let layer = layer as LayerIndex;
            ctx.relays.push(to, self.id, RelayBody::Layer { layer, alive, ranks, rate, resolution });
        }
    }

    fn send_clock(&self, to: WorkerId, layer: LayerIndex, ctx: &mut Context<'_>) {
        let Some(stream) = self.streams.get(usize::from(layer)) else { return };
        let (Some((ntp, rtp)), Some(newest)) = (stream.report, stream.newest()) else { return };
        let (epoch, clock_rate) = (stream.epoch, newest.clock_rate);
        ctx.relays.push(to, self.id, RelayBody::Report { layer, epoch, clock_rate, rtp, ntp });
        if let Some((offset, learned)) = self.clock.offset() {
            ctx.relays.push(to, self.id, RelayBody::Clock { offset, learned });
        }
    }
}
