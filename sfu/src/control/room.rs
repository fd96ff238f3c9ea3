//! One room, as those who are connected see it. What it decides (who publishes what, what goes into whose slots, on which
//! workers it is) is `sfu-room`'s. Every change is made under the room's lock, and its orders go to the workers before
//! that is let go, so that a worker sees changes in the order in which they were made.

use super::agenda::Agenda;
use super::auth::RoomOptions;
use super::budget::{self, Budget};
use super::encoders::Encoders;
use super::ids::publication_text;
use super::negotiation::{Change, Media};
use super::news::{Entries, News, NewsPace};
use super::outbox::Outgoing;
use super::participant::{self, Access, Participant};
use super::rate::Rate;
use crate::clock::Clock;
use crate::lock::lock;
use crate::worker_thread::WorkerHandle;
use sfu_core::command::Command;
use sfu_core::event::{LayerLimit, PauseReason};
use sfu_core::ids::{PublicationId, RoomId};
use sfu_proto::v1::server_message::Body;
use sfu_proto::v1::{ActiveSpeakers, LeaveReason, ParticipantInfo, RoomInfo, SlotAssignment, Slots, Speaker};
use sfu_room::{Candidates, Left, Member, ParticipantId, Subscription};
use sfu_rtc::ids::Mid;
use sfu_rtc::media::PayloadFormat;
use sfu_rtc::net::Neighbourhood;
use sfu_rtc::time::{Duration, Instant};
use std::collections::{BTreeMap, HashMap};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};

/// What an entry costs in bytes, beside its text, for each whom the newcomer is told of, or who is told of it.
const ENTRY_COST: usize = 256;
/// What a refused entry costs those of its address more.
const TURNS_PER_REFUSAL: usize = 8;
/// After this time without an entry the turns of an address are whole again, and can be forgotten.
const ENTRIES_WHOLE_AGAIN: Duration = Duration::from_secs(5);

/// A room on its workers.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: RoomId,
    pub(crate) name: String,
    pub(super) clock: Clock,
    pub(super) pace: NewsPace,
    /// Whose encoders are to be planned soon.
    pub(super) encoder_agenda: Arc<Agenda>,
    /// All there are, by number.
    workers: Arc<[WorkerHandle]>,
    state: Mutex<RoomState>,
}

/// What changes.
#[derive(Debug)]
pub(crate) struct RoomState {
    pub(crate) options: RoomOptions,
    /// Who is here with what, and on which workers.
    pub(crate) roster: sfu_room::Room,
    /// How those are connected who are in the roster.
    pub(crate) participants: BTreeMap<ParticipantId, Participant>,
    /// Closed for good: whoever wants to join needs a new room of this name.
    pub(crate) closed: bool,
    /// Since when nobody is in it.
    pub(crate) empty_since: Option<Instant>,
    pub(super) news: News,
    pub(super) entries: Entries,
    /// Three quarters of it for those of each address, and when it was last used.
    entries_by_address: HashMap<Neighbourhood, (Entries, Instant)>,
    pub(super) encoders: Encoders,
    /// Of data messages to all.
    pub(super) data: Rate,
    /// What those have left who went a moment ago, and when they went.
    budgets: HashMap<Arc<str>, (Arc<Budget>, Instant)>,
}

/// What those of `address` have left.
fn of_address<'a>(
    entries: &'a mut HashMap<Neighbourhood, (Entries, Instant)>,
    pace: &NewsPace,
    address: Neighbourhood,
    now: Instant,
) -> &'a mut Entries {
    let (entries, used) = entries.entry(address).or_insert_with(|| (pace.entries_of_one_address(now), now));
    *used = now;
    entries
}

/// A room under its lock. The workers get its orders when it is let go.
pub(crate) struct RoomGuard<'a> {
    room: &'a Room,
    state: MutexGuard<'a, RoomState>,
}

impl Deref for RoomGuard<'_> {
    type Target = RoomState;

    fn deref(&self) -> &RoomState {
        &self.state
    }
}

impl DerefMut for RoomGuard<'_> {
    fn deref_mut(&mut self) -> &mut RoomState {
        &mut self.state
    }
}

impl Drop for RoomGuard<'_> {
    fn drop(&mut self) {
        self.room.send_orders(&mut self.state);
    }
}

impl Room {
    /// An empty room; tells its first worker.
    pub(crate) fn open(
        id: RoomId,
        name: String,
        options: RoomOptions,
        (workers, home): (&Arc<[WorkerHandle]>, usize),
        (clock, pace, encoder_agenda): (Clock, NewsPace, Arc<Agenda>),
    ) -> Self {
        let now = clock.now();
        let state = RoomState {
            options,
            roster: sfu_room::Room::open(id, home),
            participants: BTreeMap::new(),
            closed: false,
            empty_since: Some(now),
            news: News::new(now),
            entries: pace.entries(now),
            entries_by_address: HashMap::new(),
            encoders: Encoders::default(),
            data: pace.data_rate(now),
            budgets: HashMap::new(),
        };
        let room =
            Self { id, name, clock, pace, encoder_agenda, workers: Arc::clone(workers), state: Mutex::new(state) };
        drop(room.lock());
        room
    }

    pub(crate) fn lock(&self) -> RoomGuard<'_> {
        RoomGuard { room: self, state: lock(&self.state) }
    }

    /// The worker with this number.
    pub(super) fn worker(&self, index: usize) -> &WorkerHandle {
        &self.workers[index]
    }

    /// The worker that has a participant's transport.
    pub(crate) fn worker_of(&self, state: &RoomState, id: ParticipantId) -> Option<&WorkerHandle> {
        Some(self.worker(state.roster.member(id)?.worker()))
    }

    fn send_orders(&self, state: &mut RoomState) {
        for (worker, command) in state.roster.take_orders() {
            let worker = self.worker(worker);
            match command {
                Command::OpenRoom { .. } => worker.placed().rooms.add(1),
                Command::CloseRoom { .. } => worker.placed().rooms.sub(1),
                _ => {}
            }
            worker.send(command);
        }
    }

    pub(crate) fn info(&self, state: &RoomState) -> RoomInfo {
        RoomInfo {
            name: self.name.clone(),
            metadata: state.options.metadata.clone().unwrap_or_default(),
            max_participants: state.options.max_participants.unwrap_or(0),
        }
    }

    /// The slots have to be filled anew; tells what has changed as [`Self::tell`] does.
    pub(crate) fn replan(&self, state: &mut RoomState) {
        state.news.replan = true;
        self.plan_encoders_soon(state);
        self.tell(state);
    }

    /// Fills the slots of everybody anew; tells subscribers what changed. How many bytes that were.
    pub(super) fn fill_slots(&self, state: &mut RoomState) -> usize {
        self.plan_encoders_soon(state);
        let changed = state.roster.fill_all();
        changed.into_iter().map(|id| state.tell_slots(id)).sum()
    }

    /// A worker tells why nothing is sent of what a slot carries, or that something is.
    pub(crate) fn set_pause(
        &self,
        state: &mut RoomState,
        id: ParticipantId,
        (mid, publication): (&Mid, PublicationId),
        reason: Option<PauseReason>,
    ) {
        if !state.roster.set_pause(id, mid, publication, reason) {
            return;
        }
        if reason == Some(PauseReason::Codec) {
            let publication = publication_text(publication);
            tracing::info!(room = self.name, participant = %id, %mid, publication, "the subscriber lacks its codec");
        }
        self.plan_encoders_soon(state);
        state.tell_slots(id);
    }

    /// A worker tells why no better layer is sent of what a slot carries.
    pub(crate) fn set_limit(
        &self,
        state: &mut RoomState,
        id: ParticipantId,
        (mid, publication): (&Mid, PublicationId),
        limit: LayerLimit,
    ) {
        if state.roster.set_limit(id, mid, publication, limit) {
            state.tell_slots(id);
        }
    }

    /// Puts a participant into the roster, on this worker.
    pub(super) fn enter(&self, state: &mut RoomState, participant: Participant, worker: &WorkerHandle) {
        let id = participant.id;
        worker.placed().participants.add(1);
        let identity = Arc::clone(&participant.identity);
        if state.roster.enter(id, identity, worker.index(), participant.grants.subscribe) {
            tracing::info!(room = self.name, worker = worker.index(), "the room spreads to another worker");
        }
        state.participants.insert(id, participant);
        state.empty_since = None;
    }

    /// Takes a participant out, with its transport; the rest of the room is told.
    pub(crate) fn remove(
        &self,
        state: &mut RoomState,
        id: ParticipantId,
        reason: LeaveReason,
        text: &str,
        now: Instant,
    ) -> Option<(Participant, Left)> {
        let worker = self.worker_of(state, id)?;
        let participant = state.participants.remove(&id)?;
        participant.outbox.close(reason, text);
        state.budgets.insert(Arc::clone(&participant.identity), (Arc::clone(&participant.budget), now));
        let left = state.roster.leave(id)?;
        worker.placed().participants.sub(1);
        if left.left_worker {
            tracing::info!(room = self.name, worker = worker.index(), "the room leaves a worker");
        }
        if state.participants.is_empty() {
            state.empty_since = Some(now);
        }
        if participant.is_visible() {
            state.announce_left(id);
        }
        if left.speakers_changed {
            state.tell_speakers();
        }
        self.replan(state);
        tracing::info!(room = self.name, participant = %id, identity = &*participant.identity, ?reason, "left");
        Some((participant, left))
    }

    /// Ends the roster everywhere. What was published.
    pub(super) fn close(&self, state: &mut RoomState) -> Vec<PublicationId> {
        let here = state.roster.workers();
        here.for_each(|(worker, participants)| self.worker(worker).placed().participants.sub(participants));
        state.roster.close()
    }
}

impl RoomState {
    /// Everybody that `me` is told of.
    pub(crate) fn others(&self, me: ParticipantId) -> Vec<ParticipantInfo> {
        let others = self.participants.values().filter(|p| p.id != me && p.is_visible());
        others.filter_map(|participant| self.info_of(participant)).collect()
    }

    /// A participant as others see it.
    pub(crate) fn info_of(&self, participant: &Participant) -> Option<ParticipantInfo> {
        Some(participant.info(self.roster.member(participant.id)?))
    }

    /// Those on a worker that can be sent messages.
    pub(super) fn signalled_on(&self, worker: usize) -> impl Iterator<Item = &Participant> {
        let is_there = move |id| self.roster.member(id).is_some_and(|member| member.worker() == worker);
        self.participants.values().filter(move |participant| participant.has_signalling() && is_there(participant.id))
    }

    /// The slots of `id`, as it sees them.
    pub(crate) fn slots_of(&self, id: ParticipantId) -> Vec<SlotAssignment> {
        let candidates = self.roster.gather_candidates();
        self.roster.member(id).map(|member| slot_infos(member, &candidates)).unwrap_or_default()
    }

    /// The formats that a participant publishes in, as far as they are known.
    pub(super) fn formats(&self, id: ParticipantId) -> impl Iterator<Item = &PayloadFormat> {
        let participant = self.participants.get(&id).zip(self.roster.member(id));
        participant.into_iter().flat_map(|(participant, member)| participant.formats(member))
    }

    /// A participant has what was negotiated: its worker is told, and new slots get the subscription `new`.
    pub(super) fn take_media(
        &mut self,
        room: RoomId,
        id: ParticipantId,
        (media, change): (Media, Change),
        new: &Subscription,
    ) {
        let Self { participants, roster, .. } = self;
        let Some(participant) = participants.get_mut(&id) else { return };
        let Some(worker) = roster.member(id).map(Member::worker) else { return };
        media.commands(room, change, participant.address).into_iter().for_each(|command| roster.order(worker, command));
        roster.set_sections(id, media.transport, &media.sections, new);
        (participant.media, participant.media_lost) = (Some(media), None);
    }

    /// Fills the slots of one who comes, or comes back, and is told of all that is there.
    pub(super) fn fill_newcomers_slots(&mut self, id: ParticipantId) {
        self.roster.fill_newcomer(id, self.news.replan);
    }

    /// Tells a subscriber what its slots carry. How many bytes it was sent.
    pub(super) fn tell_slots(&self, id: ParticipantId) -> usize {
        let participant = self.participants.get(&id).filter(|participant| participant.has_signalling());
        let Some((participant, member)) = participant.zip(self.roster.member(id)) else { return 0 };
        let message = Outgoing::new(Body::Slots(Slots { slots: slot_infos(member, member.candidates()) }));
        let bytes = message.proto().len();
        participant.outbox.push(message);
        bytes
    }

    /// What an entry costs in bytes: what a newcomer is told of the others, and they of it, who has so many bytes of text.
    pub(super) fn entry_cost(&self, access: Access, text: usize) -> usize {
        if access == Access::Whep {
            return 0;
        }
        let told = self.participants.values().filter(|other| other.has_signalling()).count() * (ENTRY_COST + text);
        let others = self.participants.values().filter(|other| other.is_visible());
        let has_signalling = access == Access::Signal;
        let tells: usize = others.filter(|_| has_signalling).map(|other| ENTRY_COST + other.text_bytes()).sum();
        told.max(tells)
    }

    /// What `identity` has left of an earlier session.
    pub(super) fn budget_of(&self, identity: &str) -> Option<&Arc<Budget>> {
        let here = self.participants.values().find(|participant| *participant.identity == *identity);
        here.map(|participant| &participant.budget).or_else(|| self.budgets.get(identity).map(|(budget, _)| budget))
    }

    /// Reserves the turn of an entry from `address` that costs so many bytes: how long it has to wait.
    pub(super) fn reserve_entry(
        &mut self,
        pace: &NewsPace,
        address: Option<Neighbourhood>,
        cost: usize,
        now: Instant,
    ) -> Option<Duration> {
        let own = address.map(|address| of_address(&mut self.entries_by_address, pace, address, now));
        // Nothing is taken where either refuses.
        if !self.entries.admits(cost, now) || own.as_deref().is_some_and(|own| !own.admits(cost, now)) {
            return None;
        }
        let wait = self.entries.reserve(cost, now);
        Some(own.map_or(wait, |own| own.reserve(cost, now).max(wait)))
    }

    /// A refusal costs those of its address more turns, so that they leave the others'.
    pub(super) fn charge_refusal(&mut self, pace: &NewsPace, address: Neighbourhood, now: Instant) {
        of_address(&mut self.entries_by_address, pace, address, now).charge(TURNS_PER_REFUSAL, now);
    }

    /// Forgets what is whole again.
    pub(super) fn sweep_budgets(&mut self, now: Instant) {
        self.budgets.retain(|_, (_, left)| now - *left < budget::WHOLE_AGAIN);
        self.entries_by_address.retain(|_, (_, used)| now - *used < ENTRIES_WHOLE_AGAIN);
    }

    /// The session of this identity.
    pub(super) fn of_identity(&self, identity: &str) -> Option<ParticipantId> {
        self.participants.values().find(|participant| *participant.identity == *identity).map(|found| found.id)
    }

    /// Whose publication this is.
    pub(crate) fn publisher(&self, publication: PublicationId) -> Option<&Participant> {
        self.participants.get(&self.roster.publisher(publication)?.id())
    }

    /// Tells everybody who speaks.
    pub(crate) fn tell_speakers(&self) {
        let message = Outgoing::new(Body::ActiveSpeakers(self.active_speakers()));
        for participant in self.participants.values().filter(|participant| participant.has_signalling()) {
            participant.outbox.push_lossy(Arc::clone(&message));
        }
    }

    /// Who speaks now.
    pub(crate) fn active_speakers(&self) -> ActiveSpeakers {
        let speaker = |&(id, level): &(ParticipantId, f32)| Speaker { participant_id: id.to_string(), level };
        ActiveSpeakers { speakers: self.roster.speakers().iter().map(speaker).collect() }
    }
}

fn slot_infos(member: &Member, candidates: &Candidates) -> Vec<SlotAssignment> {
    let publisher = |id: Option<PublicationId>| id.and_then(|id| candidates.publisher(id));
    member.slots().iter().map(|slot| participant::slot_info(slot, publisher(slot.current))).collect()
}
