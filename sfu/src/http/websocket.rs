//! The handshake that makes a WebSocket of a request (RFC 6455 section 4.2), and the bounds of what it holds.

use super::fragments::Fragments;
use super::metered::spend;
use super::problem::Problem;
use super::watched::{Stream, Watched};
use crate::net::Ticket;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::Parts;
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// Memory that each connection keeps for reading, and up to which it gathers what it writes; by default it would be
/// 128 KiB each. Larger messages grow it for a while.
const BUFFER: usize = 2 * 1024;
/// What waits to be written: one frame of ours, since each is flushed before the next, and Pongs, which are as many as
/// Pings are let through.
const MAX_WRITE_BUFFER: usize = 64 * 1024;

pub(super) type WebSocket = WebSocketStream<Watched<Box<dyn Stream>, Fragments>>;

/// Begins a WebSocket that speaks the first of `known` that the client offers: the answer, what it speaks, and the
/// socket, once the answer has been sent.
pub(super) fn accept(
    request: &mut Request,
    known: &[&'static str],
    ticket: &Ticket,
    most_bytes: usize,
) -> Result<(Response, &'static str, impl Future<Output = io::Result<WebSocket>> + use<>), Problem> {
    let key = derive_accept_key(handshake_key(request)?.as_bytes());
    let offered: Vec<&str> = list(request.headers(), header::SEC_WEBSOCKET_PROTOCOL).collect();
    let subprotocol = *known.iter().find(|known| offered.contains(known)).ok_or_else(|| {
        let text = format!("Offer one of these WebSocket subprotocols: {}.", known.join(", "));
        Problem::new(StatusCode::BAD_REQUEST, text)
    })?;
    let headers = [
        (header::CONNECTION, "Upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_ACCEPT, &key),
        (header::SEC_WEBSOCKET_PROTOCOL, subprotocol),
    ];
    let answer = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(Some(most_bytes))
        .max_frame_size(Some(most_bytes));
    let (upgrade, allowance) = (hyper::upgrade::on(request), ticket.allowance());
    let socket = async move {
        let parts = upgrade.await.map_err(io::Error::other)?.downcast::<TokioIo<Box<dyn Stream>>>();
        let Parts { io: stream, read_buf: early, .. } = parts.expect("every connection is served as this type");
        // Read with the request, before anything was counted.
        let mut fragments = Fragments::new(Arc::clone(&allowance));
        spend(&allowance, early.len());
        fragments.push(&early)?;
        let stream = Watched::new(stream.into_inner(), fragments);
        Ok(WebSocketStream::from_partially_read(stream, early.to_vec(), Role::Server, Some(config)).await)
    };
    Ok((answer, subprotocol, socket))
}

/// Checks the client's part of the handshake (RFC 6455 section 4.2.1). The key, which may be anything: some clients'
/// is no base64.
fn handshake_key(request: &Request) -> Result<&HeaderValue, Problem> {
    let headers = request.headers();
    let problem = |status, text: &str| Problem::new(status, format!("This is not how a WebSocket begins: {text}."));
    // HEAD is routed as GET.
    if request.method() != Method::GET {
        let problem = problem(StatusCode::METHOD_NOT_ALLOWED, "the method must be GET");
        return Err(problem.with(header::ALLOW, HeaderValue::from_static("GET")));
    }
    let has_token = |name, token: &str| list(headers, name).any(|item| item.eq_ignore_ascii_case(token));
    let asks = has_token(header::CONNECTION, "upgrade") && has_token(header::UPGRADE, "websocket");
    // RFC 9110 section 15.5.22; section 7.8 on HTTP/1.0.
    if !asks || request.version() < Version::HTTP_11 {
        let text = "it needs HTTP/1.1, `Connection: Upgrade` and `Upgrade: websocket`";
        let problem = problem(StatusCode::UPGRADE_REQUIRED, text);
        return Err(problem.with(header::UPGRADE, HeaderValue::from_static("websocket")));
    }
    // RFC 6455 section 4.4.
    let mut versions = headers.get_all(header::SEC_WEBSOCKET_VERSION).iter();
    if versions.next().is_none_or(|version| version != "13") || versions.next().is_some() {
        let problem = problem(StatusCode::BAD_REQUEST, "Sec-WebSocket-Version must be 13");
        return Err(problem.with(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    key.ok_or_else(|| problem(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing"))
}

/// The items of a header field that is a list (RFC 9110 section 5.6.1).
fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}
