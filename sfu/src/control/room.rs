//! One room: who is in it, what they publish, and what each of them gets. Every change is made under the room's lock,
//! together with the commands to its worker, so that the worker sees changes in the order in which they were made.

use super::auth::RoomOptions;
use super::budget::{Budget, WHOLE_AGAIN};
use super::ids::{ParticipantId, publication_text};
use super::lock;
use super::negotiation::Media;
use super::news::{Entries, News, NewsPace};
use super::outbox::Outgoing;
use super::participant::{Access, Participant, Publication, Slot};
use super::rate::Rate;
use super::slots::{self, Candidate, Candidates, Rank, SlotView};
use super::spread::Spread;
use crate::clock::Clock;
use crate::net::Neighbourhood;
use crate::worker_thread::WorkerHandle;
use sfu_core::command::Command;
use sfu_core::ids::{PublicationId, RoomId};
use sfu_proto::v1::server_message::Body;
use sfu_proto::v1::{ActiveSpeakers, LeaveReason, ParticipantInfo, RoomInfo, SlotAssignment, Slots, Source, Speaker};
use sfu_rtc::ids::Mid;
use sfu_rtc::time::{Duration, Instant};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

/// So many participants are remembered as having spoken, for slots that follow speakers.
const RECENT_SPEAKERS: usize = 32;

/// A room on its workers.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: RoomId,
    pub(crate) name: String,
    pub(super) clock: Clock,
    pub(super) pace: NewsPace,
    spread: Mutex<Spread>,
    state: Mutex<RoomState>,
}

/// What changes.
#[derive(Debug)]
pub(crate) struct RoomState {
    pub(crate) options: RoomOptions,
    pub(crate) participants: BTreeMap<ParticipantId, Participant>,
    /// Closed for good: whoever wants to join needs a new room of this name.
    pub(crate) closed: bool,
    /// Since when nobody is in it.
    pub(crate) empty_since: Option<Instant>,
    /// Who speaks now, loudest first.
    speakers: Vec<(ParticipantId, f32)>,
    /// Who spoke last, latest first.
    recent_speakers: Vec<ParticipantId>,
    /// What may go into slots, as everybody has been told of it.
    candidates: Arc<Candidates>,
    pub(super) news: News,
    pub(super) entries: Entries,
    /// Three quarters of it for those of each address, and when it was last used.
    entries_by_address: HashMap<Neighbourhood, (Entries, Instant)>,
    /// Of data messages to all.
    pub(super) data: Rate,
    /// What those have left who went a moment ago, and when they went.
    budgets: HashMap<Arc<str>, (Arc<Budget>, Instant)>,
}

impl Room {
    /// An empty room; tells its first worker.
    pub(crate) fn open(
        id: RoomId,
        name: String,
        options: RoomOptions,
        worker: WorkerHandle,
        (clock, pace): (Clock, NewsPace),
    ) -> Self {
        let now = clock.now();
        let state = RoomState {
            options,
            participants: BTreeMap::new(),
            closed: false,
            empty_since: Some(now),
            speakers: Vec::new(),
            recent_speakers: Vec::new(),
            candidates: Arc::default(),
            news: News::new(now),
            entries: pace.entries(now),
            entries_by_address: HashMap::new(),
            data: pace.data_rate(now),
            budgets: HashMap::new(),
        };
        Self { id, name, clock, pace, spread: Mutex::new(Spread::open(id, worker)), state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, RoomState> {
        lock(&self.state)
    }

    /// The workers that it is on. Held for a moment only, with or without the room's lock.
    pub(crate) fn spread(&self) -> MutexGuard<'_, Spread> {
        lock(&self.spread)
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
        self.tell(state);
    }

    /// Fills the slots of everybody anew; tells worker and subscribers what changed. How many bytes that were.
    pub(super) fn fill_slots(&self, state: &mut RoomState) -> usize {
        state.candidates = Arc::new(state.gather_candidates());
        let candidates = &state.candidates;
        let fill = |participant: &mut Participant| {
            participant.candidates = Arc::clone(candidates);
            self.fill_own_slots(participant)
        };
        state.participants.values_mut().map(fill).sum()
    }

    /// Fills the slots of one who comes, or comes back, and is told of all that is there: more than the others have
    /// been told, where news wait.
    pub(super) fn fill_newcomers_slots(&self, state: &mut RoomState, id: ParticipantId) {
        let candidates =
            if state.news.replan { Arc::new(state.gather_candidates()) } else { Arc::clone(&state.candidates) };
        if let Some(participant) = state.participants.get_mut(&id) {
            participant.candidates = candidates;
            self.replan_one(participant);
        }
    }

    /// A worker tells whether a subscriber has the codec of what a slot carries.
    pub(crate) fn set_playable(
        &self,
        state: &mut RoomState,
        id: ParticipantId,
        (mid, publication): (&Mid, PublicationId),
        playable: bool,
    ) {
        let Some(participant) = state.participants.get_mut(&id) else { return };
        let carries = |slot: &&mut Slot| slot.mid == *mid && slot.current == Some(publication);
        let Some(slot) = participant.slots.iter_mut().find(carries) else { return };
        slot.unplayable = !playable;
        if !playable {
            let publication = publication_text(publication);
            tracing::info!(room = self.name, participant = %id, %mid, publication, "the subscriber lacks its codec");
        }
        Self::tell_slots(participant);
    }

    /// Fills the slots of one whose own wishes have changed, with what it has been told of. How many bytes it was sent.
    pub(super) fn fill_own_slots(&self, participant: &mut Participant) -> usize {
        if self.replan_one(participant) { Self::tell_slots(participant) } else { 0 }
    }

    /// Tells a subscriber what its slots carry. How many bytes it was sent.
    fn tell_slots(participant: &Participant) -> usize {
        if !participant.is_told() {
            return 0;
        }
        let message = Outgoing::new(Body::Slots(Slots { slots: slot_infos(participant, &participant.candidates) }));
        let bytes = message.size();
        participant.outbox.push(message);
        bytes
    }

    /// Whether anything changed.
    fn replan_one(&self, participant: &mut Participant) -> bool {
        let Some(media) = &participant.media else { return false };
        if !participant.grants.subscribe {
            return false;
        }
        let views: Vec<SlotView<'_>> = participant
            .slots
            .iter()
            .map(|slot| SlotView { kind: slot.kind, ordinal: slot.ordinal, wish: &slot.wish, current: slot.current })
            .collect();
        let planned = slots::plan(participant.id, &views, &participant.candidates);
        let mut changed = false;
        for (slot, source) in participant.slots.iter_mut().zip(planned) {
            if slot.current == source {
                continue;
            }
            changed = true;
            slot.current = source;
            slot.unplayable = false;
            participant.worker.send(Command::AssignSlot {
                transport: media.transport,
                mid: slot.mid,
                source,
                preference: slot.preference,
            });
        }
        changed
    }

    /// Takes a participant out, with its transport; the rest of the room is told.
    pub(crate) fn remove(
        &self,
        state: &mut RoomState,
        id: ParticipantId,
        reason: LeaveReason,
        text: &str,
        now: Instant,
    ) -> Option<Participant> {
        let participant = state.participants.remove(&id)?;
        participant.outbox.close(reason, text);
        state.budgets.insert(Arc::clone(&participant.identity), (Arc::clone(&participant.budget), now));
        let mut spread = self.spread();
        if let Some(Media { transport, .. }) = participant.media {
            participant.worker.send(Command::RemoveTransport { transport });
            spread.transport_gone(transport);
        }
        let heard = spread.leave(&participant.worker);
        drop(spread);
        state.speakers.retain(|(speaker, _)| *speaker != id);
        state.recent_speakers.retain(|speaker| *speaker != id);
        if state.participants.is_empty() {
            state.empty_since = Some(now);
        }
        if participant.is_visible() {
            state.announce_left(id);
        }
        if let Some(heard) = heard {
            state.set_speakers(&heard);
        }
        self.replan(state);
        tracing::info!(room = self.name, participant = %id, identity = &*participant.identity, ?reason, "left");
        Some(participant)
    }
}

impl RoomState {
    /// Everybody that `me` is told of.
    pub(crate) fn others(&self, me: ParticipantId) -> Vec<ParticipantInfo> {
        self.participants.values().filter(|p| p.id != me && p.is_visible()).map(Participant::info).collect()
    }

    /// The slots of `id`, as it sees them.
    pub(crate) fn slots_of(&self, id: ParticipantId) -> Vec<SlotAssignment> {
        let candidates = self.gather_candidates();
        self.participants.get(&id).map(|p| slot_infos(p, &candidates)).unwrap_or_default()
    }

    /// Of how many a newcomer is told, or how many are told of it, whichever is more.
    pub(super) fn told_at_entry(&self, access: Access) -> usize {
        let count = |is: fn(&Participant) -> bool| self.participants.values().filter(|p| is(p)).count();
        match access {
            Access::Signal => count(Participant::is_visible),
            Access::Whip => count(Participant::is_told),
            Access::Whep => 0,
        }
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
        let own = address.map(|address| {
            let new = || (pace.entries_of_one_address(now), now);
            let (entries, used) = self.entries_by_address.entry(address).or_insert_with(new);
            *used = now;
            entries
        });
        // Nothing is taken where either refuses.
        if !self.entries.admits(cost, now) || own.as_deref().is_some_and(|own| !own.admits(cost, now)) {
            return None;
        }
        let wait = self.entries.reserve(cost, now);
        Some(own.map_or(wait, |own| own.reserve(cost, now).max(wait)))
    }

    /// Forgets what is whole again.
    pub(super) fn sweep_budgets(&mut self, now: Instant) {
        self.budgets.retain(|_, (_, left)| now - *left < WHOLE_AGAIN);
        self.entries_by_address.retain(|_, (_, used)| now - *used < WHOLE_AGAIN);
    }

    /// The session of this identity.
    pub(super) fn of_identity(&self, identity: &str) -> Option<ParticipantId> {
        self.participants.values().find(|participant| *participant.identity == *identity).map(|found| found.id)
    }

    /// Whose publication this is.
    pub(crate) fn publisher(&self, publication: PublicationId) -> Option<&Participant> {
        self.participants.values().find(|p| p.publication(publication).is_some())
    }

    /// The same, to change it.
    pub(crate) fn publisher_mut(&mut self, publication: PublicationId) -> Option<&mut Participant> {
        self.participants.values_mut().find(|p| p.publication(publication).is_some())
    }

    /// Takes over who speaks, and tells everybody.
    pub(crate) fn set_speakers(&mut self, speakers: &[(PublicationId, f32)]) {
        let publishers = self.publishers();
        self.speakers.clear();
        for (publication, level) in speakers {
            let Some(&id) = publishers.get(publication) else { continue };
            if !self.speakers.iter().any(|(speaker, _)| *speaker == id) {
                self.speakers.push((id, *level));
            }
        }
        for (id, _) in self.speakers.iter().rev() {
            self.recent_speakers.retain(|recent| recent != id);
            self.recent_speakers.insert(0, *id);
        }
        self.recent_speakers.truncate(RECENT_SPEAKERS);
        let message = Outgoing::new(Body::ActiveSpeakers(self.active_speakers()));
        for participant in self.participants.values().filter(|participant| participant.is_told()) {
            participant.outbox.push_lossy(Arc::clone(&message));
        }
    }

    /// Who speaks now.
    pub(crate) fn active_speakers(&self) -> ActiveSpeakers {
        let speaker = |&(id, level): &(ParticipantId, f32)| Speaker { participant_id: id.to_string(), level };
        ActiveSpeakers { speakers: self.speakers.iter().map(speaker).collect() }
    }

    fn publishers(&self) -> HashMap<PublicationId, ParticipantId> {
        let of = |p: &Participant| p.publications.iter().map(|t| (t.id, p.id)).collect::<Vec<_>>();
        self.participants.values().flat_map(of).collect()
    }

    fn gather_candidates(&self) -> Candidates {
        let rank = |participant: &Participant, publication: &Publication| Rank {
            muted: publication.muted,
            not_screen: !matches!(publication.source, Source::Screen | Source::ScreenAudio),
            spoke: self.recent_speakers.iter().position(|id| *id == participant.id).unwrap_or(usize::MAX),
        };
        let of = |participant: &Participant| {
            participant
                .publications
                .iter()
                .map(|publication| Candidate {
                    publication: publication.id,
                    publisher: participant.id,
                    identity: Arc::clone(&participant.identity),
                    kind: publication.kind,
                    rank: rank(participant, publication),
                })
                .collect::<Vec<_>>()
        };
        Candidates::new(self.participants.values().flat_map(of))
    }
}

fn slot_infos(participant: &Participant, candidates: &Candidates) -> Vec<SlotAssignment> {
    let publisher = |id: Option<PublicationId>| id.and_then(|id| candidates.publisher(id));
    participant.slots.iter().map(|slot| slot.info(publisher(slot.current))).collect()
}
