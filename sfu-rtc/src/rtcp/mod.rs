//! RTCP (RFC 3550 section 6, RFC 4585, RFC 5104): a view per packet type that allocates nothing, and writers that
//! append to the caller's buffer.
//!
//! Every packet begins alike:
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |V=2|P| count/FMT |      type     |    length in words - 1      |
//! ```

mod feedback;
mod report;
mod twcc;

pub(crate) use feedback::write_fir;
pub use feedback::{Fir, Nack, Pli, Remb, write_nack, write_pli, write_remb};
pub use report::{
    MAX_REPORT_BLOCKS, ReceiverReport, ReportBlock, Sdes, SenderInfo, SenderReport, write_receiver_report,
    write_sender_report,
};
pub(crate) use report::{REPORT_BLOCK_LEN, write_sdes_cname};
pub use twcc::{TwccFeedback, TwccView, write_twcc};

use crate::drop_reason::DropReason;
use crate::ids::Ssrc;
use crate::rtp::write_padding;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SDES: u8 = 202;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

/// One RTCP packet.
#[derive(Clone, Copy, Debug)]
pub enum RtcpView<'a> {
    /// Sender report.
    SenderReport(SenderReport<'a>),
    /// Receiver report.
    ReceiverReport(ReceiverReport<'a>),
    /// Source description.
    Sdes(Sdes<'a>),
    /// Generic NACK.
    Nack(Nack<'a>),
    /// Picture loss indication.
    Pli(Pli),
    /// Full intra request.
    Fir(Fir<'a>),
    /// Receiver estimated maximum bitrate.
    Remb(Remb<'a>),
    /// Transport-wide congestion control feedback.
    Twcc(TwccView<'a>),
    /// A type or format that we do not read.
    Other {
        /// Packet type.
        packet_type: u8,
        /// Count or feedback format.
        count: u8,
    },
}

impl<'a> RtcpView<'a> {
    fn parse(packet_type: u8, count: u8, body: &'a [u8]) -> Option<Self> {
        Some(match (packet_type, count) {
            (SENDER_REPORT, _) => Self::SenderReport(SenderReport::parse(count, body)?),
            (RECEIVER_REPORT, _) => Self::ReceiverReport(ReceiverReport::parse(count, body)?),
            (SDES, _) => Self::Sdes(Sdes::parse(count, body)?),
            (TRANSPORT_FEEDBACK, Nack::FORMAT) => Self::Nack(Nack::parse(body)?),
            (TRANSPORT_FEEDBACK, TwccView::FORMAT) => Self::Twcc(TwccView::parse(body)?),
            (PAYLOAD_FEEDBACK, Pli::FORMAT) => Self::Pli(Pli::parse(body)?),
            (PAYLOAD_FEEDBACK, Fir::FORMAT) => Self::Fir(Fir::parse(body)?),
            (PAYLOAD_FEEDBACK, Remb::FORMAT) if Remb::is_remb(body) => Self::Remb(Remb::parse(body)?),
            _ => Self::Other { packet_type, count },
        })
    }
}

/// The packets of a compound (RFC 3550 section 6.1), reduced-size ones included (RFC 5506). A packet whose content is
/// malformed is passed over with an error; a broken header, after which nothing can be found, ends the walk with one.
pub fn compound(buf: &[u8]) -> impl Iterator<Item = Result<RtcpView<'_>, DropReason>> {
    Compound { rest: buf }
}

struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<RtcpView<'a>, DropReason>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((head, body, rest)) = split_first(self.rest) else {
            self.rest = &[];
            return Some(Err(DropReason::RtcpMalformed));
        };
        self.rest = rest;
        let view = RtcpView::parse(head.packet_type, head.count, body);
        Some(view.ok_or(DropReason::RtcpMalformed))
    }
}

struct Head {
    packet_type: u8,
    count: u8,
}

/// The first packet's head and body (padding left out), and what follows it.
fn split_first(buf: &[u8]) -> Option<(Head, &[u8], &[u8])> {
    let first = *buf.first()?;
    let packet_type = *buf.get(1)?;
    let len = 4 + 4 * usize::from(u16_at(buf, 2)?);
    if first >> 6 != 2 || buf.len() < len {
        return None;
    }
    let (packet, rest) = buf.split_at(len);
    let mut body = &packet[4..];
    if first & 0x20 != 0 {
        let padding = usize::from(*body.last()?);
        if padding == 0 {
            return None;
        }
        body = body.get(..body.len().checked_sub(padding)?)?;
    }
    Some((Head { packet_type, count: first & 0x1f }, body, rest))
}

/// The 16 bits at `at`.
fn u16_at(body: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?))
}

/// The 32 bits at `at`.
fn u32_at(body: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?))
}

/// The 64 bits at `at`.
fn u64_at(body: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(body.get(at..at + 8)?.try_into().ok()?))
}

/// The source at `at`.
fn ssrc_at(body: &[u8], at: usize) -> Option<Ssrc> {
    u32_at(body, at).map(Ssrc)
}

/// The sender and the media source that every feedback packet begins with (RFC 4585 section 6.1).
fn feedback_ssrcs(body: &[u8]) -> Option<(Ssrc, Ssrc)> {
    Some((ssrc_at(body, 0)?, ssrc_at(body, 4)?))
}

/// Appends one packet: the header, what `body` writes and, where that ends within a word, padding announced by the
/// P bit (RFC 3550 section 6.4.1).
fn write_packet(out: &mut Vec<u8>, count: u8, packet_type: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[(2 << 6) | (count & 0x1f), packet_type, 0, 0]);
    body(out);
    let uneven = (out.len() - start) % 4;
    if uneven != 0 {
        out[start] |= 0x20;
        write_padding(out, 4 - uneven as u8);
    }
    let words = (out.len() - start) / 4 - 1;
    // Every writer bounds what it writes far below this.
    let words = u16::try_from(words).unwrap_or(u16::MAX);
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

/// Appends a source.
fn put_ssrc(out: &mut Vec<u8>, ssrc: Ssrc) {
    out.extend_from_slice(&ssrc.0.to_be_bytes());
}

/// Appends 16 bits.
fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends 32 bits.
fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests;
