//! RTP header (RFC 3550 section 5.1) with header extensions in the one- and two-byte form (RFC 8285 section 4).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |V=2|P|X|  CC   |M|     PT      |       sequence number         |
//! |                           timestamp                           |
//! |                             SSRC                              |
//! |                        CSRC (CC times)                        |
//! |  0xBEDE or 0x100x (X=1)       |      length in words          |
//! |                   header extension elements                   |
//! ```
//! Element, one-byte form: id (4 bits), length - 1 (4 bits), value. Two-byte form: id (8), length (8), value.
//! A zero byte between elements is padding.

use crate::drop_reason::DropReason;
use crate::ids::{PayloadType, Ssrc};
use std::ops::Range;

/// Length of the header without CSRCs and extensions.
pub(super) const FIXED_LEN: usize = 12;
/// "Defined by profile" of the one-byte form.
pub(super) const ONE_BYTE_PROFILE: u16 = 0xbede;
/// "Defined by profile" of the two-byte form; its low four bits belong to the application.
pub(super) const TWO_BYTE_PROFILE: u16 = 0x1000;

/// What must be known of an SRTP packet before it is opened: its padding and payload are still sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealedHeader {
    /// Payload type.
    pub payload_type: PayloadType,
    /// Sequence number.
    pub seq: u16,
    /// Source.
    pub ssrc: Ssrc,
    /// Length of the header with CSRCs and extensions; all that follows is sealed.
    pub header_len: usize,
}

impl SealedHeader {
    /// Reads the header of a sealed packet.
    pub fn parse(buf: &[u8]) -> Result<Self, DropReason> {
        let layout = Layout::parse(buf).ok_or(DropReason::RtpMalformed)?;
        let header = Fixed(buf);
        Ok(Self {
            payload_type: header.payload_type(),
            seq: header.seq(),
            ssrc: header.ssrc(),
            header_len: layout.header_len,
        })
    }
}

/// An RTP packet, checked: every accessor is within bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtpView<'a> {
    buf: &'a [u8],
    layout: Layout,
    padding_len: usize,
}

impl<'a> RtpView<'a> {
    /// Checks version, CSRCs, the block of extensions and padding. Of a broken block, what precedes the break counts.
    pub fn parse(buf: &'a [u8]) -> Result<Self, DropReason> {
        let layout = Layout::parse(buf).ok_or(DropReason::RtpMalformed)?;
        let padding_len = padding_len(buf, layout.header_len).ok_or(DropReason::RtpMalformed)?;
        Ok(Self { buf, layout, padding_len })
    }

    /// Payload type.
    pub fn payload_type(&self) -> PayloadType {
        Fixed(self.buf).payload_type()
    }

    /// Sequence number.
    pub fn seq(&self) -> u16 {
        Fixed(self.buf).seq()
    }

    /// Timestamp.
    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes([self.buf[4], self.buf[5], self.buf[6], self.buf[7]])
    }

    /// Source.
    pub fn ssrc(&self) -> Ssrc {
        Fixed(self.buf).ssrc()
    }

    /// Marker bit.
    pub fn marker(&self) -> bool {
        self.buf[1] & 0x80 != 0
    }

    /// Length of the header with CSRCs and extensions.
    pub fn header_len(&self) -> usize {
        self.layout.header_len
    }

    /// How many bytes of padding follow the payload.
    pub fn padding_len(&self) -> usize {
        self.padding_len
    }

    /// The payload, padding left out.
    pub fn payload(&self) -> &'a [u8] {
        &self.buf[self.payload_range()]
    }

    /// Where the payload stands, padding left out.
    pub fn payload_range(&self) -> Range<usize> {
        self.layout.header_len..self.buf.len() - self.padding_len
    }

    /// Value of the header extension with this id.
    pub fn extension(&self, id: u8) -> Option<&'a [u8]> {
        self.extension_range(id).map(|range| &self.buf[range])
    }

    /// Where the value of the header extension with this id stands.
    pub fn extension_range(&self, id: u8) -> Option<Range<usize>> {
        self.elements().find(|(found, _)| *found == id).map(|(_, range)| range)
    }

    /// Every header extension: id and value.
    pub fn extensions(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let buf = self.buf;
        self.elements().map(move |(id, range)| (id, &buf[range]))
    }

    fn elements(&self) -> Elements<'a> {
        let end = self.layout.elements.end;
        Elements { buf: &self.buf[..end], at: self.layout.elements.start, two_byte: self.layout.two_byte }
    }
}

/// The fields that every header has; the buffer is known to hold them.
struct Fixed<'a>(&'a [u8]);

impl Fixed<'_> {
    fn payload_type(&self) -> PayloadType {
        PayloadType(self.0[1] & 0x7f)
    }

    fn seq(&self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    fn ssrc(&self) -> Ssrc {
        Ssrc(u32::from_be_bytes([self.0[8], self.0[9], self.0[10], self.0[11]]))
    }
}

/// A range that can be copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span {
    start: usize,
    end: usize,
}

/// Where the parts of the header stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Layout {
    header_len: usize,
    elements: Span,
    two_byte: bool,
}

impl Layout {
    fn parse(buf: &[u8]) -> Option<Self> {
        let first = *buf.first()?;
        if first >> 6 != 2 {
            return None;
        }
        let csrc_end = FIXED_LEN + 4 * usize::from(first & 0x0f);
        if buf.len() < csrc_end {
            return None;
        }
        if first & 0x10 == 0 {
            let elements = Span { start: csrc_end, end: csrc_end };
            return Some(Self { header_len: csrc_end, elements, two_byte: false });
        }
        let start = csrc_end + 4;
        let block: [u8; 4] = buf.get(csrc_end..start)?.try_into().ok()?;
        let profile = u16::from_be_bytes([block[0], block[1]]);
        let end = start + 4 * usize::from(u16::from_be_bytes([block[2], block[3]]));
        if buf.len() < end {
            return None;
        }
        let two_byte = profile & 0xfff0 == TWO_BYTE_PROFILE;
        let known = two_byte || profile == ONE_BYTE_PROFILE;
        let elements = Span { start: if known { start } else { end }, end };
        Some(Self { header_len: end, elements, two_byte })
    }
}

/// Length of the padding (RFC 3550 section 5.1): its last byte counts it, itself included.
fn padding_len(buf: &[u8], header_len: usize) -> Option<usize> {
    if buf[0] & 0x20 == 0 {
        return Some(0);
    }
    let padding = usize::from(*buf.last()?);
    (padding != 0 && padding <= buf.len() - header_len).then_some(padding)
}

/// Walks the elements: id and where the value stands.
///
/// It ends at one that leaves the block, and what follows in the block is not read. The payload's place does not depend
/// on it, and a receiver may ignore header extensions (RFC 3550 section 5.3.1), so no media is lost by it.
struct Elements<'a> {
    buf: &'a [u8],
    at: usize,
    two_byte: bool,
}

impl Iterator for Elements<'_> {
    type Item = (u8, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.buf.get(self.at) == Some(&0) {
            self.at += 1;
        }
        let element = self.element();
        self.at = element.as_ref().map_or(self.buf.len(), |(_, range)| range.end);
        element
    }
}

impl Elements<'_> {
    fn element(&self) -> Option<(u8, Range<usize>)> {
        let head = *self.buf.get(self.at)?;
        let (id, start, len) = if self.two_byte {
            (head, self.at + 2, usize::from(*self.buf.get(self.at + 1)?))
        } else {
            (head >> 4, self.at + 1, usize::from(head & 0x0f) + 1)
        };
        // RFC 8285 section 4.2: what begins with these in the one-byte form is reserved, and so is all that follows.
        let reserved = !self.two_byte && (id == 0 || id == 15);
        (!reserved && start + len <= self.buf.len()).then_some((id, start..start + len))
    }
}
