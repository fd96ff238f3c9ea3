//! One conference, played in one thread on simulated time.

mod actions;
mod control;
mod member;
mod servers;
mod tap;
mod verdict;

pub use verdict::Outcome;

use crate::clock::Clock;
use crate::placement::{LONGEST_RELAY_DELAY, Placement};
use crate::rng::Rng;
use crate::scenario::{Action, Scenario};
use member::{Member, Parcel};
use servers::Servers;
use sfu_core::command::Command;
use sfu_core::event::{Event, WorkerStats};
use sfu_core::ids::{PublicationId, RoomId};
use sfu_room::Room;
use sfu_rtc::time::{Duration, Instant};
use std::collections::HashMap;

/// The only room.
const ROOM: RoomId = RoomId(1);
/// When a conference begins; far from zero, so that nothing depends on it.
const START: Instant = Instant::from_millis(1_000_000);

/// A conference under way.
pub struct Conference {
    scenario: Scenario,
    servers: Servers,
    /// The control plane's own.
    room: Room,
    clock: Clock,
    now: Instant,
    rng: Rng,
    members: Vec<Member>,
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
    /// What workers answered that were asked for their figures.
    stats: Vec<WorkerStats>,
}

/// Plays the conference that `seed` draws.
///
/// Where its members are is drawn apart from all else, so that it does not change what else is drawn.
///
/// What str0m draws by itself is drawn from the seed too, but not the keys and the order of its hash tables: a
/// failure that hangs on single datagrams may need a few repetitions.
pub fn run(seed: u64) -> Outcome {
    fastrand::seed(seed);
    let mut rng = Rng::new(seed);
    let mut scenario = Scenario::draw(&mut rng);
    let mut placement = Placement::draw(seed, scenario.participants.len());
    placement.complete(&mut scenario);
    Conference::new(scenario, placement, rng).play()
}

impl Conference {
    fn new(scenario: Scenario, placement: Placement, mut rng: Rng) -> Self {
        let servers = Servers::new(placement, &mut rng);
        let members = Vec::new();
        let mut conference = Self {
            scenario,
            servers,
            room: Room::open(ROOM, 0),
            clock: Clock::default(),
            now: START,
            rng,
            members,
            next_action: 0,
            next_publication: 1,
            next_ssrc: 0x1000_0000,
            publications: HashMap::new(),
            heard: HashMap::new(),
            speaking: None,
            faults: Vec::new(),
            stats: Vec::new(),
        };
        conference.carry_out_orders();
        conference
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
        self.verdict(end, &stats)
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
        let others = [self.servers.poll_timeout(), action];
        members.chain(others.into_iter().flatten()).min().unwrap_or(Instant::NEVER)
    }

    fn step(&mut self) {
        for index in 0..self.members.len() {
            self.deliver(index);
        }
        self.servers.handle_timeout(self.now);
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
        let server = member.server;
        while let Some(mut parcel) = member.up.poll(elapsed) {
            self.servers.handle_datagram(now, server, parcel.address, parcel.content());
        }
        while let Some(mut parcel) = member.down.poll(elapsed) {
            // Whoever moved no longer gets what was sent to where it was.
            if member.seen_as == parcel.address && !member.gone {
                member.peer.handle_datagram(now, servers::address(server), parcel.content());
            }
        }
    }

    /// Takes from everybody what they have to send and to say.
    fn drain(&mut self) {
        for member in &mut self.members {
            member.drain(self.now);
        }
        self.transmit();
        while let Some((server, event)) = self.servers.poll_event() {
            self.handle_event(server, event);
        }
    }

    /// Puts what workers send on its way.
    fn transmit(&mut self) {
        let Self { servers, members, faults, now, .. } = self;
        servers.transmit(*now, |server, to, datagram| {
            let to_one_of = |member: &&mut Member| member.server == server && member.had_address(to);
            match members.iter_mut().find(to_one_of) {
                Some(member) => {
                    member.tap.on_datagram(datagram);
                    member.down.send(since_start(*now), Parcel::down(to, datagram.to_vec()));
                }
                None => faults.push(format!("a datagram of worker {server} for nobody of its members: {to}")),
            }
        });
    }

    fn handle_event(&mut self, server: usize, event: Event) {
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
                if self.room.set_heard(server, &speakers) {
                    self.count_loudest();
                }
            }
            Event::SlotSwitched { transport, mid, publication } => self.check_switch(transport, mid, publication),
            Event::Stats { stats, .. } => self.stats.push(*stats),
            Event::PublicationCodec { .. }
            | Event::IngressLimited { .. }
            | Event::SlotPaused { .. }
            | Event::SlotLimited { .. }
            | Event::References { .. }
            | Event::Shedding { .. } => {}
        }
    }

    fn count_loudest(&mut self) {
        if let Some((loudest, _)) = self.room.speakers().first() {
            *self.heard.entry(loudest.0 as usize).or_default() += 1;
        }
    }

    /// Gives workers the orders that the room has for them.
    fn carry_out_orders(&mut self) {
        let orders = self.room.take_orders();
        self.servers.carry_out(self.now, orders);
    }

    /// The figures of each worker that answers.
    fn ask_for_stats(&mut self) -> Vec<WorkerStats> {
        (0..self.servers.count()).for_each(|server| self.room.order(server, Command::Stats { token: 1 }));
        self.carry_out_orders();
        self.drain();
        std::mem::take(&mut self.stats)
    }

    /// Everybody goes; nothing may stay.
    fn close(&mut self) {
        self.room.close();
        self.carry_out_orders();
        self.drain();
        // What was on its way from worker to worker meets nobody any more.
        self.now += LONGEST_RELAY_DELAY;
        self.servers.handle_timeout(self.now);
        let stats = self.ask_for_stats();
        let empty = stats.iter().filter(|stats| stats.rooms == 0 && stats.transports.is_empty()).count();
        if empty != self.servers.count() {
            self.faults.push(format!("something stayed after the end: {stats:?}"));
        }
    }
}

/// Time of the links' clock.
fn since_start(now: Instant) -> Duration {
    now - Instant::ZERO
}

/// Whether the action is one that ends somebody's part.
fn ends(action: Action) -> bool {
    matches!(action, Action::Leave | Action::Vanish)
}
