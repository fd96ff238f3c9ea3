//! The server's face: the page, signalling, WHIP, WHEP, the admin API, health and metrics.

mod admin;
mod bearer;
mod health;
mod listen;
mod metrics;
mod page;
mod problem;
mod resource;
mod signal;
pub(crate) mod tls;
mod whep;
mod whip;

pub(crate) use listen::{bind, bind_tcp, ipv4_instead, serve};

use crate::control::Control;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use std::sync::Arc;

/// The API's description.
const OPENAPI: &str = include_str!("openapi.json");

/// All routes.
pub(crate) fn router(control: Arc<Control>) -> Router {
    let body_limit = DefaultBodyLimit::max(control.config.limits.message_bytes);
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(metrics::metrics))
        .route("/v1/join", get(signal::upgrade))
        .route("/v1/openapi.json", get(openapi))
        .nest("/v1/admin", admin::routes())
        .merge(whip::routes())
        .merge(whep::routes())
        .fallback(page::serve)
        .layer(body_limit)
        .layer(map_response(harden))
        .with_state(control)
}

async fn openapi() -> Json<serde_json::Value> {
    Json(serde_json::from_str(OPENAPI).expect("checked by a test"))
}

/// Browsers shall take our files for what we say they are, and show them in no foreign frame.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'self'"));
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
