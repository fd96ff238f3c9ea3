//! Compound packets (RFC 3550 section 6.1), reduced-size ones included (RFC 5506).

use super::wire::{self, PAYLOAD_FEEDBACK, RECEIVER_REPORT, SDES, SENDER_REPORT, TRANSPORT_FEEDBACK};
use super::{Fir, Nack, Pli, ReceiverReport, Remb, Sdes, SenderReport, TwccView};
use crate::drop_reason::DropReason;

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

/// The packets of a compound. A packet whose content is malformed is passed over with an error; a broken frame of
/// a packet ends the walk with one.
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
    let len = 4 + 4 * usize::from(wire::u16_at(buf, 2)?);
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
