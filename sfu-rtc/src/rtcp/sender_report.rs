//! Sender report (RFC 3550 section 6.4.1), packet type 200.
//!
//! ```text
//! |                             SSRC                              |
//! |                   NTP timestamp (64 bits)                     |
//! |                         RTP timestamp                         |
//! |                     sender's packet count                     |
//! |                      sender's octet count                     |
//! |                         report blocks                         |
//! ```

use super::report_block::{self, MAX_BLOCKS, ReportBlock};
use super::wire::{SENDER_REPORT, put_ssrc, put_u32, ssrc_at, u32_at, u64_at, write_packet};
use crate::ids::Ssrc;
use crate::time::NtpTime;

/// What a sender says of its source.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SenderInfo {
    /// The source.
    pub ssrc: Ssrc,
    /// Wall-clock time of the report.
    pub ntp: NtpTime,
    /// RTP timestamp of the same moment.
    pub rtp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub octets: u32,
}

/// A sender report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SenderReport<'a> {
    /// What the sender says of its source.
    pub info: SenderInfo,
    blocks: &'a [u8],
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let info = SenderInfo {
            ssrc: ssrc_at(body, 0)?,
            ntp: NtpTime(u64_at(body, 4)?),
            rtp: u32_at(body, 12)?,
            packets: u32_at(body, 16)?,
            octets: u32_at(body, 20)?,
        };
        Some(Self { info, blocks: report_block::blocks_of(count, &body[24..])? })
    }

    /// How the sender receives others.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        report_block::iter(self.blocks)
    }
}

/// Appends a sender report with at most 31 of `blocks`.
pub fn write_sender_report(out: &mut Vec<u8>, info: &SenderInfo, blocks: &[ReportBlock]) {
    let blocks = &blocks[..blocks.len().min(MAX_BLOCKS)];
    write_packet(out, blocks.len() as u8, SENDER_REPORT, |out| {
        put_ssrc(out, info.ssrc);
        out.extend_from_slice(&info.ntp.0.to_be_bytes());
        put_u32(out, info.rtp);
        put_u32(out, info.packets);
        put_u32(out, info.octets);
        blocks.iter().for_each(|block| block.write(out));
    });
}
