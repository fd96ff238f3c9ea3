//! Which layers are alive, and which each subscriber shall get.

use super::Publication;
use crate::context::Context;
use crate::forwarder::layer_selector::{LayerTarget, highest_layer};
use crate::layer_order::{MAX_LAYERS, Seen};
use crate::overload::{Level, Shed};
use crate::receive_stream::ReceiveStream;
use arrayvec::ArrayVec;
use sfu_rtc::time::Duration;
use sfu_rtc::units::Bitrate;

/// How often liveness is looked at while packets arrive: a fraction of the shortest silence that means death.
const LIVENESS_INTERVAL: Duration = Duration::from_millis(100);

impl Publication {
    /// Updates which streams are alive; subscribers of one that died, or came back, get another target.
    pub(super) fn check_liveness(&mut self, ctx: &mut Context<'_>) {
        self.liveness_due = ctx.now + LIVENESS_INTERVAL;
        self.announce_codec(ctx);
        let mut alive = 0;
        for (layer, stream) in self.streams.iter_mut().enumerate() {
            alive |= u8::from(stream.tracker.is_alive(ctx.now)) << layer;
        }
        let reordered = self.update_order(ctx);
        let changed = alive != self.alive || reordered;
        self.alive = alive;
        if !self.relays.is_empty() && (changed || ctx.now >= self.layers_due) {
            self.relay_layers(ctx);
        }
        if changed {
            self.retarget_all(ctx);
        } else {
            self.need_keyframes(ctx);
        }
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
    }

    /// Updates what one subscriber shall get: what it wants and the bandwidth allows, of the layers that are alive.
    pub(crate) fn retarget(&mut self, index: usize, ctx: &mut Context<'_>) {
        let spatial_layers = self.streams[0].spatial_layers;
        let candidates = self.wanted_layers(index);
        let ranks = self.order.ranks();
        let Some(forwarder) = self.forwarders.get_mut(index) else { return };
        let lowest = forwarder.shed >= Shed::UpperLayers;
        let allowed = forwarder.granted.unwrap_or(usize::MAX).min(if lowest { 1 } else { usize::MAX });
        let paused = forwarder.preference.paused || allowed == 0 || forwarder.shed == Shed::Video;
        if forwarder.paused && !paused {
            forwarder.restart_all();
        }
        forwarder.paused = paused;
        let top = candidates.len().min(allowed.max(1)).saturating_sub(1);
        let spatial = if lowest { 0 } else { highest_layer(forwarder.preference.quality, spatial_layers) };
        let target = if forwarder.is_simulcast() {
            LayerTarget { layer: candidates.get(top).copied().unwrap_or(0), ranks, ..LayerTarget::ALL }
        } else {
            LayerTarget { spatial, ..LayerTarget::ALL }
        };
        forwarder.set_target(target);
        self.routes_changed(ctx);
        self.need_keyframe_for(index, ctx);
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

    /// Streams that a subscriber may get, lowest first: those alive up to the quality it wants, or failing that the
    /// lowest one alive, or failing that all.
    pub(crate) fn wanted_layers(&self, index: usize) -> ArrayVec<u8, MAX_LAYERS> {
        let layers = self.streams.len() as u8; // at most 8, by construction
        let quality = self.forwarders.get(index).map(|forwarder| forwarder.preference.quality).unwrap_or_default();
        let highest = highest_layer(quality, layers);
        let is_alive = |layer: &u8| self.is_alive(*layer);
        let up_to_highest = self.order.ranks().lowest(highest + 1, layers);
        let wanted: ArrayVec<u8, MAX_LAYERS> = up_to_highest.clone().filter(is_alive).collect();
        if !wanted.is_empty() {
            return wanted;
        }
        match self.order.ranks().lowest(layers, layers).find(is_alive) {
            Some(lowest) => ArrayVec::from_iter([lowest]),
            None => up_to_highest.collect(),
        }
    }

    /// Sets how many of the layers that a subscriber wants may be sent to it.
    pub(crate) fn grant(&mut self, index: usize, layers: usize, ctx: &mut Context<'_>) {
        let Some(forwarder) = self.forwarders.get_mut(index) else { return };
        if forwarder.granted.replace(layers) != Some(layers) {
            self.retarget(index, ctx);
        }
    }

    /// Bitrates of [`Self::wanted_layers`], each at least that of the one below; none where nothing is wanted.
    pub(crate) fn wanted_rates(&self, index: usize, ctx: &Context<'_>, rates: &mut Vec<Bitrate>) {
        rates.clear();
        if self.muted || self.forwarders.get(index).is_none_or(|forwarder| forwarder.preference.paused) {
            return;
        }
        for layer in self.wanted_layers(index) {
            let rate = self.streams[usize::from(layer)].bitrate(ctx.now);
            rates.push(rates.last().map_or(rate, |below| rate.max(*below)));
        }
    }
}
