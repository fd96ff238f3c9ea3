//! The most important first: audio; the lowest layer of everything that is shown; then screens, what is pinned, who
//! speaks and the rest, each as good as its tile needs before the next gets more than its lowest layer. Equals get one
//! layer each in turn.
//!
//! What is granted is kept while it fits the estimate, and given up at once when it does not; the lowest layer after a
//! moment. An estimate below [`ImportanceConfig::least`] counts as that. A layer more has to leave
//! a share of the whole estimate free: an estimate's noise is a share of itself, and headroom by the size of the step
//! let small steps come and go with it.

use super::{Allocation, AllocationHistory, BitrateAllocator, HoldConfig, LayerId, NextStep, SlotDemand};
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;
use std::cmp::Reverse;

/// How eagerly layers are granted.
#[derive(Clone, PartialEq, Debug)]
pub struct ImportanceConfig {
    /// Share of the estimate that stays free when a layer is added: with a tenth, noise of 5 % takes nothing back.
    pub headroom: f64,
    /// A path is taken to carry so much: by less than audio and the lowest layer of a camera it cannot be measured.
    pub least: Bitrate,
    /// The lowest layer of what was sent stays for so long without room.
    pub grace: Duration,
    /// What was given up waits.
    pub hold: HoldConfig,
}

impl Default for ImportanceConfig {
    fn default() -> Self {
        Self {
            headroom: 0.1,
            least: Bitrate::from_kbps(120),
            grace: Duration::from_millis(500),
            hold: HoldConfig::default(),
        }
    }
}

/// Grants layers by importance.
#[derive(Debug)]
pub struct ByImportance {
    config: ImportanceConfig,
    /// Reused: indices of the demands.
    order: Vec<usize>,
}

impl ByImportance {
    /// With these limits.
    pub fn new(config: ImportanceConfig) -> Self {
        Self { config, order: Vec::new() }
    }
}

impl BitrateAllocator for ByImportance {
    fn allocate(
        &mut self,
        now: Instant,
        estimate: Option<Bitrate>,
        demands: &[SlotDemand],
        history: &mut AllocationHistory,
        granted: &mut Vec<usize>,
    ) -> Allocation {
        granted.clear();
        let wanted = demands.iter().fold(Bitrate::ZERO, |sum, demand| sum + demand.wanted());
        let Some(estimate) = estimate else {
            history.clear();
            granted.extend(demands.iter().map(|demand| demand.layers.len()));
            let tops = demands.iter().filter_map(|demand| demand.layers.last());
            let granted = tops.fold(Bitrate::ZERO, |sum, layer| sum + layer.rate);
            return Allocation { granted, wanted, ..Allocation::default() };
        };
        let estimate = estimate.max(self.config.least);
        granted.resize(demands.len(), 0);
        history.align(demands);
        self.order.clear();
        self.order.extend(0..demands.len());
        let headroom = self.config.headroom.clamp(0.0, 0.9);
        let lowest = history.lowest_until(now, estimate, self.config.hold.lowest.longest / 2);
        let mut sharing = Sharing {
            now,
            demands,
            history,
            granted,
            spent: Bitrate::ZERO,
            estimate,
            careful: estimate * (1.0 - headroom),
            proven: lowest * (1.0 - headroom),
            ample: estimate * (1.0 / self.config.hold.overruled.max(1.0)),
            grace: self.config.grace,
            grew: false,
            next: None,
            review: None,
        };
        sharing.share_out(&mut self.order);
        let Sharing { spent, next, review, .. } = sharing;
        history.set_over(now, review.is_some());
        history.record(now, demands, granted, &self.config.hold);
        let next_step = next.map(|step| NextStep { at: step.at * (1.0 / (1.0 - headroom)), ..step });
        Allocation { granted: spent, wanted, next_step, review }
    }
}

/// One allocation as it goes.
struct Sharing<'a> {
    now: Instant,
    demands: &'a [SlotDemand],
    history: &'a AllocationHistory,
    granted: &'a mut [usize],
    spent: Bitrate,
    /// What may be spent in all on what is kept, and on a layer more.
    estimate: Bitrate,
    careful: Bitrate,
    /// What may be spent in all on a lowest layer that was given up a short time ago, as it has fitted all the time since.
    proven: Bitrate,
    /// What may be spent on any layer that was given up, as there is much more than it takes.
    ample: Bitrate,
    grace: Duration,
    /// A layer was added: what comes after has to leave headroom too, or the next noise would take it.
    grew: bool,
    /// The first layer that found no room, and what would be spent with it.
    next: Option<NextStep>,
    /// When something that does not fit is no longer kept.
    review: Option<Instant>,
}

impl<'a> Sharing<'a> {
    fn share_out(&mut self, order: &mut [usize]) {
        self.sort(order);
        for &index in order.iter() {
            if self.demands[index].importance.audio {
                self.grant(index);
            } else {
                self.climb(index);
            }
        }
        for &index in order.iter() {
            while self.is_of_lowest(index) && self.climb(index) {}
        }
        let demands = self.demands;
        let group = |index: &usize| (demands[*index].importance.priority, demands[*index].importance.role);
        for equals in order.chunk_by_mut(|a, b| group(a) == group(b)) {
            self.share_among(equals);
        }
        // A path that carries nothing is not measured, and its estimate would never recover.
        if self.granted.iter().all(|granted| *granted == 0)
            && let Some(&first) = order.iter().find(|index| !demands[**index].layers.is_empty())
        {
            self.grant(first);
            self.next = None;
            self.share_among(order);
        }
    }

    /// One layer more for each in turn, for as long as one finds room.
    fn share_among(&mut self, equals: &mut [usize]) {
        loop {
            self.sort(equals);
            let climbed = equals.iter().filter(|index| self.climb(**index)).count();
            if climbed == 0 {
                return;
            }
        }
    }

    /// The most important first. Of equals those that have their next layer already, else they would take it from one
    /// another; then the cheapest.
    fn sort(&self, order: &mut [usize]) {
        order.sort_unstable_by_key(|&index| {
            let next = self.next_of(index);
            let held = next.is_some_and(|(id, _)| self.history.holds(index, id));
            let demand = &self.demands[index];
            (Reverse(demand.importance), !held, next.map(|(_, more)| more), demand.slot)
        });
    }

    /// The next layer of a slot, and what it takes more than what the slot has.
    fn next_of(&self, index: usize) -> Option<(LayerId, Bitrate)> {
        let (layers, has) = (&self.demands[index].layers, self.granted[index]);
        let next = layers.get(has)?;
        let spent = has.checked_sub(1).map_or(Bitrate::ZERO, |top| layers[top].rate);
        Some((next.id, next.rate.saturating_sub(spent)))
    }

    /// Whether the next layer is the lowest at a higher frame rate.
    fn is_of_lowest(&self, index: usize) -> bool {
        let lowest = self.demands[index].layers.first();
        lowest.zip(self.next_of(index)).is_some_and(|(lowest, (next, _))| lowest.id.picture() == next.picture())
    }

    /// Grants the next layer where it finds room.
    fn climb(&mut self, index: usize) -> bool {
        let Some((layer, more)) = self.next_of(index) else { return false };
        let total = self.spent + more;
        let held = self.history.holds(index, layer);
        let of_lowest = self.is_of_lowest(index);
        let is_certain = total <= self.ample || of_lowest && total <= self.proven;
        let waits = !held && !is_certain && self.history.is_on_hold(self.now, index, layer);
        // A frame rate comes and goes without a keyframe, so it may come without headroom.
        let is_frame_rate = of_lowest && self.granted[index] > 0;
        let limit = if is_frame_rate || held && !self.grew { self.estimate } else { self.careful };
        let kept = total > limit && held && of_lowest && self.keeps_lowest();
        if kept || total <= limit && !waits {
            self.grew |= !held && !is_frame_rate;
            return self.grant(index);
        }
        if !waits {
            self.next.get_or_insert(NextStep { gain: more, at: total });
        }
        false
    }

    /// Whether the lowest layer of what was sent before stays for now, though there is no room: an encoder that follows
    /// needs a moment, and so does an estimate that errs; and what is given up costs a keyframe and some seconds.
    fn keeps_lowest(&mut self) -> bool {
        let until = self.history.over_since().unwrap_or(self.now) + self.grace;
        self.review = Some(until).filter(|until| self.now < *until);
        self.review.is_some()
    }

    /// Grants the next layer, whatever it takes.
    fn grant(&mut self, index: usize) -> bool {
        let next = self.next_of(index);
        if let Some((_, more)) = next {
            self.spent += more;
            self.granted[index] += 1;
        }
        next.is_some()
    }
}
