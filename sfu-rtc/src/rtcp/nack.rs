//! Generic NACK (RFC 4585 section 6.2.1): packet type 205, format 1.
//!
//! ```text
//! |                        SSRC of sender                         |
//! |                        SSRC of media                          |
//! |  packet id (PID)              | bitmask of the next 16 (BLP)  |  repeated
//! ```

use super::wire::{TRANSPORT_FEEDBACK, feedback_ssrcs, put_ssrc, put_u16, u16_at, write_packet};
use crate::ids::Ssrc;

/// A generic NACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nack<'a> {
    /// Who asks.
    pub sender: Ssrc,
    /// The source whose packets are missing.
    pub media: Ssrc,
    entries: &'a [u8],
}

/// Most entries that we write into one packet, so that it stays well within a datagram.
const MAX_ENTRIES: usize = 250;

impl<'a> Nack<'a> {
    pub(super) const FORMAT: u8 = 1;

    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (sender, media) = feedback_ssrcs(body)?;
        let entries = &body[8..];
        entries.len().is_multiple_of(4).then_some(Self { sender, media, entries })
    }

    /// Sequence numbers asked for, in the order of the packet; at most 17 for each of its entries.
    pub fn seqs(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.entries.chunks_exact(4).filter_map(|entry| Some((u16_at(entry, 0)?, u16_at(entry, 2)?))).flat_map(
            |(first, mask)| {
                let following = (0..16u16).filter(move |bit| mask & (1 << bit) != 0);
                std::iter::once(first).chain(following.map(move |bit| first.wrapping_add(bit + 1)))
            },
        )
    }
}

/// Appends a NACK for `seqs`, which stand in sending order (that is, sorted but for the wrap). Returns how many of
/// them it holds: all, unless they would fill more than a datagram. Writes nothing for none.
pub fn write_nack(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc, seqs: &[u16]) -> usize {
    if seqs.is_empty() {
        return 0;
    }
    let mut written = 0;
    write_packet(out, Nack::FORMAT, TRANSPORT_FEEDBACK, |out| {
        put_ssrc(out, sender);
        put_ssrc(out, media);
        for _ in 0..MAX_ENTRIES {
            let Some(&first) = seqs.get(written) else { break };
            written += 1;
            let mut mask = 0u16;
            while let Some(distance @ 1..=16) = seqs.get(written).map(|seq| seq.wrapping_sub(first)) {
                mask |= 1 << (distance - 1);
                written += 1;
            }
            put_u16(out, first);
            put_u16(out, mask);
        }
    });
    written
}
