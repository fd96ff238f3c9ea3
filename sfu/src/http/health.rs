//! `/healthz`: for load balancers and supervisors.

use crate::control::Control;
use axum::extract::State;
use axum::http::StatusCode;
use std::sync::Arc;

/// 200 while newcomers are welcome; 503 while the server goes down or a worker does not answer.
pub(crate) async fn healthz(State(control): State<Arc<Control>>) -> (StatusCode, &'static str) {
    if control.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    if control.worker_stats().await.iter().any(Option::is_none) {
        return (StatusCode::SERVICE_UNAVAILABLE, "a worker does not answer\n");
    }
    (StatusCode::OK, "ok\n")
}
