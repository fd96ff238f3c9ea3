//! Reports (RFC 3550 section 6): sender report, receiver report, their blocks, and source description.

use super::{RECEIVER_REPORT, SDES, SENDER_REPORT, put_ssrc, put_u32, ssrc_at, u32_at, u64_at, write_packet};
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

/// A sender report (RFC 3550 section 6.4.1), packet type 200.
///
/// ```text
/// |                             SSRC                              |
/// |                   NTP timestamp (64 bits)                     |
/// |                         RTP timestamp                         |
/// |                     sender's packet count                     |
/// |                      sender's octet count                     |
/// |                         report blocks                         |
/// ```
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
        Some(Self { info, blocks: blocks_of(count, &body[24..])? })
    }

    /// How the sender receives others.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        blocks_in(self.blocks)
    }
}

/// Appends a sender report with at most [`MAX_REPORT_BLOCKS`] of `blocks`.
pub fn write_sender_report(out: &mut Vec<u8>, info: &SenderInfo, blocks: &[ReportBlock]) {
    let blocks = &blocks[..blocks.len().min(MAX_REPORT_BLOCKS)];
    write_packet(out, blocks.len() as u8, SENDER_REPORT, |out| {
        put_ssrc(out, info.ssrc);
        out.extend_from_slice(&info.ntp.0.to_be_bytes());
        put_u32(out, info.rtp);
        put_u32(out, info.packets);
        put_u32(out, info.octets);
        blocks.iter().for_each(|block| block.write(out));
    });
}

/// A receiver report (RFC 3550 section 6.4.2), packet type 201: the receiver's SSRC, then report blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    blocks: &'a [u8],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        Some(Self { ssrc: ssrc_at(body, 0)?, blocks: blocks_of(count, &body[4..])? })
    }

    /// How it receives others.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        blocks_in(self.blocks)
    }
}

/// Appends a receiver report with at most [`MAX_REPORT_BLOCKS`] of `blocks`.
pub fn write_receiver_report(out: &mut Vec<u8>, ssrc: Ssrc, blocks: &[ReportBlock]) {
    let blocks = &blocks[..blocks.len().min(MAX_REPORT_BLOCKS)];
    write_packet(out, blocks.len() as u8, RECEIVER_REPORT, |out| {
        put_ssrc(out, ssrc);
        blocks.iter().for_each(|block| block.write(out));
    });
}

/// How one source is received (RFC 3550 section 6.4.1): 24 bytes.
///
/// ```text
/// |                             SSRC                              |
/// | fraction lost |       cumulative number of packets lost       |
/// |           extended highest sequence number received           |
/// |                      interarrival jitter                      |
/// |                         last SR (LSR)                         |
/// |                   delay since last SR (DLSR)                  |
/// ```
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
pub const MAX_REPORT_BLOCKS: usize = 31;
/// Bytes of a block.
pub(crate) const REPORT_BLOCK_LEN: usize = 24;
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
    fn write(&self, out: &mut Vec<u8>) {
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
fn blocks_of(count: u8, body: &[u8]) -> Option<&[u8]> {
    body.get(..usize::from(count) * REPORT_BLOCK_LEN)
}

/// The blocks in `bytes`.
fn blocks_in(bytes: &[u8]) -> impl Iterator<Item = ReportBlock> + '_ {
    bytes.chunks_exact(REPORT_BLOCK_LEN).filter_map(ReportBlock::parse)
}

/// Canonical name, the one item that a session needs.
const CNAME: u8 = 1;

/// A source description (RFC 3550 section 6.5), packet type 202: chunks of an SSRC and items.
///
/// ```text
/// |                             SSRC                              |
/// |   type (8)    |  length (8)   | text ... | 0, to a whole word |
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sdes<'a> {
    chunks: &'a [u8],
    count: u8,
}

impl<'a> Sdes<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let sdes = Self { chunks: body, count };
        (sdes.walk().count() == usize::from(count)).then_some(sdes)
    }

    /// Each source that has a canonical name.
    pub fn cnames(&self) -> impl Iterator<Item = (Ssrc, &'a [u8])> + use<'a> {
        self.walk().filter_map(|(ssrc, cname)| Some((ssrc, cname?)))
    }

    fn walk(&self) -> Chunks<'a> {
        Chunks { rest: self.chunks, left: self.count }
    }
}

/// Walks the chunks; ends early at a malformed one.
struct Chunks<'a> {
    rest: &'a [u8],
    left: u8,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = (Ssrc, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let ssrc = ssrc_at(self.rest, 0)?;
        let mut cname = None;
        let mut at = 4;
        while *self.rest.get(at)? != 0 {
            let end = at + 2 + usize::from(*self.rest.get(at + 1)?);
            let text = self.rest.get(at + 2..end)?;
            if self.rest[at] == CNAME {
                cname = cname.or(Some(text));
            }
            at = end;
        }
        let end = (at + 1).next_multiple_of(4);
        self.rest = self.rest.get(end..)?;
        Some((ssrc, cname))
    }
}

/// Appends a source description with one canonical name, cut to the 255 bytes that an item holds.
pub(crate) fn write_sdes_cname(out: &mut Vec<u8>, ssrc: Ssrc, cname: &str) {
    let text = &cname.as_bytes()[..cname.len().min(255)];
    write_packet(out, 1, SDES, |out| {
        put_ssrc(out, ssrc);
        out.extend_from_slice(&[CNAME, text.len() as u8]);
        out.extend_from_slice(text);
        let item = 2 + text.len();
        out.resize(out.len() + (item + 1).next_multiple_of(4) - item, 0);
    });
}
