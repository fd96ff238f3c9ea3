//! Two workers with one room over both; what they hand to each other is carried by hand.

use super::{ROOM, World};
use sfu_core::command::Command;
use sfu_core::config::WorkerConfig;
use sfu_core::ids::{PublicationId, WorkerId};
use sfu_core::relay::RelayMessage;
use sfu_rtc::ids::Rid;
use sfu_rtc::media::MediaKind;
use std::collections::VecDeque;

/// Number of the worker of [`Pair::here`], and of that of [`Pair::there`].
pub(crate) const HERE: WorkerId = WorkerId(0);
pub(crate) const THERE: WorkerId = WorkerId(1);

pub(crate) struct Pair {
    /// Publishers are here.
    pub(crate) here: World,
    /// Subscribers are there, too.
    pub(crate) there: World,
    /// Reused for what is carried.
    carried: VecDeque<RelayMessage>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(WorkerConfig::default())
    }

    pub(crate) fn with(config: WorkerConfig) -> Self {
        let mut there = World::with(config.clone());
        there.publications = 1_000; // names are unique in the process
        Self { here: World::with(config), there, carried: VecDeque::new() }
    }

    /// Publishes a section of a client here, for both workers.
    pub(crate) fn publish(&mut self, client: usize, section: &str, kind: MediaKind, rids: &[&str]) -> PublicationId {
        let publication = self.here.publish(client, section);
        self.here.command(Command::RelayTo { publication, destination: THERE });
        self.open(publication, kind, rids);
        self.exchange();
        publication
    }

    pub(crate) fn open(&mut self, publication: PublicationId, kind: MediaKind, rids: &[&str]) {
        let sender = super::id(0); // the first client here
        let rids = rids.iter().map(|rid| Rid::new(rid).unwrap()).collect();
        self.there.command(Command::OpenRelay { room: ROOM, publication, origin: HERE, sender, kind, rids });
    }

    pub(crate) fn mute(&mut self, publication: PublicationId, muted: bool) {
        self.here.command(Command::SetMuted { publication, muted });
        self.exchange();
    }

    /// Assigns a slot of a client there.
    pub(crate) fn assign(&mut self, client: usize, slot: &str, source: Option<PublicationId>) {
        self.there.assign(client, slot, source);
        self.exchange();
    }

    /// Sends a packet of a client here, and delivers what comes of it everywhere.
    pub(crate) fn send(&mut self, client: usize, packet: &super::media::Rtp) {
        self.here.send(client, packet);
        self.exchange();
    }

    /// Lets time pass on both workers.
    pub(crate) fn pass(&mut self, millis: u64) {
        for _ in 0..millis {
            self.here.pass(1);
            self.there.pass(1);
            self.exchange();
        }
    }

    /// Carries what the workers have for each other, until they have nothing more.
    pub(crate) fn exchange(&mut self) {
        while self.carry() > 0 {}
        self.here.drain();
        self.there.drain();
    }

    /// Carries what the workers have for each other now; how many messages that were.
    pub(crate) fn carry(&mut self) -> usize {
        let Self { here, there, carried, .. } = self;
        carry(here, (there, HERE), carried) + carry(there, (here, THERE), carried)
    }
}

fn carry(from: &mut World, (to, name): (&mut World, WorkerId), carried: &mut VecDeque<RelayMessage>) -> usize {
    from.worker.poll_relay(from.now, |_, messages| std::mem::swap(carried, messages));
    let count = carried.len();
    carried.drain(..).for_each(|message| to.worker.handle_relay(to.now, name, message));
    count
}
