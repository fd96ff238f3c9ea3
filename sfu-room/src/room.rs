//! The room itself.

use crate::slots::{Candidate, Candidates, Rank, Subscription};
use crate::speakers::Speakers;
use crate::spread::Spread;
use crate::{Member, ParticipantId, Publication, Slot, Source};
use sfu_core::command::{Command, LayerPreference};
use sfu_core::event::{LayerLimit, PauseReason};
use sfu_core::ids::{PublicationId, RoomId, TransportId, WorkerId};
use sfu_rtc::ids::Mid;
use sfu_rtc::media::{Codec, MediaSection};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A command, for the worker with this number.
pub type Order = (usize, Command);

/// A room: its roster, and where it is.
///
/// What changes leaves orders, which have to be taken ([`Self::take_orders`]) and given to the workers in their
/// sequence; between workers there is none.
#[derive(Debug)]
pub struct Room {
    id: RoomId,
    members: BTreeMap<ParticipantId, Member>,
    spread: Spread,
    speakers: Speakers,
    /// What may go into slots, as everybody has been told of it.
    candidates: Arc<Candidates>,
    orders: Vec<Order>,
}

/// What is over with a participant that has left.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Left {
    /// What it published.
    pub publications: Vec<PublicationId>,
    /// The room has another home, which may hear others speak.
    pub speakers_changed: bool,
    /// The room is on this participant's worker no longer.
    pub left_worker: bool,
}

impl Room {
    /// Opens an empty room on its first worker.
    pub fn open(id: RoomId, home: usize) -> Self {
        Self {
            id,
            members: BTreeMap::new(),
            spread: Spread::new(home),
            speakers: Speakers::default(),
            candidates: Arc::default(),
            orders: vec![(home, Command::OpenRoom { room: id })],
        }
    }

    /// The worker that the room has been on for longest.
    pub fn home(&self) -> usize {
        self.spread.home()
    }

    /// All workers with how many participants each has, the home first.
    pub fn workers(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.spread.workers()
    }

    /// Whether the room is on the worker with this number.
    pub fn is_on(&self, worker: usize) -> bool {
        self.workers().any(|(on, _)| on == worker)
    }

    /// All participants, by time of joining.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The participant of this number.
    pub fn member(&self, id: ParticipantId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Whose publication this is.
    pub fn publisher(&self, publication: PublicationId) -> Option<&Member> {
        self.members.values().find(|member| member.publication(publication).is_some())
    }

    /// Who speaks now, loudest first.
    pub fn speakers(&self) -> &[(ParticipantId, f32)] {
        self.speakers.now()
    }

    /// Gives a worker an order, behind those that are there.
    pub fn order(&mut self, worker: usize, command: Command) {
        self.orders.push((worker, command));
    }

    /// The orders for workers since the last call.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// A participant comes to a worker, and the room with it: true where it was not there.
    pub fn enter(&mut self, id: ParticipantId, identity: Arc<str>, worker: usize, subscribes: bool) -> bool {
        let spreads = self.spread.enter(worker);
        if spreads {
            self.order(worker, Command::OpenRoom { room: self.id });
            let Self { id, members, orders, .. } = self;
            members.values().for_each(|member| {
                member.publications.iter().for_each(|publication| relay(*id, (member, publication), worker, orders));
            });
        }
        let member = Member {
            id,
            identity,
            worker,
            subscribes,
            transport: None,
            publications: Vec::new(),
            slots: Vec::new(),
            candidates: Arc::default(),
        };
        self.members.insert(id, member);
        spreads
    }

    /// A participant leaves with all that belongs to it; `None` where it is not there.
    pub fn leave(&mut self, id: ParticipantId) -> Option<Left> {
        let publications = self.end_media(id);
        let Member { worker, .. } = self.members.remove(&id)?;
        self.speakers.forget(id);
        let home = self.home();
        let left_worker = self.spread.leave(worker);
        if left_worker {
            self.order(worker, Command::CloseRoom { room: self.id });
            let destination = worker_id(worker);
            let Self { members, orders, .. } = self;
            for member in members.values() {
                let stop = |publication: &Publication| Command::StopRelay { publication: publication.id, destination };
                orders.extend(member.publications.iter().map(|publication| (member.worker, stop(publication))));
            }
        }
        let speakers_changed = self.home() != home;
        if speakers_changed {
            self.hear_as_home();
        }
        Some(Left { publications, speakers_changed, left_worker })
    }

    /// Ends the room everywhere. What was published.
    pub fn close(&mut self) -> Vec<PublicationId> {
        let close = |(worker, _)| (worker, Command::CloseRoom { room: self.id });
        let close: Vec<Order> = self.workers().map(close).collect();
        self.orders.extend(close);
        self.spread.clear();
        let members = std::mem::take(&mut self.members);
        members.into_values().flat_map(|member| member.publications).map(|publication| publication.id).collect()
    }

    /// Sections were negotiated on a participant's transport. Slots that were there stay as they are; new ones get the
    /// subscription `new`.
    pub fn set_sections(
        &mut self,
        id: ParticipantId,
        transport: TransportId,
        sections: &[MediaSection],
        new: &Subscription,
    ) {
        if let Some(member) = self.members.get_mut(&id) {
            member.transport = Some(transport);
            member.set_sections(sections, new);
        }
    }

    /// Takes a participant's transport away, and what it published with it. What that was.
    pub fn end_media(&mut self, id: ParticipantId) -> Vec<PublicationId> {
        if let Some((worker, transport)) = self.members.get(&id).and_then(|me| Some((me.worker, me.transport?))) {
            self.order(worker, Command::RemoveTransport { transport });
        }
        self.media_ended(id)
    }

    /// A participant's worker has removed its transport: what it published ends everywhere. What that was.
    pub fn media_ended(&mut self, id: ParticipantId) -> Vec<PublicationId> {
        let Self { members, spread, orders, .. } = self;
        let Some(member) = members.get_mut(&id) else { return Vec::new() };
        member.transport = None;
        member.slots.iter_mut().for_each(|slot| (slot.current, slot.pause) = (None, None));
        let ended = std::mem::take(&mut member.publications).into_iter().map(|publication| publication.id);
        ended
            .inspect(|publication| {
                let end = |worker| (worker, Command::Unpublish { publication: *publication });
                orders.extend(spread.others(member.worker).map(end));
            })
            .collect()
    }

    /// A participant publishes this from now on, and nothing else. What ended.
    pub fn set_publications(&mut self, id: ParticipantId, after: Vec<Publication>) -> Vec<PublicationId> {
        let Self { id: room, members, spread, orders, .. } = self;
        let Some(member) = members.get_mut(&id) else { return Vec::new() };
        let Some(transport) = member.transport else { return Vec::new() };
        let before = std::mem::replace(&mut member.publications, after);
        let is_in = |list: &[Publication], id| list.iter().any(|publication| publication.id == id);
        let ended = before.iter().map(|publication| publication.id);
        let ended: Vec<PublicationId> = ended.filter(|id| !is_in(&member.publications, *id)).collect();
        for publication in ended.iter().copied() {
            orders.extend(spread.workers().map(|(worker, _)| (worker, Command::Unpublish { publication })));
        }
        for new in member.publications.iter().filter(|new| !is_in(&before, new.id)) {
            let Publication { id: publication, mid, muted, .. } = *new;
            orders.push((member.worker, Command::Publish { publication, transport, mid }));
            spread.others(member.worker).for_each(|worker| relay(*room, (member, new), worker, orders));
            if muted {
                orders.push((member.worker, Command::SetMuted { publication, muted }));
            }
        }
        ended
    }

    /// Ends one of a participant's publications. False where it has no such.
    pub fn unpublish(&mut self, id: ParticipantId, publication: PublicationId) -> bool {
        let Some(member) = self.members.get(&id) else { return false };
        let after: Vec<Publication> = member.publications.iter().filter(|p| p.id != publication).cloned().collect();
        !self.set_publications(id, after).is_empty()
    }

    /// Mutes or unmutes a publication: its own worker tells the others. Whose it is, where that is a change.
    pub fn set_muted(&mut self, publication: PublicationId, muted: bool) -> Option<ParticipantId> {
        let (member, found) = self.publication_mut(publication)?;
        if std::mem::replace(&mut found.muted, muted) == muted {
            return None;
        }
        let (id, worker) = member;
        self.order(worker, Command::SetMuted { publication, muted });
        Some(id)
    }

    /// A worker has seen in which codec a publication is.
    pub fn set_codec(&mut self, publication: PublicationId, codec: Codec) -> Option<ParticipantId> {
        let ((id, _), publication) = self.publication_mut(publication)?;
        publication.codec = Some(codec);
        Some(id)
    }

    /// A worker tells why nothing is sent of what a slot carries, or that something is. False where the slot carries
    /// something else.
    pub fn set_pause(
        &mut self,
        id: ParticipantId,
        mid: &Mid,
        publication: PublicationId,
        reason: Option<PauseReason>,
    ) -> bool {
        self.slot_carrying(id, mid, publication).map(|slot| slot.pause = reason).is_some()
    }

    /// A worker tells why no better layer is sent of what a slot carries. False where the slot carries something else.
    pub fn set_limit(&mut self, id: ParticipantId, mid: &Mid, publication: PublicationId, limit: LayerLimit) -> bool {
        self.slot_carrying(id, mid, publication).map(|slot| slot.limit = limit).is_some()
    }

    fn slot_carrying(&mut self, id: ParticipantId, mid: &Mid, publication: PublicationId) -> Option<&mut Slot> {
        let slots = self.members.get_mut(&id).into_iter().flat_map(|member| &mut member.slots);
        slots.into_iter().find(|slot| slot.mid == *mid && slot.current == Some(publication))
    }

    /// A participant wants something in one of its slots. Whether what its slots carry has changed.
    pub fn subscribe(
        &mut self,
        id: ParticipantId,
        mid: &Mid,
        subscription: Subscription,
        preference: LayerPreference,
    ) -> bool {
        let Self { members, orders, .. } = self;
        let Some(member) = members.get_mut(&id) else { return false };
        let Some(slot) = member.slots.iter_mut().find(|slot| slot.mid == *mid) else { return false };
        let before = slot.preference(&member.candidates);
        (slot.subscription, slot.requested) = (subscription, preference);
        let preference = slot.preference(&member.candidates);
        if preference != before
            && let Some(transport) = member.transport
        {
            orders.push((member.worker, Command::SetPreference { transport, mid: *mid, preference }));
        }
        self.fill(id)
    }

    /// Fills the slots of one whose own subscriptions have changed, with what it has been told of. Whether anything
    /// changed.
    pub fn fill(&mut self, id: ParticipantId) -> bool {
        let Self { members, orders, .. } = self;
        members.get_mut(&id).is_some_and(|member| member.fill(orders))
    }

    /// Fills the slots of everybody anew. Those for whom something changed.
    pub fn fill_all(&mut self) -> Vec<ParticipantId> {
        self.candidates = Arc::new(self.gather_candidates());
        let Self { members, orders, candidates, .. } = self;
        let changed = members.values_mut().filter_map(|member| {
            member.candidates = Arc::clone(candidates);
            member.fill(orders).then_some(member.id)
        });
        changed.collect()
    }

    /// Fills the slots of one who comes, or comes back, and is told of all that is there: more than the others have
    /// been told, where `newest` is asked for.
    pub fn fill_newcomer(&mut self, id: ParticipantId, newest: bool) {
        let candidates = if newest { Arc::new(self.gather_candidates()) } else { Arc::clone(&self.candidates) };
        if let Some(member) = self.members.get_mut(&id) {
            member.candidates = candidates;
        }
        self.fill(id);
    }

    /// All publications as they are now, whoever has been told of them.
    pub fn gather_candidates(&self) -> Candidates {
        let candidate = |member: &Member, publication: &Publication| Candidate {
            publication: publication.id,
            publisher: member.id,
            identity: Arc::clone(&member.identity),
            kind: publication.kind,
            rank: Rank {
                muted: publication.muted,
                not_screen: !matches!(publication.source, Source::Screen | Source::ScreenAudio),
                spoke: self.speakers.place(member.id),
            },
        };
        let of = |member: &Member| member.publications.iter().map(|p| candidate(member, p)).collect::<Vec<_>>();
        Candidates::new(self.members.values().flat_map(of))
    }

    /// A worker hears who speaks, the loudest first. True where that is taken over: all workers hear the same, and the
    /// home is believed.
    pub fn set_heard(&mut self, worker: usize, heard: &[(PublicationId, f32)]) -> bool {
        self.spread.set_heard(worker, heard);
        let is_home = self.home() == worker;
        if is_home {
            self.hear_as_home();
        }
        is_home
    }

    fn hear_as_home(&mut self) {
        let of = |member: &Member| member.publications.iter().map(|p| (p.id, member.id)).collect::<Vec<_>>();
        let publishers: HashMap<PublicationId, ParticipantId> = self.members.values().flat_map(of).collect();
        let heard = self.spread.heard_at_home().iter();
        self.speakers.set(heard.filter_map(|(publication, level)| Some((*publishers.get(publication)?, *level))));
    }

    /// A publication with its publisher's number and worker.
    fn publication_mut(&mut self, id: PublicationId) -> Option<((ParticipantId, usize), &mut Publication)> {
        self.members.values_mut().find_map(|member| {
            let publication = member.publications.iter_mut().find(|publication| publication.id == id)?;
            Some(((member.id, member.worker), publication))
        })
    }
}

/// Lets a publication's worker relay it to another.
fn relay(room: RoomId, (member, publication): (&Member, &Publication), to: usize, orders: &mut Vec<Order>) {
    let (Some(sender), origin) = (member.transport, member.worker) else { return };
    let Publication { id, kind, ref rids, .. } = *publication;
    orders.push((origin, Command::RelayTo { publication: id, destination: worker_id(to) }));
    let open =
        Command::OpenRelay { room, publication: id, origin: worker_id(origin), sender, kind, rids: rids.clone() };
    orders.push((to, open));
}

/// As workers name each other; there are no more of them than a letter can tell apart.
fn worker_id(index: usize) -> WorkerId {
    WorkerId(index as u16)
}

#[cfg(test)]
mod tests;
