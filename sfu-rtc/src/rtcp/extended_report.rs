//! Extended report (RFC 3611), packet type 207: the blocks by which a receiver measures its round-trip time.
//!
//! ```text
//! |                        SSRC of sender                         |
//! |  block type   | type-specific |  block length in words        |  repeated
//! |                        block content                          |
//! ```
//! Type 4, receiver reference time: an NTP timestamp. Type 5, DLRR: SSRC, last RR, delay since last RR, repeated.

use super::wire::{ssrc_at, u16_at, u32_at, u64_at};
use crate::ids::Ssrc;
use crate::time::NtpTime;

const REFERENCE_TIME: u8 = 4;
const DLRR: u8 = 5;

/// An extended report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtendedReport<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    blocks: &'a [u8],
}

/// One block of an extended report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XrBlock<'a> {
    /// The receiver's clock when it sent the report.
    ReferenceTime(NtpTime),
    /// Answer to reference times.
    Dlrr(&'a [u8]),
    /// A type that we do not read.
    Other(u8),
}

/// Answer to one receiver's reference time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DlrrEntry {
    /// The receiver.
    pub ssrc: Ssrc,
    /// Middle 32 bits of its reference time.
    pub last_rr: u32,
    /// Time since it came, in 1/65536 s.
    pub delay: u32,
}

impl<'a> ExtendedReport<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        Some(Self { ssrc: ssrc_at(body, 0)?, blocks: &body[4..] })
    }

    /// The blocks, up to the first that is malformed.
    pub fn blocks(&self) -> impl Iterator<Item = XrBlock<'a>> + use<'a> {
        let mut rest = self.blocks;
        std::iter::from_fn(move || {
            let block_type = *rest.first()?;
            let end = 4 + 4 * usize::from(u16_at(rest, 2)?);
            let content = rest.get(4..end)?;
            rest = &rest[end..];
            Some(match block_type {
                REFERENCE_TIME => XrBlock::ReferenceTime(NtpTime(u64_at(content, 0)?)),
                DLRR => XrBlock::Dlrr(content),
                other => XrBlock::Other(other),
            })
        })
    }
}

impl DlrrEntry {
    /// The entries of a [`XrBlock::Dlrr`].
    pub fn iter(content: &[u8]) -> impl Iterator<Item = Self> + '_ {
        content.chunks_exact(12).filter_map(|entry| {
            Some(Self { ssrc: ssrc_at(entry, 0)?, last_rr: u32_at(entry, 4)?, delay: u32_at(entry, 8)? })
        })
    }
}
