//! The workers, each with its own port, and the queues between them.

use super::START;
use crate::placement::Placement;
use crate::rng::Rng;
use sfu_core::command::Command;
use sfu_core::config::WorkerConfig;
use sfu_core::event::Event;
use sfu_core::ids::WorkerId;
use sfu_core::overload;
use sfu_core::relay::RelayMessage;
use sfu_core::worker::Worker;
use sfu_room::Order;
use sfu_room::placement::Load;
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::net::{NetworkPath, Protocol, TransmitBatch};
use sfu_rtc::time::{Duration, Instant, WallClock};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// Address of all workers, and port of the first.
const SERVER: ([u8; 4], u16) = ([10, 0, 0, 1], 7_881);

/// How often a worker hears how busy it is: as the server's thread tells it.
const LOAD_INTERVAL: Duration = Duration::from_millis(100);

/// The workers of one process.
pub(super) struct Servers {
    servers: Vec<Server>,
    placement: Placement,
    /// When the load is looked at again.
    load_due: Instant,
    pub(super) certificate: Arc<DtlsCertificate>,
    batch: TransmitBatch,
}

/// A worker with what is on its way to it. There are no more than two, so all of it is from the other.
struct Server {
    worker: Worker,
    inbox: VecDeque<(Instant, RelayMessage)>,
}

/// Where the worker with this number is.
pub(super) fn address(server: usize) -> SocketAddr {
    let (ip, port) = SERVER;
    SocketAddr::from((ip, port + server as u16))
}

impl Servers {
    pub(super) fn new(mut placement: Placement, rng: &mut Rng) -> Self {
        let certificate = Arc::new(DtlsCertificate::generate());
        let wall = WallClock::new(START, Duration::from_secs(1_700_000_000));
        let first = rng.bits();
        let seeds: Vec<u64> =
            (0..placement.count()).map(|n| if n == 0 { first } else { placement.worker_seed() }).collect();
        let new = |seed| {
            let worker = Worker::new(WorkerConfig::default(), Arc::clone(&certificate), wall, seed);
            Server { worker, inbox: VecDeque::new() }
        };
        let servers = seeds.into_iter().map(new).collect();
        Self { servers, placement, load_due: START, certificate, batch: TransmitBatch::default() }
    }

    pub(super) fn count(&self) -> usize {
        self.servers.len()
    }

    /// How busy the workers are when a member comes.
    pub(super) fn loads(&self, member: usize) -> Vec<Load> {
        self.placement.loads(member)
    }

    fn command(&mut self, now: Instant, server: usize, command: Command) {
        self.servers[server].worker.handle_command(now, command);
    }

    /// Gives workers their orders: to each in their sequence, but one may be ahead of the other, and what they tell each
    /// other may come in between.
    pub(super) fn carry_out(&mut self, now: Instant, orders: Vec<Order>) {
        let mut queues: Vec<VecDeque<Command>> = self.servers.iter().map(|_| VecDeque::new()).collect();
        for (server, command) in orders {
            queues[server].push_back(command);
        }
        loop {
            let waiting: Vec<usize> = (0..queues.len()).filter(|server| !queues[*server].is_empty()).collect();
            let Some(server) = self.placement.next_to_look(&waiting) else { return };
            if let Some(command) = queues[server].pop_front() {
                self.command(now, server, command);
            }
            if self.placement.exchanges_first() {
                self.hand_over(now);
                self.deliver(now);
            }
        }
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, server: usize, remote: SocketAddr, datagram: &mut [u8]) {
        let path = NetworkPath { remote, local: address(server).ip(), protocol: Protocol::Udp };
        self.servers[server].worker.handle_datagram(now, &path, datagram);
    }

    /// When something is due: for a worker, or on its way to one.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = |server: &Server| [server.worker.poll_timeout(), server.inbox.front().map(|(due, _)| *due)];
        self.servers.iter().flat_map(due).flatten().chain([self.load_due]).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.deliver(now);
        if self.load_due <= now {
            self.load_due = now + LOAD_INTERVAL;
            for server in &mut self.servers {
                let load = overload::Load { busy: self.placement.busy(), queue_age: Duration::ZERO };
                server.worker.handle_load(now, load);
            }
        }
        for server in &mut self.servers {
            if server.worker.poll_timeout().is_some_and(|at| at <= now) {
                server.worker.handle_timeout(now);
            }
        }
    }

    /// Takes from all workers what they send, until they have nothing more: number of the worker, destination, bytes.
    pub(super) fn transmit(&mut self, now: Instant, mut send: impl FnMut(usize, SocketAddr, &[u8])) {
        loop {
            self.hand_over(now);
            self.deliver(now);
            let Self { servers, batch, .. } = self;
            let mut idle = true;
            for (index, server) in servers.iter_mut().enumerate() {
                batch.clear();
                server.worker.poll_transmit(now, batch);
                idle &= batch.is_empty();
                for transmit in batch.transmits() {
                    let datagrams = batch.bytes(transmit).chunks(transmit.segment_size);
                    datagrams.for_each(|datagram| send(index, transmit.path.remote, datagram));
                }
            }
            // What was sent may have left something to tell the other worker, and that something to send.
            if idle && !self.hand_over(now) {
                return;
            }
        }
    }

    /// The next event of any worker, with the worker's number.
    pub(super) fn poll_event(&mut self) -> Option<(usize, Event)> {
        let mut servers = self.servers.iter_mut().enumerate();
        servers.find_map(|(index, server)| Some((index, server.worker.poll_event()?)))
    }

    /// Puts what workers have for each other on its way, in its order. Whether something is there already.
    fn hand_over(&mut self, now: Instant) -> bool {
        let Self { servers, placement, .. } = self;
        for from in 0..servers.len() {
            let mut taken = Vec::new();
            servers[from].worker.poll_relay(now, |to, messages| taken.push((to, std::mem::take(messages))));
            for (to, messages) in taken {
                let inbox = &mut servers[usize::from(to.0)].inbox;
                let due = inbox.back().map_or(now, |(due, _)| *due).max(now + placement.relay_delay());
                inbox.extend(messages.into_iter().map(|message| (due, message)));
            }
        }
        servers.iter().any(|server| server.inbox.front().is_some_and(|(due, _)| *due <= now))
    }

    /// Hands to workers what has arrived.
    fn deliver(&mut self, now: Instant) {
        for (index, server) in self.servers.iter_mut().enumerate() {
            let other = WorkerId(1 - index as u16);
            while let Some((_, message)) = server.inbox.pop_front_if(|(due, _)| *due <= now) {
                server.worker.handle_relay(now, other, message);
            }
        }
    }
}
