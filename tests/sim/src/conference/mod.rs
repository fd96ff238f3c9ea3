//! One conference, played in one thread on simulated time.

mod actions;
mod control;
mod member;
mod tap;
mod verdict;

pub use verdict::Outcome;

use crate::clock::Clock;
use crate::rng::Rng;
use crate::scenario::{Action, Scenario};
use member::{Member, Parcel};
use sfu_core::command::Command;
use sfu_core::config::WorkerConfig;
use sfu_core::event::{Event, WorkerStats};
use sfu_core::ids::{PublicationId, RoomId};
use sfu_core::worker::Worker;
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::net::{NetworkPath, Protocol, TransmitBatch};
use sfu_rtc::time::{Duration, Instant, WallClock};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where the server is.
const SERVER: ([u8; 4], u16) = ([10, 0, 0, 1], 7_881);
/// The only room.
const ROOM: RoomId = RoomId(1);
/// When a conference begins; far from zero, so that nothing depends on it.
const START: Instant = Instant::from_millis(1_000_000);

/// A conference under way.
pub struct Conference {
    scenario: Scenario,
    worker: Worker,
    certificate: Arc<DtlsCertificate>,
    clock: Clock,
    now: Instant,
    rng: Rng,
    members: Vec<Member>,
    batch: TransmitBatch,
    /// Next of the scenario's actions.
    next_action: usize,
    next_publication: u64,
    next_ssrc: u32,
    /// Source (a member's number, and whether it is its camera) of each publication ever made.
    publications: HashMap<PublicationId, (usize, bool)>,
    /// Highest share of the active-speaker events that each source got.
    heard: HashMap<usize, u64>,
    speaking: Option<(usize, Instant)>,
    /// What must not be and was seen on the way.
    faults: Vec<String>,
    stats: Option<Box<WorkerStats>>,
}

/// Plays the conference that `seed` draws.
///
/// What str0m draws by itself is drawn from the seed too, but not the keys and the order of its hash tables: a
/// failure that hangs on single datagrams may need a few repetitions.
pub fn run(seed: u64) -> Outcome {
    fastrand::seed(seed);
    let mut rng = Rng::new(seed);
    let scenario = Scenario::draw(&mut rng);
    Conference::new(scenario, rng).play()
}

impl Conference {
    fn new(scenario: Scenario, mut rng: Rng) -> Self {
        let certificate = Arc::new(DtlsCertificate::generate());
        let wall = WallClock::new(START, Duration::from_secs(1_700_000_000));
        let mut worker = Worker::new(WorkerConfig::default(), Arc::clone(&certificate), wall, rng.bits());
        worker.handle_command(START, Command::OpenRoom { room: ROOM });
        let members = Vec::new();
        Self {
            scenario,
            worker,
            certificate,
            clock: Clock::default(),
            now: START,
            rng,
            members,
            batch: TransmitBatch::default(),
            next_action: 0,
            next_publication: 1,
            next_ssrc: 0x1000_0000,
            publications: HashMap::new(),
            heard: HashMap::new(),
            speaking: None,
            faults: Vec::new(),
            stats: None,
        }
    }

    fn play(mut self) -> Outcome {
        for index in 0..self.scenario.participants.len() {
            let member = self.new_member(index);
            self.members.push(member);
        }
        let end = START + self.scenario.length;
        self.run_until(end);
        let stats = self.ask_for_stats();
        self.close();
        self.verdict(end, stats)
    }

    fn run_until(&mut self, end: Instant) {
        loop {
            self.drain();
            let next = self.next_event();
            if next >= end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn next_event(&self) -> Instant {
        let members = self.members.iter().filter_map(|member| member.next_event());
        let action = self.scenario.actions.get(self.next_action).map(|(at, ..)| START + *at);
        let others = [self.worker.poll_timeout(), action];
        members.chain(others.into_iter().flatten()).min().unwrap_or(Instant::NEVER)
    }

    fn step(&mut self) {
        for index in 0..self.members.len() {
            self.deliver(index);
        }
        if self.worker.poll_timeout().is_some_and(|at| at <= self.now) {
            self.worker.handle_timeout(self.now);
        }
        for index in 0..self.members.len() {
            if self.members[index].joins_at.is_some_and(|at| at <= self.now) {
                self.join(index);
            }
            self.members[index].handle_timeout(self.now);
        }
        while let Some((at, member, action)) = self.scenario.actions.get(self.next_action).copied() {
            if START + at > self.now {
                break;
            }
            self.next_action += 1;
            self.act(member, action);
        }
    }

    /// Hands over what has passed a member's links.
    fn deliver(&mut self, index: usize) {
        let (now, elapsed) = (self.now, since_start(self.now));
        let member = &mut self.members[index];
        while let Some(mut parcel) = member.up.poll(elapsed) {
            self.worker.handle_datagram(now, &path(parcel.address), parcel.content());
        }
        while let Some(mut parcel) = member.down.poll(elapsed) {
            // Whoever moved no longer gets what was sent to where it was.
            if member.seen_as == parcel.address && !member.gone {
                member.peer.handle_datagram(now, SERVER.into(), parcel.content());
            }
        }
    }

    /// Takes from everybody what they have to send and to say.
    fn drain(&mut self) {
        for member in &mut self.members {
            member.drain(self.now);
        }
        loop {
            self.batch.clear();
            self.worker.poll_transmit(self.now, &mut self.batch);
            if self.batch.is_empty() {
                break;
            }
            self.send_batch();
        }
        while let Some(event) = self.worker.poll_event() {
            self.handle_event(event);
        }
    }

    fn send_batch(&mut self) {
        for transmit in self.batch.transmits() {
            let to = transmit.path.remote;
            let Some(index) = self.members.iter().position(|member| member.had_address(to)) else {
                self.faults.push(format!("datagrams for nobody: {to}"));
                continue;
            };
            let member = &mut self.members[index];
            for datagram in self.batch.bytes(transmit).chunks(transmit.segment_size) {
                member.tap.on_datagram(datagram);
                member.down.send(since_start(self.now), Parcel::down(to, datagram.to_vec()));
            }
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Connected { transport, .. } => {
                if let Some(member) = self.member_of(transport) {
                    member.server_connected = true;
                }
            }
            Event::PathChanged { transport, path } => {
                let now = self.now;
                if let Some(member) = self.member_of(transport) {
                    member.path_changed(now, path.remote);
                }
            }
            Event::Closed { transport, reason } => {
                let known = self.member_of(transport).is_some_and(|member| !member.gone && !member.left);
                if known {
                    self.faults.push(format!("{transport:?} closed: {reason:?}"));
                }
            }
            Event::ActiveSpeakers { speakers, .. } => {
                if let Some((loudest, _)) = speakers.first()
                    && let Some((source, _)) = self.publications.get(loudest)
                {
                    *self.heard.entry(*source).or_default() += 1;
                }
            }
            Event::SlotSwitched { transport, mid, publication } => self.check_switch(transport, mid, publication),
            Event::Stats { stats, .. } => self.stats = Some(stats),
            Event::PublicationCodec { .. } | Event::Shedding { .. } => {}
        }
    }

    fn ask_for_stats(&mut self) -> Option<Box<WorkerStats>> {
        self.worker.handle_command(self.now, Command::Stats { token: 1 });
        self.drain();
        self.stats.take()
    }

    /// Everybody goes; nothing may stay.
    fn close(&mut self) {
        self.worker.handle_command(self.now, Command::CloseRoom { room: ROOM });
        self.drain();
        match self.ask_for_stats() {
            Some(stats) if stats.rooms == 0 && stats.transports.is_empty() => {}
            other => self.faults.push(format!("something stayed after the end: {other:?}")),
        }
    }
}

/// Time of the links' clock.
fn since_start(now: Instant) -> Duration {
    now - Instant::ZERO
}

/// The server's path to a remote address.
fn path(remote: SocketAddr) -> NetworkPath {
    NetworkPath { remote, local: SocketAddr::from(SERVER).ip(), protocol: Protocol::Udp }
}

/// Whether the action is one that ends somebody's part.
fn ends(action: Action) -> bool {
    matches!(action, Action::Leave | Action::Vanish)
}
