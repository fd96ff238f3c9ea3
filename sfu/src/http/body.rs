//! The body of a request: how long it may be and how long it may take, whoever reads it; and as text.

use super::problem::Problem;
use crate::control::{Control, ControlError};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::string::FromUtf8Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;

/// What became of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Coming {
    Unfinished,
    Whole,
    TooLong,
}

/// How a body stands, for who waits for its answer while somebody else reads it.
#[derive(Clone)]
struct Progress(Arc<AtomicU8>);

impl Progress {
    fn is(&self, coming: Coming) -> bool {
        self.0.load(Ordering::Relaxed) == coming as u8
    }

    fn set(&self, coming: Coming) {
        self.0.store(coming as u8, Ordering::Relaxed);
    }
}

/// Holds every request to the bounds of its body and to its time, and says so where one is passed, whatever the reader of
/// the body makes of its end.
pub(super) async fn bound(State(control): State<Arc<Control>>, request: Request, next: Next) -> Response {
    let most = control.config.limits.body_bytes;
    let patience = Duration::from_secs(control.config.http.request_timeout_seconds);
    let progress = Progress(Arc::new(AtomicU8::new(Coming::Unfinished as u8)));
    let request = request.map(|body| {
        if hyper::body::Body::is_end_stream(&body) {
            progress.set(Coming::Whole);
        }
        Body::new(Bounded { body, left: most, progress: progress.clone() })
    });
    match timeout(patience, next.run(request)).await {
        _ if progress.is(Coming::TooLong) => too_long(most).into_response(),
        Ok(response) => response,
        Err(_) if progress.is(Coming::Whole) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "There was no answer in time; try again.").into_response()
        }
        Err(_) => too_late(patience).into_response(),
    }
}

fn too_long(most: usize) -> Problem {
    let text = format!("The body has more than {most} bytes (limits.body_bytes).");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}

fn too_late(patience: Duration) -> Problem {
    let text = format!("The body was not whole after {} s (http.request_timeout_seconds).", patience.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, text).with(header::CONNECTION, HeaderValue::from_static("close"))
}

/// A body that fails past its limit.
struct Bounded {
    body: Body,
    left: usize,
    progress: Progress,
}

impl hyper::body::Body for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(bytes) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            let Some(left) = self.left.checked_sub(bytes.len()) else {
                self.progress.set(Coming::TooLong);
                return Poll::Ready(Some(Err(axum::Error::new("the body is too long"))));
            };
            self.left = left;
        }
        if frame.is_none() || self.body.is_end_stream() {
            self.progress.set(Coming::Whole);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body, which [`bound`] holds to `limits.body_bytes`.
///
/// It may take as long as a request may, and until then holds what has come of it: no more than twice that, and no more
/// than the limit. Whoever waits here has dropped the head, whose values would keep the whole buffer that it was read into.
pub(super) async fn read_text(control: &Control, body: Body) -> Result<String, Problem> {
    let most = control.config.limits.body_bytes;
    // A piece may keep a whole buffer, however few bytes it has.
    let (mut bytes, mut pieces) = (Vec::new(), body.into_data_stream());
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "The body broke off, or came in pieces so small that what is around them is too much.",
            )
        })?;
        append(&mut bytes, &piece, most);
    }
    String::from_utf8(bytes).map_err(|error| not_utf8(&error).into())
}

fn append(bytes: &mut Vec<u8>, piece: &[u8], most: usize) {
    let len = bytes.len() + piece.len();
    if len > bytes.capacity() {
        // A vector left alone would double past what can ever come.
        let capacity = (2 * bytes.capacity()).min(most).max(len);
        bytes.reserve_exact(capacity - bytes.len());
    }
    bytes.extend_from_slice(piece);
}

fn not_utf8(error: &FromUtf8Error) -> ControlError {
    let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
    ControlError::bad_sdp(format!("The body is not UTF-8 (line {line})."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_body_holds_little_more_than_has_come() {
        const MOST: usize = 20_000;
        for size in [1, 100, 1_460, 7_000, MOST] {
            let (mut bytes, piece) = (Vec::new(), vec![b'v'; size]);
            while bytes.len() + size <= MOST {
                append(&mut bytes, &piece, MOST);
                let (len, capacity) = (bytes.len(), bytes.capacity());
                assert!(capacity <= MOST.min(2 * len), "{capacity} bytes for {len}, in pieces of {size}");
            }
            let rest = MOST - bytes.len();
            append(&mut bytes, &piece[..rest], MOST);
            assert_eq!((bytes.len(), bytes.capacity()), (MOST, MOST));
        }
    }
}
