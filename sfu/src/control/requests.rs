//! What a client may ask for once it is in a room.

use super::budget::Budget;
use super::error::ControlError;
use super::ids::{parse_participant, parse_publication};
use super::negotiation::{Change, parse_offer};
use super::outbox::{Next, Outbox, Outgoing};
use super::participant::{Participant, publication_info};
use super::room::{Room, RoomGuard, RoomState};
use super::{Control, publish};
use sfu_proto::v1::client_message::Body as Request;
use sfu_proto::v1::moderate::Action;
use sfu_proto::v1::server_message::Body as Reply;
use sfu_proto::v1::{
    Answer, Data, Done, LeaveReason, Moderate, Muted, Offer, Pong, Publish, Published, SendData, SetMuted, Unpublish,
};
use sfu_room::{Member, ParticipantId, Subscription};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Most bytes of one data message.
const MAX_DATA: usize = 60 * 1024;
/// Longest topic of a data message.
const MAX_TOPIC: usize = 64;

/// One connection's hold of a participant's session.
pub(crate) struct Session {
    pub(crate) control: Arc<Control>,
    pub(crate) room: Arc<Room>,
    pub(crate) id: ParticipantId,
    outbox: Arc<Outbox>,
    attachment: u64,
    budget: Arc<Budget>,
}

impl Session {
    pub(super) fn new(
        control: Arc<Control>,
        room: Arc<Room>,
        id: ParticipantId,
        (outbox, attachment): (Arc<Outbox>, u64),
        budget: Arc<Budget>,
    ) -> Self {
        Self { control, room, id, outbox, attachment, budget }
    }

    /// The next message for the client.
    pub(crate) async fn next(&self) -> Next {
        self.outbox.next(self.attachment).await
    }

    /// Queues a message behind those that wait.
    pub(crate) fn send(&self, message: Arc<Outgoing>) {
        if self.is_attached() {
            self.outbox.push(message);
        }
    }

    /// Whether no newer connection took the session up.
    pub(crate) fn is_attached(&self) -> bool {
        self.outbox.is_attached(self.attachment)
    }

    /// Carries out a request of the client at `address`. An offer costs as much as a join, and waits for its turn as one
    /// does; whoever asks waits with it.
    pub(crate) async fn handle_in_turn(
        &self,
        request: &Request,
        address: IpAddr,
    ) -> Result<Option<Reply>, ControlError> {
        match request {
            Request::Offer(_) => {
                let turns = &self.control.turns;
                turns.drive(turns.admitted(address), async { self.handle(request) }).await
            }
            _ => self.handle(request),
        }
    }

    /// Carries out one request. `Ok(None)` needs no reply.
    pub(crate) fn handle(&self, request: &Request) -> Result<Option<Reply>, ControlError> {
        self.carry_out(request).map_err(|error| self.control.count(error))
    }

    fn carry_out(&self, request: &Request) -> Result<Option<Reply>, ControlError> {
        let done = |()| Some(Reply::Done(Done {}));
        // A moderator's may come in a row (all of a room are muted), and are told together as others are.
        let now = self.control.clock.now();
        match request {
            Request::Offer(_) => self.budget.offer(now)?,
            Request::Publish(_) | Request::Unpublish(_) | Request::SetMuted(_) => self.budget.change(now)?,
            _ => {}
        }
        match request {
            Request::Join(_) | Request::Resume(_) => {
                Err(ControlError::bad_message("This connection has joined already; open another one."))
            }
            Request::Offer(offer) => self.offer(offer).map(|answer| Some(Reply::Answer(answer))),
            // We are ICE-lite and learn the client's addresses from its checks.
            Request::Trickle(_) => Ok(done(())),
            Request::Publish(publish) => self.publish(publish).map(|published| Some(Reply::Published(published))),
            Request::Unpublish(unpublish) => self.unpublish(unpublish).map(done),
            Request::SetMuted(set_muted) => self.set_muted(set_muted).map(done),
            Request::Subscribe(subscribe) => {
                let mut state = self.state()?;
                self.control.subscribe(&self.room, &mut state, self.id, subscribe).map(done)
            }
            Request::SendData(data) => self.send_data(data).map(done),
            Request::EncoderDirectiveAck(ack) => {
                let publication = parse_publication(&ack.publication_id).ok_or_else(ControlError::no_publication)?;
                let state = self.state()?;
                self.own(&state, publication)?;
                self.control.directives.acknowledge(publication, ack);
                Ok(done(()))
            }
            Request::LongTermReference(reference) => {
                let publication =
                    parse_publication(&reference.publication_id).ok_or_else(ControlError::no_publication)?;
                let mut state = self.state()?;
                self.own(&state, publication)?;
                self.control.mark_reference(&mut state, publication, reference).map(done)
            }
            Request::ReferenceDirectiveAck(ack) => {
                let publication = parse_publication(&ack.publication_id).ok_or_else(ControlError::no_publication)?;
                let state = self.state()?;
                self.own(&state, publication)?;
                self.control.directives.acknowledge_references(publication, ack);
                Ok(done(()))
            }
            Request::Ping(ping) => Ok(Some(Reply::Pong(Pong { timestamp: ping.timestamp }))),
            Request::Moderate(moderate) => self.moderate(moderate).map(done),
            Request::Leave(leave) => {
                tracing::debug!(participant = %self.id, reason = leave.reason, "leaves");
                self.leave();
                Ok(None)
            }
        }
    }

    /// Ends the session as its client wants it.
    pub(crate) fn leave(&self) {
        let mut state = self.room.lock();
        self.control.end_session(&self.room, &mut state, self.id, LeaveReason::Client, "You have left.");
    }

    /// The room, while this participant is in it.
    fn state(&self) -> Result<RoomGuard<'_>, ControlError> {
        let state = self.room.lock();
        if state.participants.contains_key(&self.id) { Ok(state) } else { Err(session_over()) }
    }

    fn own(&self, state: &RoomState, publication: sfu_core::ids::PublicationId) -> Result<(), ControlError> {
        let mine = state.roster.member(self.id).is_some_and(|me| me.publication(publication).is_some());
        if mine { Ok(()) } else { Err(ControlError::no_publication()) }
    }

    fn offer(&self, offer: &Offer) -> Result<Answer, ControlError> {
        let parsed = parse_offer(&offer.sdp)?;
        let control = &self.control;
        let mut state = self.state()?;
        let (me, mine) = (&state.participants[&self.id], state.roster.member(self.id));
        let grants = (me.grants.publish, me.grants.subscribe);
        let worker = self.room.worker_of(&state, self.id).ok_or_else(session_over)?;
        let negotiated = control.negotiator.negotiate(&parsed, me.media.as_ref(), grants, worker, &control.ids)?;
        if !offer.publish.is_empty() {
            publish::may_publish(me)?;
        }
        let manual_subscribe = me.manual_subscribe;
        // What an earlier transport carried ends with it.
        let known = mine.filter(|_| negotiated.change != Change::New).map_or(&[][..], Member::publications);
        let plan = control.plan_publications(&negotiated.media.sections, known, &offer.publish)?;
        let publications = plan.named.iter().map(publication_info).collect();
        // Nothing is refused from here on.
        let give_way = control.await_connection(&self.room, &state, self.id);
        let ended = negotiated.change == Change::New && control.end_media(&mut state, self.id);
        if negotiated.change == Change::New {
            control.remember_transport(negotiated.media.transport, &self.room, self.id);
        }
        let new = if manual_subscribe { Subscription::Nothing } else { Subscription::Auto };
        state.take_media(self.room.id, self.id, (negotiated.media, negotiated.change), &new);
        let changed = control.carry_out(&mut state, self.id, plan);
        if state.roster.fill(self.id) {
            state.tell_slots(self.id);
        }
        if changed || ended {
            state.announce(self.id);
            self.room.replan(&mut state);
        }
        drop(state);
        give_way.into_iter().for_each(|session| control.give_way(session));
        Ok(Answer { sdp: negotiated.answer, publications })
    }

    fn publish(&self, publish: &Publish) -> Result<Published, ControlError> {
        let mut state = self.state()?;
        let (me, mine) = (&state.participants[&self.id], state.roster.member(self.id));
        publish::may_publish(me)?;
        let media = me.media.as_ref();
        let media =
            media.ok_or_else(|| ControlError::bad_message("Nothing is negotiated yet; send an Offer first."))?;
        let known = mine.map_or(&[][..], Member::publications);
        let plan = self.control.plan_publications(&media.sections, known, std::slice::from_ref(publish))?;
        let publication = plan.named.first().map(publication_info);
        if self.control.carry_out(&mut state, self.id, plan) {
            state.announce(self.id);
            self.room.replan(&mut state);
        }
        Ok(Published { publication })
    }

    fn unpublish(&self, unpublish: &Unpublish) -> Result<(), ControlError> {
        let id = parse_publication(&unpublish.publication_id).ok_or_else(ControlError::no_publication)?;
        let mut state = self.state()?;
        self.control.unpublish(&self.room, &mut state, self.id, id)
    }

    fn set_muted(&self, set_muted: &SetMuted) -> Result<(), ControlError> {
        let id = parse_publication(&set_muted.publication_id).ok_or_else(ControlError::no_publication)?;
        let mut state = self.state()?;
        self.own(&state, id)?;
        self.control.set_muted(&self.room, &mut state, id, set_muted.muted)
    }

    fn send_data(&self, data: &SendData) -> Result<(), ControlError> {
        if data.payload.len() > MAX_DATA || data.topic.len() > MAX_TOPIC {
            let text = format!("A data message has at most {MAX_DATA} bytes and its topic at most {MAX_TOPIC}.");
            return Err(ControlError::limit(text));
        }
        let state = &mut *self.state()?;
        let me = &state.participants[&self.id];
        if !me.grants.data {
            return Err(ControlError::forbidden("The token does not allow data messages."));
        }
        let unknown = || ControlError::not_found("One of the receivers is not in the room.");
        let to: BTreeSet<ParticipantId> =
            data.to.iter().map(|name| parse_participant(name).ok_or_else(unknown)).collect::<Result<_, _>>()?;
        let body = Data { from: self.id.to_string(), payload: data.payload.clone(), topic: data.topic.clone() };
        let message = Outgoing::new(Reply::Data(body));
        let is_for = |other: &&Participant| {
            other.id != self.id && other.has_signalling() && (to.is_empty() || to.contains(&other.id))
        };
        let copies = state.participants.values().filter(is_for).count();
        self.budget.data(message.proto().len(), copies, &mut state.data, self.control.clock.now())?;
        for other in state.participants.values().filter(is_for) {
            if data.lossy {
                other.outbox.push_lossy(Arc::clone(&message));
            } else {
                other.outbox.push(Arc::clone(&message));
            }
        }
        Ok(())
    }

    fn moderate(&self, moderate: &Moderate) -> Result<(), ControlError> {
        let mut state = self.state()?;
        if !state.participants[&self.id].grants.moderate {
            return Err(ControlError::forbidden("The token does not allow moderation."));
        }
        let control = &self.control;
        match &moderate.action {
            Some(Action::RemoveParticipantId(name)) => control.remove_participant(&self.room, &mut state, name),
            Some(Action::MutePublicationId(name)) => {
                let id = parse_publication(name).ok_or_else(ControlError::no_publication)?;
                control.mute_by_other(&self.room, &mut state, id)
            }
            Some(Action::CloseRoom(true)) => {
                control.close_room(&self.room, &mut state, LeaveReason::RoomClosed, "A moderator closed the room.");
                Ok(())
            }
            Some(Action::CloseRoom(false)) | None => Err(ControlError::bad_message("Moderate names no action.")),
        }
    }
}

impl Control {
    /// A moderator or the admin API puts somebody out.
    pub(crate) fn remove_participant(
        &self,
        room: &Arc<Room>,
        state: &mut RoomState,
        name: &str,
    ) -> Result<(), ControlError> {
        let id = parse_participant(name).filter(|id| state.participants.contains_key(id));
        let id = id.ok_or_else(|| ControlError::not_found("There is no such participant; it may have left."))?;
        self.end_session(room, state, id, LeaveReason::Removed, "You were removed from the room.");
        Ok(())
    }

    /// A moderator or the admin API mutes a publication; its owner is told, and may unmute it.
    pub(crate) fn mute_by_other(
        &self,
        room: &Room,
        state: &mut RoomState,
        id: sfu_core::ids::PublicationId,
    ) -> Result<(), ControlError> {
        self.set_muted(room, state, id, true)?;
        if let Some(owner) = state.publisher(id).filter(|owner| owner.has_signalling()) {
            let muted = Muted { publication_id: super::publication_text(id), muted: true };
            owner.outbox.push(Outgoing::new(Reply::Muted(muted)));
        }
        Ok(())
    }
}

fn session_over() -> ControlError {
    ControlError::not_found("The session is over; join again.")
}
