//! Hosts with addresses, joined by their access links, under simulated time.
//!
//! ```text
//! send --> uplink of the sender --> downlink of the receiver --> poll
//! ```
//! Hosts of one [`SiteId`] are behind one pair of links more, which they share: the flow of one meets that of another.
//!
//! ```text
//! send --> uplink of the host --> uplink of its site --> downlink of the site --> downlink of the host --> poll
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

/// Hosts of a [`Network`] that share a way to all others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SiteId(usize);

/// Which of the links on its way a datagram is on, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    HostUp,
    SiteUp,
    SiteDown,
    HostDown,
}

/// A link with its entry in the schedule.
struct Access {
    link: Link<Datagram>,
    stage: Stage,
    due: Option<Duration>,
}

/// Places of two links among all.
#[derive(Clone, Copy)]
struct Pair {
    up: usize,
    down: usize,
}

struct Host {
    own: Pair,
    site: Option<SiteId>,
}

/// All hosts, their links and what is under way. The caller's loop is: let the clock jump to the earliest of
/// [`next_timeout`](Self::next_timeout) and the hosts' own timers, then [`poll`](Self::poll) until nothing is left.
pub struct Network {
    seeds: Random,
    links: Vec<Access>,
    hosts: Vec<Host>,
    sites: Vec<Pair>,
    addresses: HashMap<IpAddr, HostId>,
    /// When each link, by its place, wants to be looked at; at most one entry per link.
    schedule: BTreeSet<(Duration, usize)>,
    arrived: VecDeque<(Duration, Datagram)>,
    unroutable: u64,
}

impl Network {
    /// A network without hosts, of which everything random comes from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seeds: Random::new(seed),
            links: Vec::new(),
            hosts: Vec::new(),
            sites: Vec::new(),
            addresses: HashMap::new(),
            schedule: BTreeSet::new(),
            arrived: VecDeque::new(),
            unroutable: 0,
        }
    }

    /// A host with one address; others can follow by [`add_address`](Self::add_address).
    pub fn add_host(&mut self, address: IpAddr, up: LinkConfig, down: LinkConfig) -> HostId {
        let own = self.add_links((up, Stage::HostUp), (down, Stage::HostDown));
        let host = HostId(self.hosts.len());
        self.hosts.push(Host { own, site: None });
        self.addresses.insert(address, host);
        host
    }

    /// A site without hosts.
    pub fn add_site(&mut self, up: LinkConfig, down: LinkConfig) -> SiteId {
        let links = self.add_links((up, Stage::SiteUp), (down, Stage::SiteDown));
        self.sites.push(links);
        SiteId(self.sites.len() - 1)
    }

    /// From now on what a host sends and gets passes the site's links.
    pub fn move_to_site(&mut self, host: HostId, site: SiteId) {
        self.hosts[host.0].site = Some(site);
    }

    fn add_links(&mut self, up: (LinkConfig, Stage), down: (LinkConfig, Stage)) -> Pair {
        let [up, down] = [up, down].map(|(config, stage)| {
            self.links.push(Access { link: Link::new(config, self.seeds.bits()), stage, due: None });
            self.links.len() - 1
        });
        Pair { up, down }
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
        self.set(now, self.hosts[host.0].own.up, config);
    }

    /// Changes what a host's downlink does.
    pub fn set_down(&mut self, now: Duration, host: HostId, config: LinkConfig) {
        self.set(now, self.hosts[host.0].own.down, config);
    }

    /// Changes what a site's uplink does.
    pub fn set_site_up(&mut self, now: Duration, site: SiteId, config: LinkConfig) {
        self.set(now, self.sites[site.0].up, config);
    }

    /// Changes what a site's downlink does.
    pub fn set_site_down(&mut self, now: Duration, site: SiteId, config: LinkConfig) {
        self.set(now, self.sites[site.0].down, config);
    }

    /// What happened on a host's uplink and downlink.
    pub fn stats(&self, host: HostId) -> (LinkStats, LinkStats) {
        let own = self.hosts[host.0].own;
        (self.links[own.up].link.stats(), self.links[own.down].link.stats())
    }

    /// A site's downlink.
    pub fn site_down(&self, site: SiteId) -> &Link<Datagram> {
        &self.links[self.sites[site.0].down].link
    }

    /// A site's uplink.
    pub fn site_up(&self, site: SiteId) -> &Link<Datagram> {
        &self.links[self.sites[site.0].up].link
    }

    /// How many datagrams came from or went to an address that no host has.
    pub fn unroutable(&self) -> u64 {
        self.unroutable
    }

    /// Sends a datagram from the host that has its source address.
    pub fn send(&mut self, now: Duration, datagram: Datagram) {
        self.advance(now);
        self.enter(now, Stage::HostUp, datagram);
    }

    /// Hands out the datagrams that have arrived, in the order of their arrival.
    pub fn poll(&mut self, now: Duration) -> Option<Datagram> {
        self.advance(now);
        self.arrived.pop_front().map(|(_, datagram)| datagram)
    }

    /// When something happens next; in the past where something has arrived and was not yet polled.
    pub fn next_timeout(&self) -> Option<Duration> {
        let arrived = self.arrived.front().map(|(at, _)| *at);
        arrived.or_else(|| self.schedule.first().map(|(at, _)| *at))
    }

    fn set(&mut self, now: Duration, place: usize, config: LinkConfig) {
        self.advance(now);
        self.links[place].link.set_config(now, config);
        self.reschedule(place);
    }

    /// Hands a datagram to its link of this stage, or where there is none, to that of the next.
    fn enter(&mut self, now: Duration, stage: Stage, datagram: Datagram) {
        let end = match stage {
            Stage::HostUp | Stage::SiteUp => datagram.from.ip(),
            Stage::SiteDown | Stage::HostDown => datagram.to.ip(),
        };
        let Some(host) = self.addresses.get(&end).map(|host| &self.hosts[host.0]) else {
            self.unroutable += 1;
            return;
        };
        let site = host.site.map(|site| self.sites[site.0]);
        let place = match stage {
            Stage::HostUp => Some(host.own.up),
            Stage::SiteUp => site.map(|site| site.up),
            Stage::SiteDown => site.map(|site| site.down),
            Stage::HostDown => Some(host.own.down),
        };
        match place {
            Some(place) => {
                self.links[place].link.send(now, datagram);
                self.reschedule(place);
            }
            None => self.leave(now, stage, datagram),
        }
    }

    /// A datagram has passed its link of this stage.
    fn leave(&mut self, now: Duration, stage: Stage, datagram: Datagram) {
        match stage {
            Stage::HostUp => self.enter(now, Stage::SiteUp, datagram),
            Stage::SiteUp => self.enter(now, Stage::SiteDown, datagram),
            Stage::SiteDown => self.enter(now, Stage::HostDown, datagram),
            Stage::HostDown => self.arrived.push_back((now, datagram)),
        }
    }

    /// Lets happen, one after the other, what happens until `now`.
    fn advance(&mut self, now: Duration) {
        while let Some(&(at, place)) = self.schedule.first().filter(|(at, _)| *at <= now) {
            let stage = self.links[place].stage;
            while let Some(datagram) = self.links[place].link.poll(at) {
                self.leave(at, stage, datagram);
            }
            self.reschedule(place);
        }
    }

    fn reschedule(&mut self, place: usize) {
        let access = &mut self.links[place];
        let next = access.link.next_timeout();
        if let Some(at) = std::mem::replace(&mut access.due, next) {
            self.schedule.remove(&(at, place));
        }
        if let Some(at) = next {
            self.schedule.insert((at, place));
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
    fn hosts_of_a_site_share_its_links() {
        let slow = |kbps| LinkConfig { rate: Some(Rate::from_kbps(kbps)), ..LinkConfig::default() };
        let mut network = Network::new(1);
        let site = network.add_site(slow(500), slow(1_000));
        for (host, delay) in [(1, 0), (2, 5), (3, 0)] {
            let host = network.add_host(address(host).ip(), LinkConfig::default(), LinkConfig::delayed(ms(delay)));
            if host != HostId(2) {
                network.move_to_site(host, site);
            }
        }
        // 1 ms each at the site's downlink, whoever gets them, and then each host's own delay.
        network.send(ms(0), datagram(3, 1, 1));
        network.send(ms(0), datagram(3, 2, 2));
        network.send(ms(0), datagram(3, 1, 3));
        assert_eq!(drain(&mut network), [(ms(1), 1), (ms(3), 3), (ms(7), 2)]);
        // 2 ms each at its uplink.
        network.send(ms(10), datagram(1, 3, 4));
        network.send(ms(10), datagram(2, 3, 5));
        assert_eq!(drain(&mut network), [(ms(12), 4), (ms(14), 5)]);
        assert_eq!(network.site_down(site).stats().bytes_delivered, 3 * 125);
        network.set_site_down(ms(20), site, slow(500));
        network.set_site_up(ms(20), site, slow(1_000));
        network.send(ms(20), datagram(3, 1, 6));
        network.send(ms(20), datagram(1, 3, 7));
        assert_eq!(drain(&mut network), [(ms(21), 7), (ms(22), 6)]);
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
