//! WHIP (RFC 9725): `POST /whip/{room}/{stream}` publishes as the participant `stream`.

use super::bearer::Bearer;
use super::path::Path;
use super::problem::Problem;
use super::proxy::ClientAddr;
use super::resource::{self, Target};
use crate::control::{Access, Control};
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use sfu_room::Subscription;
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Control>> {
    let routes = resource::route(Router::new(), "/whip/{room}/{stream}", &post(begin).options(resource::options));
    resource::route(routes, "/whip/{room}/{stream}/{session}", &resource::session_routes(Access::Whip))
}

async fn begin(
    State(control): State<Arc<Control>>,
    Path((room, stream)): Path<(String, String)>,
    Extension(client): Extension<ClientAddr>,
    bearer: Bearer,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let base = format!("/whip/{}/{}", resource::segment(&room), resource::segment(&stream));
    let target = Target { room, identity: Some(stream), access: Access::Whip, subscription: Subscription::Auto, base };
    resource::begin(&control, client, bearer, headers, body, target).await
}
