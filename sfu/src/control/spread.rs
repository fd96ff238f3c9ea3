//! The workers that a room is on, and what they relay to each other.
//!
//! A room begins on one worker, its home. When more come than one worker shall carry, the next go to another, and the
//! room with them: each worker then gets what is published on the others. A worker that the last participant has left
//! is left by the room, too, unless it is the last.

use crate::worker_thread::WorkerHandle;
use sfu_core::command::Command;
use sfu_core::ids::{PublicationId, RoomId, TransportId, WorkerId};
use sfu_rtc::ids::{Mid, Rid};
use sfu_rtc::media::MediaKind;

/// Who speaks, as a worker hears it.
pub(crate) type Heard = Vec<(PublicationId, f32)>;

/// Where one room is.
#[derive(Debug)]
pub(crate) struct Spread {
    room: RoomId,
    /// The home first; never empty.
    workers: Vec<OnWorker>,
    sources: Vec<Source>,
}

/// A room on one worker.
#[derive(Debug)]
struct OnWorker {
    handle: WorkerHandle,
    participants: usize,
    heard: Heard,
}

/// A publication that workers may have to be told of.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) id: PublicationId,
    /// Number of the worker of its publisher.
    pub(crate) origin: usize,
    pub(crate) transport: TransportId,
    pub(crate) mid: Mid,
    pub(crate) kind: MediaKind,
    pub(crate) rids: Vec<Rid>,
}

impl Spread {
    /// Opens a room on its first worker.
    pub(super) fn open(room: RoomId, home: WorkerHandle) -> Self {
        let mut spread = Self { room, workers: Vec::new(), sources: Vec::new() };
        spread.open_on(&home);
        spread
    }

    /// The worker that the room has been on for longest.
    pub(crate) fn home(&self) -> &WorkerHandle {
        &self.workers[0].handle
    }

    /// All workers with how many participants each has, the home first.
    pub(crate) fn workers(&self) -> impl Iterator<Item = (&WorkerHandle, usize)> {
        self.workers.iter().map(|worker| (&worker.handle, worker.participants))
    }

    /// Whether the room is on the worker with this number.
    pub(crate) fn is_on(&self, worker: usize) -> bool {
        self.workers.iter().any(|on| on.handle.index() == worker)
    }

    /// A participant comes to a worker, and the room with it.
    pub(super) fn enter(&mut self, worker: &WorkerHandle) {
        if !self.is_on(worker.index()) {
            self.open_on(worker);
            for source in &self.sources {
                self.relay(source, worker.index());
            }
            tracing::info!(room = self.room.0, worker = worker.index(), "the room spreads to another worker");
        }
        worker.placed().participants.add(1);
        if let Some(on) = self.on_mut(worker.index()) {
            on.participants += 1;
        }
    }

    /// A participant has left a worker; its transport and publications are gone already. Who speaks as the new home
    /// hears it, where the room left its home.
    pub(super) fn leave(&mut self, worker: &WorkerHandle) -> Option<Heard> {
        let place = self.workers.iter().position(|on| on.handle.index() == worker.index())?;
        let on = &mut self.workers[place];
        on.participants -= 1;
        worker.placed().participants.sub(1);
        if on.participants > 0 || self.workers.len() == 1 {
            return None;
        }
        let left = self.workers.remove(place);
        left.close(self.room, self.sources.iter().map(|source| (source, self.handle(source.origin))));
        tracing::info!(room = self.room.0, worker = worker.index(), "the room leaves a worker");
        (place == 0).then(|| self.workers[0].heard.clone())
    }

    /// Ends the room everywhere.
    pub(super) fn close(&mut self) {
        self.sources.clear();
        for on in &mut self.workers {
            on.close(self.room, std::iter::empty());
            on.handle.placed().participants.sub(std::mem::take(&mut on.participants));
        }
    }

    /// Publishes on all workers.
    pub(super) fn publish(&mut self, source: Source) {
        if let Some(origin) = self.handle(source.origin) {
            let Source { id: publication, transport, mid, .. } = source;
            origin.send(Command::Publish { publication, transport, mid });
        }
        for on in self.workers.iter().filter(|on| on.handle.index() != source.origin) {
            self.relay(&source, on.handle.index());
        }
        self.sources.push(source);
    }

    /// Ends a publication on all workers.
    pub(super) fn unpublish(&mut self, publication: PublicationId) {
        self.sources.retain(|source| source.id != publication);
        for on in &self.workers {
            on.handle.send(Command::Unpublish { publication });
        }
    }

    /// Mutes or unmutes a publication: its origin tells the others.
    pub(super) fn set_muted(&self, publication: PublicationId, muted: bool) {
        let source = self.sources.iter().find(|source| source.id == publication);
        if let Some(origin) = source.and_then(|source| self.handle(source.origin)) {
            origin.send(Command::SetMuted { publication, muted });
        }
    }

    /// A transport is gone, and its publications on its own worker with it: so they are everywhere.
    pub(super) fn transport_gone(&mut self, transport: TransportId) {
        let (gone, stay) = std::mem::take(&mut self.sources).into_iter().partition(|s| s.transport == transport);
        self.sources = stay;
        let gone: Vec<Source> = gone;
        for source in gone {
            for on in self.workers.iter().filter(|on| on.handle.index() != source.origin) {
                on.handle.send(Command::Unpublish { publication: source.id });
            }
        }
    }

    /// Keeps who speaks as a worker hears it. Whether it is the one that is heeded, of several that hear the same.
    pub(super) fn note_speakers(&mut self, worker: usize, heard: &Heard) -> bool {
        if let Some(on) = self.on_mut(worker) {
            on.heard.clone_from(heard);
        }
        self.home().index() == worker
    }

    fn open_on(&mut self, worker: &WorkerHandle) {
        worker.send(Command::OpenRoom { room: self.room });
        worker.placed().rooms.add(1);
        self.workers.push(OnWorker { handle: worker.clone(), participants: 0, heard: Vec::new() });
    }

    /// Lets a publication's worker relay it to another.
    fn relay(&self, source: &Source, to: usize) {
        let (Some(origin), Some(destination)) = (self.handle(source.origin), self.handle(to)) else { return };
        origin.send(Command::RelayTo { publication: source.id, destination: worker_id(to) });
        destination.send(Command::OpenRelay {
            room: self.room,
            publication: source.id,
            origin: worker_id(source.origin),
            sender: source.transport,
            kind: source.kind,
            rids: source.rids.clone(),
        });
    }

    fn handle(&self, worker: usize) -> Option<&WorkerHandle> {
        self.workers.iter().map(|on| &on.handle).find(|handle| handle.index() == worker)
    }

    fn on_mut(&mut self, worker: usize) -> Option<&mut OnWorker> {
        self.workers.iter_mut().find(|on| on.handle.index() == worker)
    }
}

impl OnWorker {
    /// Ends the room here; what came from elsewhere is relayed no longer.
    fn close<'a>(&self, room: RoomId, sources: impl Iterator<Item = (&'a Source, Option<&'a WorkerHandle>)>) {
        self.handle.send(Command::CloseRoom { room });
        self.handle.placed().rooms.sub(1);
        for (source, origin) in sources {
            if let Some(origin) = origin {
                let destination = worker_id(self.handle.index());
                origin.send(Command::StopRelay { publication: source.id, destination });
            }
        }
    }
}

/// As workers name each other; there are no more of them than a letter can tell apart.
fn worker_id(index: usize) -> WorkerId {
    WorkerId(index as u16)
}
