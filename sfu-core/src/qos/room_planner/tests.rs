//! What is planned for rooms, at one moment and over time.

use super::*;
use crate::command::{Quality, Tile};
use proptest::prelude::*;
use sfu_rtc::time::{Duration, Instant};
use std::collections::HashSet;

const KBPS: fn(u64) -> Bitrate = Bitrate::from_kbps;

fn camera(id: u64) -> Source {
    let layer = |(rid, kbps, lines): (&str, u64, u16)| Layer {
        rid: Rid::new(rid),
        rate: KBPS(kbps),
        size: Some((lines / 9 * 16, lines)),
    };
    let layers = [("q", 150, 180), ("h", 500, 360), ("f", 1_700, 720)].map(layer).to_vec();
    Source { publication: PublicationId(id), layers, caps: VideoCaps::default() }
}

fn screen(id: u64) -> Source {
    let layer = Layer { rid: None, rate: KBPS(2_000), size: Some((1_920, 1_080)) };
    Source { publication: PublicationId(id), layers: vec![layer], caps: VideoCaps::default() }
}

fn subscription(source: usize, quality: Quality, weight: u32) -> Subscription {
    Subscription {
        source,
        preference: LayerPreference { quality, ..LayerPreference::default() },
        caps: VideoCaps::default(),
        weight,
    }
}

fn subscriber(id: u64, estimate: Option<u64>, subscriptions: &[Subscription]) -> Subscriber {
    let audio = KBPS(40);
    Subscriber {
        transport: TransportId(id),
        estimate: estimate.map(KBPS),
        audio,
        subscriptions: subscriptions.to_vec(),
    }
}

/// Whether each encoding is on, and at which rate in kbit/s; 0: its own.
fn rates(plan: &SourcePlan) -> Vec<Option<u64>> {
    let rate = |encoding: &Encoding| encoding.active.then(|| encoding.bitrate.map_or(0, Bitrate::as_kbps));
    plan.encodings.iter().map(rate).collect()
}

fn reasons(plan: &SourcePlan) -> Vec<Reason> {
    plan.encodings.iter().map(|encoding| encoding.reason).collect()
}

fn withheld(plan: &SourcePlan) -> Vec<u64> {
    plan.encodings.iter().map(|encoding| encoding.withheld().as_kbps()).collect()
}

#[test]
fn what_nobody_watches_stops() {
    let room = Snapshot { sources: vec![camera(1), camera(2)], subscribers: vec![] };
    assert!(plan(&room).iter().all(|source| reasons(source) == [Reason::Unwanted; 3]));
    let low = subscriber(1, None, &[subscription(0, Quality::Low, 1)]);
    let room = Snapshot { sources: vec![camera(1), camera(2)], subscribers: vec![low] };
    assert_eq!(plan(&room).iter().map(rates).collect::<Vec<_>>(), [vec![Some(0), None, None], vec![None; 3]]);
}

#[test]
fn a_paused_slot_wants_nothing() {
    let mut paused = subscription(0, Quality::High, 1);
    paused.preference.paused = true;
    let room = Snapshot { sources: vec![camera(1)], subscribers: vec![subscriber(1, None, &[paused])] };
    assert_eq!(rates(&plan(&room)[0]), [None; 3]);
}

#[test]
fn a_layer_is_lowered_to_fit() {
    let of = |kbps| {
        let high = subscriber(1, Some(kbps), &[subscription(0, Quality::High, 1)]);
        plan(&Snapshot { sources: vec![camera(1)], subscribers: vec![high] }).remove(0)
    };
    assert_eq!(rates(&of(2_100)), [Some(0), None, Some(0)]);
    assert_eq!(rates(&of(1_700)), [Some(0), None, Some(1_360)]);
    assert_eq!(rates(&of(1_300)), [Some(0), None, Some(1_020)]);
    assert_eq!(reasons(&of(1_300)), [Reason::Fallback, Reason::Unwanted, Reason::Fitted]);
    assert_eq!(withheld(&of(1_300)), [0, 0, 680]);
    assert_eq!(rates(&of(700)), [Some(0), Some(0), None]);
    assert_eq!(reasons(&of(700)), [Reason::Fallback, Reason::Wanted, Reason::NoRoom]);
    assert_eq!(withheld(&of(700)), [0, 0, 1_700]);
    assert_eq!(rates(&of(0)), [Some(90), None, None], "one is always sent");
    assert_eq!(withheld(&of(0)), [60, 500, 1_700]);
}

/// As in a call of Firefox with AV1, whose upper layer began with still pictures and was never asked for again.
#[test]
fn a_layer_that_takes_less_than_the_one_below_is_given() {
    let mut source = camera(1);
    source.layers[1].rate = KBPS(30);
    let of = |subscription| {
        let watching = subscriber(1, Some(600), &[subscription]);
        reasons(&plan(&Snapshot { sources: vec![source.clone()], subscribers: vec![watching] })[0])
    };
    assert_eq!(of(subscription(0, Quality::Medium, 1)), [Reason::Fallback, Reason::Wanted, Reason::Unwanted]);
    assert_eq!(of(subscription(0, Quality::High, 1)), [Reason::Fallback, Reason::Wanted, Reason::NoRoom]);
}

#[test]
fn the_weightier_source_gets_more() {
    let both = subscriber(1, Some(1_900), &[subscription(0, Quality::High, 1), subscription(1, Quality::High, 8)]);
    let plans = plan(&Snapshot { sources: vec![camera(1), screen(2)], subscribers: vec![both] });
    assert_eq!(rates(&plans[0]), [Some(0), Some(300), None]);
    assert_eq!(rates(&plans[1]), [Some(1_200)]);
}

#[test]
fn caps_hold() {
    let caps = |bitrate: Option<u64>, framerate, height| VideoCaps { bitrate: bitrate.map(KBPS), framerate, height };
    let subscriptions = [Quality::Low, Quality::Medium, Quality::High].map(|quality| subscription(0, quality, 1));
    let of = |source: Source, caps| {
        let subscribers =
            (0u64..).zip(subscriptions).map(|(id, subscription)| subscriber(id, None, &[subscription])).collect();
        plan(&Snapshot { sources: vec![Source { caps, ..source }], subscribers }).remove(0)
    };
    let plan = of(camera(1), caps(Some(400), Some(15), Some(360)));
    assert_eq!(rates(&plan), [Some(150), Some(250), None]);
    let plan = of(camera(1), caps(Some(300), None, None));
    assert_eq!(rates(&plan), [Some(300), None, None], "too little is left for the second");
    let plan = of(camera(1), caps(Some(600), None, Some(360)));
    assert_eq!(rates(&plan), [Some(150), Some(450), None]);
    assert_eq!(reasons(&plan), [Reason::Capped, Reason::Capped, Reason::OverCap]);
    let plan = of(screen(1), caps(Some(400), Some(15), Some(360)));
    assert_eq!(rates(&plan), [Some(400)]);
    assert_eq!((plan.encodings[0].scale, plan.encodings[0].framerate), (Some(3.0), Some(15)));
}

/// One who gets less gets the layer below where that is better for all together.
#[test]
fn the_weakest_lowers_a_layer_only_where_that_is_worth_it() {
    let of = |strong: u64| {
        let strong = (0..strong).map(|id| subscriber(id, None, &[subscription(0, Quality::High, 1)]));
        let weak = subscriber(99, Some(1_300), &[subscription(0, Quality::High, 1)]);
        let subscribers = strong.chain([weak]).collect();
        plan(&Snapshot { sources: vec![camera(1)], subscribers }).remove(0)
    };
    assert_eq!(rates(&of(1)), [Some(0), None, Some(1_020)], "half as much for one is twice as much for the other");
    assert_eq!(rates(&of(2)), [Some(0), Some(0), Some(0)]);
    assert_eq!(reasons(&of(2)), [Reason::Fallback, Reason::Wanted, Reason::Wanted]);
}

#[test]
fn a_small_tile_needs_no_high_layer() {
    let mut small = subscription(0, Quality::High, 1);
    small.preference.tile = Some(Tile { width: 320, height: 180 });
    let of = |subscription| {
        plan(&Snapshot { sources: vec![camera(1)], subscribers: vec![subscriber(1, None, &[subscription])] })
    };
    assert_eq!(rates(&of(small)[0]), [Some(0), None, None]);
    small.preference.tile = Some(Tile { width: 700, height: 400 });
    assert_eq!(rates(&of(small)[0]), [None, Some(0), None]);
    small.preference.tile = Some(Tile::default());
    assert_eq!(rates(&of(small)[0]), [None; 3], "hidden");
}

fn any_room() -> impl Strategy<Value = Snapshot> {
    // Some take what no encoder is set up for: an upper layer less than a lower one.
    let rates = proptest::option::weighted(0.3, proptest::array::uniform3(0u64..2_000));
    let source = (0u64..2, rates, proptest::option::of(100u64..4_000), proptest::option::of(100u16..1_200));
    let quality = prop_oneof![Just(Quality::Low), Just(Quality::Medium), Just(Quality::High)];
    let subscription = (0usize..5, quality, 1u32..9, proptest::bool::weighted(0.1));
    let subscriber = (proptest::option::of(0u64..12_000), proptest::collection::vec(subscription, 0..6));
    let sources = proptest::collection::vec(source, 1..6);
    (sources, proptest::collection::vec(subscriber, 0..8)).prop_map(|(sources, subscribers)| {
        let sources = (0..).zip(sources).map(|(id, (kind, rates, bitrate, height))| {
            let mut source = if kind == 0 { camera(id) } else { screen(id) };
            source.caps = VideoCaps { bitrate: bitrate.map(KBPS), framerate: None, height };
            let rates = rates.into_iter().flatten();
            source.layers.iter_mut().zip(rates).for_each(|(layer, rate)| layer.rate = KBPS(rate));
            source
        });
        let sources: Vec<Source> = sources.collect();
        let subscribers = (0..).zip(subscribers).map(|(id, (estimate, subscriptions))| {
            let subscriptions = subscriptions.into_iter().map(|(source, quality, weight, paused)| {
                let mut subscription = subscription_of(source, quality, weight);
                subscription.preference.paused = paused;
                subscription
            });
            let subscriptions: Vec<Subscription> =
                subscriptions.filter(|subscription| subscription.source < sources.len()).collect();
            subscriber_of(id, estimate, &subscriptions)
        });
        let subscribers = subscribers.collect();
        Snapshot { sources, subscribers }
    })
}

use subscriber as subscriber_of;
use subscription as subscription_of;

proptest! {
    #[test]
    fn what_is_watched_is_sent(rooms in proptest::collection::vec((any_room(), 0u64..5, any::<[bool; 3]>()), 1..6)) {
        let mut planner = Planner::default();
        let mut now = Instant::from_millis(0);
        for (room, later, arriving) in rooms {
            now += Duration::from_secs(later);
            let mut seen = room.clone();
            for source in &mut seen.sources {
                source.layers.iter_mut().zip(arriving).filter(|(_, yes)| !yes).for_each(|(layer, _)| layer.rate = Bitrate::ZERO);
            }
            let plans = planner.plan(now, seen);
            for (source, plan) in room.sources.iter().zip(&plans) {
                let Some(cap) = source.caps.bitrate else { continue };
                let active = plan.encodings.iter().filter(|encoding| encoding.active);
                let asked: u64 = active.map(|encoding| encoding.bitrate.map_or(0, Bitrate::as_bps)).sum();
                prop_assert!(asked <= cap.as_bps(), "{} of {}: {:?}", asked, cap, plan);
            }
            for subscription in room.subscribers.iter().flat_map(|subscriber| &subscriber.subscriptions) {
                let is_watched = useful(subscription, &room.sources[subscription.source]) > 0;
                prop_assert!(!is_watched || plans[subscription.source].encodings.iter().any(|encoding| encoding.active));
            }
        }
    }

    #[test]
    fn only_what_is_wanted_is_sent(room in any_room()) {
        for (index, plan) in plan(&room).iter().enumerate() {
            let subscriptions = || room.subscribers.iter().flat_map(|s| &s.subscriptions).filter(|subscription| subscription.source == index);
            let most = subscriptions().map(|subscription| useful(subscription, &room.sources[index])).max().unwrap_or(0);
            prop_assert!(plan.encodings[most..].iter().all(|encoding| !encoding.active));
        }
    }

    #[test]
    fn whoever_has_room_gets_the_best_that_may_be_sent(room in any_room()) {
        let plans = plan(&room);
        for subscription in room.subscribers.iter().filter(|s| s.estimate.is_none()).flat_map(|s| &s.subscriptions) {
            let source = &room.sources[subscription.source];
            if source.caps == VideoCaps::default() && useful(subscription, source) > 0 {
                prop_assert!(plans[subscription.source].encodings[useful(subscription, source) - 1].active);
            }
        }
    }

    #[test]
    fn what_each_gets_fits(room in any_room()) {
        let (_, choices) = plan_without(&room, &|_, _| false);
        for (index, subscriber) in room.subscribers.iter().enumerate() {
            let own: Vec<&Choice> = choices.iter().filter(|choice| choice.subscriber == index).collect();
            let sum: u64 = own.iter().map(|choice| choice.rate.as_bps()).sum();
            if let Some(estimate) = subscriber.estimate {
                let budget = (estimate.as_bps() * 85 / 100).saturating_sub(subscriber.audio.as_bps());
                prop_assert!(sum <= budget || own.len() == 1, "{} of {}", sum, budget);
            }
        }
    }

    #[test]
    fn more_bandwidth_never_yields_less(room in any_room(), who in 0usize..8, more in 0u64..4_000) {
        let who = who % room.subscribers.len().max(1);
        let Some(subscriber) = room.subscribers.get(who) else { return Ok(()) };
        let Some(estimate) = subscriber.estimate else { return Ok(()) };
        // Two slots that show one source agree on a rate, which may be less for one of them.
        let mut seen = HashSet::new();
        let once: Vec<Subscription> = subscriber.subscriptions.iter().filter(|s| seen.insert(s.source)).copied().collect();
        let alone = |estimate| {
            let subscribers = vec![Subscriber { estimate: Some(estimate), subscriptions: once.clone(), ..subscriber.clone() }];
            let (_, choices) = plan_without(&Snapshot { subscribers, ..room.clone() }, &|_, _| false);
            (choices.len(), choices.iter().map(|choice| choice.rate.as_bps()).sum::<u64>())
        };
        let ((count, less), (_, more)) = (alone(estimate), alone(Bitrate::from_bps(estimate.as_bps() + more * 1_000)));
        prop_assert!(less <= more || count == 1, "{} and {}", less, more);
    }

    /// What is kept from somebody is known, so that it is probed for; where nothing is, nothing is.
    #[test]
    fn what_is_withheld_is_wanted(room in any_room()) {
        let watchers = watchers(&room);
        for ((source, watchers), plan) in room.sources.iter().zip(watchers).zip(plan(&room)) {
            let useful = watchers.iter().map(|watcher| watcher.useful).max().unwrap_or(0);
            for (place, encoding) in plan.encodings.iter().enumerate() {
                prop_assert!(encoding.withheld() == Bitrate::ZERO || place < useful);
                prop_assert!(encoding.withheld() <= full_rate(source, place));
                prop_assert_eq!(encoding.reason == Reason::NoRoom, !encoding.active && encoding.withheld() > Bitrate::ZERO);
            }
        }
    }

    #[test]
    fn no_cap_is_passed(room in any_room()) {
        for (source, plan) in room.sources.iter().zip(plan(&room)) {
            let active = || plan.encodings.iter().zip(&source.layers).filter(|(encoding, _)| encoding.active);
            if let Some(cap) = source.caps.bitrate {
                let sum: u64 = active().map(|(encoding, _)| encoding.bitrate.unwrap_or(Bitrate::MAX).as_bps()).sum();
                prop_assert!(sum <= cap.as_bps());
            }
            if let Some(most) = source.caps.height {
                let captured = source.layers.iter().filter_map(Layer::lines).max().unwrap();
                let lines = |encoding: &Encoding, layer: &Layer| {
                    f32::from(layer.lines().unwrap()) / encoding.scale.map_or(1.0, |scale| scale * f32::from(layer.lines().unwrap()) / f32::from(captured))
                };
                prop_assert!(active().all(|(encoding, layer)| lines(encoding, layer) <= f32::from(most) + 0.5));
            }
        }
    }

    #[test]
    fn a_planner_neither_flaps_nor_forgets(rooms in proptest::collection::vec(any_room(), 1..6)) {
        let (mut one, mut other) = (Planner::new(PlannerConfig::default()), Planner::new(PlannerConfig::default()));
        for (second, room) in (0..).zip(rooms) {
            let now = Instant::from_millis(1_000 * second);
            let plans = one.plan(now, room.clone());
            prop_assert_eq!(&plans, &other.plan(now, room.clone()), "deterministic");
            prop_assert_eq!(plans.len(), room.sources.len());
            prop_assert_eq!(&one.plan(now, room), &plans, "the same again");
        }
    }
}

/// A room with one camera and one subscriber, over time.
struct World {
    planner: Planner,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self { planner: Planner::new(PlannerConfig::default()), now: Instant::from_millis(0) }
    }

    /// What is planned `seconds` later, where of the layers those arrive that are planned then.
    fn after(&mut self, seconds: u64, subscribers: &[Subscriber], arriving: [bool; 3]) -> Vec<Option<u64>> {
        self.now += Duration::from_secs(seconds);
        let mut source = camera(1);
        source.layers.iter_mut().zip(arriving).for_each(|(layer, arrives)| {
            if !arrives {
                (layer.rate, layer.size) = (Bitrate::ZERO, None);
            }
        });
        rates(&self.planner.plan(self.now, Snapshot { sources: vec![source], subscribers: subscribers.to_vec() })[0])
    }
}

#[test]
fn down_at_once_and_up_after_a_while() {
    let mut world = World::new();
    let at = |kbps| [subscriber(1, Some(kbps), &[subscription(0, Quality::High, 1)])];
    let full = [true, false, true];
    assert_eq!(world.after(0, &at(3_000), [true; 3]), [Some(0), None, Some(0)]);
    assert_eq!(world.after(3, &at(1_300), full), [Some(0), None, Some(1_020)]);
    assert_eq!(world.after(1, &at(3_000), full), [Some(0), None, Some(1_020)]);
    assert_eq!(world.after(8, &at(3_000), full), [Some(0), None, Some(1_020)]);
    assert_eq!(world.after(1, &at(3_000), full), [Some(0), None, Some(0)]);
}

/// What a path carries is known a second after somebody came, and a low guess until then is no reduction.
#[test]
fn who_comes_is_measured_before_anything_waits() {
    let mut world = World::new();
    let at = |id, kbps| subscriber(id, Some(kbps), &[subscription(0, Quality::High, 1)]);
    let full = [true, false, true];
    assert_eq!(world.after(0, &[at(1, 3_000)], [true; 3]), [Some(0), None, Some(0)]);
    assert_eq!(world.after(9, &[at(1, 3_000), at(2, 1_300)], full), [Some(0), None, Some(1_020)]);
    assert_eq!(world.after(1, &[at(1, 3_000), at(2, 3_000)], full), [Some(0), None, Some(0)]);
    assert_eq!(world.after(2, &[at(1, 3_000), at(2, 1_300)], full), [Some(0), None, Some(1_020)]);
    assert_eq!(world.after(1, &[at(1, 3_000), at(2, 3_000)], full), [Some(0), None, Some(1_020)], "it waits");
}

#[test]
fn a_layer_without_room_waits_but_not_for_a_newcomer() {
    let mut world = World::new();
    let at = |id, kbps| subscriber(id, Some(kbps), &[subscription(0, Quality::High, 1)]);
    let half = [true, true, false];
    assert_eq!(world.after(0, &[at(1, 700)], [true; 3]), [Some(0), Some(0), None]);
    assert_eq!(world.after(1, &[at(1, 3_000)], half), [Some(0), Some(0), Some(0)], "nothing was taken from it before");
    assert_eq!(world.after(1, &[at(1, 3_000)], [true; 3]), [Some(0), None, Some(0)]);
    assert_eq!(world.after(1, &[at(1, 700)], [true; 3]), [Some(0), Some(0), None]);
    assert_eq!(world.after(5, &[at(1, 3_000)], half), [Some(0), Some(0), None], "it waits");
    let with_newcomer = [at(1, 700), at(2, 3_000)];
    assert_eq!(world.after(1, &with_newcomer, half), [Some(0), Some(0), Some(0)], "at once");
}

/// It went on at once where somebody wanted a better layer as well.
#[test]
fn a_layer_without_room_waits_whatever_else_is_sent() {
    let mut world = World::new();
    let with = |estimate, qualities: &[Quality]| {
        let subscriptions: Vec<_> = qualities.iter().map(|quality| subscription(0, *quality, 1)).collect();
        subscriber(1, estimate, &subscriptions)
    };
    let arriving = [true, false, true];
    assert_eq!(world.after(0, &[with(None, &[Quality::Medium])], [true; 3]), [None, Some(0), None]);
    assert_eq!(world.after(3, &[with(Some(0), &[Quality::Medium])], [true; 3]), [Some(90), None, None]);
    for _ in 0..2 {
        let both = [with(None, &[Quality::High, Quality::Medium])];
        assert_eq!(world.after(1, &both, arriving), [Some(0), None, Some(0)]);
    }
}

/// What does not come and has no room beside what serves is not asked for in every other second.
#[test]
fn a_layer_that_does_not_come_waits_where_its_publisher_may_not_send_both() {
    let mut planner = Planner::default();
    let mut source = camera(1);
    source.caps.bitrate = Some(KBPS(160));
    let high = subscriber(1, None, &[subscription(0, Quality::High, 1)]);
    let mut plan_at = |seconds: u64| {
        let mut source = source.clone();
        source.layers.iter_mut().for_each(|layer| layer.rate = Bitrate::ZERO);
        let room = Snapshot { sources: vec![source], subscribers: vec![high.clone()] };
        rates(&planner.plan(Instant::from_millis(1_000 * seconds), room)[0])
    };
    assert_eq!(plan_at(0), [None, None, Some(160)]);
    assert_eq!(plan_at(3), [None, Some(160), None]);
    assert_eq!(plan_at(4), [None, Some(160), None]);
}

#[test]
fn a_layer_stays_until_its_successor_arrives() {
    let mut world = World::new();
    let wants = |quality| [subscriber(1, None, &[subscription(0, quality, 1)])];
    assert_eq!(world.after(0, &wants(Quality::High), [true; 3]), [None, None, Some(0)]);
    assert_eq!(world.after(1, &wants(Quality::Low), [false, false, true]), [Some(0), None, Some(0)]);
    assert_eq!(world.after(1, &wants(Quality::Low), [true, false, true]), [Some(0), None, None]);
    assert_eq!(world.after(1, &wants(Quality::High), [true, false, false]), [Some(0), None, Some(0)]);
}

/// Who watches is not left with what does not come: the next better one is asked for as well, until it comes after all.
#[test]
fn another_layer_serves_while_one_does_not_come() {
    let mut world = World::new();
    let high = [subscriber(1, None, &[subscription(0, Quality::High, 1)])];
    assert_eq!(world.after(0, &high, [true; 3]), [None, None, Some(0)]);
    assert_eq!(world.after(2, &high, [false; 3]), [None, None, Some(0)], "an outage is no reason to ask for more");
    assert_eq!(world.after(1, &high, [false; 3]), [None, Some(0), Some(0)]);
    assert_eq!(world.after(3, &high, [false; 3]), [Some(0), Some(0), Some(0)]);
    for _ in 0..9 {
        assert_eq!(world.after(1, &high, [true, false, false]), [Some(0), Some(0), Some(0)], "no flapping");
    }
    assert_eq!(world.after(1, &high, [true, true, false]), [None, Some(0), Some(0)]);
    assert_eq!(world.after(1, &high, [false, true, true]), [None, None, Some(0)]);
    assert_eq!(world.after(9, &[], [false; 3]), [None; 3]);
}

/// Not every sender names its lowest layer first.
#[test]
fn what_is_seen_of_the_layers_decides_which_is_the_lowest() {
    let of = |seen: [bool; 3]| {
        let mut source = camera(1);
        source.layers.reverse();
        for (layer, _) in source.layers.iter_mut().zip(seen).filter(|(_, seen)| !seen) {
            (layer.rate, layer.size) = (Bitrate::ZERO, None);
        }
        let high = subscriber(1, None, &[subscription(0, Quality::High, 1)]);
        let room = Snapshot { sources: vec![source], subscribers: vec![high] };
        let plan = Planner::default().plan(Instant::from_millis(0), room).remove(0);
        plan.encodings.iter().find(|encoding| encoding.active).and_then(|encoding| encoding.rid)
    };
    assert_eq!(of([true; 3]), Rid::new("f"));
    assert_eq!(of([false, true, true]), Rid::new("f"), "though it has not come yet");
    assert_eq!(of([true, false, true]), Rid::new("f"));
}

/// Whose path has no room for the only layer gains nothing by its being lowered.
#[test]
fn who_gets_nothing_in_any_case_lowers_it_for_nobody() {
    let at = |id, kbps| subscriber(id, Some(kbps), &[subscription(0, Quality::High, 1)]);
    let of = |subscribers| rates(&plan(&Snapshot { sources: vec![screen(1)], subscribers })[0]);
    assert_eq!(of(vec![at(1, 5_000), at(2, 100)]), [Some(0)]);
    assert_eq!(of(vec![at(1, 5_000), at(2, 2_000)]), [Some(1_600)], "who can get it at a lower rate does");
    assert_eq!(of(vec![at(2, 100)]), [Some(106)]);
}

/// A source without layers has no lower one to go to, so it is lowered as far as need be, unless that costs many too much.
#[test]
fn a_source_without_layers_is_lowered_to_what_a_slow_path_carries() {
    let at = |id, kbps| subscriber(id, Some(kbps), &[subscription(0, Quality::High, 1)]);
    let of = |subscribers| rates(&plan(&Snapshot { sources: vec![screen(1)], subscribers })[0]);
    assert_eq!(of(vec![at(1, 1_000)]), [Some(787)]);
    assert_eq!(of(vec![at(1, 400)]), [Some(274)]);
    let many = |strong: u64, kbps| (2..2 + strong).map(|id| at(id, 5_000)).chain([at(1, kbps)]).collect::<Vec<_>>();
    assert_eq!(of(many(2, 400)), [Some(274)]);
    assert_eq!(of(many(6, 400)), [Some(0)]);
    assert_eq!(of(many(6, 1_000)), [Some(787)]);
}
