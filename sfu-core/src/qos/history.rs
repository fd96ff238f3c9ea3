//! What one subscriber was granted before, so that layers do not come and go with the noise of an estimate.

use super::{Layer, LayerId, SlotDemand};
use crate::ids::PublicationId;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;

/// For how long a layer is left alone that was given up for lack of bandwidth.
#[derive(Clone, PartialEq, Debug)]
pub struct HoldConfig {
    /// The lowest layer, and its full frame rate: a picture is missed more than its sharpness.
    pub lowest: Wait,
    /// Those above it.
    pub upper: Wait,
    /// A layer that lasted this long is taken to have fitted: the next time is a first time again.
    pub lasting: Duration,
    /// An estimate of so many times what would be spent is no noise, and nothing waits; nor does what fits even the
    /// lowest estimate of the last seconds.
    pub overruled: f64,
}

/// A wait that grows from time to time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Wait {
    /// After the first time. A path that has recovered is to show it soon.
    pub first: Duration,
    /// So many times as long after each further time.
    pub growth: u32,
    /// At most.
    pub longest: Duration,
}

impl Wait {
    /// After so many times in a row, counted from 1.
    fn after(self, times: u32) -> Duration {
        let longer = self.growth.saturating_pow(times.saturating_sub(1));
        self.first.checked_mul(longer).unwrap_or(self.longest).min(self.longest)
    }
}

impl Default for HoldConfig {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            lowest: Wait { first: seconds(1), growth: 2, longest: seconds(8) },
            // Each attempt that fails is a keyframe that the path does not carry in time: the picture freezes for a second.
            upper: Wait { first: seconds(2), growth: 4, longest: seconds(128) },
            lasting: seconds(30),
            overruled: 1.5,
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
    floor: Option<Floor>,
}

/// The lowest estimate of the last seconds: what has fitted even then is not taken back by noise.
#[derive(Clone, Copy, Debug)]
struct Floor {
    /// Of the span that began then, and of the one before it.
    since: Instant,
    lowest: Bitrate,
    before: Bitrate,
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

    /// Takes up an estimate, and gives the lowest of the last seconds, twice `span` at most.
    pub(super) fn lowest_until(&mut self, now: Instant, estimate: Bitrate, span: Duration) -> Bitrate {
        let floor = self.floor.get_or_insert(Floor { since: now, lowest: estimate, before: estimate });
        if now >= floor.since + span {
            let before = if now >= floor.since + span * 2 { estimate } else { floor.lowest };
            *floor = Floor { since: now, lowest: estimate, before };
        }
        floor.lowest = floor.lowest.min(estimate);
        floor.lowest.min(floor.before)
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
        (self.over_since, self.floor) = (None, None);
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
            let of_lowest = layers[granted].id.picture() == layers[0].id.picture();
            let wait = if of_lowest { config.lowest } else { config.upper };
            self.until = now + wait.after(self.times);
            self.given_up = Some(layers[granted].id);
        }
        self.held = granted.checked_sub(1).map(|top| layers[top].id);
    }
}
