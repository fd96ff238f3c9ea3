//! Hosts with addresses, joined by their access links, under simulated time.
//!
//! ```text
//! send --> uplink of the sender --> downlink of the receiver --> poll
//! ```

use crate::config::LinkConfig;
use crate::link::{Link, LinkStats, Payload};
use crate::random::Random;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// One datagram under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub from: SocketAddr,
    /// Who gets it.
    pub to: SocketAddr,
    /// What it carries.
    pub bytes: Vec<u8>,
}

impl Payload for Datagram {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

/// A host of a [`Network`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostId(usize);

/// Direction of an access link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Way {
    Up,
    Down,
}

/// A link with its entry in the schedule.
struct Access {
    link: Link<Datagram>,
    due: Option<Duration>,
}

struct Host {
    up: Access,
    down: Access,
}

impl Host {
    fn access(&mut self, way: Way) -> &mut Access {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

/// All hosts, their links and what is under way. The caller's loop is: let the clock jump to the earliest of
/// [`next_timeout`](Self::next_timeout) and the hosts' own timers, then [`poll`](Self::poll) until nothing is left.
pub struct Network {
    seeds: Random,
    hosts: Vec<Host>,
    addresses: HashMap<IpAddr, HostId>,
    /// When each link wants to be looked at; at most one entry per link.
    schedule: BTreeSet<(Duration, HostId, Way)>,
    arrived: VecDeque<(Duration, Datagram)>,
    unroutable: u64,
}

impl Network {
    /// A network without hosts, of which everything random comes from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seeds: Random::new(seed),
            hosts: Vec::new(),
            addresses: HashMap::new(),
            schedule: BTreeSet::new(),
            arrived: VecDeque::new(),
            unroutable: 0,
        }
    }

    /// A host with one address; others can follow by [`add_address`](Self::add_address).
    pub fn add_host(&mut self, address: IpAddr, up: LinkConfig, down: LinkConfig) -> HostId {
        let host = HostId(self.hosts.len());
        let mut access = |config| Access { link: Link::new(config, self.seeds.bits()), due: None };
        let (up, down) = (access(up), access(down));
        self.hosts.push(Host { up, down });
        self.addresses.insert(address, host);
        host
    }

    /// From now on `address` is `host`'s, whoever had it before.
    pub fn add_address(&mut self, host: HostId, address: IpAddr) {
        self.addresses.insert(address, host);
    }

    /// From now on nobody has `address`: what goes there is gone, as after a change of network.
    pub fn remove_address(&mut self, address: IpAddr) {
        self.addresses.remove(&address);
    }

    /// Changes what a host's uplink does.
    pub fn set_up(&mut self, now: Duration, host: HostId, config: LinkConfig) {
        self.set(now, host, Way::Up, config);
    }

    /// Changes what a host's downlink does.
    pub fn set_down(&mut self, now: Duration, host: HostId, config: LinkConfig) {
        self.set(now, host, Way::Down, config);
    }

    /// What happened on a host's uplink and downlink.
    pub fn stats(&self, host: HostId) -> (LinkStats, LinkStats) {
        self.hosts.get(host.0).map_or_else(Default::default, |host| (host.up.link.stats(), host.down.link.stats()))
    }

    /// How many datagrams came from or went to an address that no host has.
    pub fn unroutable(&self) -> u64 {
        self.unroutable
    }

    /// Sends a datagram from the host that has its source address.
    pub fn send(&mut self, now: Duration, datagram: Datagram) {
        self.advance(now);
        self.enter(now, datagram.from.ip(), Way::Up, datagram);
    }

    /// Hands out the datagrams that have arrived, in the order of their arrival.
    pub fn poll(&mut self, now: Duration) -> Option<Datagram> {
        self.advance(now);
        self.arrived.pop_front().map(|(_, datagram)| datagram)
    }

    /// When something happens next; in the past where something has arrived and was not yet polled.
    pub fn next_timeout(&self) -> Option<Duration> {
        let arrived = self.arrived.front().map(|(at, _)| *at);
        arrived.or_else(|| self.schedule.first().map(|(at, _, _)| *at))
    }

    fn set(&mut self, now: Duration, host: HostId, way: Way, config: LinkConfig) {
        self.advance(now);
        if let Some(found) = self.hosts.get_mut(host.0) {
            found.access(way).link.set_config(now, config);
            self.reschedule(host, way);
        }
    }

    /// Hands a datagram to a link of the host that has `address`.
    fn enter(&mut self, now: Duration, address: IpAddr, way: Way, datagram: Datagram) {
        let Some(&host) = self.addresses.get(&address) else {
            self.unroutable += 1;
            return;
        };
        self.hosts[host.0].access(way).link.send(now, datagram);
        self.reschedule(host, way);
    }

    /// Lets happen, one after the other, what happens until `now`.
    fn advance(&mut self, now: Duration) {
        while let Some(&(at, host, way)) = self.schedule.first().filter(|(at, _, _)| *at <= now) {
            while let Some(datagram) = self.hosts[host.0].access(way).link.poll(at) {
                match way {
                    Way::Up => self.enter(at, datagram.to.ip(), Way::Down, datagram),
                    Way::Down => self.arrived.push_back((at, datagram)),
                }
            }
            self.reschedule(host, way);
        }
    }

    fn reschedule(&mut self, host: HostId, way: Way) {
        let access = self.hosts[host.0].access(way);
        let next = access.link.next_timeout();
        if let Some(at) = std::mem::replace(&mut access.due, next) {
            self.schedule.remove(&(at, host, way));
        }
        if let Some(at) = next {
            self.schedule.insert((at, host, way));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Loss, Rate};

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 1_000))
    }

    fn datagram(from: u8, to: u8, number: u8) -> Datagram {
        Datagram { from: address(from), to: address(to), bytes: vec![number; 125] }
    }

    fn drain(network: &mut Network) -> Vec<(Duration, u8)> {
        let mut arrived = Vec::new();
        while let Some(now) = network.next_timeout() {
            arrived.extend(std::iter::from_fn(|| network.poll(now)).map(|datagram| (now, datagram.bytes[0])));
        }
        arrived
    }

    #[test]
    fn datagrams_pass_both_access_links() {
        let mut network = Network::new(1);
        let slow = LinkConfig { rate: Some(Rate::from_kbps(1_000)), ..LinkConfig::delayed(ms(5)) };
        let a = network.add_host(address(1).ip(), LinkConfig::delayed(ms(10)), LinkConfig::default());
        network.add_host(address(2).ip(), LinkConfig::default(), slow);
        network.send(ms(0), datagram(1, 2, 1));
        network.send(ms(0), datagram(1, 2, 2));
        network.send(ms(3), datagram(2, 1, 3));
        assert_eq!(drain(&mut network), [(ms(3), 3), (ms(16), 1), (ms(17), 2)]);
        assert_eq!(network.stats(a).0.delivered, 2);
    }

    #[test]
    fn a_late_poll_sees_the_same_order() {
        let mut network = Network::new(1);
        for (host, delay) in [(1, 10), (2, 1), (3, 5)] {
            network.add_host(address(host).ip(), LinkConfig::delayed(ms(delay)), LinkConfig::default());
        }
        network.send(ms(0), datagram(1, 3, 1));
        network.send(ms(0), datagram(2, 3, 2));
        network.send(ms(0), datagram(3, 1, 3));
        let order: Vec<_> = std::iter::from_fn(|| network.poll(ms(100))).map(|datagram| datagram.bytes[0]).collect();
        assert_eq!(order, [2, 3, 1]);
    }

    #[test]
    fn addresses_come_and_go() {
        let mut network = Network::new(1);
        network.add_host(address(1).ip(), LinkConfig::default(), LinkConfig::default());
        let b = network.add_host(address(2).ip(), LinkConfig::default(), LinkConfig::default());
        network.send(ms(0), datagram(1, 9, 1));
        network.remove_address(address(2).ip());
        network.send(ms(0), datagram(1, 2, 2));
        network.add_address(b, address(3).ip());
        network.send(ms(0), datagram(1, 3, 3));
        network.send(ms(0), datagram(2, 1, 4));
        assert_eq!(drain(&mut network), [(ms(0), 3)]);
        assert_eq!(network.unroutable(), 3);
    }

    #[test]
    fn an_outage_ends() {
        let mut network = Network::new(1);
        let a = network.add_host(address(1).ip(), LinkConfig::default(), LinkConfig::default());
        network.add_host(address(2).ip(), LinkConfig::default(), LinkConfig::default());
        network.set_up(ms(0), a, LinkConfig { rate: Some(Rate::from_bps(0)), ..LinkConfig::default() });
        network.send(ms(1), datagram(1, 2, 1));
        assert_eq!(network.next_timeout(), None);
        network.set_up(ms(9), a, LinkConfig::default());
        network.set_down(ms(9), a, LinkConfig::default());
        assert_eq!(drain(&mut network), [(ms(9), 1)]);
    }

    #[test]
    fn a_seed_decides_everything() {
        let run = |seed| {
            let mut network = Network::new(seed);
            let lossy = LinkConfig { loss: Loss::Random(0.3), jitter: ms(20), ..LinkConfig::default() };
            for host in 1..=3 {
                network.add_host(address(host).ip(), lossy.clone(), lossy.clone());
            }
            for number in 0..200 {
                network.send(ms(number), datagram(1 + (number % 3) as u8, 1 + (number % 2) as u8, number as u8));
            }
            drain(&mut network)
        };
        assert_eq!(run(4), run(4));
        assert_ne!(run(4), run(5));
    }
}
