//! What paths to subscribers carried a while ago, so that whoever comes back does not begin at a guess.
//!
//! An address says most: behind it is the same last mile. A room says less, since its people are anywhere. What is known
//! is kept in two generations: when the younger is full the older is forgotten, so that memory is bounded, and the use of
//! it costs the same however much is known.

use crate::ids::RoomId;
use foldhash::fast::FixedState;
use sfu_rtc::net::Neighbourhood;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;
use std::collections::HashMap;
use std::net::IpAddr;

/// What is remembered of paths.
#[derive(Clone, PartialEq, Debug)]
pub struct StartRateConfig {
    /// Most addresses and rooms, at about 60 bytes each; 0 remembers none.
    pub max_entries: usize,
    /// For so long: networks change, and so do those who share them.
    pub lifetime: Duration,
    /// Share of the rate at which another begins: the path may be less free than it was.
    pub share: f64,
}

impl Default for StartRateConfig {
    fn default() -> Self {
        Self { max_entries: 8_192, lifetime: Duration::from_secs(600), share: 0.8 }
    }
}

/// A room's others lift the start to so much of the usual one at most: a probe finds soon what there is above, while a
/// queue that a start too high has filled takes long to drain.
const ROOM_LIFT: f64 = 2.0;
/// What was known so shortly ago is what another has behind that address now: if they share a bottleneck, it is not free, and
/// so much of it is taken.
const IN_USE: Duration = Duration::from_secs(2);
const TAKEN: f64 = 0.5;
/// Weight of the newest in the mean of a room.
const ROOM_WEIGHT: f64 = 0.125;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Origin {
    Network(Neighbourhood),
    Room(RoomId),
}

impl Origin {
    fn of(address: IpAddr) -> Self {
        Self::Network(Neighbourhood::of(address))
    }
}

type Generation = HashMap<Origin, (Bitrate, Instant), FixedState>;

/// What is known.
#[derive(Debug)]
pub(crate) struct StartRates {
    config: StartRateConfig,
    younger: Generation,
    older: Generation,
}

impl StartRates {
    /// Nothing is known.
    pub(crate) fn new(config: StartRateConfig, state: FixedState) -> Self {
        Self { config, younger: Generation::with_hasher(state.clone()), older: Generation::with_hasher(state) }
    }

    /// The path to `address` carries `rate` now.
    pub(crate) fn record(&mut self, now: Instant, address: IpAddr, room: RoomId, rate: Bitrate) {
        self.insert(now, Origin::of(address), rate);
        let room = Origin::Room(room);
        let mean = self.look_up(now, room).map_or(rate, |(mean, _)| mean * (1.0 - ROOM_WEIGHT) + rate * ROOM_WEIGHT);
        self.insert(now, room, mean);
    }

    /// Where an estimate of the path to `address` begins, which without knowledge is `usual`.
    pub(crate) fn start(&self, now: Instant, address: IpAddr, room: RoomId, usual: Bitrate) -> Bitrate {
        let share = self.config.share;
        if let Some((known, age)) = self.look_up(now, Origin::of(address)) {
            return known * if age > IN_USE { share } else { share * TAKEN };
        }
        let mean = self.look_up(now, Origin::Room(room));
        mean.map_or(usual, |(mean, _)| (mean * share).min(usual * ROOM_LIFT))
    }

    /// What is known, and for how long.
    fn look_up(&self, now: Instant, origin: Origin) -> Option<(Bitrate, Duration)> {
        let (rate, at) = self.younger.get(&origin).or_else(|| self.older.get(&origin))?;
        let age = now - *at;
        (age <= self.config.lifetime).then_some((*rate, age))
    }

    fn insert(&mut self, now: Instant, origin: Origin, rate: Bitrate) {
        let most = self.config.max_entries / 2;
        if most == 0 {
            return;
        }
        if self.younger.len() >= most && !self.younger.contains_key(&origin) {
            std::mem::swap(&mut self.younger, &mut self.older);
            self.younger.clear();
        }
        self.younger.insert(origin, (rate, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOM: RoomId = RoomId(1);
    const USUAL: Bitrate = Bitrate::from_kbps(600);

    fn rates(config: StartRateConfig) -> StartRates {
        StartRates::new(config, FixedState::with_seed(1))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn start(rates: &StartRates, second: u64, address: &str, room: RoomId) -> u64 {
        rates.start(Instant::from_millis(second * 1_000), ip(address), room, USUAL).as_kbps()
    }

    #[test]
    fn who_comes_back_begins_at_a_share_of_what_was_known() {
        let mut rates = rates(StartRateConfig::default());
        let at = Instant::from_millis;
        assert_eq!(start(&rates, 0, "192.0.2.1", ROOM), 600);
        rates.record(at(1_000), ip("192.0.2.1"), ROOM, Bitrate::from_kbps(5_000));
        rates.record(at(2_000), ip("2001:db8:0:1::5"), RoomId(2), Bitrate::from_kbps(200));
        let elsewhere = RoomId(9);
        assert_eq!(start(&rates, 3, "192.0.2.1", elsewhere), 2_000, "another is there");
        assert_eq!(start(&rates, 5, "192.0.2.1", elsewhere), 4_000);
        assert_eq!(start(&rates, 5, "::ffff:192.0.2.1", elsewhere), 4_000);
        assert_eq!(start(&rates, 5, "2001:db8:0:1:ffff::1", elsewhere), 160, "the same network of 64 bits");
        assert_eq!(start(&rates, 5, "2001:db8:0:2::5", elsewhere), 600, "another");
        assert_eq!(start(&rates, 601, "192.0.2.1", elsewhere), 4_000);
        assert_eq!(start(&rates, 602, "192.0.2.1", elsewhere), 600, "too long ago");
    }

    #[test]
    fn a_room_says_less_than_an_address() {
        let mut rates = rates(StartRateConfig::default());
        let now = Instant::from_millis(1_000);
        (0..60).for_each(|_| rates.record(now, ip("192.0.2.1"), ROOM, Bitrate::from_kbps(5_000)));
        assert_eq!(start(&rates, 2, "198.51.100.1", ROOM), 1_200, "lifted, but not far");
        (0..60).for_each(|_| rates.record(now, ip("192.0.2.2"), ROOM, Bitrate::from_kbps(250)));
        assert!((200..220).contains(&start(&rates, 2, "198.51.100.1", ROOM)));
        assert_eq!(start(&rates, 9, "192.0.2.1", ROOM), 4_000);
    }

    #[test]
    fn what_is_in_use_is_kept_when_there_is_no_room_for_all() {
        let mut rates = rates(StartRateConfig { max_entries: 100, ..StartRateConfig::default() });
        for n in 0..1_000_u64 {
            let now = Instant::from_millis(n);
            rates.record(now, ip("192.0.2.1"), ROOM, Bitrate::from_kbps(5_000));
            rates.record(now, IpAddr::from((n as u32).to_be_bytes()), RoomId(n), USUAL);
        }
        assert_eq!(start(&rates, 9, "192.0.2.1", RoomId(100_000)), 4_000);
        assert_eq!(start(&rates, 1, "0.0.0.5", RoomId(100_000)), 600, "forgotten");
        let mut none = super::tests::rates(StartRateConfig { max_entries: 0, ..StartRateConfig::default() });
        none.record(Instant::ZERO, ip("192.0.2.1"), ROOM, Bitrate::from_kbps(5_000));
        assert_eq!(start(&none, 0, "192.0.2.1", ROOM), 600);
    }

    proptest! {
        #[test]
        fn memory_is_bounded(notes in prop::collection::vec((any::<u128>(), any::<u64>(), any::<u64>()), 0..300), most in 0usize..40) {
            let mut rates = rates(StartRateConfig { max_entries: most, ..StartRateConfig::default() });
            for (address, room, rate) in notes {
                let address = IpAddr::from(address.to_be_bytes());
                rates.record(Instant::ZERO, address, RoomId(room), Bitrate::from_bps(rate));
                prop_assert!(rates.younger.len() + rates.older.len() <= most);
                let _ = rates.start(Instant::ZERO, address, RoomId(room), USUAL);
            }
        }
    }
}
