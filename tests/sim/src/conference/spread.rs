//! The control plane's part where a room is on several workers: the orders that the server's own control plane gives
//! there, one by one.

use super::ROOM;
use sfu_core::command::Command;
use sfu_core::ids::{PublicationId, TransportId, WorkerId};
use sfu_rtc::ids::{Mid, Rid};
use sfu_rtc::media::MediaKind;

/// Orders, each for the worker with this number.
pub(super) type Orders = Vec<(usize, Command)>;

/// Who speaks, as a worker hears it: the loudest first.
type Heard = Vec<PublicationId>;

/// Where the room is.
#[derive(Debug, Default)]
pub(super) struct Spread {
    /// The home first.
    workers: Vec<OnWorker>,
    sources: Vec<Source>,
}

/// The room on one worker.
#[derive(Debug)]
struct OnWorker {
    worker: usize,
    members: usize,
    heard: Heard,
}

/// A publication that all workers of the room know.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) id: PublicationId,
    pub(super) origin: usize,
    pub(super) transport: TransportId,
    pub(super) mid: Mid,
    pub(super) kind: MediaKind,
    pub(super) rids: Vec<Rid>,
}

impl Spread {
    /// The room is on a worker from now on.
    pub(super) fn open_on(&mut self, worker: usize) -> Orders {
        self.workers.push(OnWorker { worker, members: 0, heard: Vec::new() });
        let mut orders = vec![(worker, Command::OpenRoom { room: ROOM })];
        orders.extend(self.sources.iter().flat_map(|source| relay(source, worker)));
        orders
    }

    /// A member comes to a worker, and the room with it.
    pub(super) fn enter(&mut self, worker: usize) -> Orders {
        let orders = if self.on(worker).is_some() { Vec::new() } else { self.open_on(worker) };
        if let Some(on) = self.on(worker) {
            on.members += 1;
        }
        orders
    }

    /// A member has left a worker in good order; nothing is relayed for it any more, and if it was the last there, the
    /// room leaves the worker. Who speaks as the new home hears it, where that was the home.
    pub(super) fn leave(&mut self, worker: usize, transport: TransportId) -> (Orders, Option<Heard>) {
        let mut orders = vec![(worker, Command::RemoveTransport { transport })];
        let (gone, stay) = std::mem::take(&mut self.sources).into_iter().partition(|s| s.transport == transport);
        self.sources = stay;
        let gone: Vec<Source> = gone;
        for source in gone {
            let others = self.workers.iter().filter(|on| on.worker != source.origin);
            orders.extend(others.map(|on| (on.worker, Command::Unpublish { publication: source.id })));
        }
        let Some(place) = self.workers.iter().position(|on| on.worker == worker) else { return (orders, None) };
        self.workers[place].members -= 1;
        if self.workers[place].members > 0 || self.workers.len() == 1 {
            return (orders, None);
        }
        self.workers.remove(place);
        orders.push((worker, Command::CloseRoom { room: ROOM }));
        let destination = WorkerId(worker as u16);
        let stop = |source: &Source| (source.origin, Command::StopRelay { publication: source.id, destination });
        orders.extend(self.sources.iter().map(stop));
        let heard = (place == 0).then(|| self.workers[0].heard.clone());
        (orders, heard)
    }

    /// Publishes on all workers.
    pub(super) fn publish(&mut self, source: Source) -> Orders {
        let Source { id: publication, origin, transport, mid, .. } = source;
        let mut orders = vec![(origin, Command::Publish { publication, transport, mid })];
        let others = self.workers.iter().filter(|on| on.worker != origin);
        orders.extend(others.flat_map(|on| relay(&source, on.worker)));
        self.sources.push(source);
        orders
    }

    /// Ends a publication on all workers.
    pub(super) fn unpublish(&mut self, publication: PublicationId) -> Orders {
        self.sources.retain(|source| source.id != publication);
        self.workers.iter().map(|on| (on.worker, Command::Unpublish { publication })).collect()
    }

    /// Mutes or unmutes a publication: its origin tells the others.
    pub(super) fn set_muted(&self, publication: PublicationId, muted: bool) -> Orders {
        let source = self.sources.iter().filter(|source| source.id == publication);
        source.map(|source| (source.origin, Command::SetMuted { publication, muted })).collect()
    }

    /// Ends the room everywhere.
    pub(super) fn close(&mut self) -> Orders {
        self.sources.clear();
        self.workers.drain(..).map(|on| (on.worker, Command::CloseRoom { room: ROOM })).collect()
    }

    /// Keeps who speaks as a worker hears it. Whether it is the one that is heeded, of several that hear the same.
    pub(super) fn note_speakers(&mut self, worker: usize, heard: &Heard) -> bool {
        if let Some(on) = self.on(worker) {
            on.heard.clone_from(heard);
        }
        self.workers.first().is_some_and(|home| home.worker == worker)
    }

    fn on(&mut self, worker: usize) -> Option<&mut OnWorker> {
        self.workers.iter_mut().find(|on| on.worker == worker)
    }
}

/// Lets a publication's worker relay it to another.
fn relay(source: &Source, to: usize) -> [(usize, Command); 2] {
    let (publication, destination) = (source.id, WorkerId(to as u16));
    let open = Command::OpenRelay {
        room: ROOM,
        publication,
        origin: WorkerId(source.origin as u16),
        sender: source.transport,
        kind: source.kind,
        rids: source.rids.clone(),
    };
    [(source.origin, Command::RelayTo { publication, destination }), (to, open)]
}
