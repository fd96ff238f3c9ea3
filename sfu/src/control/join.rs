//! Entering a room: one step from a checked token and an offer to media that flows.

use super::auth::{MAX_METADATA, MAX_NAME, Permit, clip};
use super::error::ControlError;
use super::ids::ParticipantId;
use super::negotiation::{Negotiated, parse_offer};
use super::outbox::Outbox;
use super::participant::{Access, Participant};
use super::requests::Session;
use super::room::{Room, RoomState};
use super::slots::Wish;
use super::{Control, publish};
use crate::random;
use crate::worker_thread::WorkerHandle;
use sfu_core::ids::TransportId;
use sfu_proto::v1::{Answer, IceServer, Joined, LeaveReason, Offer};
use std::sync::Arc;

/// Letters in a session's secret: 24 are worth 142 bits.
const SECRET_LEN: usize = 24;

/// Longest name and version of a client's software that is kept.
const MAX_CLIENT: usize = 128;

/// What somebody wants who enters.
pub(crate) struct JoinRequest {
    pub(crate) room: String,
    pub(crate) name: String,
    pub(crate) metadata: String,
    pub(crate) client: String,
    pub(crate) offer: Option<Offer>,
    pub(crate) manual_subscribe: bool,
    pub(crate) access: Access,
    /// What all slots shall carry.
    pub(crate) wish: Wish,
}

/// Somebody has entered.
pub(crate) struct Entered {
    pub(crate) session: Session,
    pub(crate) joined: Joined,
}

impl Control {
    /// Lets the bearer of `permit` enter.
    pub(crate) fn join(self: &Arc<Self>, permit: &Permit, request: JoinRequest) -> Result<Entered, ControlError> {
        self.check_admission(None)?;
        if self.sessions.len() >= self.config.limits.participants {
            let text = "The server has its maximum of participants (limits.participants); try later.";
            return Err(ControlError::unavailable(text));
        }
        if request.metadata.len() > MAX_METADATA {
            return Err(ControlError::limit(format!("The metadata has more than {MAX_METADATA} bytes.")));
        }
        let offer = request.offer.as_ref().map(|offer| parse_offer(&offer.sdp)).transpose()?;
        // A room may be closed between finding and locking it; the next attempt makes a new one.
        loop {
            let room = self.open_room(&request.room, &permit.room_options, permit.grants.create)?;
            let worker = self.place_participant(&room);
            self.check_admission(Some(&worker))?;
            let grants = (permit.grants.publish, permit.grants.subscribe);
            let negotiated = offer
                .as_ref()
                .map(|offer| self.negotiator.negotiate(offer, None, grants, &worker, &self.ids))
                .transpose()?;
            let mut state = room.lock();
            if state.closed {
                continue;
            }
            return self.enter(&room, &mut state, permit, &request, (worker, negotiated));
        }
    }

    fn enter(
        self: &Arc<Self>,
        room: &Arc<Room>,
        state: &mut RoomState,
        permit: &Permit,
        request: &JoinRequest,
        (worker, negotiated): (WorkerHandle, Option<Negotiated>),
    ) -> Result<Entered, ControlError> {
        let replaced = state.participants.values().find(|p| *p.identity == *permit.identity).map(|p| p.id);
        self.check_full(state, replaced.is_some())?;
        if let Some(older) = replaced {
            let text = "The same identity joined again; the newer session goes on.";
            self.end_session(room, state, older, LeaveReason::Replaced, text);
        }
        let id = self.ids.participant();
        room.spread().enter(&worker);
        let participant = new_participant(id, permit, request, worker);
        let (outbox, secret) = (Arc::clone(&participant.outbox), participant.secret.clone());
        state.participants.insert(id, participant);
        state.empty_since = None;
        self.sessions.insert(secret, (Arc::clone(room), id));
        let answer = negotiated.map(|negotiated| self.enter_media(room, state, id, negotiated, request)).transpose()?;
        state.announce(id);
        room.replan(state);
        let attachment = outbox.attach();
        let joined = self.joined(room, state, id, answer);
        tracing::info!(
            room = room.name, participant = %id, identity = permit.identity, access = ?request.access,
            client = request.client, "joined"
        );
        let session = Session::new(Arc::clone(self), Arc::clone(room), id, outbox, attachment);
        Ok(Entered { session, joined })
    }

    /// The transport of the first offer, with its publications and slots.
    fn enter_media(
        &self,
        room: &Arc<Room>,
        state: &mut RoomState,
        id: ParticipantId,
        negotiated: Negotiated,
        request: &JoinRequest,
    ) -> Result<Answer, ControlError> {
        let sdp = negotiated.answer.clone();
        let wanted = request.offer.as_ref().map(|offer| offer.publish.as_slice()).unwrap_or_default();
        let participant = state.participants.get_mut(&id).expect("it was just put in");
        self.remember_transport(negotiated.media.transport, room, id);
        negotiated.media.command(room.id, negotiated.change, &participant.worker);
        participant.slots = negotiated.media.slots(&[]);
        for slot in &mut participant.slots {
            slot.wish = if request.manual_subscribe { Wish::Nothing } else { request.wish.clone() };
        }
        participant.media = Some(negotiated.media);
        let mut publications = Vec::new();
        if participant.grants.publish {
            let everything = publish::everything(participant);
            let wanted = if request.access == Access::Whip { &everything } else { wanted };
            for publish in wanted {
                publications.push(self.publish_on(room, participant, publish)?.info());
            }
        }
        Ok(Answer { sdp, publications })
    }

    /// What a client is told that has joined or resumed.
    pub(super) fn joined(&self, room: &Room, state: &RoomState, id: ParticipantId, answer: Option<Answer>) -> Joined {
        let me = &state.participants[&id];
        let seconds = |seconds: u64| u32::try_from(seconds.saturating_mul(1_000)).unwrap_or(u32::MAX);
        Joined {
            participant_id: id.to_string(),
            identity: me.identity.to_string(),
            session: me.secret.clone(),
            room: Some(room.info(state)),
            participants: state.others(id),
            answer,
            ice_servers: self.ice_servers(),
            grants: Some(me.grants_info()),
            slots: state.slots_of(id),
            publications: me.publications.iter().map(|publication| publication.info()).collect(),
            ping_interval_ms: seconds(self.config.signal.ping_interval_seconds),
            resume_window_ms: seconds(self.config.signal.resume_seconds),
        }
    }

    fn ice_servers(&self) -> Vec<IceServer> {
        let server = |server: &crate::config::IceServerConfig| IceServer {
            urls: server.urls.clone(),
            username: server.username.clone(),
            credential: server.credential.clone(),
        };
        self.config.ice_servers.iter().map(server).collect()
    }

    fn check_full(&self, state: &RoomState, replaces: bool) -> Result<(), ControlError> {
        let here = state.participants.len() - usize::from(replaces);
        let limit = self.config.limits.participants_per_room;
        if let Some(max) = state.options.max_participants.filter(|max| *max > 0)
            && here >= usize::try_from(max).unwrap_or(usize::MAX)
        {
            let text = format!("The room is full: it admits {max} participants. Try again when somebody has left.");
            return Err(ControlError::room_full(text));
        }
        if here >= limit {
            return Err(ControlError::room_full(format!("The room is full: the server admits {limit} participants.")));
        }
        Ok(())
    }

    pub(super) fn remember_transport(&self, transport: TransportId, room: &Arc<Room>, id: ParticipantId) {
        self.transports.insert(transport, (Arc::clone(room), id));
    }
}

fn new_participant(id: ParticipantId, permit: &Permit, request: &JoinRequest, worker: WorkerHandle) -> Participant {
    let name = permit.name.clone().unwrap_or_else(|| clip(request.name.trim(), MAX_NAME));
    Participant {
        id,
        identity: permit.identity.as_str().into(),
        name: if name.is_empty() { permit.identity.clone() } else { name },
        metadata: permit.metadata.clone().unwrap_or_else(|| request.metadata.clone()),
        client: clip(&request.client, MAX_CLIENT),
        grants: permit.grants,
        access: request.access,
        worker,
        secret: random::text(SECRET_LEN),
        outbox: Arc::new(Outbox::default()),
        detached: None,
        manual_subscribe: request.manual_subscribe,
        media: None,
        media_lost: None,
        publications: Vec::new(),
        slots: Vec::new(),
        quality: None,
    }
}
