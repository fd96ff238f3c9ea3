//! Goodbye (RFC 3550 section 6.6), packet type 203: SSRCs, then an optional reason with its length in a byte.

use super::wire::{BYE, put_ssrc, ssrc_at, write_packet};
use crate::ids::Ssrc;

/// A goodbye.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bye<'a> {
    ssrcs: &'a [u8],
    /// Why, in words; empty without any.
    pub reason: &'a [u8],
}

impl<'a> Bye<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let (ssrcs, rest) = body.split_at_checked(4 * usize::from(count))?;
        let reason = match rest.split_first() {
            Some((len, text)) => text.get(..usize::from(*len))?,
            None => &[],
        };
        Some(Self { ssrcs, reason })
    }

    /// The sources that leave.
    pub fn ssrcs(&self) -> impl Iterator<Item = Ssrc> + use<'a> {
        self.ssrcs.chunks_exact(4).filter_map(|bytes| ssrc_at(bytes, 0))
    }
}

/// Appends a goodbye of at most 31 of `ssrcs`.
pub fn write_bye(out: &mut Vec<u8>, ssrcs: &[Ssrc]) {
    let ssrcs = &ssrcs[..ssrcs.len().min(31)];
    write_packet(out, ssrcs.len() as u8, BYE, |out| ssrcs.iter().for_each(|ssrc| put_ssrc(out, *ssrc)));
}
