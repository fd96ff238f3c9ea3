//! Subscribers that want anything, on paths that carry anything, of publishers that send anything, at clocks that leap:
//! what is shared out stays within the estimate, and what encoders are asked for within their caps.
#![no_main]

use arrayvec::ArrayVec;
use libfuzzer_sys::fuzz_target;
use sfu_core::command::{LayerPreference, Quality, Role, Tile, VideoCaps};
use sfu_core::ids::{PublicationId, TransportId};
use sfu_core::qos::room_planner::{self, Planner, PlannerConfig, Snapshot, Source, Subscriber, Subscription};
use sfu_core::qos::{
    AllocationHistory, BitrateAllocator, ByImportance, Importance, ImportanceConfig, Layer, LayerId, SlotDemand,
};
use sfu_rtc::ids::Rid;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    if input.byte() % 2 == 0 { share(&mut input) } else { plan(&mut input) }
});

/// What is left of the input; zeros once it is used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// From nothing to far more than any path carries.
    fn rate(&mut self) -> Bitrate {
        Bitrate::from_bps(u64::from(self.short()) << (self.byte() % 40))
    }

    fn any<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::from(self.byte()) % values.len()]
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.byte() % 2 == 1).then(|| value(self))
    }

    fn is_left(&self) -> bool {
        !self.0.is_empty()
    }
}

const ROLES: [Role; 4] = [Role::Other, Role::Speaker, Role::Pinned, Role::Screen];
const QUALITIES: [Quality; 3] = [Quality::Low, Quality::Medium, Quality::High];

/// One subscriber's path, again and again.
fn share(input: &mut Input<'_>) {
    let config = ImportanceConfig::default();
    let (least, grace) = (config.least, config.grace);
    let mut policy = ByImportance::new(config);
    let (mut history, mut granted) = (AllocationHistory::default(), Vec::new());
    let mut now = Instant::from_millis(1_000);
    let mut demands = Vec::new();
    while input.is_left() {
        if demands.is_empty() || input.byte() % 4 == 0 {
            demands = (0..input.byte() % 12).map(|slot| demand(input, slot)).collect();
        }
        now += Duration::from_millis(u64::from(input.short()));
        let estimate = input.maybe(Input::rate);
        let mut allocation = policy.allocate(now, estimate, &demands, &mut history, &mut granted);
        if let Some(review) = allocation.review {
            assert!(review > now && review <= now + grace);
            now = review;
            allocation = policy.allocate(now, estimate, &demands, &mut history, &mut granted);
        }
        assert_eq!((granted.len(), allocation.review), (demands.len(), None));
        let (mut spent, mut pictures) = (0, 0);
        for (demand, granted) in demands.iter().zip(&granted) {
            assert!(*granted <= demand.layers.len(), "what is not wanted costs nothing");
            assert!(!demand.importance.audio || *granted == demand.layers.len().min(1), "audio never starves");
            spent += granted.checked_sub(1).map_or(0, |top| demand.layers[top].rate.as_bps());
            pictures += if demand.importance.audio { 0 } else { *granted };
        }
        let fits = estimate.is_none_or(|estimate| spent <= estimate.max(least).as_bps());
        assert!(fits || pictures == 0 || granted.iter().sum::<usize>() == 1, "{spent} of {estimate:?}");
    }
}

fn demand(input: &mut Input<'_>, slot: u8) -> SlotDemand {
    let audio = input.byte() % 4 == 0;
    let importance =
        Importance { audio, priority: input.byte() % 4, role: input.any(&ROLES), area: u32::from(input.short()) << 8 };
    let count = if audio { 1 } else { input.byte() % 8 };
    let mut rates: Vec<Bitrate> = (0..count).map(|_| input.rate()).collect();
    rates.sort_unstable();
    let layer = |(rank, rate)| Layer { id: LayerId { rank, spatial: u8::MAX, temporal: u8::MAX }, rate };
    let layers: ArrayVec<_, { sfu_core::qos::MAX_STEPS }> = (0..).zip(rates).map(layer).collect();
    let publication = PublicationId(u64::from(input.byte() % 16));
    SlotDemand { slot: u16::from(slot), publication, importance, layers, attainable: input.rate() }
}

/// One room, again and again.
fn plan(input: &mut Input<'_>) {
    let mut planner = Planner::new(PlannerConfig::default());
    let mut now = Instant::from_millis(1_000);
    while input.is_left() {
        now += Duration::from_millis(u64::from(input.short()));
        let room = room(input);
        let plans = planner.plan(now, room.clone());
        assert_eq!(plans.len(), room.sources.len());
        for (source, plan) in room.sources.iter().zip(&plans) {
            assert_eq!((plan.publication, plan.encodings.len()), (source.publication, source.layers.len()));
            let active = || plan.encodings.iter().filter(|encoding| encoding.active);
            let Some(cap) = source.caps.bitrate else { continue };
            let asked = active().fold(Bitrate::ZERO, |sum, encoding| sum + encoding.bitrate.unwrap_or(Bitrate::MAX));
            assert!(active().count() == 0 || asked <= cap, "{asked:?} of {cap:?}");
        }
        assert_eq!(room_planner::plan(&room), room_planner::plan(&room), "deterministic");
    }
}

fn room(input: &mut Input<'_>) -> Snapshot {
    let caps = |input: &mut Input<'_>| VideoCaps {
        bitrate: input.maybe(Input::rate),
        framerate: input.maybe(Input::byte),
        height: input.maybe(Input::short),
    };
    let sources: Vec<Source> = (0..input.byte() % 6)
        .map(|id| {
            let layer = |rid: Option<&str>, input: &mut Input<'_>| room_planner::Layer {
                rid: rid.and_then(Rid::new),
                rate: input.rate(),
                size: input.maybe(|input| (input.short(), input.short())),
            };
            let layers = match input.byte() % 4 {
                0 => vec![layer(None, input)],
                1 => Vec::new(),
                _ => ["q", "h", "f"].map(|rid| layer(Some(rid), input)).to_vec(),
            };
            Source { publication: PublicationId(u64::from(id)), layers, caps: caps(input) }
        })
        .collect();
    let subscribers = (0..input.byte() % 8)
        .map(|id| {
            let subscription = |input: &mut Input<'_>| Subscription {
                source: usize::from(input.byte() % 8),
                preference: LayerPreference {
                    quality: input.any(&QUALITIES),
                    paused: input.byte() % 8 == 0,
                    tile: input.maybe(|input| Tile { width: input.short(), height: input.short() }),
                    role: input.any(&ROLES),
                    priority: input.byte(),
                },
                caps: caps(input),
                weight: u32::from(input.short()),
            };
            let estimate = input.maybe(Input::rate);
            let audio = input.rate();
            let subscriptions = (0..input.byte() % 6).map(|_| subscription(input)).collect();
            Subscriber { transport: TransportId(u64::from(id)), estimate, audio, subscriptions }
        })
        .collect();
    Snapshot { sources, subscribers }
}
