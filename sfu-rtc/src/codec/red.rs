//! Redundant audio data (RFC 2198): older sound in front of the packet's own.
//!
//! ```text
//! |1|   block PT  |  timestamp offset (14)    |  length (10)      |  each redundant block, oldest first
//! |0|   block PT  |                                                  the primary
//! | data, in the same order; the primary's takes the rest |
//! ```

use crate::ids::PayloadType;
use arrayvec::ArrayVec;
use std::ops::Range;

/// Most redundant blocks that we read; browsers send one or two.
pub const MAX_REDUNDANT: usize = 8;

/// A redundant block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Its payload type.
    pub payload_type: PayloadType,
    /// How far its timestamp lies before that of the packet.
    pub timestamp_offset: u16,
    /// Where in the payload it stands.
    pub range: Range<usize>,
}

/// A payload taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Red {
    /// Redundant blocks, oldest first; empty ones are left out.
    pub redundant: ArrayVec<Block, MAX_REDUNDANT>,
    /// Payload type of the primary block.
    pub primary_payload_type: PayloadType,
    /// Where in the payload the primary block stands.
    pub primary: Range<usize>,
}

const FOLLOWED: u8 = 0x80;
const LONG_HEADER: usize = 4;

impl Red {
    /// Takes a payload apart. `None` where it is malformed, has too many blocks or no primary data.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let headers = redundant_headers(payload)?;
        let last = *payload.get(headers)?;
        let mut red =
            Self { redundant: ArrayVec::new(), primary_payload_type: PayloadType(last & !FOLLOWED), primary: 0..0 };
        let mut start = headers + 1;
        for header in payload[..headers].chunks_exact(LONG_HEADER) {
            let word = u32::from_be_bytes(header.try_into().ok()?);
            let end = start + (word & 0x3ff) as usize;
            if end > start {
                let payload_type = PayloadType(header[0] & !FOLLOWED);
                let timestamp_offset = ((word >> 10) & 0x3fff) as u16;
                red.redundant.push(Block { payload_type, timestamp_offset, range: start..end });
            }
            start = end;
        }
        red.primary = start..payload.len();
        (start < payload.len()).then_some(red)
    }
}

/// Bytes of the redundant blocks' headers.
fn redundant_headers(payload: &[u8]) -> Option<usize> {
    let blocks = payload.iter().step_by(LONG_HEADER).take_while(|first| **first & FOLLOWED != 0).count();
    (blocks <= MAX_REDUNDANT).then_some(blocks * LONG_HEADER)
}

/// Where in the payload the primary block stands.
pub fn primary(payload: &[u8]) -> Option<Range<usize>> {
    Red::parse(payload).map(|red| red.primary)
}
