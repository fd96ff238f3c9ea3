//! `/healthz`: for load balancers and supervisors.

use super::cached::Cached;
use crate::control::Control;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use std::sync::Arc;

/// Whether all workers answered.
pub(super) type Answer = Cached<bool>;

/// 200 while newcomers are welcome; 503 while the server goes down or a worker does not answer.
pub(crate) async fn healthz(
    State(control): State<Arc<Control>>,
    Extension(answer): Extension<Arc<Answer>>,
) -> (StatusCode, &'static str) {
    if control.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    let all_answer = answer.get(async { control.worker_stats().await.iter().all(Option::is_some) }).await;
    if !all_answer {
        return (StatusCode::SERVICE_UNAVAILABLE, "a worker does not answer\n");
    }
    (StatusCode::OK, "ok\n")
}
