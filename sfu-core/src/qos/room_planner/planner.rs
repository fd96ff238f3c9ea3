//! The plan from tick to tick: what goes down goes down at once, what goes up waits until it is worth it, a layer that
//! takes the place of another is there before the other stops, and what does not come leaves nobody without a picture.

use super::share::least_rate;
use super::{Choice, Encoding, Layer, Reason, Snapshot, Source, SourcePlan, plan_without, watchers};
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
    /// Before twice that time an increase is by this factor at least, in percent.
    pub raise_percent: u64,
    /// A layer that was asked for and does not arrive for so long is taken not to come.
    pub patience: Duration,
    /// For so long the path of one who comes is being measured: what is reduced for it meanwhile may rise again at once.
    pub settling: Duration,
}

impl Default for PlannerConfig {
    /// As GSO-Simulcast has them; a layer that begins needs an encoder, and a keyframe over a long path.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { hold: seconds(10), raise_percent: 120, patience: seconds(3), settling: seconds(3) }
    }
}

type Key = (PublicationId, Option<Rid>);

/// Plans one room again and again.
#[derive(Clone, Debug, Default)]
pub struct Planner {
    config: PlannerConfig,
    layers: HashMap<Key, Known>,
    /// When each subscriber came.
    came: HashMap<TransportId, Instant>,
}

/// What is remembered of a layer.
#[derive(Clone, Debug)]
struct Known {
    /// What it takes when nothing lowers it, and its lines.
    full: Layer,
    /// Seconds have been counted until then.
    counted: Instant,
    now: Encoding,
    /// When it arrived last, or was switched on since.
    awaited_since: Instant,
    /// When it was last lowered, or stopped for want of room.
    lowered: Option<Instant>,
    /// Who had no room for it when it stopped, and has wanted it since.
    wanted_by: BTreeSet<TransportId>,
}

impl Known {
    /// Whole seconds since this was last asked.
    fn seconds_until(&mut self, now: Instant) -> u64 {
        let seconds = now.saturating_since(self.counted).as_secs();
        self.counted += Duration::from_secs(seconds);
        seconds
    }

    /// Lowers its rate by a sixteenth per second: a still picture takes little for a while, and the next one takes what
    /// the last one took.
    fn fade(&mut self, seconds: u64) {
        self.full.rate = self.full.rate * (15.0_f64 / 16.0).powi(i32::try_from(seconds).unwrap_or(i32::MAX));
    }
}

impl Planner {
    /// An empty one.
    pub fn new(config: PlannerConfig) -> Self {
        Self { config, layers: HashMap::new(), came: HashMap::new() }
    }

    /// Plans the room as it is now. Sources keep their order; what is not there any more is forgotten.
    pub fn plan(&mut self, now: Instant, mut room: Snapshot) -> Vec<SourcePlan> {
        let there: HashSet<Key> = room.sources.iter().flat_map(|source| keys(source, |_| true)).collect();
        self.layers.retain(|key, _| there.contains(key));
        let transports = room.subscribers.iter().map(|subscriber| subscriber.transport);
        self.came = transports.map(|id| (id, self.came.get(&id).copied().unwrap_or(now))).collect();
        let arriving: HashSet<Key> = room.sources.iter().flat_map(|source| keys(source, is_arriving)).collect();
        room.sources.iter_mut().for_each(|source| self.remember(now, source));
        let (mut plans, choices) = plan_without(&room, &|_, _| false);
        let (held, absent) = (self.held(now, &room, &choices), self.absent(now, &room));
        let mut asked = Vec::new();
        if !held.is_empty() || !absent.is_empty() {
            asked = std::mem::replace(&mut plans, plan_again(&room, held, &absent));
        }
        let watchers = watchers(&room);
        for (index, plan) in plans.iter_mut().enumerate() {
            let source = &room.sources[index];
            let mut extra = self.replaced(now, plan, &arriving);
            for (layer, extra) in extra.iter_mut().enumerate().filter(|(layer, _)| absent.contains(&(index, *layer))) {
                let going_on = self.going_on(plan.publication, &asked[index].encodings[layer], &plan.encodings[layer]);
                *extra = going_on.or(*extra);
            }
            add_within(source.caps.bitrate, plan, extra);
            for (layer, (encoding, full)) in plan.encodings.iter_mut().zip(&source.layers).enumerate() {
                let wanting = watchers[index].iter().filter(|watcher| watcher.useful > layer);
                let wanting: Vec<_> = wanting.map(|watcher| room.subscribers[watcher.subscriber].transport).collect();
                self.hold_increase(now, (plan.publication, *full), &wanting, encoding);
            }
        }
        plans
    }

    /// Takes over what arrives, and puts what is known of a layer in the place of what a lowered one shows; then the
    /// layers stand from the lowest up, whatever the publisher's order.
    fn remember(&mut self, now: Instant, source: &mut Source) {
        for layer in &mut source.layers {
            let Some(known) = self.layers.get_mut(&(source.publication, layer.rid)) else { continue };
            let is_free = known.now.active && known.now.bitrate.is_none() && known.now.scale.is_none();
            let seconds = known.seconds_until(now);
            if is_free && is_arriving(layer) {
                known.fade(seconds);
            }
            known.full.rate = known.full.rate.max(layer.rate);
            let largest = known.full.size.max(layer.size);
            known.full.size = if is_free { layer.size.or(largest) } else { largest };
            if is_arriving(layer) {
                known.awaited_since = now;
            }
            *layer = known.full;
        }
        put_lowest_first(&mut source.layers);
    }

    /// Layers that were asked for and do not come: the sender's path or machine has no room for them, or it does as it
    /// likes.
    fn absent(&self, now: Instant, room: &Snapshot) -> HashSet<(usize, usize)> {
        let layers = room.sources.iter().enumerate().flat_map(|(index, source)| {
            let key = move |layer: &Layer| (source.publication, layer.rid);
            source.layers.iter().enumerate().map(move |(place, layer)| ((index, place), key(layer)))
        });
        let is_absent =
            |key: &Key| self.layers.get(key).is_some_and(|known| known.now.active && self.is_overdue(now, known));
        layers.filter(|(_, key)| is_absent(key)).map(|(place, _)| place).collect()
    }

    fn is_overdue(&self, now: Instant, known: &Known) -> bool {
        now >= known.awaited_since + self.config.patience
    }

    /// A layer that does not come stays on as long as somebody would get it; `asked` is what it would be if it came, and
    /// `planned` what is planned without it.
    fn going_on(&self, publication: PublicationId, asked: &Encoding, planned: &Encoding) -> Option<Encoding> {
        let before = self.layers.get(&(publication, planned.rid)).map(|known| known.now);
        let on = if asked.active { Some(*asked) } else { before.filter(|_| planned.reason == Reason::NoRoom) };
        on.map(|on| Encoding { reason: Reason::Absent, ..on })
    }

    /// Layers that stopped for want of room a short time ago, and that nobody has begun to want since.
    fn held(&self, now: Instant, room: &Snapshot, choices: &[Choice]) -> HashSet<(usize, usize)> {
        let is_held_from = |choice: &&Choice| {
            let source = &room.sources[choice.source];
            let known = self.layers.get(&(source.publication, source.layers[choice.layer].rid));
            let transport = room.subscribers[choice.subscriber].transport;
            known.is_some_and(|known| {
                let is_waiting = known.lowered.is_some_and(|lowered| now < lowered + self.config.hold);
                !known.now.active && is_waiting && known.wanted_by.contains(&transport)
            })
        };
        let (held, given): (Vec<&Choice>, Vec<&Choice>) = choices.iter().partition(is_held_from);
        let mut held: HashSet<_> = held.iter().map(|choice| (choice.source, choice.layer)).collect();
        given.iter().for_each(|choice| {
            held.remove(&(choice.source, choice.layer));
        });
        held
    }

    /// Layers that are to stop, and go on while another one of the source has been asked for and has not arrived.
    fn replaced(&self, now: Instant, plan: &SourcePlan, arriving: &HashSet<Key>) -> Vec<Option<Encoding>> {
        let known = |encoding: &Encoding| self.layers.get(&(plan.publication, encoding.rid));
        let arrives = |encoding: &Encoding| arriving.contains(&(plan.publication, encoding.rid));
        let is_awaited = |encoding: &Encoding| {
            let is_overdue = known(encoding).is_some_and(|known| known.now.active && self.is_overdue(now, known));
            encoding.active && !arrives(encoding) && !is_overdue
        };
        let is_any_awaited = plan.encodings.iter().any(is_awaited);
        let goes_on = |encoding: &Encoding| {
            let stops = is_any_awaited && !encoding.active && encoding.reason != Reason::OverCap;
            let before = known(encoding).filter(|_| stops)?.now;
            (before.active && arrives(&before)).then_some(Encoding { reason: Reason::Switching, ..before })
        };
        plan.encodings.iter().map(goes_on).collect()
    }

    /// Holds an increase back that comes too soon or is too small for those `wanting` the layer, and remembers what becomes
    /// of it.
    fn hold_increase(
        &mut self,
        now: Instant,
        (publication, full): (PublicationId, Layer),
        wanting: &[TransportId],
        next: &mut Encoding,
    ) {
        let settling = self.config.settling;
        let is_settling = wanting.iter().filter_map(|id| self.came.get(id)).any(|came| now < *came + settling);
        let known = self.layers.entry((publication, full.rid)).or_insert_with(|| {
            let now_off = Encoding { active: false, reason: Reason::Unwanted, ..*next };
            Known { full, counted: now, now: now_off, awaited_since: now, lowered: None, wanted_by: BTreeSet::new() }
        });
        let before = known.now;
        let rate = |encoding: &Encoding| encoding.bitrate.unwrap_or(Bitrate::MAX);
        if before.active && next.active {
            let is_within = |time: Duration| known.lowered.is_some_and(|lowered| now < lowered + time);
            let is_small = rate(next).as_bps() / self.config.raise_percent.max(1) < rate(&before).as_bps() / 100;
            if rate(next) < rate(&before) {
                known.lowered = (!is_settling).then_some(now).or(known.lowered);
            } else if rate(next) > rate(&before)
                && (is_within(self.config.hold) || is_small && is_within(self.config.hold * 2))
                && next.reason != Reason::Capped
            {
                (next.bitrate, next.reason) = (before.bitrate, before.reason);
            }
        }
        if next.active && !before.active {
            known.awaited_since = now;
        }
        if before.active && next.reason == Reason::NoRoom && !is_settling {
            (known.lowered, known.wanted_by) = (Some(now), wanting.iter().copied().collect());
        } else {
            known.wanted_by.retain(|id| !next.active && wanting.contains(id));
        }
        known.now = *next;
    }
}

/// The plan without these layers of sources. What is held back is not where that would leave nothing.
fn plan_again(room: &Snapshot, mut held: HashSet<(usize, usize)>, absent: &HashSet<(usize, usize)>) -> Vec<SourcePlan> {
    let without = |held: &HashSet<_>| {
        let is_excluded = |source, layer| held.contains(&(source, layer)) || absent.contains(&(source, layer));
        plan_without(room, &is_excluded).0
    };
    let plans = without(&held);
    let before = held.len();
    held.retain(|(source, _)| plans[*source].encodings.iter().any(|encoding| encoding.active));
    if held.len() < before { without(&held) } else { plans }
}

/// Puts each of `extra` in its layer's place, at what the publisher may send beyond what is planned; without room for it
/// there, the layer stays as planned.
fn add_within(cap: Option<Bitrate>, plan: &mut SourcePlan, extra: Vec<Option<Encoding>>) {
    let planned = plan.encodings.iter().filter(|encoding| encoding.active);
    let mut left = cap.map(|cap| planned.fold(cap, |left, on| left.saturating_sub(on.bitrate.unwrap_or(cap))));
    for (encoding, extra) in plan.encodings.iter_mut().zip(extra) {
        let Some(mut extra) = extra else { continue };
        if let Some(left) = &mut left {
            let wanted = extra.bitrate.unwrap_or(extra.full);
            if *left < least_rate(wanted) {
                continue;
            }
            let given = wanted.min(*left);
            *left = left.saturating_sub(given);
            extra.bitrate = Some(given);
        }
        *encoding = extra;
    }
}

/// The layers of a source that are as `filter` says.
fn keys(source: &Source, filter: impl Fn(&Layer) -> bool) -> Vec<Key> {
    let layers = source.layers.iter().filter(|layer| filter(layer));
    layers.map(|layer| (source.publication, layer.rid)).collect()
}

/// By what has been seen of them; until then the publisher's order is believed, unless two of them contradict it.
fn put_lowest_first(layers: &mut [Layer]) {
    let mut seen = layers.iter().filter_map(|layer| layer.size);
    let (first, last) = (seen.next(), seen.next_back());
    if layers.iter().all(|layer| layer.size.is_some()) {
        layers.sort_by_key(|layer| layer.size);
    } else if last.is_some() && first > last {
        layers.reverse();
    }
}

fn is_arriving(layer: &Layer) -> bool {
    layer.rate > Bitrate::ZERO
}
