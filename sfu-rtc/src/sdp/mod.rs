//! Session descriptions (RFC 8866) as JSEP (RFC 8829) uses them: we read offers and write answers.
//!
//! [`Offer::parse`] keeps what matters of an offer and forgets the rest; [`answer`] decides on each section by a
//! [`MediaPolicy`] and gives both the text for the peer and the [`MediaSection`](crate::media::MediaSection)s
//! for the transport. [`TrickleFragment`] reads what a WHIP client sends by PATCH (RFC 8840).
//!
//! Text is untrusted: its size and every list in it are bounded, nothing panics, and only checked tokens of the
//! offer find their way into an answer.

mod answer;
mod error;
pub mod fmtp;
mod lines;
mod offer;
mod select;
mod streams;
mod trickle;
mod write;

pub use answer::{Answer, answer};
pub use error::{Fault, SdpError};
pub use offer::{Offer, OfferedDirection, OfferedExtension, OfferedFormat, OfferedKind, OfferedMedia, Setup};
pub use select::MediaPolicy;
pub use streams::OfferedRid;
pub use trickle::TrickleFragment;
pub use write::AnswerParams;
