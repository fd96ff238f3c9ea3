//! WHEP (draft-ietf-wish-whep): `POST /whep/{room}/{stream}` plays the participant `stream`; `POST /whep/{room}` plays
//! whoever speaks.
//!
//! A session's URL is `/whep/{room}/{stream}/{session}`; without a stream it is `/whep/{room}/-/{session}`.

use super::bearer::Bearer;
use super::path::Path;
use super::problem::Problem;
use super::proxy::ClientAddr;
use super::resource::{self, Target};
use crate::control::{Access, Control, ControlError};
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use sfu_room::Subscription;
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Control>> {
    let routes = resource::route(Router::new(), "/whep/{room}", &post(begin_speaker).options(resource::options));
    let routes = resource::route(routes, "/whep/{room}/{stream}", &post(begin_stream).options(resource::options));
    resource::route(routes, "/whep/{room}/{stream}/{session}", &resource::session_routes(Access::Whep))
}

async fn begin_speaker(
    State(control): State<Arc<Control>>,
    Path(room): Path<String>,
    Extension(client): Extension<ClientAddr>,
    bearer: Bearer,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let base = format!("/whep/{}/{}", resource::segment(&room), resource::SPEAKER);
    let target = Target { room, identity: None, access: Access::Whep, subscription: Subscription::Auto, base };
    resource::begin(&control, client, bearer, headers, body, target).await
}

async fn begin_stream(
    State(control): State<Arc<Control>>,
    Path((room, stream)): Path<(String, String)>,
    Extension(client): Extension<ClientAddr>,
    bearer: Bearer,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let base = format!("/whep/{}/{}", resource::segment(&room), resource::segment(&stream));
    // Who may not enter shall not learn who is there; a name that nobody can have is the client's mistake.
    let permit = control.auth.admit(&bearer.0, &room, Some(&stream))?;
    resource::require_subscribe(&permit)?;
    let here = control.room(&room).is_some_and(|room| {
        room.lock()
            .participants
            .values()
            .any(|participant| *participant.identity == *stream && participant.is_visible())
    });
    if !here {
        return Err(ControlError::not_found(format!("Nobody named `{stream}` is in room `{room}`.")).into());
    }
    let target =
        Target { room, identity: None, access: Access::Whep, subscription: Subscription::Identity(stream), base };
    resource::begin(&control, client, bearer, headers, body, target).await
}
