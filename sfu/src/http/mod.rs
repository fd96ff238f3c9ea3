//! The server's face: the page, signalling, WHIP, WHEP, the admin API, health and metrics.

mod admin;
mod bearer;
mod body;
mod cached;
mod fragments;
mod health;
mod listen;
mod local_only;
mod metered;
mod metrics;
mod page;
mod path;
mod problem;
mod proxy;
mod resource;
mod serve;
mod signal;
pub(crate) mod tls;
mod watched;
mod websocket;
mod whep;
mod whip;

pub(crate) use listen::{bind, bind_admin};
pub(crate) use proxy::Proxies;
pub(crate) use serve::{Site, serve};
#[cfg(fuzzing)]
pub(crate) use {proxy::ClientAddr, signal::join_request};

use self::problem::Problem;
use crate::control::Control;
use crate::net::ConnectionTables;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use std::sync::Arc;
use std::time::Duration;

/// The API's description.
const OPENAPI: &str = include_str!("openapi.json");

/// What browsers may load for our page: its own modules, styles and pictures, and nothing of anybody else. Requests and
/// WebSockets go to this server alone; camera, microphone and the others' media are no loads.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
                           connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'";

/// The routes for clients; with those for the operator, unless they have a listener of their own.
pub(crate) fn router(control: &Arc<Control>, connections: &ConnectionTables) -> Router {
    let routes = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/v1/join", get(signal::upgrade))
        .route("/v1/openapi.json", get(openapi))
        .merge(whip::routes())
        .merge(whep::routes());
    let routes = if control.config.http.admin_addr().is_none() { routes.merge(operator_routes()) } else { routes };
    finish(routes.fallback(page::serve), control, connections)
}

/// The routes of the operator's own listener.
pub(crate) fn admin_router(control: &Arc<Control>, connections: &ConnectionTables) -> Router {
    let routes = operator_routes().route("/healthz", get(health::healthz));
    finish(routes.fallback(nothing_here), control, connections)
}

fn operator_routes() -> Router<Arc<Control>> {
    Router::new().route("/metrics", get(metrics::metrics)).nest("/v1/admin", admin::routes())
}

fn finish(routes: Router<Arc<Control>>, control: &Arc<Control>, connections: &ConnectionTables) -> Router {
    let life = Duration::from_millis(control.config.http.metrics_interval_millis);
    let routes = routes
        .method_not_allowed_fallback(method_not_allowed)
        // In place of the library's own limit, whose refusal names no number.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(control), body::bound))
        .layer(Extension(connections.clone()))
        .layer(Extension(Arc::new(health::Answer::new(life))))
        .layer(Extension(Arc::new(metrics::Answer::new(control))))
        .layer(from_fn(serve::refuse_malformed))
        .layer(from_fn(resource::allow_all_origins))
        .layer(map_response(harden));
    let routes = if control.config.auth.open { routes.layer(from_fn(local_only::check)) } else { routes };
    routes.with_state(Arc::clone(control))
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

async fn nothing_here() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is nothing at this path; see /healthz, /metrics and /v1/admin.")
}

/// The library adds what is allowed.
async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Nothing is done here by this method; see Allow.")
}

/// Browsers shall take our files for what we say they are, show them in no foreign frame, and load nothing else.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_json() {
        let description: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        assert!(description["paths"].as_object().unwrap().len() > 5);
    }
}
