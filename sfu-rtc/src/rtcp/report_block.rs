//! Report block (RFC 3550 section 6.4.1): 24 bytes.
//!
//! ```text
//! |                             SSRC                              |
//! | fraction lost |       cumulative number of packets lost       |
//! |           extended highest sequence number received           |
//! |                      interarrival jitter                      |
//! |                         last SR (LSR)                         |
//! |                   delay since last SR (DLSR)                  |
//! ```

use super::wire::{put_ssrc, put_u32, ssrc_at, u32_at};
use crate::ids::Ssrc;

/// How one source is received.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ReportBlock {
    /// The source.
    pub ssrc: Ssrc,
    /// Share lost since the last report, of 256.
    pub fraction_lost: u8,
    /// Packets lost in all; 24 bits on the wire, negative with duplicates.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with the count of wraps above it.
    pub highest_seq: u32,
    /// Jitter in units of the RTP clock.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report; 0 without one.
    pub last_sr: u32,
    /// Time since that report came, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// Most blocks in one report: the count has five bits.
pub(super) const MAX_BLOCKS: usize = 31;
/// Bytes of a block.
const LEN: usize = 24;
/// What the 24 signed bits of the cumulative loss hold.
const LOSS_RANGE: (i32, i32) = (-(1 << 23), (1 << 23) - 1);

impl ReportBlock {
    fn parse(block: &[u8]) -> Option<Self> {
        let loss = u32_at(block, 4)?;
        Some(Self {
            ssrc: ssrc_at(block, 0)?,
            fraction_lost: (loss >> 24) as u8,
            cumulative_lost: ((loss << 8) as i32) >> 8, // sign-extends 24 bits
            highest_seq: u32_at(block, 8)?,
            jitter: u32_at(block, 12)?,
            last_sr: u32_at(block, 16)?,
            delay_since_last_sr: u32_at(block, 20)?,
        })
    }

    /// Appends the block.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let lost = self.cumulative_lost.clamp(LOSS_RANGE.0, LOSS_RANGE.1);
        put_ssrc(out, self.ssrc);
        put_u32(out, (u32::from(self.fraction_lost) << 24) | (lost.cast_unsigned() & 0x00ff_ffff));
        put_u32(out, self.highest_seq);
        put_u32(out, self.jitter);
        put_u32(out, self.last_sr);
        put_u32(out, self.delay_since_last_sr);
    }
}

/// The bytes of `count` blocks that begin `body`; profile-specific extensions behind them are left out.
pub(super) fn blocks_of(count: u8, body: &[u8]) -> Option<&[u8]> {
    body.get(..usize::from(count) * LEN)
}

/// The blocks in `bytes`.
pub(super) fn iter(bytes: &[u8]) -> impl Iterator<Item = ReportBlock> + '_ {
    bytes.chunks_exact(LEN).filter_map(ReportBlock::parse)
}
