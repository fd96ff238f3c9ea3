//! Receiver report (RFC 3550 section 6.4.2), packet type 201: the receiver's SSRC, then report blocks.

use super::report_block::{self, MAX_BLOCKS, ReportBlock};
use super::wire::{RECEIVER_REPORT, put_ssrc, ssrc_at, write_packet};
use crate::ids::Ssrc;

/// A receiver report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    blocks: &'a [u8],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        Some(Self { ssrc: ssrc_at(body, 0)?, blocks: report_block::blocks_of(count, &body[4..])? })
    }

    /// How it receives others.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        report_block::iter(self.blocks)
    }
}

/// Appends a receiver report with at most 31 of `blocks`.
pub fn write_receiver_report(out: &mut Vec<u8>, ssrc: Ssrc, blocks: &[ReportBlock]) {
    let blocks = &blocks[..blocks.len().min(MAX_BLOCKS)];
    write_packet(out, blocks.len() as u8, RECEIVER_REPORT, |out| {
        put_ssrc(out, ssrc);
        blocks.iter().for_each(|block| block.write(out));
    });
}
