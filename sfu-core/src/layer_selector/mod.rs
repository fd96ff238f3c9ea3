//! Which packets of a publication go to one subscriber now.
//!
//! One selector per way of layering, as a closed enum, since it is asked for every packet. All of them begin and
//! switch only at keyframes (or at what the codec marks as good as one), so that a decoder never sees a frame whose
//! references it did not get.

mod simulcast;
mod single;
mod svc;
mod temporal;

pub(crate) use simulcast::SimulcastSelector;
pub(crate) use single::SingleSelector;
pub(crate) use svc::SvcSelector;

use crate::command::Quality;
use crate::layer_order::LayerRanks;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::packet::PacketData;

/// Place of a received stream among a publication's simulcast layers, as `a=simulcast` names them.
pub(crate) type LayerIndex = u8;

/// Most simulcast layers of a publication.
pub(crate) const MAX_LAYERS: usize = 8;

/// What happens to a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is sent.
    Forward {
        /// It is the first of a source or layer: numbers are joined here.
        switch: bool,
        /// The marker bit that it gets.
        marker: bool,
    },
    /// It is left out.
    Drop(DropReason),
}

/// What a subscriber shall get of a publication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LayerTarget {
    /// Simulcast layer.
    pub(crate) layer: LayerIndex,
    /// Highest spatial layer within the stream.
    pub(crate) spatial: u8,
    /// Highest temporal layer.
    pub(crate) temporal: u8,
    /// Which simulcast layers are below which.
    pub(crate) ranks: LayerRanks,
}

impl LayerTarget {
    /// No layer is left out.
    pub(crate) const ALL: Self = Self { layer: 0, spatial: u8::MAX, temporal: u8::MAX, ranks: LayerRanks::AS_NAMED };
}

/// The selector of one subscription.
#[derive(Debug)]
pub(crate) enum LayerSelector {
    /// One stream without spatial layers; audio too.
    Single(SingleSelector),
    /// Several streams of one source.
    Simulcast(SimulcastSelector),
    /// One stream with spatial layers inside.
    Svc(SvcSelector),
}

impl LayerSelector {
    /// Decides on a packet of stream `layer`.
    pub(crate) fn select(&mut self, layer: LayerIndex, packet: &PacketData) -> Verdict {
        match self {
            Self::Single(selector) => selector.select(packet),
            Self::Simulcast(selector) => selector.select(layer, packet),
            Self::Svc(selector) => selector.select(packet),
        }
    }

    /// Sets what shall be sent. It takes effect when the stream allows.
    pub(crate) fn set_target(&mut self, target: LayerTarget) {
        match self {
            Self::Single(selector) => selector.set_target(target),
            Self::Simulcast(selector) => selector.set_target(target),
            Self::Svc(selector) => selector.set_target(target),
        }
    }

    /// Stream `layer` has restarted, or sending paused: nothing of it goes before a keyframe.
    pub(crate) fn restart(&mut self, layer: LayerIndex) {
        match self {
            Self::Single(selector) => selector.restart(),
            Self::Simulcast(selector) => selector.restart(layer),
            Self::Svc(selector) => selector.restart(),
        }
    }

    /// Whether a packet of stream `layer` could be sent.
    pub(crate) fn is_interested(&self, layer: LayerIndex) -> bool {
        match self {
            Self::Single(_) | Self::Svc(_) => layer == 0,
            Self::Simulcast(selector) => selector.is_interested(layer),
        }
    }

    /// The simulcast layer that is sent now.
    pub(crate) fn current(&self) -> Option<LayerIndex> {
        match self {
            Self::Single(selector) => selector.is_running().then_some(0),
            Self::Simulcast(selector) => selector.current(),
            Self::Svc(selector) => selector.is_running().then_some(0),
        }
    }

    /// The simulcast layer of which a keyframe is needed to get to the target.
    pub(crate) fn awaits_keyframe(&self) -> Option<LayerIndex> {
        match self {
            Self::Single(selector) => (!selector.is_running()).then_some(0),
            Self::Simulcast(selector) => selector.awaits_keyframe(),
            Self::Svc(selector) => selector.awaits_keyframe().then_some(0),
        }
    }
}

/// Of `layers` layers, the highest that `quality` allows, counted from 0.
pub(crate) fn highest_layer(quality: Quality, layers: u8) -> u8 {
    let highest = layers.saturating_sub(1);
    match quality {
        Quality::Low => 0,
        Quality::Medium => (layers / 2).min(highest),
        Quality::High => highest,
    }
}

#[cfg(test)]
pub(crate) mod tests;
