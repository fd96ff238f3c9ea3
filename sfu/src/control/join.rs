//! Entering a room: one step from a checked token and an offer to media that flows.

use super::Control;
use super::auth::{MAX_NAME, Permit, RoomOptions, check_metadata, check_text};
use super::budget::Budget;
use super::error::ControlError;
use super::negotiation::{Negotiated, parse_offer};
use super::news::ENTRY_PATIENCE;
use super::outbox::Outbox;
use super::participant::{Access, Participant, publication_info};
use super::publish::{self, PublishPlan};
use super::requests::Session;
use super::room::{Room, RoomState};
use super::unconnected::{GAVE_WAY, GivesWay, Origin};
use crate::random;
use crate::text::clip;
use crate::worker_thread::WorkerHandle;
use sfu_core::ids::TransportId;
use sfu_core::is_playable;
use sfu_proto::v1::{Answer, IceServer, Joined, LeaveReason, Offer};
use sfu_room::{ParticipantId, Subscription};
use sfu_rtc::media::{Codec, Direction, MediaKind, MediaSection, PayloadFormat};
use sfu_rtc::sdp::fmtp::h264_mode;
use sfu_rtc::time::Duration;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Letters in a session's secret: 24 are worth 142 bits.
const SECRET_LEN: usize = 24;

/// Longest name and version of a client's software that is kept.
pub(crate) const MAX_CLIENT: usize = 128;
/// Sections that are not used of which a client is told; an offer may have hundreds.
const MOST_WARNINGS: usize = 8;

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
    pub(crate) subscription: Subscription,
    /// Where the client is, as far as that is known.
    pub(crate) address: Option<IpAddr>,
}

/// Somebody has entered.
pub(crate) struct Entered {
    pub(crate) session: Session,
    pub(crate) joined: Joined,
    /// What of the offer comes to nothing, for people.
    pub(crate) warnings: Vec<String>,
}

/// What a join will lead to. Making it changes nothing.
struct JoinPlan {
    worker: WorkerHandle,
    media: Option<(Negotiated, PublishPlan)>,
}

impl Control {
    /// What an entry costs the room of this name: how long it has to wait for its turn.
    fn pace_entry(
        &self,
        room: &str,
        identity: &str,
        (access, text): (Access, usize),
        address: Option<IpAddr>,
    ) -> Result<Duration, ControlError> {
        let Some(room) = self.room(room) else { return Ok(Duration::ZERO) };
        let now = self.clock.now();
        let mut state = room.lock();
        if let Some(budget) = state.budget_of(identity) {
            budget.change(now).map_err(|error| self.count(error))?;
        }
        let cost = state.entry_cost(access, text);
        let address = self.limited(address);
        state.reserve_entry(&room.pace, address, cost, now).ok_or_else(|| {
            let text =
                "Too many enter the room at once (limits.room_joins_per_second, room_bytes_per_second); try again.";
            self.count(ControlError::too_fast(text))
        })
    }

    /// Waits until somebody may take a session up again.
    pub(crate) async fn await_resume(&self, secret: &str, address: Option<IpAddr>) -> Result<(), ControlError> {
        let Some((room, id)) = self.session(secret) else { return Ok(()) };
        let known = room.lock().participants.get(&id).map(|me| (Arc::clone(&me.identity), me.text_bytes()));
        let Some((identity, text)) = known else { return Ok(()) };
        await_turn(self.pace_entry(&room.name, &identity, (Access::Signal, text), address)).await
    }

    /// Lets the bearer of `permit` enter in turn: when the room can be told, and one address after the other, so that many
    /// who enter at once do not keep the others' messages waiting.
    pub(crate) async fn join_in_turn(
        self: &Arc<Self>,
        permit: &Permit,
        request: JoinRequest,
    ) -> Result<Entered, ControlError> {
        self.check_request(permit, &request)?;
        let entry = (request.access, request.metadata.len());
        await_turn(self.pace_entry(&request.room, &permit.identity, entry, request.address)).await?;
        let Some(address) = request.address else { return self.join(permit, request) };
        let room = request.room.clone();
        let entered = self.turns.drive(self.turns.admitted(address), async { self.join(permit, request) }).await;
        if entered.is_err() {
            self.charge_refusal(&room, address);
        }
        entered
    }

    /// A turn was taken and nobody entered: others waited for nothing.
    fn charge_refusal(&self, room: &str, address: IpAddr) {
        if let Some((room, address)) = self.room(room).zip(self.limited(Some(address))) {
            let now = self.clock.now();
            room.lock().charge_refusal(&room.pace, address, now);
        }
    }

    /// Refuses what is the client's mistake whatever goes on in the server. So nobody waits for a turn with a request that
    /// is larger in memory than it was on the wire: an empty entry of a list takes two bytes there.
    fn check_request(&self, permit: &Permit, request: &JoinRequest) -> Result<(), ControlError> {
        check_metadata("metadata", &request.metadata)?;
        if permit.name.is_none() {
            check_text("name", &request.name)?;
        }
        self.check_publications(request.offer.as_ref().map_or(0, |offer| offer.publish.len()))
    }

    /// Lets the bearer of `permit` enter. Where that is refused, all is as before.
    pub(crate) fn join(self: &Arc<Self>, permit: &Permit, request: JoinRequest) -> Result<Entered, ControlError> {
        self.check_admission(None)?;
        self.check_request(permit, &request)?;
        let offer = request.offer.as_ref().map(|offer| parse_offer(&offer.sdp)).transpose()?;
        // A room may be opened or closed between planning and locking it; the next attempt sees it as it is then.
        loop {
            let known = self.room(&request.room);
            let worker = match &known {
                Some(room) => self.place_participant(room),
                None => {
                    self.check_may_open(&request.room, permit.grants.create)?;
                    self.check_full(&self.room_options(&permit.room_options), 0)?;
                    self.place_room()
                }
            };
            self.check_admission(Some(worker))?;
            let plan = self.plan_join(permit, &request, offer.as_ref(), worker.clone())?;
            let replaced = known.as_ref().and_then(|room| room.lock().of_identity(&permit.identity));
            let gives_way = self.check_server_full(replaced.is_some(), request.address)?;
            let room =
                known.unwrap_or_else(|| self.open_room(&request.room, &permit.room_options, plan.worker.index()));
            let mut state = room.lock();
            if state.closed {
                continue;
            }
            let (entered, give_way) = self.enter(&room, &mut state, permit, &request, plan)?;
            drop(state);
            gives_way.into_iter().chain(give_way).for_each(|session| self.give_way(session));
            return Ok(entered);
        }
    }

    fn plan_join(
        &self,
        permit: &Permit,
        request: &JoinRequest,
        offer: Option<&sfu_rtc::sdp::Offer>,
        worker: WorkerHandle,
    ) -> Result<JoinPlan, ControlError> {
        let grants = (permit.grants.publish, permit.grants.subscribe);
        let negotiated = offer.map(|offer| self.negotiator.negotiate(offer, None, grants, &worker, &self.ids));
        let Some(negotiated) = negotiated.transpose()? else { return Ok(JoinPlan { worker, media: None }) };
        let sections = &negotiated.media.sections;
        check_useful(request.access, sections)?;
        let wanted = match &request.offer {
            _ if !permit.grants.publish => Vec::new(),
            _ if request.access == Access::Whip => publish::everything(sections),
            Some(offer) => offer.publish.clone(),
            None => Vec::new(),
        };
        let publications = self.plan_publications(sections, &[], &wanted)?;
        Ok(JoinPlan { worker, media: Some((negotiated, publications)) })
    }

    fn enter(
        self: &Arc<Self>,
        room: &Arc<Room>,
        state: &mut RoomState,
        permit: &Permit,
        request: &JoinRequest,
        plan: JoinPlan,
    ) -> Result<(Entered, Vec<GivesWay>), ControlError> {
        let replaced = state.of_identity(&permit.identity);
        let here = state.participants.len() - usize::from(replaced.is_some());
        let mut gives_way = None;
        if let Err(full) = self.check_full(&state.options, here) {
            let first = self.unconnected.first(Some(room.id), self.limited(request.address), self.clock.now());
            gives_way = first.map(|(_, first)| first).filter(|first| replaced != Some(*first));
            self.check_full(&state.options, here - usize::from(gives_way.is_some())).map_err(|_| full)?;
        }
        check_playable(state, request, &plan)?;
        let participant_text = permit.metadata.as_ref().unwrap_or(&request.metadata).len();
        self.check_room_text(state, replaced, participant_text)?;
        let warnings = warnings(state, request, &plan);
        // Nothing is refused from here on.
        if let Some(first) = gives_way {
            self.unconnected.count_gone();
            self.end_session(room, state, first, LeaveReason::ConnectionLost, GAVE_WAY);
        }
        if let Some(older) = replaced {
            let text = "The same identity joined again; the newer session goes on.";
            self.end_session(room, state, older, LeaveReason::Replaced, text);
        }
        let id = self.ids.participant();
        let budget = state.budget_of(&permit.identity).cloned();
        let budget = budget.unwrap_or_else(|| Arc::new(Budget::new(&self.config.limits, self.clock.now())));
        let origin = Origin { address: self.limited(request.address), token: permit.token };
        let participant = new_participant(id, permit, request, budget, origin);
        let (outbox, secret) = (Arc::clone(&participant.outbox), participant.secret.clone());
        let client = participant.client.clone();
        room.enter(state, participant, &plan.worker);
        self.sessions.insert(secret, (Arc::clone(room), id));
        let answer =
            plan.media.map(|(media, publications)| self.enter_media(room, state, id, request, media, publications));
        let give_way = if answer.is_some() { self.await_connection(room, state, id) } else { Vec::new() };
        state.fill_newcomers_slots(id);
        state.announce(id);
        room.replan(state);
        let (attachment, budget) = (outbox.attach(), Arc::clone(&state.participants[&id].budget));
        let joined = self.joined(room, state, id, answer);
        tracing::info!(
            room = room.name, participant = %id, identity = permit.identity, access = ?request.access, client, "joined"
        );
        let session = Session::new(Arc::clone(self), Arc::clone(room), id, (outbox, attachment), budget);
        Ok((Entered { session, joined, warnings }, give_way))
    }

    /// The transport of the first offer, with its publications and slots.
    fn enter_media(
        &self,
        room: &Arc<Room>,
        state: &mut RoomState,
        id: ParticipantId,
        request: &JoinRequest,
        negotiated: Negotiated,
        plan: PublishPlan,
    ) -> Answer {
        self.remember_transport(negotiated.media.transport, room, id);
        let new = if request.manual_subscribe { &Subscription::Nothing } else { &request.subscription };
        state.take_media(room.id, id, (negotiated.media, negotiated.change), new);
        let publications = plan.named.iter().map(publication_info).collect();
        self.carry_out(state, id, plan);
        Answer { sdp: negotiated.answer, publications }
    }

    /// What a client is told that has joined or resumed.
    pub(super) fn joined(&self, room: &Room, state: &RoomState, id: ParticipantId, answer: Option<Answer>) -> Joined {
        let (me, mine) = (&state.participants[&id], state.roster.member(id));
        let seconds = |seconds: u64| u32::try_from(seconds.saturating_mul(1_000)).unwrap_or(u32::MAX);
        Joined {
            participant_id: id.to_string(),
            identity: me.identity.to_string(),
            session: me.secret.clone(),
            room: Some(room.info(state)),
            participants: if me.has_signalling() { state.others(id) } else { Vec::new() },
            answer,
            ice_servers: self.ice_servers(),
            grants: Some(me.grants_info()),
            slots: state.slots_of(id),
            publications: mine
                .map(|mine| mine.publications().iter().map(publication_info).collect())
                .unwrap_or_default(),
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

    /// Refuses one more where `here` are in a room with these options.
    fn check_full(&self, options: &RoomOptions, here: usize) -> Result<(), ControlError> {
        let limit = self.config.limits.participants_per_room;
        if let Some(max) = options.max_participants.filter(|max| *max > 0)
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

    /// Refuses metadata that would make the roster too long: everybody gets all of it.
    fn check_room_text(
        &self,
        state: &RoomState,
        replaced: Option<ParticipantId>,
        metadata: usize,
    ) -> Result<(), ControlError> {
        let limit = self.config.limits.room_metadata_bytes;
        let others = state.participants.values().filter(|other| replaced != Some(other.id));
        if metadata == 0 || others.map(|other| other.metadata.len()).sum::<usize>() + metadata <= limit {
            return Ok(());
        }
        let text = format!(
            "The metadata of the room's participants may have {limit} bytes together (limits.room_metadata_bytes); enter \
             with less."
        );
        Err(ControlError::limit(text))
    }

    /// Who gives way where the server is full; refuses where nobody does.
    fn check_server_full(&self, replaces: bool, address: Option<IpAddr>) -> Result<Option<GivesWay>, ControlError> {
        if self.sessions.len().saturating_sub(usize::from(replaces)) < self.config.limits.participants {
            return Ok(None);
        }
        let first = self.unconnected.first(None, self.limited(address), self.clock.now());
        first.map(Some).ok_or_else(|| {
            let text = "The server has its maximum of participants (limits.participants); try later.";
            ControlError::unavailable(text)
        })
    }

    pub(super) fn remember_transport(&self, transport: TransportId, room: &Arc<Room>, id: ParticipantId) {
        self.transports.insert(transport, (Arc::clone(room), id));
    }
}

/// Waits for a turn, or for its refusal: whoever is refused waits as long as anybody, since those who ask again at once
/// would cost more than those who enter.
async fn await_turn(pace: Result<Duration, ControlError>) -> Result<(), ControlError> {
    tokio::time::sleep(pace.as_ref().map_or(ENTRY_PATIENCE, |pace| *pace)).await;
    pace.map(drop)
}

/// Refuses a player that has none of the codecs of the stream that it wants, as far as those are known.
fn check_playable(state: &RoomState, request: &JoinRequest, plan: &JoinPlan) -> Result<(), ControlError> {
    let (Subscription::Identity(stream), Some((negotiated, _))) = (&request.subscription, &plan.media) else {
        return Ok(());
    };
    let published: Vec<_> = formats_of(state, stream).collect();
    let mut slots = negotiated.media.sending();
    if published.is_empty() || slots.any(|slot| published.iter().any(|format| is_playable(format, &slot.formats))) {
        return Ok(());
    }
    let names = names(&published);
    let text = format!("The offer has none of the codecs that `{stream}` publishes in: {names}.");
    Err(ControlError::nothing_usable(text))
}

/// The formats that the participant of this identity publishes in, as far as they are known.
fn formats_of<'a>(state: &'a RoomState, identity: &str) -> impl Iterator<Item = &'a PayloadFormat> {
    state.of_identity(identity).into_iter().flat_map(|id| state.formats(id))
}

/// The codecs of these formats, with what else has to fit.
fn names(formats: &[&PayloadFormat]) -> String {
    let name = |format: &&PayloadFormat| match h264_mode(&format.fmtp) {
        Some(mode) if format.codec == Codec::H264 => format!("H264 with packetization-mode={mode}"),
        _ => format.codec.name().to_owned(),
    };
    let names: BTreeSet<String> = formats.iter().map(name).collect();
    Vec::from_iter(names).join(", ")
}

/// What a client should know that gets an answer: which sections are not used, and of which kind it can play nothing of
/// what is published now.
fn warnings(state: &RoomState, request: &JoinRequest, plan: &JoinPlan) -> Vec<String> {
    let Some((negotiated, _)) = &plan.media else { return Vec::new() };
    let refused = negotiated.refused.iter().map(|(section, why)| format!("Section {section} is not used: {why}."));
    let published: Vec<&PayloadFormat> = match &request.subscription {
        _ if request.manual_subscribe => Vec::new(),
        Subscription::Identity(stream) => formats_of(state, stream).collect(),
        Subscription::Auto => state.participants.keys().flat_map(|id| state.formats(*id)).collect(),
        Subscription::Nothing | Subscription::Publication(_) => Vec::new(),
    };
    let silent = [(MediaKind::Audio, "audio"), (MediaKind::Video, "video")].into_iter().filter_map(|(kind, name)| {
        let mut slots = negotiated.media.sending().filter(|slot| slot.kind == kind).peekable();
        let published: Vec<_> = published.iter().copied().filter(|format| format.codec.kind() == kind).collect();
        let is_offered = slots.peek().is_some() && !published.is_empty();
        let is_silent =
            is_offered && !slots.any(|slot| published.iter().any(|format| is_playable(format, &slot.formats)));
        let names = names(&published);
        is_silent.then(|| format!("No {name} can be played: it is published in {names}, which is not offered."))
    });
    refused.take(MOST_WARNINGS).chain(silent).collect()
}

/// Refuses an offer of WHIP or WHEP that comes to nothing: there is no later one that could change it.
fn check_useful(access: Access, sections: &[MediaSection]) -> Result<(), ControlError> {
    let (needed, text) = match access {
        Access::Whip => (Direction::Receive, "No section of the offer sends (a=sendonly or a=sendrecv)."),
        Access::Whep => (Direction::Send, "No section of the offer receives (a=recvonly or a=sendrecv)."),
        Access::Signal => return Ok(()),
    };
    if sections.iter().any(|section| section.direction == needed) {
        Ok(())
    } else {
        Err(ControlError::nothing_usable(text))
    }
}

fn new_participant(
    id: ParticipantId,
    permit: &Permit,
    request: &JoinRequest,
    budget: Arc<Budget>,
    origin: Origin,
) -> Participant {
    let name = permit.name.clone().unwrap_or_else(|| clip(request.name.trim(), MAX_NAME));
    Participant {
        id,
        identity: permit.identity.as_str().into(),
        name: if name.is_empty() { permit.identity.clone() } else { name },
        metadata: permit.metadata.clone().unwrap_or_else(|| request.metadata.clone()),
        client: clip(&request.client, MAX_CLIENT),
        grants: permit.grants,
        access: request.access,
        origin,
        address: request.address,
        has_connected: false,
        secret: random::text(SECRET_LEN),
        outbox: Arc::new(Outbox::default()),
        budget,
        detached: None,
        manual_subscribe: request.manual_subscribe,
        media: None,
        media_lost: None,
        quality: None,
    }
}
