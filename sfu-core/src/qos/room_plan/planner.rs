//! The plan from tick to tick: what goes down goes down at once, what goes up waits until it is worth it, and a layer
//! that takes the place of another is there before the other stops.

use super::{Choice, Encoding, Layer, Reason, Snapshot, Source, SourcePlan, Wish, plan_without, useful};
use crate::ids::{PublicationId, TransportId};
use sfu_rtc::ids::Rid;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;
use std::collections::{BTreeSet, HashMap, HashSet};

/// How slowly encoders are asked for more.
#[derive(Clone, PartialEq, Debug)]
pub struct PlannerConfig {
    /// Time from a reduction to the next increase.
    pub hold: Duration,
    /// An increase is by this factor at least, in percent.
    pub raise_percent: u64,
    /// So long a layer goes on whose place another one takes, if that does not arrive before.
    pub switch: Duration,
}

impl Default for PlannerConfig {
    /// As GSO-Simulcast has them; a switch waits for a keyframe over a long path.
    fn default() -> Self {
        Self { hold: Duration::from_secs(10), raise_percent: 120, switch: Duration::from_secs(3) }
    }
}

type Key = (PublicationId, Option<Rid>);

/// Plans one room again and again.
#[derive(Clone, Debug, Default)]
pub struct Planner {
    config: PlannerConfig,
    layers: HashMap<Key, Known>,
}

/// What is remembered of a layer.
#[derive(Clone, Debug)]
struct Known {
    /// What it takes when nothing lowers it, and its lines.
    full: Layer,
    now: Encoding,
    /// Since when it is on or off.
    since: Instant,
    /// When it was last lowered, or stopped for want of room.
    lowered: Option<Instant>,
    /// Who had no room for it when it stopped.
    wanted_by: BTreeSet<TransportId>,
}

impl Planner {
    /// An empty one.
    pub fn new(config: PlannerConfig) -> Self {
        Self { config, layers: HashMap::new() }
    }

    /// Plans the room as it is now. Sources keep their order; what is not there any more is forgotten.
    pub fn plan(&mut self, now: Instant, mut room: Snapshot) -> Vec<SourcePlan> {
        let there: HashSet<Key> = room.sources.iter().flat_map(|source| keys(source, |_| true)).collect();
        self.layers.retain(|key, _| there.contains(key));
        let arriving: HashSet<Key> = room.sources.iter().flat_map(|source| keys(source, is_arriving)).collect();
        room.sources.iter_mut().for_each(|source| self.remember(source));
        let (mut plans, choices) = plan_without(&room, &|_, _| false);
        let held = self.held(now, &room, &choices);
        if !held.is_empty() {
            (plans, _) = plan_without(&room, &|source, layer| held.contains(&(source, layer)));
        }
        for (index, plan) in plans.iter_mut().enumerate() {
            self.switch_smoothly(now, plan, &arriving);
            for layer in 0..plan.encodings.len() {
                self.settle(now, &room, (index, layer), &mut plan.encodings[layer]);
            }
        }
        plans
    }

    /// Takes over what arrives, and puts what is known of a layer in the place of what a lowered one shows; then the
    /// layers stand from the lowest up, whatever the publisher's order.
    fn remember(&mut self, source: &mut Source) {
        for layer in &mut source.layers {
            let Some(known) = self.layers.get_mut(&(source.publication, layer.rid)) else { continue };
            let is_free = known.now.active && known.now.bitrate.is_none() && known.now.scale.is_none();
            let grown = layer.rate.max(known.full.rate);
            // A still picture takes little for a while; the next one takes what the last one took.
            let faded = Bitrate::from_bps(known.full.rate.as_bps() / 16 * 15).max(layer.rate);
            known.full.rate = if is_free && is_arriving(layer) { faded } else { grown };
            known.full.size = known.full.size.max(layer.size);
            *layer = known.full;
        }
        if source.layers.iter().all(|layer| layer.size.is_some()) {
            source.layers.sort_by_key(|layer| layer.size);
        }
    }

    /// Layers that stopped for want of room a short time ago, and that nobody has begun to want since.
    fn held(&self, now: Instant, room: &Snapshot, choices: &[Choice]) -> HashSet<(usize, usize)> {
        let is_held = |choice: &&Choice| {
            let source = &room.sources[choice.source];
            let known = self.layers.get(&(source.publication, source.layers[choice.layer].rid));
            known.is_some_and(|known| {
                let is_waiting = known.lowered.is_some_and(|lowered| now < lowered + self.config.hold);
                !known.now.active && known.now.reason == Reason::NoRoom && is_waiting
            })
        };
        let mut held: HashSet<(usize, usize)> =
            choices.iter().filter(is_held).map(|choice| (choice.source, choice.layer)).collect();
        for choice in choices {
            let source = &room.sources[choice.source];
            let known = self.layers.get(&(source.publication, source.layers[choice.layer].rid));
            let transport = room.subscribers[choice.subscriber].transport;
            if known.is_some_and(|known| !known.wanted_by.contains(&transport)) {
                held.remove(&(choice.source, choice.layer));
            }
        }
        held
    }

    /// Lets layers go on while another one of the source has been asked for and has not arrived.
    fn switch_smoothly(&self, now: Instant, plan: &mut SourcePlan, arriving: &HashSet<Key>) {
        let publication = plan.publication;
        let known = |encoding: &Encoding| self.layers.get(&(publication, encoding.rid));
        let arrives = |encoding: &Encoding| arriving.contains(&(publication, encoding.rid));
        let is_awaited = |encoding: &Encoding| {
            let asked = known(encoding).filter(|known| known.now.active).map_or(now, |known| known.since);
            encoding.active && !arrives(encoding) && now < asked + self.config.switch
        };
        if !plan.encodings.iter().any(is_awaited) {
            return;
        }
        for encoding in plan.encodings.iter_mut().filter(|e| !e.active && e.reason != Reason::OverCap) {
            let before = known(encoding).map(|known| known.now).filter(|before| before.active && arrives(before));
            if let Some(before) = before {
                *encoding = Encoding { reason: Reason::Switching, ..before };
            }
        }
    }

    /// Holds an increase back that comes too soon or is too small, and remembers what becomes of the layer.
    fn settle(&mut self, now: Instant, room: &Snapshot, (source, layer): (usize, usize), next: &mut Encoding) {
        let full = room.sources[source].layers[layer];
        let known = self.layers.entry((room.sources[source].publication, full.rid)).or_insert_with(|| {
            let now_off = Encoding { active: false, reason: Reason::Unwanted, ..*next };
            Known { full, now: now_off, since: now, lowered: None, wanted_by: BTreeSet::new() }
        });
        let before = known.now;
        let rate = |encoding: &Encoding| encoding.bitrate.unwrap_or(Bitrate::MAX);
        if before.active && next.active {
            let is_waiting = known.lowered.is_some_and(|lowered| now < lowered + self.config.hold);
            let is_small = rate(next).as_bps() / self.config.raise_percent.max(1) < rate(&before).as_bps() / 100;
            if rate(next) < rate(&before) {
                known.lowered = Some(now);
            } else if rate(next) > rate(&before) && (is_waiting || is_small) && next.reason != Reason::Capped {
                (next.bitrate, next.reason) = (before.bitrate, before.reason);
            }
        }
        if before.active != next.active {
            known.since = now;
        }
        if !next.active && next.reason == Reason::NoRoom && (before.active || before.reason != Reason::NoRoom) {
            known.lowered = Some(now);
            known.wanted_by = wanting(room, source, layer);
        }
        known.now = *next;
    }
}

/// The layers of a source that are as `filter` says.
fn keys(source: &Source, filter: impl Fn(&Layer) -> bool) -> Vec<Key> {
    let layers = source.layers.iter().filter(|layer| filter(layer));
    layers.map(|layer| (source.publication, layer.rid)).collect()
}

fn is_arriving(layer: &Layer) -> bool {
    layer.rate > Bitrate::ZERO
}

/// Who wants a layer of a source, with room for it or without.
fn wanting(room: &Snapshot, source: usize, layer: usize) -> BTreeSet<TransportId> {
    let is_useful = |wish: &Wish| wish.source == source && useful(wish, &room.sources[source]) > layer;
    let wanting = room.subscribers.iter().filter(|subscriber| subscriber.wishes.iter().any(is_useful));
    wanting.map(|subscriber| subscriber.transport).collect()
}
