//! Full intra request (RFC 5104 section 4.3.1): packet type 206, format 4.
//!
//! ```text
//! |                        SSRC of sender                         |
//! |                     SSRC of media (unused)                    |
//! |                             SSRC                              |  repeated
//! |  seq nr       |                  reserved                     |
//! ```

use super::wire::{PAYLOAD_FEEDBACK, feedback_ssrcs, put_ssrc, put_u32, ssrc_at, write_packet};
use crate::ids::Ssrc;

/// A full intra request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fir<'a> {
    /// Who asks.
    pub sender: Ssrc,
    entries: &'a [u8],
}

impl<'a> Fir<'a> {
    pub(super) const FORMAT: u8 = 4;

    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (sender, _) = feedback_ssrcs(body)?;
        let entries = &body[8..];
        entries.len().is_multiple_of(8).then_some(Self { sender, entries })
    }

    /// The sources that are asked for a keyframe, each with the request's number; a repeated number repeats the request.
    pub fn entries(&self) -> impl Iterator<Item = (Ssrc, u8)> + use<'a> {
        self.entries.chunks_exact(8).filter_map(|entry| Some((ssrc_at(entry, 0)?, entry[4])))
    }
}

/// Appends a full intra request for one source.
pub fn write_fir(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc, seq: u8) {
    write_packet(out, Fir::FORMAT, PAYLOAD_FEEDBACK, |out| {
        put_ssrc(out, sender);
        put_ssrc(out, Ssrc(0));
        put_ssrc(out, media);
        put_u32(out, u32::from(seq) << 24);
    });
}
