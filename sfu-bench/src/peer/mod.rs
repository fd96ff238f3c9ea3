//! What one peer offers, sends, and makes of what it gets.

pub mod description;
mod frames;
pub mod measured;
mod outgoing;
mod parity;
pub mod publisher;
pub(crate) mod stream;
pub mod subscriber;

use description::EXTENSIONS;
use sfu_rtc::rtp::extension::ExtensionKind;

/// Id of an extension that we offer.
pub(crate) fn extension_id(kind: ExtensionKind) -> u8 {
    EXTENSIONS.iter().find(|(offered, _)| *offered == kind).map_or(0, |(_, id)| *id)
}
