//! Writes RTP headers (RFC 3550 section 5.1, RFC 8285 section 4); `header.rs` shows the layout.

use super::header::{FIXED_LEN, ONE_BYTE_PROFILE, TWO_BYTE_PROFILE};
use crate::ids::{PayloadType, Ssrc};

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
