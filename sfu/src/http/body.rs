//! The body of a request, which is to be text.

use super::problem::Problem;
use crate::control::{Control, ControlError};
use axum::body::Body;
use axum::http::StatusCode;
use futures_util::StreamExt;
use std::string::FromUtf8Error;

/// A body of at most `limits.body_bytes`.
///
/// It may take as long as a request may, and until then holds what has come of it: no more than twice that, and no more
/// than the limit. Whoever waits here has dropped the head, whose values would keep the whole buffer that it was read into.
pub(super) async fn read_text(control: &Control, body: Body) -> Result<String, Problem> {
    let most = control.config.limits.body_bytes;
    // A piece may keep a whole buffer, however few bytes it has.
    let (mut bytes, mut pieces) = (Vec::new(), body.into_data_stream());
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "The body broke off."))?;
        append(&mut bytes, &piece, most)?;
    }
    String::from_utf8(bytes).map_err(|error| not_utf8(&error).into())
}

fn append(bytes: &mut Vec<u8>, piece: &[u8], most: usize) -> Result<(), Problem> {
    let len = bytes.len() + piece.len();
    if len > most {
        let text = format!("The body has more than {most} bytes (limits.body_bytes).");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    if len > bytes.capacity() {
        // A vector left alone would double past what can ever come.
        let capacity = (2 * bytes.capacity()).clamp(len, most);
        bytes.reserve_exact(capacity - bytes.len());
    }
    bytes.extend_from_slice(piece);
    Ok(())
}

fn not_utf8(error: &FromUtf8Error) -> ControlError {
    let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
    ControlError::bad_sdp(format!("The body is not UTF-8 (line {line})."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;

    #[test]
    fn an_unfinished_body_holds_little_more_than_has_come() {
        const MOST: usize = 20_000;
        for size in [1, 100, 1_460, 7_000, MOST] {
            let (mut bytes, piece) = (Vec::new(), vec![b'v'; size]);
            while bytes.len() + size <= MOST {
                append(&mut bytes, &piece, MOST).unwrap();
                let (len, capacity) = (bytes.len(), bytes.capacity());
                assert!(capacity <= MOST.min(2 * len), "{capacity} bytes for {len}, in pieces of {size}");
            }
            let rest = MOST - bytes.len();
            append(&mut bytes, &piece[..rest], MOST).unwrap();
            let refusal = append(&mut bytes, b"v", MOST).unwrap_err();
            assert_eq!(refusal.into_response().status(), StatusCode::PAYLOAD_TOO_LARGE);
            assert_eq!((bytes.len(), bytes.capacity()), (MOST, MOST), "refused, and not kept");
        }
    }
}
