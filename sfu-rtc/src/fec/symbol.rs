//! An RTP packet as a vector over GF(256), so that packets can be added and multiplied.
//!
//! ```text
//! | check (32) | 0 0 P X CC | M PT | length (16) | timestamp (32) | CSRCs, extensions, payload, padding |
//! ```
//! The length counts what follows the timestamp. SSRC and sequence number are left out: a parity packet names them. So a
//! symbol is as long as its packet, and what lies behind its end is zero.
//!
//! The check is that of our own payload format; with the other schemes it is zero on both sides.

use super::gf256::{LANE, mul_add};
use crate::drop_reason::DropReason;
use crate::ids::Ssrc;
use crate::packet::MAX_PACKET;
use crate::rtp::RtpView;

const LANES: usize = MAX_PACKET.div_ceil(LANE);
/// Where the field of four bytes for the check ends, and what all schemes carry begins.
const FLAGS: usize = 4;
const LENGTH: usize = 6;
const TIMESTAMP: usize = 8;
/// Where the part of varying length begins; in the packet too.
const BODY: usize = 12;
/// The version's bits, which are not protected.
const VERSION: u8 = 0xc0;

/// Aligned to a cache line, so that no vector lies over two of them.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct Symbol {
    lanes: [[u8; LANE]; LANES],
    len: usize,
}

impl Symbol {
    /// The sum of no packets.
    pub(super) const ZERO: Self = Self { lanes: [[0; LANE]; LANES], len: BODY };

    /// Becomes that of `packet`, with the extensions of these ids as zeros, and a check where one is asked for.
    pub(super) fn load(&mut self, packet: &[u8], zeroed: &[u8], with_check: bool) -> Result<(Ssrc, u16), DropReason> {
        let view = RtpView::parse(packet)?;
        if packet.len() > MAX_PACKET {
            return Err(DropReason::TooLarge);
        }
        self.set_body(&packet[BODY..])?;
        let bytes = self.lanes.as_flattened_mut();
        let [high, low] = ((packet.len() - BODY) as u16).to_be_bytes();
        bytes[FLAGS..TIMESTAMP].copy_from_slice(&[packet[0] & !VERSION, packet[1], high, low]);
        bytes[TIMESTAMP..BODY].copy_from_slice(&packet[4..8]);
        if view.header_len() > BODY {
            zeroed.iter().filter_map(|&id| view.extension_range(id)).for_each(|range| bytes[range].fill(0));
        }
        let check = if with_check { self.compute_check(self.len, view.ssrc(), view.seq()) } else { 0 };
        self.lanes.as_flattened_mut()[..FLAGS].copy_from_slice(&check.to_be_bytes());
        Ok((view.ssrc(), view.seq()))
    }

    /// Becomes the symbol of a parity packet: check, head (see [`head`](Self::head)) and body.
    pub(super) fn set(&mut self, check: [u8; 4], head: [u8; 8], body: &[u8]) -> Option<()> {
        self.set_body(body).ok()?;
        let bytes = self.lanes.as_flattened_mut();
        bytes[..FLAGS].copy_from_slice(&check);
        bytes[FLAGS..BODY].copy_from_slice(&head);
        Some(())
    }

    fn set_body(&mut self, body: &[u8]) -> Result<(), DropReason> {
        let len = BODY + body.len();
        if len > MAX_PACKET {
            return Err(DropReason::TooLarge);
        }
        let old = self.len;
        let bytes = self.lanes.as_flattened_mut();
        bytes[BODY..len].copy_from_slice(body);
        if old > len {
            bytes[len..old].fill(0);
        }
        self.len = len;
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.lanes[..self.len.div_ceil(LANE)].fill([0; LANE]);
        self.len = BODY;
    }

    /// The check.
    pub(super) fn check(&self) -> &[u8] {
        &self.lanes.as_flattened()[..FLAGS]
    }

    /// Flags, marker and payload type, length and timestamp: the eight bytes that all schemes carry.
    pub(super) fn head(&self) -> &[u8] {
        &self.lanes.as_flattened()[FLAGS..BODY]
    }

    /// What follows the timestamp, up to the end of the longest packet in the sum.
    pub(super) fn body(&self) -> &[u8] {
        &self.lanes.as_flattened()[BODY..self.len]
    }

    /// How long the longest packet in the sum is.
    pub(super) fn len(&self) -> u16 {
        self.len as u16 // at most MAX_PACKET
    }

    /// Ends where its packet does, behind which there are zeros.
    pub(super) fn cut(&mut self, packet_len: usize) {
        self.len = self.len.min(packet_len.max(BODY));
    }

    /// Adds `factor` times `other`.
    pub(super) fn add(&mut self, other: &Self, factor: u8) {
        let lanes = other.len.div_ceil(LANE);
        mul_add(&mut self.lanes[..lanes], &other.lanes[..lanes], factor);
        self.len = self.len.max(other.len);
    }

    /// Multiplies by `factor`.
    pub(super) fn scale(&mut self, factor: u8) {
        let itself = self.clone();
        self.add(&itself, factor ^ 1); // f x = x + (f + 1) x
    }

    pub(super) fn is_zero(&self) -> bool {
        self.lanes.as_flattened()[..self.len].iter().all(|&byte| byte == 0)
    }

    /// Replaces `out` by the packet that this is the symbol of. `None` where it cannot be that of a packet: where length,
    /// zeros behind the end, check or header are wrong.
    pub(super) fn write_packet(&self, ssrc: Ssrc, seq: u16, with_check: bool, out: &mut Vec<u8>) -> Option<()> {
        let bytes = self.lanes.as_flattened();
        let end = BODY + usize::from(u16::from_be_bytes([bytes[LENGTH], bytes[LENGTH + 1]]));
        if end > self.len || bytes[end..self.len].iter().any(|&byte| byte != 0) || bytes[FLAGS] & VERSION != 0 {
            return None;
        }
        if with_check && self.compute_check(end, ssrc, seq).to_be_bytes() != bytes[..FLAGS] {
            return None;
        }
        out.clear();
        out.extend_from_slice(&[bytes[FLAGS] | 0x80, bytes[FLAGS + 1]]);
        out.extend_from_slice(&seq.to_be_bytes());
        out.extend_from_slice(&bytes[TIMESTAMP..BODY]);
        out.extend_from_slice(&ssrc.0.to_be_bytes());
        out.extend_from_slice(&bytes[BODY..end]);
        RtpView::parse(out).ok().map(|_| ())
    }

    /// A checksum in the manner of Fletcher, over the packet's length of the symbol with the check itself as zero, then
    /// mixed with SSRC and sequence number. The document of the payload format says why a sum as linear as the code would
    /// not do.
    fn compute_check(&self, len: usize, ssrc: Ssrc, seq: u16) -> u32 {
        const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15; // 2^64 / golden ratio, as in Fibonacci hashing
        let (mut sums, mut sums_of_sums) = ([0u64; LANE / 8], [0u64; LANE / 8]);
        // Taken away beforehand, the check counts as zero.
        sums[0] = u64::from(u32::from_le_bytes([0, 1, 2, 3].map(|at| self.lanes[0][at]))).wrapping_neg();
        for lane in &self.lanes[..len.div_ceil(LANE)] {
            for (at, word) in lane.as_chunks::<8>().0.iter().enumerate() {
                sums[at] = sums[at].wrapping_add(u64::from_le_bytes(*word));
                sums_of_sums[at] = sums_of_sums[at].wrapping_add(sums[at]);
            }
        }
        let mut hash = (u64::from(ssrc.0) << 32) | u64::from(seq);
        for (sum, sum_of_sums) in sums.into_iter().zip(sums_of_sums) {
            // Turned, or what differs in the highest byte alone could cancel out: a product carries it no further.
            hash = (hash ^ sum).wrapping_mul(MULTIPLIER) ^ sum_of_sums.rotate_left(32);
            hash ^= hash >> 32;
        }
        (hash.wrapping_mul(MULTIPLIER) >> 32) as u32
    }
}
