//! Picture loss indication (RFC 4585 section 6.3.1): packet type 206, format 1; the two SSRCs and nothing else.

use super::wire::{PAYLOAD_FEEDBACK, feedback_ssrcs, put_ssrc, write_packet};
use crate::ids::Ssrc;

/// A picture loss indication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pli {
    /// Who asks.
    pub sender: Ssrc,
    /// The source that is asked for a keyframe.
    pub media: Ssrc,
}

impl Pli {
    pub(super) const FORMAT: u8 = 1;

    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let (sender, media) = feedback_ssrcs(body)?;
        Some(Self { sender, media })
    }
}

/// Appends a picture loss indication.
pub fn write_pli(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc) {
    write_packet(out, Pli::FORMAT, PAYLOAD_FEEDBACK, |out| {
        put_ssrc(out, sender);
        put_ssrc(out, media);
    });
}
