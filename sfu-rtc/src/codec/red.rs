//! Redundant audio data (RFC 2198): older audio in front of the packet's own.
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
/// Largest timestamp offset of a redundant block: 341 ms at 48 kHz.
const MAX_OFFSET: u32 = 0x3fff;
/// Longest redundant block.
const MAX_LENGTH: usize = 0x3ff;

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

/// A redundant block to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Redundant<'a> {
    /// Its payload type.
    pub payload_type: PayloadType,
    /// How far its timestamp lies before that of the packet.
    pub timestamp_offset: u32,
    /// Its data.
    pub data: &'a [u8],
}

impl Redundant<'_> {
    /// Whether its header can say it: an offset of 14 bits, a length of 10.
    pub fn fits(&self) -> bool {
        self.timestamp_offset <= MAX_OFFSET && self.data.len() <= MAX_LENGTH
    }
}

/// Appends a payload to `out`: `redundant`, oldest first, then the primary block. Blocks that do not
/// [fit](Redundant::fits) are left out.
pub fn write(redundant: &[Redundant<'_>], payload_type: PayloadType, primary: &[u8], out: &mut Vec<u8>) {
    let blocks = || redundant.iter().filter(|block| block.fits());
    for block in blocks() {
        out.push(block.payload_type.0 | FOLLOWED);
        let word = (block.timestamp_offset << 10) | block.data.len() as u32;
        out.extend(&word.to_be_bytes()[1..]);
    }
    out.push(payload_type.0 & !FOLLOWED);
    blocks().for_each(|block| out.extend(block.data));
    out.extend(primary);
}

/// Writes to `out` the headers of a payload with all blocks of `payload_type`, which receivers may number otherwise. How
/// many bytes of the payload they take the place of: 0, with nothing written, where all are of that type already, `out` has
/// no room, or the payload is malformed.
pub fn relabel<const N: usize>(payload: &[u8], payload_type: PayloadType, out: &mut ArrayVec<u8, N>) -> u8 {
    let Some(headers) = redundant_headers(payload) else { return 0 };
    let Some(old) = payload.get(..=headers).filter(|old| old.len() <= out.remaining_capacity()) else { return 0 };
    let label = |first: u8| first & FOLLOWED | payload_type.0 & !FOLLOWED;
    if old.iter().step_by(LONG_HEADER).all(|first| *first == label(*first)) {
        return 0;
    }
    let starts_block = |at: usize| at.is_multiple_of(LONG_HEADER);
    out.extend(old.iter().enumerate().map(|(at, byte)| if starts_block(at) { label(*byte) } else { *byte }));
    u8::try_from(old.len()).unwrap_or(0) // at most MAX_REDUNDANT headers
}

/// Where in the payload the primary block stands.
pub fn primary(payload: &[u8]) -> Option<Range<usize>> {
    Red::parse(payload).map(|red| red.primary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn reads_a_packet_of_chromium() {
        // Opus is 111; one packet of 20 ms before (960), three bytes.
        let payload = [0xef, 0x0f, 0x00, 0x03, 0x6f, 1, 2, 3, 0x78, 9, 9];
        let red = Red::parse(&payload).unwrap();
        let block = Block { payload_type: PayloadType(111), timestamp_offset: 960, range: 5..8 };
        assert_eq!(red.redundant[..], [block]);
        assert_eq!((red.primary_payload_type, red.primary), (PayloadType(111), 8..11));
        assert_eq!(primary(&[0x6f, 0x78]), Some(1..2));
    }

    #[test]
    fn writes_a_packet_of_chromium_and_leaves_out_what_does_not_fit() {
        let block = |timestamp_offset, data| Redundant { payload_type: PayloadType(111), timestamp_offset, data };
        let long = [0; 1024];
        let blocks = [block(0x4000, &[7][..]), block(960, &[1, 2, 3]), block(480, &long)];
        let mut payload = Vec::new();
        write(&blocks, PayloadType(111), &[0x78, 9, 9], &mut payload);
        assert_eq!(payload, [0xef, 0x0f, 0x00, 0x03, 0x6f, 1, 2, 3, 0x78, 9, 9]);
    }

    #[test]
    fn blocks_get_the_type_that_the_receiver_knows() {
        let payload = [0xef, 0x0f, 0x00, 0x03, 0x6f, 1, 2, 3, 0x78, 9, 9];
        let relabelled = |payload_type| {
            let mut headers = ArrayVec::<u8, 16>::new();
            let skip = relabel(&payload, PayloadType(payload_type), &mut headers);
            (headers.to_vec(), skip)
        };
        assert_eq!(relabelled(109), (vec![0xed, 0x0f, 0x00, 0x03, 0x6d], 5));
        assert_eq!(relabelled(111), (vec![], 0), "it is right as it is");
        let mut small = ArrayVec::<u8, 4>::new();
        assert_eq!((relabel(&payload, PayloadType(109), &mut small), small.len()), (0, 0));
        assert_eq!(relabel(&[0xef; 60], PayloadType(109), &mut ArrayVec::<u8, 64>::new()), 0, "headers without end");
    }

    #[test]
    fn refuses_what_has_no_primary() {
        assert!(Red::parse(&[]).is_none());
        assert!(Red::parse(&[0x6f]).is_none(), "no data");
        assert!(Red::parse(&[0xef, 0x0f, 0x00, 0x03]).is_none(), "no last header");
        assert!(Red::parse(&[0xef, 0x0f, 0x00, 0x03, 0x6f, 1, 2, 3]).is_none(), "redundancy alone");
        assert!(Red::parse(&[0xef, 0x0f, 0x00, 0x03, 0x6f, 1]).is_none(), "redundancy cut short");
        assert!(Red::parse(&[0xef; 60]).is_none(), "headers without end");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            blocks in vec((0..128u8, 0..0x4000u16, vec(any::<u8>(), 1..60)), 0..=MAX_REDUNDANT),
            primary_type in 0..128u8, data in vec(any::<u8>(), 1..60),
        ) {
            let redundant: Vec<_> = blocks.iter()
                .map(|(block_type, offset, data)| {
                    let payload_type = PayloadType(*block_type);
                    Redundant { payload_type, timestamp_offset: u32::from(*offset), data }
                })
                .collect();
            let mut payload = Vec::new();
            write(&redundant, PayloadType(primary_type), &data, &mut payload);
            let red = Red::parse(&payload).unwrap();
            let read: Vec<_> = red.redundant.iter()
                .map(|b| (b.payload_type.0, b.timestamp_offset, payload[b.range.clone()].to_vec()))
                .collect();
            prop_assert_eq!(read, blocks);
            prop_assert_eq!(red.primary_payload_type, PayloadType(primary_type));
            prop_assert_eq!(&payload[red.primary], &data[..]);
        }
    }
}
