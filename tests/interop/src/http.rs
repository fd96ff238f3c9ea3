//! The HTTP side: POST an offer, get the answer and the session's URL; DELETE it to end.

use crate::hub::{Refusal, Request};
use crate::session::Role;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use tokio::sync::{mpsc, oneshot};

type Hub = State<mpsc::Sender<Request>>;

pub(crate) fn routes(requests: mpsc::Sender<Request>) -> Router {
    Router::new()
        .route("/whip/{room}/{stream}", post(publish))
        .route("/whep/{room}/{stream}", post(play))
        .route("/session/{id}", delete(end))
        .with_state(requests)
}

async fn publish(State(hub): Hub, Path(stream): Path<(String, String)>, offer: String) -> Response {
    open(&hub, Role::Publisher, stream, offer).await
}

async fn play(State(hub): Hub, Path(stream): Path<(String, String)>, offer: String) -> Response {
    open(&hub, Role::Player, stream, offer).await
}

async fn open(hub: &mpsc::Sender<Request>, role: Role, stream: (String, String), offer: String) -> Response {
    let (reply, opened) = oneshot::channel();
    // If the hub is gone, so is the other end of `reply`.
    let _ = hub.send(Request::Open { role, stream, offer, reply }).await;
    match opened.await {
        Ok(Ok(opened)) => {
            let location = format!("/session/{:016x}", opened.id);
            let headers = [(header::CONTENT_TYPE, "application/sdp"), (header::LOCATION, &location)];
            (StatusCode::CREATED, headers, opened.answer).into_response()
        }
        Ok(Err(Refusal::BadOffer(why))) => (StatusCode::BAD_REQUEST, why).into_response(),
        Ok(Err(Refusal::Taken)) => (StatusCode::CONFLICT, "Somebody publishes this stream.").into_response(),
        Ok(Err(Refusal::Full)) => (StatusCode::SERVICE_UNAVAILABLE, "No more sessions are taken.").into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn end(State(hub): Hub, Path(id): Path<String>) -> StatusCode {
    let Ok(id) = u64::from_str_radix(&id, 16) else { return StatusCode::NOT_FOUND };
    let (reply, ended) = oneshot::channel();
    let _ = hub.send(Request::Close { id, reply }).await;
    match ended.await {
        Ok(true) => StatusCode::OK,
        Ok(false) => StatusCode::NOT_FOUND,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
