//! Feedback of a receiver (RFC 4585, RFC 5104): NACK, PLI, FIR and REMB.

use super::{
    PAYLOAD_FEEDBACK, TRANSPORT_FEEDBACK, feedback_ssrcs, put_ssrc, put_u16, put_u32, ssrc_at, u16_at, u32_at,
    write_packet,
};
use crate::ids::Ssrc;
use crate::units::Bitrate;

/// A generic NACK (RFC 4585 section 6.2.1): packet type 205, format 1.
///
/// ```text
/// |                        SSRC of sender                         |
/// |                        SSRC of media                          |
/// |  packet id (PID)              | bitmask of the next 16 (BLP)  |  repeated
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nack<'a> {
    /// Who asks.
    pub sender: Ssrc,
    /// The source whose packets are missing.
    pub media: Ssrc,
    entries: &'a [u8],
}

/// Most entries that we write into one packet, so that it stays well within a datagram.
const MAX_NACK_ENTRIES: usize = 250;

impl<'a> Nack<'a> {
    pub(super) const FORMAT: u8 = 1;

    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (sender, media) = feedback_ssrcs(body)?;
        let entries = &body[8..];
        entries.len().is_multiple_of(4).then_some(Self { sender, media, entries })
    }

    /// How many packets it asks for.
    pub fn count(&self) -> u64 {
        let masks = self.entries.chunks_exact(4).filter_map(|entry| u16_at(entry, 2));
        masks.map(|mask| 1 + u64::from(mask.count_ones())).sum()
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
        for _ in 0..MAX_NACK_ENTRIES {
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

/// A picture loss indication (RFC 4585 section 6.3.1): packet type 206, format 1; the two SSRCs and nothing else.
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

/// A full intra request (RFC 5104 section 4.3.1): packet type 206, format 4.
///
/// ```text
/// |                        SSRC of sender                         |
/// |                     SSRC of media (unused)                    |
/// |                             SSRC                              |  repeated
/// |  seq nr       |                  reserved                     |
/// ```
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
pub(crate) fn write_fir(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc, seq: u8) {
    write_packet(out, Fir::FORMAT, PAYLOAD_FEEDBACK, |out| {
        put_ssrc(out, sender);
        put_ssrc(out, Ssrc(0));
        put_ssrc(out, media);
        put_u32(out, u32::from(seq) << 24);
    });
}

const REMB: &[u8; 4] = b"REMB";
const MANTISSA_BITS: u32 = 18;

/// A receiver's estimate of what its path carries (draft-alvestrand-rmcat-remb-03): packet type 206, format 15, name
/// "REMB".
///
/// ```text
/// |                        SSRC of sender                         |
/// |                     SSRC of media (unused)                    |
/// |   'R'         |      'E'      |      'M'      |      'B'      |
/// |  count        | exponent (6)  |       mantissa (18)           |
/// |                             SSRC                              |  count times
/// ```
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
        body.get(8..12) == Some(REMB)
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
        out.extend_from_slice(REMB);
        put_u32(out, ((ssrcs.len() as u32) << 24) | (exponent << MANTISSA_BITS) | mantissa);
        ssrcs.iter().for_each(|ssrc| put_ssrc(out, *ssrc));
    });
}
