//! What the publishers of a room are to encode, so that subscribers get what they want and can receive, at least cost to
//! the uplinks: a pure function, after GSO-Simulcast (Lin et al., SIGCOMM 2022). Each subscriber's path is shared out
//! among its subscriptions; then those who chose a layer agree on its rate, and what nobody chose stops.
//! [`Planner`] carries the plan from tick to tick.

mod agree;
mod planner;
mod share;

pub use planner::{Planner, PlannerConfig};

use crate::command::{LayerPreference, VideoCaps};
use crate::forwarder::layer_selector::highest_layer;
use crate::ids::{PublicationId, TransportId};
use sfu_rtc::ids::Rid;
use sfu_rtc::units::Bitrate;

/// A room at one moment.
#[derive(Clone, Default, Debug)]
pub struct Snapshot {
    /// All video that is published.
    pub sources: Vec<Source>,
    /// All who receive video.
    pub subscribers: Vec<Subscriber>,
}

/// A publication of video.
#[derive(Clone, PartialEq, Debug)]
pub struct Source {
    /// Which.
    pub publication: PublicationId,
    /// Simulcast layers, lowest first; one without simulcast.
    pub layers: Vec<Layer>,
    /// What its publisher may send at most.
    pub caps: VideoCaps,
}

/// One encoding of a source.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Layer {
    /// Its name; `None` without simulcast.
    pub rid: Option<Rid>,
    /// What arrives of it; zero while it is off.
    pub rate: Bitrate,
    /// Width and height of its picture, where they are known.
    pub size: Option<(u16, u16)>,
}

impl Layer {
    /// Lines of its picture. Which side is the shorter one, a phone decides as it is turned.
    fn lines(&self) -> Option<u16> {
        self.size.map(|(width, height)| width.min(height))
    }
}

/// Somebody who receives video.
#[derive(Clone, PartialEq, Debug)]
pub struct Subscriber {
    /// Which.
    pub transport: TransportId,
    /// What its path carries; `None` where that is not known, which limits nothing.
    pub estimate: Option<Bitrate>,
    /// What of that its audio takes.
    pub audio: Bitrate,
    /// Sources that its slots carry.
    pub subscriptions: Vec<Subscription>,
}

/// What a subscriber wants of a source.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Subscription {
    /// Place of the source in the snapshot.
    pub source: usize,
    /// Up to which quality.
    pub preference: LayerPreference,
    /// The most that it may get of it.
    pub caps: VideoCaps,
    /// How much a bit of it is worth beside one of another source; at least 1.
    pub weight: u32,
}

/// What one publication is to encode.
#[derive(Clone, PartialEq, Debug)]
pub struct SourcePlan {
    /// Which.
    pub publication: PublicationId,
    /// Its encodings, lowest first.
    pub encodings: Vec<Encoding>,
}

/// What is to be done with one encoding.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Encoding {
    /// Its name; `None` without simulcast.
    pub rid: Option<Rid>,
    /// Whether it is sent.
    pub active: bool,
    /// Its most bits per second; `None`: the sender's own.
    pub bitrate: Option<Bitrate>,
    /// Its most frames per second; `None`: the sender's own.
    pub framerate: Option<u8>,
    /// Factor by which the captured picture is scaled down; `None`: the sender's own.
    pub scale: Option<f32>,
    /// What it takes where nothing lowers it.
    pub full: Bitrate,
    /// Width and height of its picture where nothing scales it down, once it has been seen.
    pub size: Option<(u16, u16)>,
    /// Why.
    pub reason: Reason,
}

/// Why an encoding is on or off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// On: somebody wants it and can receive it.
    Wanted,
    /// On at a lower rate, which fits a subscriber that would not get it otherwise.
    Fitted,
    /// On at what the publisher may send.
    Capped,
    /// On though all get a better one: what remains to those whose path gets worse.
    Fallback,
    /// On still: another layer takes its place, and has not arrived yet.
    Switching,
    /// On: somebody wants it, and gets another layer as long as this one does not arrive.
    Absent,
    /// Off: nobody wants it.
    Unwanted,
    /// Off: those who want it cannot receive it.
    NoRoom,
    /// Off: the publisher may not send it.
    OverCap,
}

impl Reason {
    /// Whether an encoding is on for this reason.
    fn is_on(self) -> bool {
        !matches!(self, Self::Unwanted | Self::NoRoom | Self::OverCap)
    }

    /// For people and programs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Fitted => "fitted",
            Self::Capped => "capped",
            Self::Fallback => "fallback",
            Self::Switching => "switching",
            Self::Absent => "absent",
            Self::Unwanted => "unwanted",
            Self::NoRoom => "no room",
            Self::OverCap => "over cap",
        }
    }
}

/// What a layer takes where nothing is known of it, lowest first: 180, 360 and 720 lines.
const USUAL_RATES: [Bitrate; 3] = [Bitrate::from_kbps(150), Bitrate::from_kbps(500), Bitrate::from_kbps(1_700)];

/// The rate that a layer is taken to have.
fn rate_of(layer: &Layer, place: usize) -> Bitrate {
    if layer.rate > Bitrate::ZERO { layer.rate } else { USUAL_RATES[place.min(USUAL_RATES.len() - 1)] }
}

/// The rate that a layer has where it is not lowered for a subscriber.
fn full_rate(source: &Source, place: usize) -> Bitrate {
    let rate = rate_of(&source.layers[place], place);
    source.caps.bitrate.map_or(rate, |cap| rate.min(cap))
}

/// What each source of the room is to encode. Sources keep their order.
pub fn plan(room: &Snapshot) -> Vec<SourcePlan> {
    plan_without(room, &|_, _| false).0
}

/// Layer of a source that a subscriber was given.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Choice {
    subscriber: usize,
    source: usize,
    layer: usize,
    rate: Bitrate,
    /// There is no room for it: it is sent so that something shows what the path carries.
    forced: bool,
}

/// Somebody who wants something of a source.
struct Watcher {
    subscriber: usize,
    /// How many of its layers are of use.
    useful: usize,
    weight: u32,
}

/// Plans where nobody gets layers of which `is_excluded` says so, as if there were no room for them; with what was
/// chosen, source by source.
fn plan_without(room: &Snapshot, is_excluded: &dyn Fn(usize, usize) -> bool) -> (Vec<SourcePlan>, Vec<Choice>) {
    let allowed: Vec<Vec<bool>> = room.sources.iter().map(allowed_layers).collect();
    let is_usable = |source: usize, layer: usize| allowed[source][layer] && !is_excluded(source, layer);
    let mut choices = Vec::new();
    for (index, subscriber) in room.subscribers.iter().enumerate() {
        share::share(room, (index, subscriber), &is_usable, &mut choices);
    }
    choices.sort_by_key(|choice| (choice.source, choice.subscriber));
    let mut rest = choices.as_mut_slice();
    let mut plans = Vec::with_capacity(room.sources.len());
    for (index, (source, watchers)) in room.sources.iter().zip(watchers(room)).enumerate() {
        let (own, after) = rest.split_at_mut(rest.partition_point(|choice| choice.source == index));
        rest = after;
        let rates = agree::agree(source, &watchers, &|layer| is_usable(index, layer), own);
        let demand = Demand {
            rates,
            allowed: &allowed[index],
            lacking: lacking(&watchers, &allowed[index], own),
            fallback: fallback(room, &watchers).filter(|lowest| is_usable(index, *lowest)),
        };
        plans.push(SourcePlan { publication: source.publication, encodings: encodings(source, &demand) });
    }
    (plans, choices)
}

/// Who watches each source, by their place. Who wants it more than once counts once.
fn watchers(room: &Snapshot) -> Vec<Vec<Watcher>> {
    let mut all: Vec<Vec<Watcher>> = room.sources.iter().map(|_| Vec::new()).collect();
    for (subscriber, subscriptions) in room.subscribers.iter().map(|subscriber| &subscriber.subscriptions).enumerate() {
        for subscription in subscriptions.iter().filter(|subscription| subscription.source < room.sources.len()) {
            let (useful, weight) =
                (useful(subscription, &room.sources[subscription.source]), subscription.weight.max(1));
            let of_source = &mut all[subscription.source];
            match of_source.last_mut().filter(|last| last.subscriber == subscriber) {
                Some(last) => (last.useful, last.weight) = (last.useful.max(useful), last.weight.max(weight)),
                None => of_source.push(Watcher { subscriber, useful, weight }),
            }
        }
    }
    all.iter_mut().for_each(|watchers| watchers.retain(|watcher| watcher.useful > 0));
    all
}

/// Which layers the publisher may send: those within the height, and the lowest one scaled down, if need be.
fn allowed_layers(source: &Source) -> Vec<bool> {
    source.layers.iter().enumerate().map(|(place, layer)| place == 0 || source.caps.admits(layer.size)).collect()
}

/// Which layers of a source somebody wants and did not get.
fn lacking(watchers: &[Watcher], allowed: &[bool], choices: &[Choice]) -> Vec<bool> {
    let mut lacking = vec![false; allowed.len()];
    for watcher in watchers {
        let own = &choices[choices.partition_point(|choice| choice.subscriber < watcher.subscriber)..];
        let own = own.iter().take_while(|choice| choice.subscriber == watcher.subscriber);
        let has = own.map(|choice| choice.layer + 1).max().unwrap_or(0);
        (has..watcher.useful).filter(|layer| allowed[*layer]).for_each(|layer| lacking[layer] = true);
    }
    lacking
}

/// The lowest layer of a source, where somebody whose path may get worse watches it: there has to be something that
/// remains, and that shows when the path gets better.
fn fallback(room: &Snapshot, watchers: &[Watcher]) -> Option<usize> {
    let is_limited = |watcher: &Watcher| room.subscribers[watcher.subscriber].estimate.is_some();
    watchers.iter().any(is_limited).then_some(0)
}

/// How many of a source's layers are of use to one who wants it so.
fn useful(subscription: &Subscription, source: &Source) -> usize {
    let LayerPreference { quality, tile, .. } = subscription.preference;
    if !subscription.preference.is_visible() || source.layers.is_empty() {
        return 0;
    }
    let best = usize::from(highest_layer(quality, source.layers.len() as u8)) + 1;
    // The lowest layer is scaled down to what its publisher may send.
    let is_scaled = subscription.caps.height.is_none_or(|most| source.caps.height.is_some_and(|own| own <= most));
    let may_get = |(place, layer): &(usize, &Layer)| (*place == 0 && is_scaled) || subscription.caps.admits(layer.size);
    let best = source.layers.iter().take(best).enumerate().take_while(may_get).count();
    tile.map_or(best, |tile| tile.useful(source.layers.iter().take(best).map(|layer| layer.size)))
}

/// What is wanted of a source, layer by layer.
struct Demand<'a> {
    /// What its publisher may send.
    allowed: &'a [bool],
    /// The rate at which each is to be sent, if at all.
    rates: Vec<Option<Bitrate>>,
    lacking: Vec<bool>,
    fallback: Option<usize>,
}

/// What is to be done with each encoding of a source.
fn encodings(source: &Source, demand: &Demand<'_>) -> Vec<Encoding> {
    let full = |place: usize| full_rate(source, place);
    let fallback = demand.fallback.filter(|place| demand.rates[*place].is_none());
    let mut chosen = demand.rates.clone();
    if let Some(place) = fallback {
        chosen[place] = Some(full(place));
    }
    let rates = rates_within(source, &chosen);
    let encoding = |(place, layer): (usize, &Layer)| {
        let VideoCaps { bitrate: cap, framerate, .. } = source.caps;
        let reason = match (chosen[place], rates[place]) {
            _ if !demand.allowed[place] => Reason::OverCap,
            (None, _) if demand.lacking[place] => Reason::NoRoom,
            (None, _) => Reason::Unwanted,
            (_, None) => Reason::OverCap,
            _ if fallback == Some(place) => Reason::Fallback,
            (Some(chosen), _) if chosen < full(place) => Reason::Fitted,
            _ if source.caps != VideoCaps::default() => Reason::Capped,
            _ => Reason::Wanted,
        };
        let active = reason.is_on();
        let bitrate = rates[place].filter(|_| active && (reason == Reason::Fitted || cap.is_some()));
        let scale = scale(source, layer).filter(|_| active);
        Encoding { rid: layer.rid, active, bitrate, framerate, scale, full: full(place), size: layer.size, reason }
    };
    source.layers.iter().enumerate().map(encoding).collect()
}

/// By which factor the captured picture has to be scaled down for a layer to be within the height, where it is not.
fn scale(source: &Source, layer: &Layer) -> Option<f32> {
    let most = source.caps.height.filter(|most| layer.lines().is_some_and(|lines| lines > *most))?;
    let captured = source.layers.iter().filter_map(Layer::lines).max()?;
    Some(f32::from(captured) / f32::from(most.max(1)))
}

impl Encoding {
    /// What it would take more than it is given, or at all, if those who want it had room for it: what their paths are
    /// to be probed for. Zero where nothing is kept from anybody.
    pub fn withheld(&self) -> Bitrate {
        match self.reason {
            Reason::Fitted => self.full.saturating_sub(self.bitrate.unwrap_or(self.full)),
            Reason::NoRoom => self.full,
            _ => Bitrate::ZERO,
        }
    }
}

/// The rates that add up to no more than the publisher may send: the lowest layer first, and the highest gets what is
/// left. A layer for which too little is left gets none.
fn rates_within(source: &Source, chosen: &[Option<Bitrate>]) -> Vec<Option<Bitrate>> {
    let Some(cap) = source.caps.bitrate else { return chosen.to_vec() };
    let mut left = cap;
    let mut rates = vec![None; chosen.len()];
    let mut highest = None;
    for (place, rate) in chosen.iter().enumerate() {
        let Some(rate) = *rate else { continue };
        let full = full_rate(source, place);
        if highest.is_none() || left >= rate.min(share::least_rate(full)) {
            rates[place] = Some(rate.min(left));
            left = left.saturating_sub(rate);
            highest = (rate >= full).then_some(place).or(highest);
        }
    }
    if let Some(rate) = highest.and_then(|place| rates[place].as_mut()) {
        *rate = Bitrate::from_bps(rate.as_bps() + left.as_bps());
    }
    rates
}

#[cfg(test)]
mod tests;
