//! Why the control plane refuses a request: a code for programs, a sentence for people.

use sfu_proto::v1::{Error, ErrorCode};

/// A refusal.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ControlError {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

macro_rules! constructors {
    ($($name:ident = $code:ident),+ $(,)?) => {
        $(pub(crate) fn $name(message: impl Into<String>) -> Self {
            Self { code: ErrorCode::$code, message: message.into() }
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
        limit = Limit,
        unavailable = Unavailable,
        internal = Internal,
    );
}

impl From<ControlError> for Error {
    fn from(error: ControlError) -> Self {
        Self { code: error.code.into(), message: error.message }
    }
}
