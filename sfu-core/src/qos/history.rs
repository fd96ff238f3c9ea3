//! What one subscriber was granted before, so that layers do not come and go with the noise of an estimate.

use super::{Layer, LayerId, SlotDemand};
use crate::ids::PublicationId;
use sfu_rtc::time::{Duration, Instant};

/// For how long a layer is left alone that was given up for lack of bandwidth.
#[derive(Clone, PartialEq, Debug)]
pub struct HoldConfig {
    /// After the first time. A path that has recovered is to show it soon.
    pub first: Duration,
    /// Twice as long each further time, up to this.
    pub longest: Duration,
    /// Up to this where it is the lowest, or its full frame rate: a picture is missed more than its sharpness.
    pub longest_pause: Duration,
    /// A layer that lasted this long is taken to have fitted: the next time is a first time again.
    pub lasting: Duration,
}

impl Default for HoldConfig {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(2),
            longest: Duration::from_secs(32),
            longest_pause: Duration::from_secs(1),
            lasting: Duration::from_secs(30),
        }
    }
}

/// One subscriber's slots as they were at the last allocation.
#[derive(Default, Debug)]
pub struct AllocationHistory {
    /// In the order of the demands.
    slots: Vec<SlotHistory>,
    /// Since when more is granted than there is room for.
    over_since: Option<Instant>,
}

#[derive(Clone, Debug)]
struct SlotHistory {
    slot: u16,
    publication: PublicationId,
    /// The highest layer granted.
    held: Option<LayerId>,
    /// Since when it is as high as this, or higher.
    since: Instant,
    /// The lowest layer that was given up last.
    given_up: Option<LayerId>,
    /// How often in a row, and until when it is left alone.
    times: u32,
    until: Instant,
}

impl AllocationHistory {
    /// Takes up these demands: what carries another publication than before has no history.
    pub(super) fn align(&mut self, demands: &[SlotDemand]) {
        let is_of = |past: &SlotHistory, demand: &SlotDemand| {
            (past.slot, past.publication) == (demand.slot, demand.publication)
        };
        if self.slots.len() == demands.len() && self.slots.iter().zip(demands).all(|(past, d)| is_of(past, d)) {
            return;
        }
        let before = std::mem::take(&mut self.slots);
        let past_of = |demand: &SlotDemand| {
            let known = before.iter().find(|past| is_of(past, demand)).cloned();
            known.unwrap_or_else(|| SlotHistory::new(demand))
        };
        self.slots = demands.iter().map(past_of).collect();
    }

    /// Whether the slot has this layer already.
    pub(super) fn holds(&self, index: usize, layer: LayerId) -> bool {
        self.slots[index].held.is_some_and(|held| layer <= held)
    }

    /// Whether the layer was given up too short a time ago.
    pub(super) fn is_on_hold(&self, now: Instant, index: usize, layer: LayerId) -> bool {
        let past = &self.slots[index];
        now < past.until && past.given_up.is_some_and(|given_up| layer >= given_up)
    }

    /// Since when more is granted than there is room for.
    pub(super) fn over_since(&self) -> Option<Instant> {
        self.over_since
    }

    /// Remembers whether more is granted than there is room for.
    pub(super) fn set_over(&mut self, now: Instant, over: bool) {
        self.over_since = self.over_since.or(Some(now)).filter(|_| over);
    }

    /// Remembers what was granted.
    pub(super) fn record(&mut self, now: Instant, demands: &[SlotDemand], granted: &[usize], config: &HoldConfig) {
        for (past, (demand, granted)) in self.slots.iter_mut().zip(demands.iter().zip(granted)) {
            past.record(now, &demand.layers, *granted, config);
        }
    }

    /// Everything fitted.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.over_since = None;
    }
}

impl SlotHistory {
    fn new(demand: &SlotDemand) -> Self {
        let SlotDemand { slot, publication, .. } = *demand;
        Self { slot, publication, held: None, since: Instant::ZERO, given_up: None, times: 0, until: Instant::ZERO }
    }

    fn record(&mut self, now: Instant, layers: &[Layer], granted: usize, config: &HoldConfig) {
        // Layers may have gone meanwhile: those are not given up.
        let held = layers.iter().take_while(|layer| self.held.is_some_and(|held| layer.id <= held)).count();
        if granted > held {
            self.since = now;
        }
        if granted < held {
            // One fall may take several layers, one after the other.
            if now >= self.until {
                self.times = if now - self.since >= config.lasting { 1 } else { self.times + 1 };
            }
            let doublings = (self.times - 1).min(16);
            let of_lowest = layers[granted].id.picture() == layers[0].id.picture();
            let longest = if of_lowest { config.longest.min(config.longest_pause) } else { config.longest };
            self.until = now + (config.first * (1 << doublings)).min(longest);
            self.given_up = Some(layers[granted].id);
        }
        self.held = granted.checked_sub(1).map(|top| layers[top].id);
    }
}
