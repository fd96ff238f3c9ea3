//! Which layers are alive, and which each subscriber shall get.

use super::Publication;
use crate::command::{Role, VideoCaps};
use crate::context::Context;
use crate::forwarder::Grant;
use crate::forwarder::layer_selector::{LayerTarget, highest_layer};
use crate::layer_order::{LayerIndex, MAX_LAYERS, Seen};
use crate::overload::{Level, Shed};
use crate::qos::{Layer, LayerId, MAX_STEPS};
use crate::receive_stream::ReceiveStream;
use arrayvec::ArrayVec;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;

/// How often liveness is looked at while packets arrive: a fraction of the shortest silence that means death.
const LIVENESS_INTERVAL: Duration = Duration::from_millis(100);
/// People are told that nothing comes after this time: a publication that begins is given a while.
const SILENCE: Duration = Duration::from_secs(2);

impl Publication {
    /// Updates which streams are alive, and how large they are; where that changes, subscribers get another target.
    pub(super) fn check_liveness(&mut self, ctx: &mut Context<'_>) {
        self.liveness_due = ctx.now + LIVENESS_INTERVAL;
        self.announce_codec(ctx);
        let mut alive = 0;
        for (layer, stream) in self.streams.iter_mut().enumerate() {
            alive |= u8::from(stream.tracker.is_alive(ctx.now)) << layer;
        }
        let over_cap = (0..self.streams.len()).filter(|layer| self.is_over_cap(*layer, ctx.now));
        alive &= !over_cap.fold(0, |over, layer| over | 1 << layer);
        let reordered = self.update_order(ctx);
        let sizes: ArrayVec<_, MAX_LAYERS> = self.streams.iter().map(ReceiveStream::resolution).collect();
        let resized = sizes != self.sizes;
        self.sizes = sizes;
        let changed = alive != self.alive || reordered || resized;
        self.alive = alive;
        if !self.relays.is_empty() && (changed || ctx.now >= self.layers_due) {
            self.relay_layers(ctx);
        }
        if changed {
            self.retarget_all(ctx);
        } else {
            self.need_keyframes(ctx);
        }
        self.report_limits_if_due(ctx);
    }

    /// Looks at which layer is better than which. Whether that changed.
    fn update_order(&mut self, ctx: &Context<'_>) -> bool {
        if self.streams.len() < 2 {
            return false;
        }
        let seen = |stream: &ReceiveStream| Seen {
            resolution: stream.tracker.resolution(),
            rate: stream.tracker.steady_bitrate(ctx.now),
        };
        let seen: ArrayVec<Seen, MAX_LAYERS> = self.streams.iter().take(MAX_LAYERS).map(seen).collect();
        self.order.update(ctx.now, &seen)
    }

    pub(super) fn is_alive(&self, layer: u8) -> bool {
        self.alive & (1 << layer) != 0
    }

    /// Updates the target of every subscriber.
    pub(crate) fn retarget_all(&mut self, ctx: &mut Context<'_>) {
        for index in 0..self.forwarders.len() {
            self.retarget(index, ctx);
        }
        self.share_anew(ctx);
    }

    /// Updates what one subscriber shall get: what it wants and the bandwidth allows, of the layers that are alive.
    pub(crate) fn retarget(&mut self, index: usize, ctx: &mut Context<'_>) {
        let wanted = self.wanted_layers(index);
        let ranks = self.order.ranks();
        let highest_spatial = self.wanted_spatial(index);
        let Some(forwarder) = self.forwarders.get_mut(index) else { return };
        let granted = forwarder.granted;
        forwarder.barred = wanted.is_empty();
        let idle = !forwarder.preference.is_visible() || forwarder.barred || forwarder.shed == Shed::Video;
        let paused = idle || granted == Grant::Nothing;
        let resumes = forwarder.paused && !paused;
        if resumes {
            forwarder.restart_all();
        }
        forwarder.paused = paused;
        let most = if forwarder.shed >= Shed::UpperLayers { LayerId::LOWEST } else { LayerId::ALL };
        let limit = if let Grant::UpTo(limit) = granted { limit.min(most) } else { most };
        let below = |layer: &&LayerIndex| ranks.of(**layer) <= limit.rank;
        let layer = wanted.iter().rev().find(below).or(wanted.first()).copied().unwrap_or(0);
        // Layers inside a stream are granted of the highest one only.
        let inside = if ranks.of(layer) == limit.rank { limit } else { LayerId::ALL };
        let most =
            forwarder.caps.framerate.map_or(u8::MAX, |fps| self.streams[usize::from(layer)].temporal_within(fps));
        forwarder.set_target(match forwarder.is_simulcast() {
            true => LayerTarget { layer, temporal: inside.temporal.min(most), ranks, ..LayerTarget::ALL },
            false => LayerTarget {
                spatial: limit.spatial.min(highest_spatial),
                temporal: limit.temporal.min(most),
                ..LayerTarget::ALL
            },
        });
        self.routes_changed(ctx);
        if resumes {
            // What waits must not come twice, from the history and then as a newcomer.
            self.flush_pending(ctx);
            self.catch_up(index, ctx);
        }
        self.need_keyframe_for(index, ctx);
        self.report_pause(index, ctx);
        self.update_limit(index, wanted.last().copied(), ctx);
    }

    /// What its subscribers could be sent has changed.
    pub(super) fn share_anew(&self, ctx: &mut Context<'_>) {
        self.forwarders.iter().for_each(|forwarder| ctx.share_anew(forwarder.subscriber));
    }

    /// Sets what subscribers are not sent, as the worker has no time for it.
    pub(crate) fn shed(&mut self, level: Level, speaks: bool, ctx: &mut Context<'_>) {
        for index in 0..self.forwarders.len() {
            let forwarder = &mut self.forwarders[index];
            let shed = level.for_subscriber(forwarder.subscriber.index(), speaks);
            if std::mem::replace(&mut forwarder.shed, shed) != shed {
                self.retarget(index, ctx);
            }
        }
    }

    /// Streams that a subscriber may get, lowest first: those alive up to the quality that it wants and its tile needs,
    /// or failing that the lowest one alive, or failing that all. Never one that it may not get.
    fn wanted_layers(&self, index: usize) -> ArrayVec<LayerIndex, MAX_LAYERS> {
        self.useful_layers(index, &|layer| self.is_alive(layer))
    }

    /// As [`Self::wanted_layers`], where those are alive of which `is_there` says so.
    fn useful_layers(&self, index: usize, is_there: &dyn Fn(LayerIndex) -> bool) -> ArrayVec<LayerIndex, MAX_LAYERS> {
        let layers = self.streams.len() as u8; // at most 8, by construction
        let Some(forwarder) = self.forwarders.get(index) else { return ArrayVec::new() };
        let preference = forwarder.preference;
        let size = |layer: &LayerIndex| self.streams[usize::from(*layer)].resolution();
        let may_get = |layer: &LayerIndex| match self.is_layered_inside() {
            true => forwarder.caps.admits(self.spatial_size(0)),
            false => forwarder.caps.admits(size(layer)),
        };
        let highest = highest_layer(preference.quality, layers);
        let up_to_highest = self.order.ranks().lowest(highest + 1, layers).filter(may_get);
        let mut wanted: ArrayVec<LayerIndex, MAX_LAYERS> =
            up_to_highest.clone().filter(|layer| is_there(*layer)).collect();
        if !wanted.is_empty() {
            if let Some(tile) = preference.tile {
                wanted.truncate(tile.useful(wanted.iter().map(size)));
            }
            return wanted;
        }
        let mut all = self.order.ranks().lowest(layers, layers).filter(may_get);
        match all.find(|layer| is_there(*layer)) {
            Some(lowest) => ArrayVec::from_iter([lowest]),
            None => up_to_highest.collect(),
        }
    }

    /// Whether its only stream has spatial layers inside.
    pub(super) fn is_layered_inside(&self) -> bool {
        self.streams.len() == 1 && self.streams[0].spatial_layers > 1
    }

    /// The picture of a spatial layer inside the stream. Each has half the width and height of the next in the scalability
    /// modes of WebRTC-SVC; that of the whole is known.
    pub(super) fn spatial_size(&self, layer: u8) -> Option<(u16, u16)> {
        let halvings = (self.streams[0].spatial_layers - 1).saturating_sub(layer);
        self.streams[0].resolution().map(|(width, height)| (width >> halvings, height >> halvings))
    }

    /// Bounds what a subscriber gets.
    pub(crate) fn cap_forwarder(&mut self, index: u32, caps: VideoCaps, ctx: &mut Context<'_>) {
        if let Some(forwarder) = self.forwarders.get_mut(index as usize) {
            forwarder.caps = caps;
            self.retarget(index as usize, ctx);
        }
    }

    /// The highest spatial layer inside the stream that a subscriber may get.
    pub(super) fn wanted_spatial(&self, index: usize) -> u8 {
        let Some(forwarder) = self.forwarders.get(index) else { return 0 };
        let preference = forwarder.preference;
        let highest = highest_layer(preference.quality, self.streams[0].spatial_layers);
        let may_get = |layer: &u8| forwarder.caps.admits(self.spatial_size(*layer));
        let highest = (0..=highest).rev().find(may_get).unwrap_or(0);
        let Some(tile) = preference.tile else { return highest };
        let useful = tile.useful((0..=highest).map(|layer| self.spatial_size(layer)));
        highest.min((useful as u8).saturating_sub(1))
    }

    /// Sets what the bandwidth allows a subscriber, and whether anything comes at all.
    pub(crate) fn grant(&mut self, index: usize, granted: Grant, ctx: &mut Context<'_>) {
        let comes =
            |(layer, stream): (usize, &ReceiveStream)| !stream.is_silent(ctx.now) && !self.is_over_cap(layer, ctx.now);
        let silent = !self.muted && !self.streams.iter().enumerate().any(comes);
        let Some(forwarder) = self.forwarders.get_mut(index) else { return };
        forwarder.silent_since = forwarder.silent_since.or(Some(ctx.now)).filter(|_| silent);
        forwarder.silent = forwarder.silent_since.is_some_and(|since| ctx.now - since >= SILENCE);
        if std::mem::replace(&mut forwarder.granted, granted) != granted {
            self.retarget(index, ctx);
        } else {
            self.report_pause(index, ctx);
        }
    }

    /// What a subscriber could be sent, from the least up. Of a camera's layers the lowest may come at lower frame
    /// rates; of a screen's, each: it is to be read first.
    pub(crate) fn ladder(&self, index: usize, now: Instant) -> ArrayVec<Layer, MAX_STEPS> {
        let mut ladder = ArrayVec::new();
        let Some(forwarder) = self.forwarders.get(index) else { return ladder };
        let preference = forwarder.preference;
        if self.muted || !forwarder.playable || !preference.is_visible() {
            return ladder;
        }
        let wanted = self.wanted_layers(index);
        let is_simulcast = self.streams.len() > 1;
        let highest = if is_simulcast { 0 } else { self.wanted_spatial(index) };
        for layer in &wanted {
            let stream = &self.streams[usize::from(*layer)];
            for spatial in 0..=highest {
                let is_lowest = ladder.is_empty();
                let top = stream.rates.temporal_layers() - 1;
                let from = if is_lowest || preference.role == Role::Screen { 0 } else { top };
                for temporal in from..=top {
                    let temporal = if temporal == top { u8::MAX } else { temporal };
                    let spatial = if is_simulcast { u8::MAX } else { spatial };
                    let id = LayerId { rank: self.order.ranks().of(*layer), spatial, temporal };
                    climb(&mut ladder, Layer { id, rate: stream.usual_rate(now, spatial, temporal) });
                }
            }
        }
        // Of what has just begun nothing is known.
        if let (true, Some(lowest)) = (ladder.is_empty(), wanted.first()) {
            let id = LayerId { rank: self.order.ranks().of(*lowest), spatial: 0, temporal: u8::MAX };
            ladder.push(Layer { id, rate: Bitrate::ZERO });
        }
        ladder
    }

    /// What its sender could make the best layer take that a subscriber wants, be it off at present.
    pub(crate) fn attainable(&self, index: usize) -> Bitrate {
        if self.attainable.is_empty() {
            return Bitrate::ZERO;
        }
        let attainable = |layer: LayerIndex| self.attainable[usize::from(layer)];
        let could = self.useful_layers(index, &|layer| self.is_alive(layer) || attainable(layer) > Bitrate::ZERO);
        could.last().map_or(Bitrate::ZERO, |best| attainable(*best))
    }
}

/// Puts a layer on top. What costs as much without being as good is left out, and so is what is not known.
fn climb(ladder: &mut ArrayVec<Layer, MAX_STEPS>, layer: Layer) {
    while ladder.last().is_some_and(|below| below.rate >= layer.rate) && layer.rate > Bitrate::ZERO {
        ladder.pop();
    }
    if layer.rate > Bitrate::ZERO && !ladder.is_full() {
        ladder.push(layer);
    }
}
