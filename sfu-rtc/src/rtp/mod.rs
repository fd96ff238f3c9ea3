//! RTP packets: views of the header that copy nothing, a writer of headers, and the header extensions.
//!
//! Header (RFC 3550 section 5.1) with header extensions in the one- and two-byte form (RFC 8285 section 4).
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

pub mod extension;

use crate::drop_reason::DropReason;
use crate::ids::{PayloadType, Ssrc};
use std::ops::Range;

/// Length of the header without CSRCs and extensions.
const FIXED_LEN: usize = 12;
/// "Defined by profile" of the one-byte form.
const ONE_BYTE_PROFILE: u16 = 0xbede;
/// "Defined by profile" of the two-byte form; its low four bits belong to the application.
const TWO_BYTE_PROFILE: u16 = 0x1000;

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
    pub(crate) fn payload_range(&self) -> Range<usize> {
        self.layout.header_len..self.buf.len() - self.padding_len
    }

    /// Value of the header extension with this id.
    pub fn extension(&self, id: u8) -> Option<&'a [u8]> {
        self.extension_range(id).map(|range| &self.buf[range])
    }

    /// Where the value of the header extension with this id stands.
    pub(crate) fn extension_range(&self, id: u8) -> Option<Range<usize>> {
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

/// Fields of an RTP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtpHeader {
    /// Payload type.
    pub payload_type: PayloadType,
    /// Sequence number.
    pub seq: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// Source.
    pub ssrc: Ssrc,
    /// Marker bit.
    pub marker: bool,
}

/// Longest value that the one-byte form carries.
const ONE_BYTE_MAX_LEN: usize = 16;
/// Highest id that the one-byte form carries.
const ONE_BYTE_MAX_ID: u8 = 14;
/// Longest block of elements that we write; far above need, far below what the 16-bit count of words allows.
const MAX_BLOCK: usize = 1_024;

/// Appends an RTP header to a buffer: the fixed part at once, then extension by extension.
///
/// The elements take the one-byte form until one comes that does not fit it; then all take the two-byte form.
#[derive(Debug)]
pub struct HeaderWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    two_byte: bool,
}

impl<'a> HeaderWriter<'a> {
    /// Appends the fixed part.
    pub fn new(out: &'a mut Vec<u8>, header: RtpHeader) -> Self {
        let start = out.len();
        let mut fixed = [0; FIXED_LEN];
        fixed[0] = 2 << 6;
        fixed[1] = (u8::from(header.marker) << 7) | (header.payload_type.0 & 0x7f);
        fixed[2..4].copy_from_slice(&header.seq.to_be_bytes());
        fixed[4..8].copy_from_slice(&header.timestamp.to_be_bytes());
        fixed[8..12].copy_from_slice(&header.ssrc.0.to_be_bytes());
        out.extend_from_slice(&fixed);
        Self { out, start, two_byte: false }
    }

    /// Announces padding after the payload; see [`write_padding`].
    pub fn padded(&mut self) {
        self.out[self.start] |= 0x20;
    }

    /// Appends a header extension. `false`, and nothing written, for id 0, for a value of more than 255 bytes and
    /// where the block would grow out of all proportion.
    pub fn extension(&mut self, id: u8, value: &[u8]) -> bool {
        let Ok(len) = u8::try_from(value.len()) else { return false };
        if id == 0 || self.block_len() + 2 + value.len() > MAX_BLOCK {
            return false;
        }
        if !self.has_block() {
            self.out[self.start] |= 0x10;
            self.out.extend_from_slice(&[0; 4]);
        }
        if id > ONE_BYTE_MAX_ID || value.is_empty() || value.len() > ONE_BYTE_MAX_LEN {
            self.widen();
        }
        if self.two_byte {
            self.out.extend_from_slice(&[id, len]);
        } else {
            self.out.push((id << 4) | (len - 1));
        }
        self.out.extend_from_slice(value);
        true
    }

    /// Appends zeros behind the last extension, which receivers pass over (RFC 8285 section 4.1.1).
    pub fn fill(&mut self, bytes: usize) {
        if self.has_block() && self.block_len() + bytes <= MAX_BLOCK {
            self.out.resize(self.out.len() + bytes, 0);
        }
    }

    /// Completes the extension block. Returns the length of the header.
    pub fn finish(self) -> usize {
        if self.has_block() {
            let padded = self.block_len().next_multiple_of(4);
            self.out.resize(self.elements() + padded, 0);
            let profile = if self.two_byte { TWO_BYTE_PROFILE } else { ONE_BYTE_PROFILE };
            let words = (padded / 4) as u16; // at most MAX_BLOCK / 4
            let block = self.start + FIXED_LEN;
            self.out[block..block + 2].copy_from_slice(&profile.to_be_bytes());
            self.out[block + 2..block + 4].copy_from_slice(&words.to_be_bytes());
        }
        self.out.len() - self.start
    }

    fn has_block(&self) -> bool {
        self.out[self.start] & 0x10 != 0
    }

    /// Where the elements begin.
    fn elements(&self) -> usize {
        self.start + FIXED_LEN + 4
    }

    fn block_len(&self) -> usize {
        self.out.len().saturating_sub(self.elements())
    }

    /// Gives the elements written so far the two-byte form.
    fn widen(&mut self) {
        if self.two_byte {
            return;
        }
        self.two_byte = true;
        let mut at = self.elements();
        while let Some(&head) = self.out.get(at) {
            let len = (head & 0x0f) + 1;
            self.out[at] = head >> 4;
            self.out.insert(at + 1, len);
            at += 2 + usize::from(len);
        }
    }
}

/// Appends `len` bytes of padding, the last of which counts them; nothing for 0. The header must announce it.
pub fn write_padding(out: &mut Vec<u8>, len: u8) {
    if len > 0 {
        out.resize(out.len() + usize::from(len) - 1, 0);
        out.push(len);
    }
}

#[cfg(test)]
mod tests;
