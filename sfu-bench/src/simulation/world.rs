//! A scenario under way: the server, those who use it, and the network between them, under simulated time.

use super::catalogue::{Behind, Scenario, TCP_IDLE, TcpPlan};
use super::flow::Flow;
use super::record::{QUEUE_SAMPLE, Record, SAMPLE};
use super::server::{self, Server};
use super::tcp::{ACK, SEGMENT, TcpSender, number, packet};
use super::{START, Setup};
use anyhow::Result;
use netsim::{Datagram, LinkConfig, Network, Random, SiteId};
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::net::{DatagramKind, TransmitBatch};
use sfu_rtc::time::{Duration, Instant};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// One-way delay of those who are not behind the bottleneck.
const NEAR: Duration = Duration::from_millis(5);
/// One-way delay of the receivers of TCP-like flows.
const TCP_DELAY: Duration = Duration::from_millis(50);
/// A queue that never empties counts as so long.
const MAX_QUEUE: Duration = Duration::from_secs(10);
/// Share of the capacity that a publisher behind the bottleneck takes.
const BACK_SHARE: f64 = 0.85;

/// Who has an address: its second byte, the third being a number.
const PUBLISHER: u8 = 1;
const SUBSCRIBER: u8 = 2;
const TCP_SENDER: u8 = 3;
const TCP_RECEIVER: u8 = 4;

fn address(who: u8, number: usize) -> SocketAddr {
    SocketAddr::from(([10, who, number as u8, 1], 5_000))
}

/// A scenario under way.
pub(super) struct World<'a> {
    scenario: &'a Scenario,
    setup: &'a Setup,
    now: Instant,
    network: Network,
    site: SiteId,
    server: Server,
    certificate: DtlsCertificate,
    random: Random,
    flows: Vec<Flow>,
    tcp: Vec<TcpFlow>,
    /// What passes outside of the network.
    direct: VecDeque<Datagram>,
    batches: [TransmitBatch; 2],
    /// How many changes of the links are done.
    changed: [usize; 2],
    next_sample: Instant,
    next_queue_sample: Instant,
    record: Record,
}

/// A TCP-like sender, and what its receiver got.
struct TcpFlow {
    plan: TcpPlan,
    sender: Option<TcpSender>,
    next_transfer: Instant,
    received: u64,
}

impl<'a> World<'a> {
    pub(super) fn new(scenario: &'a Scenario, setup: &'a Setup, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut network = Network::new(random.bits());
        let site = network.add_site(LinkConfig::default(), LinkConfig::default());
        let near = || LinkConfig::delayed(NEAR);
        network.add_host(server::ADDRESS.0.into(), LinkConfig::default(), LinkConfig::default());
        for (number, flow) in scenario.flows.iter().enumerate() {
            for who in [PUBLISHER, SUBSCRIBER] {
                let is_behind = flow.behind.includes(who == PUBLISHER);
                let link = || if is_behind { LinkConfig::delayed(flow.delay) } else { near() };
                let host = network.add_host(address(who, number).ip(), link(), link());
                if is_behind {
                    network.move_to_site(host, site);
                }
            }
        }
        let new_tcp = |(number, plan): (usize, &TcpPlan)| {
            network.add_host(address(TCP_SENDER, number).ip(), near(), near());
            let link = || LinkConfig::delayed(TCP_DELAY);
            let host = network.add_host(address(TCP_RECEIVER, number).ip(), link(), link());
            network.move_to_site(host, site);
            TcpFlow { plan: *plan, sender: None, next_transfer: START + plan.start, received: 0 }
        };
        let tcp = scenario.tcp.iter().enumerate().map(new_tcp).collect();
        Self {
            scenario,
            setup,
            now: START,
            network,
            site,
            server: Server::new(setup, random.bits()),
            certificate: DtlsCertificate::generate(),
            random,
            flows: Vec::new(),
            tcp,
            direct: VecDeque::new(),
            batches: Default::default(),
            changed: [0; 2],
            next_sample: START + SAMPLE,
            next_queue_sample: START,
            record: Record { length: scenario.length, demand: scenario.demand as f64, ..Record::default() },
        }
    }

    /// Plays it to its end.
    ///
    /// # Errors
    /// Where somebody cannot join.
    pub(super) fn play(mut self) -> Result<Record> {
        let end = START + self.scenario.length;
        loop {
            self.step()?;
            self.flush();
            let next = self.next_event();
            if next > end {
                break;
            }
            self.now = self.now.max(next);
        }
        let down = self.network.site_down(self.site).stats();
        (self.record.dropped, self.record.lost) = (down.dropped, down.lost);
        let only_back = self.scenario.flows.iter().all(|flow| flow.behind == Behind::Publisher);
        if self.scenario.flows.iter().any(|flow| flow.behind == Behind::Both) || only_back {
            let up = self.network.site_up(self.site).stats();
            (self.record.dropped, self.record.lost) = (down.dropped + up.dropped, down.lost + up.lost);
        }
        let flows = self.flows.into_iter().filter(|flow| only_back || flow.plan.behind != Behind::Publisher);
        self.record.flows = flows.map(|flow| flow.finish(end)).collect();
        Ok(self.record)
    }

    /// Time of the network's clock.
    fn elapsed(&self) -> Duration {
        self.now - START
    }

    fn next_event(&self) -> Instant {
        let flows = self.flows.iter().map(Flow::poll_timeout);
        let tcp = self.tcp.iter().map(|tcp| match &tcp.sender {
            Some(sender) => sender.poll_timeout(),
            None => tcp.next_transfer,
        });
        let network = self.network.next_timeout().map(|at| START + at);
        let changes = [(&self.scenario.down, self.changed[0]), (&self.scenario.up, self.changed[1])];
        let changes = changes.into_iter().filter_map(|(links, done)| links.get(done)).map(|(at, _)| START + *at);
        let join = self.scenario.flows.get(self.flows.len()).map(|flow| START + flow.start);
        let own = [self.server.poll_timeout(), self.next_sample, self.next_queue_sample];
        flows
            .chain(tcp)
            .chain(network)
            .chain(changes)
            .chain(join)
            .fold(own.into_iter().min().unwrap_or(START), Instant::min)
    }

    /// Lets happen what is due.
    fn step(&mut self) -> Result<()> {
        self.sample();
        self.change_links();
        while let Some(plan) = self.scenario.flows.get(self.flows.len()).filter(|f| START + f.start <= self.now) {
            let (setup, number) = (self.setup, self.flows.len());
            let addresses = [PUBLISHER, SUBSCRIBER].map(|who| address(who, number).ip());
            let chance = (self.now, &mut self.random);
            self.flows.push(Flow::join(
                &mut self.server,
                (*plan, number),
                (setup, self.scenario.demand),
                &self.certificate,
                addresses,
                chance,
            )?);
        }
        while let Some(datagram) = self.network.poll(self.now - START) {
            self.deliver(datagram);
        }
        self.server.handle_timeout(self.now);
        Ok(())
    }

    fn change_links(&mut self) {
        let elapsed = self.elapsed();
        let due = |links: &[(Duration, LinkConfig)], done: &mut usize| {
            let (_, link) = links.get(*done).filter(|(at, _)| *at <= elapsed)?;
            *done += 1;
            Some(link.clone())
        };
        while let Some(link) = due(&self.scenario.down, &mut self.changed[0]) {
            self.network.set_site_down(elapsed, self.site, link);
        }
        while let Some(link) = due(&self.scenario.up, &mut self.changed[1]) {
            self.network.set_site_up(elapsed, self.site, link);
        }
    }

    /// Hands a datagram to whom it is for.
    fn deliver(&mut self, mut datagram: Datagram) {
        let SocketAddr::V4(to) = datagram.to else { return };
        let [_, who, number, _] = to.ip().octets();
        let number = usize::from(number);
        let (now, bytes) = (self.now, &mut datagram.bytes);
        match who {
            PUBLISHER => self.flows[number].handle_for_publisher(now, bytes),
            SUBSCRIBER => self.flows[number].handle_for_subscriber(now, bytes),
            TCP_SENDER => {
                let sender = self.tcp[number].sender.as_mut();
                if let Some((sender, acknowledged)) = sender.zip(self::number(bytes)) {
                    sender.on_ack(now, acknowledged);
                }
            }
            TCP_RECEIVER => {
                self.tcp[number].received += bytes.len() as u64;
                let ack = self::number(bytes).map(|number| packet(number, ACK));
                let answer = ack.map(|bytes| Datagram { from: datagram.to, to: datagram.from, bytes });
                answer.into_iter().for_each(|answer| self.network.send(now - START, answer));
            }
            _ => self.server.handle_datagram(now, datagram.from, bytes),
        }
    }

    /// Puts on its way what everybody has to send.
    fn flush(&mut self) {
        self.flush_tcp();
        loop {
            let Self { server, flows, network, direct, batches, now, .. } = self;
            let elapsed = *now - START;
            let mut post = |datagram: Datagram| {
                if is_handshake(&datagram.bytes) {
                    direct.push_back(datagram);
                } else {
                    network.send(elapsed, datagram);
                }
            };
            for (number, flow) in flows.iter_mut().enumerate() {
                let [up, down] = batches;
                up.clear();
                down.clear();
                flow.transmit(*now, server, [&mut *up, &mut *down]);
                for (who, batch) in [(PUBLISHER, up), (SUBSCRIBER, down)] {
                    let ranges = batch.transmits().iter().flat_map(|transmit| transmit.segments());
                    let to = SocketAddr::from(server::ADDRESS);
                    let from = address(who, number);
                    ranges.for_each(|range| post(Datagram { from, to, bytes: batch.datagram(range).to_vec() }));
                }
            }
            server.transmit(*now, |to, bytes| {
                let SocketAddr::V4(ip) = to else { return };
                let [_, who, number, _] = ip.ip().octets();
                if who == SUBSCRIBER && !is_handshake(bytes) {
                    flows[usize::from(number)].on_sent(bytes);
                }
                post(Datagram { from: SocketAddr::from(server::ADDRESS), to, bytes: bytes.to_vec() });
            });
            if self.direct.is_empty() {
                return;
            }
            while let Some(datagram) = self.direct.pop_front() {
                self.deliver(datagram);
            }
        }
    }

    fn flush_tcp(&mut self) {
        let Self { tcp, network, random, now, .. } = self;
        for (number, flow) in tcp.iter_mut().enumerate() {
            if flow.sender.is_none() && flow.next_transfer <= *now {
                let bytes = flow.plan.transfer.map(|(low, high)| low + random.below(high - low));
                flow.sender = Some(TcpSender::new(bytes, *now));
            }
            let Some(sender) = &mut flow.sender else { continue };
            sender.handle_timeout(*now);
            while let Some(next) = sender.poll(*now) {
                let (from, to) = (address(TCP_SENDER, number), address(TCP_RECEIVER, number));
                network.send(*now - START, Datagram { from, to, bytes: packet(next, SEGMENT) });
            }
            if sender.is_done() {
                flow.sender = None;
                flow.next_transfer = *now + TCP_IDLE.mul_f64(-(1.0 - random.fraction()).ln());
            }
        }
    }

    fn sample(&mut self) {
        let elapsed = self.elapsed();
        if self.next_queue_sample <= self.now {
            self.next_queue_sample += QUEUE_SAMPLE;
            self.record.queue.push(self.network.site_down(self.site).queue_delay(elapsed).min(MAX_QUEUE));
        }
        if self.next_sample > self.now {
            return;
        }
        self.next_sample += SAMPLE;
        self.record.capacity.push(capacity(self.network.site_down(self.site).config(), elapsed));
        let stats = self.server.stats(self.now);
        let up = self.scenario.up.iter().rev().find(|(at, _)| *at <= elapsed);
        let back = up.and_then(|(_, link)| link.rate).map(|rate| BACK_SHARE * rate.as_bps() as f64);
        for flow in &mut self.flows {
            let oracle = back.filter(|_| flow.plan.behind == Behind::Publisher);
            if let Some((publication, target)) = flow.sample(&stats, oracle) {
                self.server.set_encoder_target(self.now, publication, target);
            }
        }
        let received: u64 = self.tcp.iter_mut().map(|tcp| std::mem::take(&mut tcp.received)).sum();
        self.record.tcp.push(received as f64 * 8.0 / SAMPLE.as_secs_f64());
    }
}

/// Handshakes differ in length from run to run, by their signatures, and shall change nothing: they pass outside of the
/// network, at once.
fn is_handshake(datagram: &[u8]) -> bool {
    DatagramKind::of(datagram) == Some(DatagramKind::Dtls)
}

/// Bits per second that the link let pass in the sample that ends now.
fn capacity(link: &LinkConfig, now: Duration) -> f64 {
    match (&link.trace, link.rate) {
        (Some(trace), _) => trace.capacity(now.saturating_sub(SAMPLE), now) as f64 * 8.0 / SAMPLE.as_secs_f64(),
        (None, Some(rate)) => rate.as_bps() as f64,
        (None, None) => f64::INFINITY,
    }
}
