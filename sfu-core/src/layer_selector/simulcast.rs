//! One of several streams that carry the same source.

use super::temporal::TemporalFilter;
use super::{LayerIndex, LayerTarget, Verdict};
use crate::layer_order::LayerRanks;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::packet::PacketData;

/// Selects one simulcast layer. The old one goes on until a keyframe of the new one arrives.
#[derive(Debug)]
pub(crate) struct SimulcastSelector {
    current: Option<LayerIndex>,
    target: LayerIndex,
    ranks: LayerRanks,
    temporal: TemporalFilter,
}

impl SimulcastSelector {
    pub(crate) fn new(target: LayerTarget) -> Self {
        Self {
            current: None,
            target: target.layer,
            ranks: target.ranks,
            temporal: TemporalFilter::new(target.temporal),
        }
    }

    pub(super) fn select(&mut self, layer: LayerIndex, packet: &PacketData) -> Verdict {
        let begins = packet.frame.keyframe && packet.frame.start_of_frame;
        let switch = begins && self.current != Some(layer) && self.welcomes(layer);
        if switch {
            self.current = Some(layer);
            self.temporal.restart();
        }
        if self.current != Some(layer) {
            let waits = self.current.is_none() || layer == self.target;
            let reason = if waits { DropReason::AwaitingKeyframe } else { DropReason::LayerNotSelected };
            return Verdict::Drop(reason);
        }
        if !self.temporal.admits(packet) {
            return Verdict::Drop(DropReason::LayerNotSelected);
        }
        Verdict::Forward { switch, marker: packet.marker }
    }

    /// The target is switched to; until it comes, any lower layer is better than nothing, and a step towards the
    /// target better than none.
    fn welcomes(&self, layer: LayerIndex) -> bool {
        let rank = |layer| self.ranks.of(layer);
        match self.current {
            _ if layer == self.target => true,
            None => rank(layer) < rank(self.target),
            Some(current) => rank(current) < rank(layer) && rank(layer) < rank(self.target),
        }
    }

    pub(super) fn set_target(&mut self, target: LayerTarget) {
        (self.target, self.ranks) = (target.layer, target.ranks);
        self.temporal.set_target(target.temporal);
    }

    pub(super) fn restart(&mut self, layer: LayerIndex) {
        if self.current == Some(layer) {
            self.current = None;
        }
    }

    pub(super) fn is_interested(&self, layer: LayerIndex) -> bool {
        self.current == Some(layer) || self.welcomes(layer)
    }

    pub(super) fn current(&self) -> Option<LayerIndex> {
        self.current
    }

    pub(super) fn awaits_keyframe(&self) -> Option<LayerIndex> {
        (self.current != Some(self.target)).then_some(self.target)
    }
}
