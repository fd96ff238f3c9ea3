//! Why the control plane refuses a request: a code for programs, a sentence for people.

use crate::text::{clip, escape};
use sfu_proto::v1::{Error, ErrorCode};

/// A refusal.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ControlError {
    pub(crate) code: ErrorCode,
    /// What the peer said stands in it escaped.
    pub(crate) message: String,
    /// Whether the same may be asked again in a moment.
    pub(crate) retry: bool,
}

/// Longest sentence, in bytes: a peer may hear again what it said, but not at its own length.
const LONGEST: usize = 512;

fn shortened(message: String) -> String {
    if message.len() <= LONGEST { message } else { clip(&message, LONGEST) + "..." }
}

macro_rules! constructors {
    ($($name:ident = $code:ident),+ $(,)?) => {
        $(pub(crate) fn $name(message: impl Into<String>) -> Self {
            let message = escape(&shortened(message.into())).into_owned();
            Self { code: ErrorCode::$code, message, retry: false }
        })+
    };
}

impl ControlError {
    constructors!(
        bad_message = BadMessage,
        unauthenticated = Unauthenticated,
        forbidden = Forbidden,
        not_found = NotFound,
        room_full = RoomFull,
        bad_sdp = BadSdp,
        nothing_usable = NothingUsable,
        limit = Limit,
        unavailable = Unavailable,
        internal = Internal,
    );

    /// What is asked for comes too fast.
    pub(crate) fn too_fast(message: impl Into<String>) -> Self {
        Self { retry: true, ..Self::limit(message) }
    }

    /// What names a publication names none.
    pub(crate) fn no_publication() -> Self {
        Self::not_found("There is no such publication; it may have ended.")
    }
}

impl From<ControlError> for Error {
    fn from(error: ControlError) -> Self {
        Self { code: error.code.into(), message: error.message }
    }
}
