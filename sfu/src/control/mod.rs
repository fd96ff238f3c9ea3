//! The control plane: rooms and who is in them, signalling sessions, tokens, and the only link between the
//! signalling protocol and the workers, which know nothing of it.
//!
//! Lock order: a room's lock is taken alone; an outbox's or a worker queue's may be taken below it. No map entry is held
//! while a room's lock is waited for.

mod agenda;
pub(crate) mod auth;
mod budget;
pub(crate) mod caps;
mod directives;
mod encoders;
mod error;
mod events;
#[cfg(test)]
mod flood_tests;
mod ids;
mod join;
mod lifecycle;
pub(crate) mod negotiation;
mod news;
mod outbox;
mod participant;
mod placement;
mod publish;
mod quality;
mod rate;
#[cfg(test)]
mod refusal_tests;
mod requests;
mod room;
#[cfg(any(test, fuzzing))]
pub(crate) mod shown;
mod stats;
mod subscribe;
#[cfg(test)]
mod tests;
mod translate;
mod turns;
mod unconnected;

pub(crate) use auth::Permit;
pub(crate) use budget::Budget;
pub(crate) use directives::Directives;
pub(crate) use error::ControlError;
pub(crate) use ids::{parse_publication, publication_text};
pub(crate) use join::{Entered, JoinRequest, MAX_CLIENT};
pub(crate) use outbox::{Next, Outgoing};
pub(crate) use participant::{Access, Participant};
pub(crate) use rate::Rate;
pub(crate) use requests::Session;
pub(crate) use room::{Room, RoomState};
pub(crate) use stats::{HANDSHAKE_BUCKETS, Histogram, StatsCollector};
pub(crate) use turns::Turns;

use crate::clock::Clock;
use crate::config::Config;
use crate::worker_thread::WorkerHandle;
use agenda::Agenda;
use auth::{Authenticator, RoomOptions};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use ids::Ids;
use negotiation::Negotiator;
use news::NewsPace;
use sfu_core::ids::{RoomId, TransportId};
use sfu_room::ParticipantId;
use sfu_rtc::dtls::DtlsCertificate;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use unconnected::Unconnected;

/// A worker with more waiting commands than this takes no newcomers.
const BUSY_QUEUE: usize = 4_096;

/// The control plane. One per process.
pub(crate) struct Control {
    pub(crate) config: Arc<Config>,
    pub(crate) clock: Clock,
    pub(crate) auth: Authenticator,
    pub(crate) workers: Arc<[WorkerHandle]>,
    pub(crate) stats: StatsCollector,
    pub(crate) directives: Directives,
    /// Signalling connections, joined or not.
    pub(crate) connections: AtomicUsize,
    /// At work that anybody may ask for.
    pub(crate) turns: Arc<Turns>,
    negotiator: Negotiator,
    unconnected: Unconnected,
    /// Requests that were refused since they came too fast.
    too_fast: AtomicU64,
    agenda: Arc<Agenda>,
    /// Rooms whose encoders are to be planned soon.
    encoder_agenda: Arc<Agenda>,
    pace: NewsPace,
    ids: Ids,
    rooms: DashMap<String, Arc<Room>>,
    rooms_by_id: DashMap<RoomId, Arc<Room>>,
    transports: DashMap<TransportId, (Arc<Room>, ParticipantId)>,
    sessions: DashMap<String, (Arc<Room>, ParticipantId)>,
    draining: AtomicBool,
}

impl Control {
    pub(crate) fn new(
        config: Arc<Config>,
        clock: Clock,
        certificate: &DtlsCertificate,
        workers: Vec<WorkerHandle>,
    ) -> Arc<Self> {
        let agenda = Arc::<Agenda>::default();
        Arc::new(Self {
            pace: NewsPace::new(&config, &agenda),
            agenda,
            encoder_agenda: Arc::default(),
            unconnected: Unconnected::new(&config.limits),
            too_fast: AtomicU64::new(0),
            auth: Authenticator::new(&config.auth),
            negotiator: Negotiator::new(&config, certificate),
            turns: Turns::new(&config, clock),
            config,
            clock,
            stats: StatsCollector::new(workers.len()),
            workers: workers.into(),
            directives: Directives::default(),
            connections: AtomicUsize::new(0),
            ids: Ids::new(),
            rooms: DashMap::new(),
            rooms_by_id: DashMap::new(),
            transports: DashMap::new(),
            sessions: DashMap::new(),
            draining: AtomicBool::new(false),
        })
    }

    /// Whether the server goes down.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The room with this name.
    pub(crate) fn room(&self, name: &str) -> Option<Arc<Room>> {
        self.rooms.get(name).map(|room| Arc::clone(&room))
    }

    /// All rooms.
    pub(crate) fn all_rooms(&self) -> Vec<Arc<Room>> {
        self.rooms.iter().map(|room| Arc::clone(&room)).collect()
    }

    /// Sessions whose media have not connected yet, and how many of them gave way so far.
    pub(crate) fn unconnected(&self) -> (usize, u64) {
        self.unconnected.figures()
    }

    /// How many requests were refused since they came too fast.
    pub(crate) fn too_fast(&self) -> u64 {
        self.too_fast.load(Ordering::Relaxed)
    }

    /// Counts a refusal where it is for speed.
    pub(crate) fn count(&self, error: ControlError) -> ControlError {
        if error.retry {
            self.too_fast.fetch_add(1, Ordering::Relaxed);
        }
        error
    }

    /// The session with this secret.
    pub(crate) fn session(&self, secret: &str) -> Option<(Arc<Room>, ParticipantId)> {
        self.sessions.get(secret).map(|session| session.clone())
    }

    /// Tells rooms their news when it is time, for as long as the server runs.
    pub(crate) async fn tell_news(self: Arc<Self>) {
        loop {
            let room = self.agenda.next(|| self.clock.now()).await;
            let room = self.rooms_by_id.get(&room).map(|room| Arc::clone(&room));
            if let Some(room) = room {
                room.tell_in_turn();
            }
        }
    }

    /// Refuses to make the room `name` where `may_create` or the number of rooms forbids it.
    pub(super) fn check_may_open(&self, name: &str, may_create: bool) -> Result<(), ControlError> {
        if !may_create {
            return Err(ControlError::not_found(format!("There is no room `{name}`, and the token may not make it.")));
        }
        if self.rooms.len() >= self.config.limits.rooms {
            let text = "The server has its maximum of rooms (limits.rooms); try later.";
            return Err(ControlError::unavailable(text));
        }
        Ok(())
    }

    /// Makes the room `name` on `worker`, or gives the one that is there.
    pub(crate) fn open_room(&self, name: &str, options: &RoomOptions, worker: usize) -> Arc<Room> {
        match self.rooms.entry(name.to_owned()) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => {
                let options = self.room_options(options);
                let id = self.ids.room();
                let news = (self.clock, self.pace.clone(), Arc::clone(&self.encoder_agenda));
                let room = Arc::new(Room::open(id, name.to_owned(), options, (&self.workers, worker), news));
                self.rooms_by_id.insert(id, Arc::clone(&room));
                entry.insert(Arc::clone(&room));
                tracing::info!(room = name, worker, "room opened");
                room
            }
        }
    }

    /// What a room gets that is made with `options`.
    pub(super) fn room_options(&self, options: &RoomOptions) -> RoomOptions {
        let room = &self.config.room;
        RoomOptions {
            max_participants: Some(options.max_participants.unwrap_or(room.max_participants)),
            empty_timeout_seconds: Some(options.empty_timeout_seconds.unwrap_or(room.empty_timeout_seconds)),
            metadata: options.metadata.clone(),
            publish_video: options.publish_video,
            subscribe_video: options.subscribe_video,
        }
    }

    /// The admin API makes a room that was not there.
    pub(crate) fn make_room(&self, name: &str, options: &RoomOptions) -> Result<Arc<Room>, ControlError> {
        auth::check_room(name, options)?;
        self.check_may_open(name, true)?;
        Ok(self.open_room(name, options, self.place_room().index()))
    }

    /// Refuses newcomers while the server goes down or the worker of their room has too much to do.
    fn check_admission(&self, worker: Option<&WorkerHandle>) -> Result<(), ControlError> {
        if self.is_draining() {
            return Err(ControlError::unavailable("The server goes down; try again in a moment."));
        }
        let busy = |worker: &WorkerHandle| worker.waiting() > BUSY_QUEUE || worker.is_overloaded();
        if worker.is_some_and(busy) {
            return Err(ControlError::unavailable("The server has too much to do; try again in a moment."));
        }
        Ok(())
    }
}
