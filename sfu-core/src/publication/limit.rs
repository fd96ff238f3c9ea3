//! Why subscribers get no better layers than they do, for people to see.

use super::Publication;
use crate::command::Tile;
use crate::context::Context;
use crate::event::{Event, LayerLimit};
use crate::forwarder::Grant;
use crate::forwarder::layer_selector::highest_layer;
use crate::layer_order::LayerIndex;
use crate::overload::Shed;
use crate::qos::LayerId;
use sfu_rtc::media::MediaKind;
use sfu_rtc::time::Instant;
use sfu_rtc::units::Bitrate;

impl Publication {
    /// Looks at why a subscriber gets no better layer, `best` being the best that it wants of those that are there.
    pub(super) fn update_limit(&mut self, index: usize, best: Option<LayerIndex>, ctx: &mut Context<'_>) {
        if self.kind == MediaKind::Audio {
            return;
        }
        let Some(limit) = best.and_then(|best| self.limit(index, best, ctx.now)) else { return };
        let Some(forwarder) = self.forwarders.get_mut(index) else { return };
        forwarder.limit = limit;
        self.report_limit(index, ctx);
    }

    fn limit(&self, index: usize, best: LayerIndex, now: Instant) -> Option<LayerLimit> {
        let forwarder = self.forwarders.get(index)?;
        let rank = self.order.ranks().of(best);
        let limit = match forwarder.granted {
            _ if forwarder.shed >= Shed::UpperLayers => return Some(LayerLimit::Overload),
            Grant::All => LayerId::ALL,
            Grant::UpTo(limit) => limit,
            // Why nothing comes is told by its pause.
            Grant::Nothing => return None,
        };
        let spatial = self.wanted_spatial(index);
        let is_within = limit.rank < rank
            || limit.rank == rank && limit.temporal < u8::MAX
            || self.is_layered_inside() && limit.spatial < spatial;
        if is_within {
            return Some(LayerLimit::Bandwidth);
        }
        Some(match self.is_layered_inside() {
            true => self.limit_inside(index, spatial)?,
            false => self.limit_above(index, rank, now)?,
        })
    }

    /// Why the spatial layer above `spatial` is not sent.
    fn limit_inside(&self, index: usize, spatial: u8) -> Option<LayerLimit> {
        let forwarder = self.forwarders.get(index)?;
        Some(match spatial + 1 {
            next if next >= self.streams[0].spatial_layers => LayerLimit::Best,
            next if !forwarder.caps.admits(self.spatial_size(next)) => LayerLimit::Cap,
            _ => LayerLimit::Wanted,
        })
    }

    /// Why the simulcast layer above the one of this rank is not sent.
    fn limit_above(&self, index: usize, rank: u8, now: Instant) -> Option<LayerLimit> {
        let forwarder = self.forwarders.get(index)?;
        let (ranks, layers) = (self.order.ranks(), self.streams.len() as u8); // at most 8, by construction
        let size = |layer: LayerIndex| self.streams[usize::from(layer)].resolution();
        let Some(above) = ranks.lowest(layers, layers).find(|layer| ranks.of(*layer) > rank) else {
            return Some(LayerLimit::Best);
        };
        let preference = forwarder.preference;
        let place = usize::from(ranks.of(above));
        let suffices = |tile: Tile| tile.useful(ranks.lowest(layers, layers).map(size)) <= place;
        let could = self.attainable.get(usize::from(above)).is_some_and(|rate| *rate > Bitrate::ZERO);
        Some(if !forwarder.caps.admits(size(above)) || self.is_over_cap(usize::from(above), now) {
            LayerLimit::Cap
        } else if highest_layer(preference.quality, layers) < ranks.of(above) || preference.tile.is_some_and(suffices) {
            LayerLimit::Wanted
        } else if could {
            // It is off, since there is no room for it.
            LayerLimit::Bandwidth
        } else {
            LayerLimit::Sender
        })
    }

    fn report_limit(&mut self, index: usize, ctx: &mut Context<'_>) {
        let Some(forwarder) = self.forwarders.get_mut(index) else { return };
        let limit = match forwarder.news_of_limit(ctx.now) {
            Ok(limit) => limit,
            Err(due) => {
                self.limits_due = self.limits_due.into_iter().chain(due).min();
                return;
            }
        };
        let peer = ctx.peers.get(forwarder.subscriber);
        let slot = peer.and_then(|peer| peer.slots.get(usize::from(forwarder.section))?.as_ref());
        if let (Some(peer), Some(slot)) = (peer, slot) {
            let (transport, mid, publication) = (peer.id, slot.mid, self.id);
            ctx.events.push(Event::SlotLimited { transport, mid, publication, limit });
        }
    }

    /// Reports what was held back.
    pub(super) fn report_limits_if_due(&mut self, ctx: &mut Context<'_>) {
        if self.limits_due.is_some_and(|due| due <= ctx.now) {
            self.limits_due = None;
            (0..self.forwarders.len()).for_each(|index| self.report_limit(index, ctx));
        }
    }
}
