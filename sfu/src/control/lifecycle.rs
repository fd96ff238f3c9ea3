//! How sessions and rooms end, and how a lost connection is taken up again.

use super::Control;
use super::error::ControlError;
use super::participant::{Access, Participant};
use super::requests::Session;
use super::room::{Room, RoomState};
use sfu_proto::v1::{Joined, LeaveReason};
use sfu_room::ParticipantId;
use sfu_rtc::time::{Duration, Instant};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How often ends that come by time are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

impl Control {
    /// Takes up a session whose connection was lost.
    pub(crate) fn resume(
        self: &Arc<Self>,
        secret: &str,
        address: Option<IpAddr>,
    ) -> Result<(Session, Joined), ControlError> {
        let gone = || ControlError::not_found("There is no such session any more; join again.");
        let (room, id) = self.session(secret).ok_or_else(gone)?;
        let mut state = room.lock();
        let me = state.participants.get_mut(&id).filter(|p| p.access == Access::Signal).ok_or_else(gone)?;
        (me.detached, me.address) = (None, address);
        if me.media.is_none() {
            self.unconnected.leave(id);
        }
        let outbox = Arc::clone(&me.outbox);
        let budget = Arc::clone(&me.budget);
        let attachment = outbox.attach();
        state.fill_newcomers_slots(id);
        let joined = self.joined(&room, &state, id, None);
        drop(state);
        tracing::info!(room = room.name, participant = %id, "resumed");
        Ok((Session::new(Arc::clone(self), room, id, (outbox, attachment), budget), joined))
    }

    /// The connection of `session` was lost; it may come back.
    pub(crate) fn detach(&self, session: &Session) {
        let mut state = session.room.lock();
        if !session.is_attached() {
            return;
        }
        if let Some(me) = state.participants.get_mut(&session.id) {
            me.detached = Some(self.clock.now());
            tracing::info!(room = session.room.name, participant = %session.id, "connection lost");
        }
        let give_way = self.await_connection(&session.room, &state, session.id);
        drop(state);
        give_way.into_iter().for_each(|session| self.give_way(session));
    }

    /// Ends a participant's session with everything that belongs to it.
    pub(crate) fn end_session(
        &self,
        room: &Arc<Room>,
        state: &mut RoomState,
        id: ParticipantId,
        reason: LeaveReason,
        text: &str,
    ) {
        if let Some((participant, left)) = room.remove(state, id, reason, text, self.clock.now()) {
            self.forget(&participant);
            self.directives.forget(&left.publications);
        }
    }

    /// Ends a room; everybody in it is told.
    pub(crate) fn close_room(&self, room: &Arc<Room>, state: &mut RoomState, reason: LeaveReason, text: &str) {
        state.closed = true;
        self.directives.forget(&room.close(state));
        for (_, participant) in std::mem::take(&mut state.participants) {
            participant.outbox.close(reason, text);
            self.forget(&participant);
        }
        self.rooms_by_id.remove(&room.id);
        self.rooms.remove_if(&room.name, |_, current| current.id == room.id);
        tracing::info!(room = room.name, ?reason, "room closed");
    }

    fn forget(&self, participant: &Participant) {
        self.sessions.remove(&participant.secret);
        self.unconnected.leave(participant.id);
        if let Some(media) = &participant.media {
            self.transports.remove(&media.transport);
        }
    }

    /// Takes a participant's transport away, and what it published with it. Whether it had published anything.
    pub(super) fn end_media(&self, state: &mut RoomState, id: ParticipantId) -> bool {
        let media = state.participants.get_mut(&id).and_then(|participant| participant.media.take());
        media.iter().for_each(|media| drop(self.transports.remove(&media.transport)));
        let ended = state.roster.end_media(id);
        self.directives.forget(&ended);
        !ended.is_empty()
    }

    /// Ends what has had its time, for as long as the server runs.
    pub(crate) async fn sweep(self: Arc<Self>) {
        let mut interval = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            interval.tick().await;
            let now = self.clock.now();
            for room in self.all_rooms() {
                self.sweep_room(&room, now);
            }
        }
    }

    fn sweep_room(&self, room: &Arc<Room>, now: Instant) {
        let window = self.config.signal.resume_window();
        let over = |since: Option<Instant>| since.is_some_and(|since| now - since >= window);
        let mut state = room.lock();
        let lost: Vec<ParticipantId> = state
            .participants
            .values()
            .filter(|p| over(p.detached) || over(p.media_lost))
            .map(|participant| participant.id)
            .collect();
        for id in lost {
            self.end_session(
                room,
                &mut state,
                id,
                LeaveReason::ConnectionLost,
                "The connection was lost for too long.",
            );
        }
        state.sweep_budgets(now);
        let timeout = Duration::from_secs(state.options.empty_timeout_seconds.unwrap_or(0));
        if state.empty_since.is_some_and(|since| now - since >= timeout) {
            self.close_room(room, &mut state, LeaveReason::RoomClosed, "The room was empty.");
        }
    }

    /// The server goes down: admits nobody any more and, after at most `patience`, ends all rooms.
    pub(crate) async fn drain(&self, patience: Duration) {
        self.draining.store(true, Ordering::Relaxed);
        let deadline = tokio::time::Instant::now() + patience;
        while tokio::time::Instant::now() < deadline && self.participants() > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for room in self.all_rooms() {
            let mut state = room.lock();
            self.close_room(&room, &mut state, LeaveReason::ServerShutdown, "The server goes down.");
        }
    }

    /// How many participants are on this server.
    pub(crate) fn participants(&self) -> usize {
        self.all_rooms().iter().map(|room| room.lock().participants.len()).sum()
    }
}
