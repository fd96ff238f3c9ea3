//! Which packets of a publication go to one subscriber now.
//!
//! One selector per way of layering, as a closed enum, since it is asked for every packet. All of them begin and
//! switch only at keyframes (or at what the codec marks as good as one), so that a decoder never sees a frame whose
//! references it did not get.

use crate::command::Quality;
use crate::layer_order::{LayerIndex, LayerRanks};
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::media::MediaKind;
use sfu_rtc::packet::PacketData;

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

/// Selects from one stream without spatial layers: all of it, or its lower temporal layers.
#[derive(Debug)]
pub(crate) struct SingleSelector {
    running: bool,
    temporal: TemporalFilter,
}

impl SingleSelector {
    pub(crate) fn new(target: LayerTarget) -> Self {
        Self { running: false, temporal: TemporalFilter::new(target.temporal) }
    }

    fn select(&mut self, packet: &PacketData) -> Verdict {
        if packet.codec.kind() == MediaKind::Audio {
            // Every audio packet can be decoded by itself. The marker of a first packet shows the receiver that
            // its jitter buffer may be reset (RFC 3551 section 4.1).
            let switch = !std::mem::replace(&mut self.running, true);
            return Verdict::Forward { switch, marker: packet.marker || switch };
        }
        let switch = !self.running;
        if switch {
            if !(packet.frame.keyframe && packet.frame.start_of_frame) {
                return Verdict::Drop(DropReason::AwaitingKeyframe);
            }
            self.running = true;
            self.temporal.restart();
        }
        if !self.temporal.admits(packet) {
            return Verdict::Drop(DropReason::LayerNotSelected);
        }
        Verdict::Forward { switch, marker: packet.marker }
    }

    fn set_target(&mut self, target: LayerTarget) {
        self.temporal.set_target(target.temporal);
    }

    fn restart(&mut self) {
        self.running = false;
    }

    fn is_running(&self) -> bool {
        self.running
    }
}

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

    fn select(&mut self, layer: LayerIndex, packet: &PacketData) -> Verdict {
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

    fn set_target(&mut self, target: LayerTarget) {
        (self.target, self.ranks) = (target.layer, target.ranks);
        self.temporal.set_target(target.temporal);
    }

    fn restart(&mut self, layer: LayerIndex) {
        if self.current == Some(layer) {
            self.current = None;
        }
    }

    fn is_interested(&self, layer: LayerIndex) -> bool {
        self.current == Some(layer) || self.welcomes(layer)
    }

    fn current(&self) -> Option<LayerIndex> {
        self.current
    }

    fn awaits_keyframe(&self) -> Option<LayerIndex> {
        (self.current != Some(self.target)).then_some(self.target)
    }
}

/// Selects from a stream whose frames of one instant (a superframe, or temporal unit) build on one another: upper
/// spatial layers may be left out at any frame, and come back at a keyframe.
#[derive(Debug)]
pub(crate) struct SvcSelector {
    running: bool,
    spatial: u8,
    target: u8,
    /// Highest spatial layer that the stream was seen to have.
    highest: u8,
    /// Timestamp of the newest superframe, which is decided on as a whole.
    superframe: Option<u32>,
    temporal: TemporalFilter,
}

impl SvcSelector {
    pub(crate) fn new(target: LayerTarget) -> Self {
        Self {
            running: false,
            spatial: target.spatial,
            target: target.spatial,
            highest: 0,
            superframe: None,
            temporal: TemporalFilter::new(target.temporal),
        }
    }

    fn select(&mut self, packet: &PacketData) -> Verdict {
        let facts = &packet.frame;
        self.highest = self.highest.max(facts.spatial);
        let begins = facts.keyframe && facts.start_of_frame && facts.spatial == 0;
        let switch = begins && !self.running;
        if switch {
            self.running = true;
            self.temporal.restart();
        }
        if !self.running {
            return Verdict::Drop(DropReason::AwaitingKeyframe);
        }
        let newer = self.superframe.is_none_or(|last| packet.timestamp.wrapping_sub(last) as i32 > 0);
        if newer || switch {
            self.superframe = Some(packet.timestamp);
            if self.target < self.spatial || begins {
                self.spatial = self.target;
            }
        }
        if !self.temporal.admits(packet) || facts.spatial > self.spatial {
            return Verdict::Drop(DropReason::LayerNotSelected);
        }
        // The marker closes the superframe, whose last layer may now be a lower one.
        let last_layer = facts.end_of_frame && facts.spatial == self.spatial;
        Verdict::Forward { switch, marker: packet.marker || last_layer }
    }

    fn set_target(&mut self, target: LayerTarget) {
        self.target = target.spatial;
        self.temporal.set_target(target.temporal);
    }

    fn restart(&mut self) {
        self.running = false;
    }

    fn is_running(&self) -> bool {
        self.running
    }

    fn awaits_keyframe(&self) -> bool {
        !self.running || (self.target > self.spatial && self.spatial < self.highest)
    }
}

/// Admits temporal layers up to a target, and changes only between frames: down at any frame, up where the
/// stream says that a receiver may begin with the layer.
#[derive(Debug)]
struct TemporalFilter {
    target: u8,
    current: u8,
    /// Timestamp of the newest frame: a frame is decided on as a whole.
    frame: Option<u32>,
}

impl TemporalFilter {
    fn new(target: u8) -> Self {
        Self { target, current: target, frame: None }
    }

    fn set_target(&mut self, target: u8) {
        self.target = target;
    }

    /// Everything up to the target is allowed from the keyframe that comes now.
    fn restart(&mut self) {
        self.current = self.target;
        self.frame = None;
    }

    fn admits(&mut self, packet: &PacketData) -> bool {
        let newer = self.frame.is_none_or(|frame| packet.timestamp.wrapping_sub(frame) as i32 > 0);
        if newer {
            self.frame = Some(packet.timestamp);
            self.at_new_frame(packet);
        }
        packet.frame.temporal <= self.current
    }

    fn at_new_frame(&mut self, packet: &PacketData) {
        let facts = &packet.frame;
        if self.target < self.current || facts.keyframe {
            self.current = self.target;
        } else if facts.switching_point && facts.temporal > self.current && facts.temporal <= self.target {
            self.current = facts.temporal;
        }
    }
}

#[cfg(test)]
mod tests;
