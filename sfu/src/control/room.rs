//! One room: who is in it, what they publish, and what each of them gets. Every change is made under the room's lock,
//! together with the commands to its worker, so that the worker sees changes in the order in which they were made.

use super::auth::RoomOptions;
use super::ids::{ParticipantId, publication_text};
use super::lock;
use super::negotiation::Media;
use super::outbox::Outgoing;
use super::participant::{Participant, Publication, Slot};
use super::slots::{self, Candidate, Candidates, Rank, SlotView};
use super::spread::Spread;
use crate::worker_thread::WorkerHandle;
use sfu_core::command::Command;
use sfu_core::ids::{PublicationId, RoomId};
use sfu_proto::v1::server_message::Body;
use sfu_proto::v1::{
    ActiveSpeakers, LeaveReason, ParticipantInfo, RoomInfo, RosterUpdate, SlotAssignment, Slots, Source, Speaker,
};
use sfu_rtc::ids::Mid;
use sfu_rtc::time::Instant;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

/// So many participants are remembered as having spoken, for slots that follow speakers.
const RECENT_SPEAKERS: usize = 32;

/// A room on its workers.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: RoomId,
    pub(crate) name: String,
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
}

impl Room {
    /// An empty room; tells its first worker.
    pub(crate) fn open(id: RoomId, name: String, options: RoomOptions, worker: WorkerHandle, now: Instant) -> Self {
        let state = RoomState {
            options,
            participants: BTreeMap::new(),
            closed: false,
            empty_since: Some(now),
            speakers: Vec::new(),
            recent_speakers: Vec::new(),
        };
        Self { id, name, spread: Mutex::new(Spread::open(id, worker)), state: Mutex::new(state) }
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

    /// Fills the slots of everybody anew and tells worker and subscribers what changed.
    pub(crate) fn replan(&self, state: &mut RoomState) {
        let candidates = state.candidates();
        let publishers = state.publishers();
        for participant in state.participants.values_mut() {
            if self.replan_one(participant, &candidates) {
                let slots = slot_infos(participant, &publishers);
                participant.outbox.push(Outgoing::new(Body::Slots(Slots { slots })));
            }
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
        let slots = state.slots_of(id);
        if let Some(participant) = state.participants.get(&id) {
            participant.outbox.push(Outgoing::new(Body::Slots(Slots { slots })));
        }
    }

    /// Whether anything changed.
    fn replan_one(&self, participant: &mut Participant, candidates: &Candidates) -> bool {
        let Some(media) = &participant.media else { return false };
        if !participant.grants.subscribe {
            return false;
        }
        let views: Vec<SlotView<'_>> = participant
            .slots
            .iter()
            .map(|slot| SlotView { kind: slot.kind, ordinal: slot.ordinal, wish: &slot.wish, current: slot.current })
            .collect();
        let planned = slots::plan(participant.id, &views, candidates);
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
            state.broadcast(Body::Roster(RosterUpdate { participants: Vec::new(), left: vec![id.to_string()] }));
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
    /// Sends the same to everybody.
    pub(crate) fn broadcast(&self, body: Body) {
        let message = Outgoing::new(body);
        for participant in self.participants.values() {
            participant.outbox.push(Arc::clone(&message));
        }
    }

    /// Tells everybody but itself what `id` is like now.
    pub(crate) fn announce(&self, id: ParticipantId) {
        let Some(participant) = self.participants.get(&id).filter(|p| p.is_visible()) else { return };
        let roster = RosterUpdate { participants: vec![participant.info()], left: Vec::new() };
        let message = Outgoing::new(Body::Roster(roster));
        for other in self.participants.values().filter(|other| other.id != id) {
            other.outbox.push(Arc::clone(&message));
        }
    }

    /// Everybody that `me` is told of.
    pub(crate) fn others(&self, me: ParticipantId) -> Vec<ParticipantInfo> {
        self.participants.values().filter(|p| p.id != me && p.is_visible()).map(Participant::info).collect()
    }

    /// The slots of `id`, as it sees them.
    pub(crate) fn slots_of(&self, id: ParticipantId) -> Vec<SlotAssignment> {
        let publishers = self.publishers();
        self.participants.get(&id).map(|p| slot_infos(p, &publishers)).unwrap_or_default()
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
        for participant in self.participants.values() {
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

    fn candidates(&self) -> Candidates {
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

fn slot_infos(participant: &Participant, publishers: &HashMap<PublicationId, ParticipantId>) -> Vec<SlotAssignment> {
    let publisher = |id: Option<PublicationId>| id.and_then(|id| publishers.get(&id).copied());
    participant.slots.iter().map(|slot| slot.info(publisher(slot.current))).collect()
}
