//! The admin API under `/v1/admin`; `openapi.json` describes it. Every request needs a token with the admin grant.

use super::bearer::Bearer;
use super::path::Path;
use super::problem::Problem;
use crate::control::auth::RoomOptions;
use crate::control::{Control, ControlError, Participant, Room, RoomState, parse_publication, publication_text};
use crate::text::json_error;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use sfu_core::event::{LayerLimit, PauseReason, TransportStats, WorkerStats};
use sfu_core::ids::PublicationId;
use sfu_core::qos::room_planner::SourcePlan;
use sfu_proto::v1::{EncoderDirective, LeaveReason};
use sfu_room::Member;
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/rooms", get(list_rooms).post(make_room))
        .route("/rooms/{room}", get(show_room).delete(close_room))
        .route("/rooms/{room}/participants", get(list_participants))
        .route("/rooms/{room}/participants/{participant}", delete(remove_participant))
        .route("/rooms/{room}/publications/{publication}/mute", post(mute))
        .route("/rooms/{room}/plan", get(show_plan))
        .route("/rooms/{room}/publications/{publication}/directive", get(show_directive).post(direct))
        .route("/rooms/{room}/stats", get(room_stats))
        .route("/stats", get(stats))
}

/// Proof that the request may use the admin API.
struct Admin;

impl FromRequestParts<Arc<Control>> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Arc<Control>) -> Result<Self, Problem> {
        let Ok(Bearer(token)) = Bearer::from_request_parts(parts, control).await;
        control.auth.admit_admin(&token)?;
        Ok(Self)
    }
}

type Body<T> = Result<Json<T>, JsonRejection>;

fn body<T>(body: Body<T>) -> Result<T, Problem> {
    body.map(|Json(value)| value)
        .map_err(|rejection| Problem::new(rejection.status(), json_error(&rejection.body_text())))
}

fn find(control: &Control, name: &str) -> Result<Arc<Room>, Problem> {
    control.room(name).ok_or_else(|| ControlError::not_found(format!("There is no room `{name}`.")).into())
}

async fn list_rooms(_: Admin, State(control): State<Arc<Control>>) -> Json<Value> {
    let rooms: Vec<Value> = control.all_rooms().iter().map(|room| room_json(room, &room.lock())).collect();
    Json(json!({ "rooms": rooms }))
}

/// Body of a request that makes a room.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MakeRoom {
    name: String,
    #[serde(default)]
    options: RoomOptions,
}

async fn make_room(
    _: Admin,
    State(control): State<Arc<Control>>,
    request: Body<MakeRoom>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let request = body(request)?;
    if let Some(room) = control.room(&request.name) {
        return Ok((StatusCode::OK, Json(room_json(&room, &room.lock()))));
    }
    let room = control.make_room(&request.name, &request.options)?;
    let shown = room_json(&room, &room.lock());
    Ok((StatusCode::CREATED, Json(shown)))
}

async fn show_room(
    _: Admin,
    State(control): State<Arc<Control>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let room = find(&control, &name)?;
    let state = room.lock();
    let mut shown = room_json(&room, &state);
    shown["participants"] =
        state.participants.values().map(|participant| participant_json(&state, participant)).collect();
    Ok(Json(shown))
}

async fn close_room(
    _: Admin,
    State(control): State<Arc<Control>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let room = find(&control, &name)?;
    let text = "The room was closed by its administrator.";
    control.close_room(&room, &mut room.lock(), LeaveReason::RoomClosed, text);
    Ok(StatusCode::NO_CONTENT)
}

async fn list_participants(
    _: Admin,
    State(control): State<Arc<Control>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let room = find(&control, &name)?;
    let state = room.lock();
    let participants: Value =
        state.participants.values().map(|participant| participant_json(&state, participant)).collect();
    Ok(Json(json!({ "participants": participants })))
}

async fn remove_participant(
    _: Admin,
    State(control): State<Arc<Control>>,
    Path((name, participant)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let room = find(&control, &name)?;
    control.remove_participant(&room, &mut room.lock(), &participant)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn mute(
    _: Admin,
    State(control): State<Arc<Control>>,
    Path((name, publication)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let room = find(&control, &name)?;
    control.mute_by_other(&room, &mut room.lock(), publication_id(&publication)?)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn direct(
    _: Admin,
    State(control): State<Arc<Control>>,
    Path((name, publication)): Path<(String, String)>,
    directive: Body<EncoderDirective>,
) -> Result<(StatusCode, Json<EncoderDirective>), Problem> {
    let room = find(&control, &name)?;
    let sent = control.direct_by_hand(&room, publication_id(&publication)?, body(directive)?)?;
    Ok((StatusCode::ACCEPTED, Json(sent)))
}

async fn show_directive(
    _: Admin,
    State(control): State<Arc<Control>>,
    Path((name, publication)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (room, publication) = (find(&control, &name)?, publication_id(&publication)?);
    let is_here = room.lock().publisher(publication).is_some();
    let latest = control.directives.latest(publication).filter(|_| is_here);
    let latest = latest.ok_or_else(|| ControlError::not_found("No directive was sent for that publication."))?;
    Ok(Json(json!({ "directive": latest.directive, "ack": latest.ack })))
}

async fn show_plan(
    _: Admin,
    State(control): State<Arc<Control>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let room = find(&control, &name)?;
    let state = room.lock();
    let publications: Value = state.encoder_plans().iter().map(|plan| plan_json(&control, &state, plan)).collect();
    Ok(Json(json!({ "publications": publications })))
}

async fn stats(_: Admin, State(control): State<Arc<Control>>) -> Json<Value> {
    let workers: Vec<Value> = control.worker_stats().await.iter().enumerate().map(worker_json).collect();
    Json(json!({ "workers": workers }))
}

async fn room_stats(
    _: Admin,
    State(control): State<Arc<Control>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let room = find(&control, &name)?;
    let all = control.worker_stats().await;
    let state = room.lock();
    let mut shown = Vec::new();
    for participant in state.participants.values() {
        let transport = participant.media.as_ref().map(|media| media.transport);
        let stats = all.iter().flatten().flat_map(|worker| &worker.transports).find(|t| Some(t.transport) == transport);
        shown.push(json!({ "participant": participant.id.to_string(), "transport": stats.map(transport_json) }));
    }
    Ok(Json(json!({ "room": name, "participants": shown })))
}

fn publication_id(name: &str) -> Result<PublicationId, Problem> {
    parse_publication(name).ok_or_else(|| ControlError::not_found("There is no such publication.").into())
}

fn room_json(room: &Room, state: &RoomState) -> Value {
    let on = |(worker, participants): (usize, usize)| json!({ "worker": worker, "participant_count": participants });
    json!({
        "name": room.name,
        "worker": state.roster.home(),
        "workers": state.roster.workers().map(on).collect::<Vec<_>>(),
        "participant_count": state.participants.len(),
        "options": state.options,
    })
}

/// What a publication is to encode, why, which directive said so, and what arrives of it.
fn plan_json(control: &Control, state: &RoomState, plan: &SourcePlan) -> Value {
    let latest = control.directives.latest(plan.publication);
    json!({
        "publication": publication_text(plan.publication),
        "directive_version": latest.as_ref().map(|latest| latest.directive.version),
        "acknowledged_version": latest.as_ref().and_then(|latest| Some(latest.ack.as_ref()?.version)),
        "encodings": plan.encodings.iter().map(|encoding| json!({
            "rid": encoding.rid.map(|rid| rid.to_string()),
            "active": encoding.active,
            "max_bitrate_bps": encoding.bitrate.map(|rate| rate.as_bps()),
            "max_fps": encoding.framerate,
            "scale_resolution_down_by": encoding.scale,
            "reason": encoding.reason.label(),
            "withheld_bps": encoding.withheld().as_bps(),
            "arriving_bps": state.arriving(plan.publication, encoding.rid).as_bps(),
        })).collect::<Vec<_>>(),
    })
}

fn participant_json(state: &RoomState, participant: &Participant) -> Value {
    let grants = &participant.grants;
    let member = state.roster.member(participant.id);
    let slots = member.map(Member::slots).unwrap_or_default();
    json!({
        "id": participant.id.to_string(),
        "identity": &*participant.identity,
        "name": participant.name,
        "metadata": participant.metadata,
        "client": participant.client,
        "worker": member.map(Member::worker),
        "access": format!("{:?}", participant.access).to_lowercase(),
        "grants": grants,
        "connected": participant.detached.is_none(),
        "publications": state.info_of(participant).map(|info| info.publications).unwrap_or_default(),
        "slots": slots.iter().map(|slot| json!({
            "mid": slot.mid.as_str(),
            "publication": slot.current.map(publication_text),
            "paused": slot.requested.paused,
            "pause_reason": pause_reason(slot.pause),
            "layer_limit": layer_limit(slot.limit),
        })).collect::<Vec<_>>(),
    })
}

fn worker_json((worker, stats): (usize, &Option<WorkerStats>)) -> Value {
    let Some(stats) = stats else { return json!({ "worker": worker, "answers": false }) };
    let totals = &stats.totals;
    json!({
        "worker": worker,
        "answers": true,
        "rooms": stats.rooms,
        "transports": stats.transports.len(),
        "rtp_in": totals.rtp_in,
        "bytes_in": totals.bytes_in,
        "rtp_out": totals.rtp_out,
        "bytes_out": totals.bytes_out,
        "pool_packets": stats.pool_packets,
        "drops": stats.drops.iter().filter(|(_, n)| *n > 0).map(|(reason, n)| (reason.label(), n))
            .collect::<std::collections::BTreeMap<_, _>>(),
    })
}

fn pause_reason(reason: Option<PauseReason>) -> Option<&'static str> {
    Some(match reason? {
        PauseReason::Codec => "codec",
        PauseReason::NotVisible => "not visible",
        PauseReason::Bandwidth => "bandwidth",
        PauseReason::NoLayer => "no layer",
    })
}

fn layer_limit(limit: LayerLimit) -> &'static str {
    match limit {
        LayerLimit::Best => "best",
        LayerLimit::Wanted => "wanted",
        LayerLimit::Bandwidth => "bandwidth",
        LayerLimit::Sender => "sender",
        LayerLimit::Cap => "cap",
        LayerLimit::Overload => "overload",
    }
}

fn transport_json(stats: &TransportStats) -> Value {
    json!({
        "connected": stats.connected,
        "remote": stats.path.map(|path| path.remote.to_string()),
        "rtt_ms": stats.rtt.map(|rtt| rtt.as_secs_f64() * 1_000.0),
        "uplink_bps": stats.uplink.received.map(|rate| rate.as_bps()),
        "uplink_estimate_bps": stats.uplink.estimate.map(|rate| rate.as_bps()),
        "uplink_loss": stats.uplink.loss,
        "uplink_cap_bps": stats.uplink.cap.map(|rate| rate.as_bps()),
        "downlink_loss": stats.downlink_loss,
        "downlink_estimate_bps": stats.downlink_estimate.map(|rate| rate.as_bps()),
        "downlink_granted_bps": stats.allocation.granted.as_bps(),
        "downlink_wanted_bps": stats.allocation.wanted.as_bps(),
        "downlink_next_step_bps": stats.allocation.next_step.map(|step| step.gain.as_bps()),
        "rtp_in": stats.traffic.rtp_in,
        "rtp_out": stats.traffic.rtp_out,
        "bytes_in": stats.traffic.bytes_in,
        "bytes_out": stats.traffic.bytes_out,
        "received": stats.received.iter().map(|stream| json!({
            "publication": publication_text(stream.publication),
            "rid": stream.rid.map(|rid| rid.to_string()),
            "codec": stream.codec.name(),
            "packets": stream.packets,
            "lost": stream.lost,
            "bitrate_bps": stream.bitrate.as_bps(),
            "fps": stream.fps,
            "resolution": stream.resolution.map(|(width, height)| format!("{width}x{height}")),
        })).collect::<Vec<_>>(),
        "slots": stats.slots.iter().map(|slot| json!({
            "mid": slot.mid.as_str(),
            "publication": slot.publication.map(publication_text),
            "rid": slot.rid.map(|rid| rid.to_string()),
            "pause_reason": pause_reason(slot.paused),
            "layer_limit": layer_limit(slot.limit),
            "audio_redundancy": slot.redundancy,
            "packets": slot.packets,
            "bitrate_bps": slot.bitrate.as_bps(),
        })).collect::<Vec<_>>(),
    })
}
