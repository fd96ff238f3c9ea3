//! Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03): packet type 206, format 15, name "REMB".
//!
//! ```text
//! |                        SSRC of sender                         |
//! |                     SSRC of media (unused)                    |
//! |   'R'         |      'E'      |      'M'      |      'B'      |
//! |  count        | exponent (6)  |       mantissa (18)           |
//! |                             SSRC                              |  count times
//! ```

use super::wire::{PAYLOAD_FEEDBACK, feedback_ssrcs, put_ssrc, put_u32, ssrc_at, u32_at, write_packet};
use crate::ids::Ssrc;
use crate::units::Bitrate;

const NAME: &[u8; 4] = b"REMB";
const MANTISSA_BITS: u32 = 18;

/// A receiver's estimate of what its path carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remb<'a> {
    /// Who estimates.
    pub sender: Ssrc,
    /// What all streams together may take.
    pub bitrate: Bitrate,
    ssrcs: &'a [u8],
}

impl<'a> Remb<'a> {
    pub(super) const FORMAT: u8 = 15;

    /// Whether application layer feedback is this one.
    pub(super) fn is_remb(body: &[u8]) -> bool {
        body.get(8..12) == Some(NAME)
    }

    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (sender, _) = feedback_ssrcs(body)?;
        let word = u32_at(body, 12)?;
        let mantissa = u64::from(word & ((1 << MANTISSA_BITS) - 1));
        let exponent = (word >> MANTISSA_BITS) & 0x3f;
        let fits = mantissa.leading_zeros() >= exponent;
        let bps = if fits { mantissa << exponent } else { u64::MAX };
        let ssrcs = body.get(16..16 + 4 * (word >> 24) as usize)?;
        Some(Self { sender, bitrate: Bitrate::from_bps(bps), ssrcs })
    }

    /// The streams that the estimate is for.
    pub fn ssrcs(&self) -> impl Iterator<Item = Ssrc> + use<'a> {
        self.ssrcs.chunks_exact(4).filter_map(|bytes| ssrc_at(bytes, 0))
    }
}

/// Appends an estimate for at most 255 of `ssrcs`. The bitrate is rounded down to 18 significant bits.
pub fn write_remb(out: &mut Vec<u8>, sender: Ssrc, bitrate: Bitrate, ssrcs: &[Ssrc]) {
    let ssrcs = &ssrcs[..ssrcs.len().min(255)];
    let bps = bitrate.as_bps();
    let exponent = (u64::BITS - bps.leading_zeros()).saturating_sub(MANTISSA_BITS);
    let mantissa = (bps >> exponent) as u32; // 18 bits by the choice of the exponent
    write_packet(out, Remb::FORMAT, PAYLOAD_FEEDBACK, |out| {
        put_ssrc(out, sender);
        put_ssrc(out, Ssrc(0));
        out.extend_from_slice(NAME);
        put_u32(out, ((ssrcs.len() as u32) << 24) | (exponent << MANTISSA_BITS) | mantissa);
        ssrcs.iter().for_each(|ssrc| put_ssrc(out, *ssrc));
    });
}
