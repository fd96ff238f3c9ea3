//! What the publishers of a room are to encode, so that subscribers get what they want and can receive, at least cost to
//! the uplinks: a pure function, after GSO-Simulcast (Lin et al., SIGCOMM 2022). Each subscriber's path is shared out
//! among its wishes; then each layer gets the least rate that was chosen for it, and what nobody chose stops.
//! [`Planner`] carries the plan from tick to tick.

mod planner;
mod share;

pub use planner::{Planner, PlannerConfig};

use crate::command::LayerPreference;
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
    pub caps: Caps,
}

/// One encoding of a source.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Layer {
    /// Its name; `None` without simulcast.
    pub rid: Option<Rid>,
    /// What arrives of it; zero while it is off.
    pub rate: Bitrate,
    /// Lines of its picture, where they are known.
    pub height: Option<u16>,
}

/// The most that a publisher may send of each video.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Caps {
    /// All its layers together.
    pub bitrate: Option<Bitrate>,
    /// Frames per second.
    pub framerate: Option<u8>,
    /// Lines.
    pub height: Option<u16>,
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
    pub wishes: Vec<Wish>,
}

/// What a subscriber wants of a source.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Wish {
    /// Place of the source in the snapshot.
    pub source: usize,
    /// Up to which quality.
    pub preference: LayerPreference,
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
    /// On still: another layer takes its place, and has not arrived yet.
    Switching,
    /// Off: nobody wants it.
    Unwanted,
    /// Off: those who want it cannot receive it.
    NoRoom,
    /// Off: the publisher may not send it.
    OverCap,
}

impl Reason {
    /// For people and programs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Fitted => "fitted",
            Self::Capped => "capped",
            Self::Switching => "switching",
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
}

/// Plans where layers of which `is_held` says so stay off, as if there were no room for them; with what was chosen.
fn plan_without(room: &Snapshot, is_held: &dyn Fn(usize, usize) -> bool) -> (Vec<SourcePlan>, Vec<Choice>) {
    let usable: Vec<Vec<bool>> = room.sources.iter().map(allowed_layers).collect();
    let is_usable = |source: usize, layer: usize| usable[source][layer] && !is_held(source, layer);
    let mut choices = Vec::new();
    for (index, subscriber) in room.subscribers.iter().enumerate() {
        share::share(room, (index, subscriber), &is_usable, &mut choices);
    }
    let mut least: Vec<Vec<Option<Bitrate>>> = room.sources.iter().map(|s| vec![None; s.layers.len()]).collect();
    for Choice { source, layer, rate, .. } in choices.iter().copied() {
        let least = &mut least[source][layer];
        *least = Some(least.map_or(rate, |least| least.min(rate)));
    }
    let best = best_wanted(room, &usable);
    let plans = room.sources.iter().enumerate().map(|(index, source)| {
        let (usable, least, best) = (&usable[index], &least[index], &best[index]);
        SourcePlan { publication: source.publication, encodings: encodings(source, usable, least, best) }
    });
    (plans.collect(), choices)
}

/// Which layers the publisher may send: those within the height, and the lowest one scaled down, if need be.
fn allowed_layers(source: &Source) -> Vec<bool> {
    let is_low = |layer: &Layer| source.caps.height.is_none_or(|most| layer.height.is_none_or(|height| height <= most));
    source.layers.iter().enumerate().map(|(place, layer)| place == 0 || is_low(layer)).collect()
}

/// Of each source's layers, which are the best that somebody wants, with room for them or without.
fn best_wanted(room: &Snapshot, usable: &[Vec<bool>]) -> Vec<Vec<bool>> {
    let mut best: Vec<Vec<bool>> = room.sources.iter().map(|source| vec![false; source.layers.len()]).collect();
    for wish in room.subscribers.iter().flat_map(|subscriber| &subscriber.wishes) {
        let Some(source) = room.sources.get(wish.source) else { continue };
        if let Some(layer) = (0..useful(wish, source)).rev().find(|layer| usable[wish.source][*layer]) {
            best[wish.source][layer] = true;
        }
    }
    best
}

/// How many of a source's layers are of use to one who wants it so.
fn useful(wish: &Wish, source: &Source) -> usize {
    if wish.preference.paused || source.layers.is_empty() {
        return 0;
    }
    usize::from(highest_layer(wish.preference.quality, source.layers.len() as u8)) + 1
}

/// What is to be done with each encoding of a source, of which `usable` ones may be sent, each at its `least` chosen
/// rate, if any.
fn encodings(source: &Source, usable: &[bool], least: &[Option<Bitrate>], best: &[bool]) -> Vec<Encoding> {
    let Caps { bitrate: cap, framerate, height: most_lines } = source.caps;
    let rates = rates_within(source, least);
    let captured = source.layers.iter().filter_map(|layer| layer.height).max();
    let encoding = |(place, layer): (usize, &Layer)| {
        let off = |reason| Encoding { rid: layer.rid, active: false, bitrate: None, framerate, scale: None, reason };
        match (least[place], rates[place]) {
            _ if !usable[place] => off(Reason::OverCap),
            (None, _) if best[place] => off(Reason::NoRoom),
            (None, _) => off(Reason::Unwanted),
            (_, None) => off(Reason::OverCap),
            (Some(chosen), Some(rate)) => {
                let most = most_lines.filter(|most| layer.height.is_some_and(|lines| lines > *most));
                let scale = most.zip(captured).map(|(most, lines)| f32::from(lines) / f32::from(most.max(1)));
                let is_fitted = chosen < full_rate(source, place);
                let bitrate = (is_fitted || cap.is_some()).then_some(rate);
                let reason = match is_fitted {
                    true => Reason::Fitted,
                    false if cap.is_some() || scale.is_some() || framerate.is_some() => Reason::Capped,
                    false => Reason::Wanted,
                };
                Encoding { rid: layer.rid, active: true, bitrate, framerate, scale, reason }
            }
        }
    };
    source.layers.iter().enumerate().map(encoding).collect()
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
