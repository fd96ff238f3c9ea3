//! AV1 payloads (AV1 RTP payload specification section 4.4): aggregation header and open bitstream units (OBUs).
//!
//! ```text
//! |Z|Y| W |N|-|-|-|   Z goes on from the packet before, Y goes on in the next, W elements (0: each has a length),
//!                     N first packet of a coded video sequence
//! OBU: |F| type  |X|S|-|   X: | TID |SID|-|-|-|   S: | size (LEB128) |
//! ```

mod sequence;
mod temporal_unit;

use super::FrameFacts;
use super::bits::leb128;
pub use sequence::{Configuration, SequenceHeader, resolution, sequence_headers};
pub use temporal_unit::temporal_unit;

const CONTINUES: u8 = 0x80;
const NEW_SEQUENCE: u8 = 0x08;
/// In the head of a unit.
const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;
const SEQUENCE_HEADER: u8 = 1;
const FRAME_HEADER: u8 = 3;
const METADATA: u8 = 5;
const FRAME: u8 = 6;

/// What a packet says of its frame. Layers are told only by packets in which an OBU with an extension begins.
pub(super) fn frame_facts(payload: &[u8], marker: bool) -> Option<FrameFacts> {
    let (&aggregation, elements) = payload.split_first()?;
    let continues = aggregation & CONTINUES != 0;
    let keyframe = aggregation & NEW_SEQUENCE != 0;
    if elements.is_empty() || continues && keyframe {
        return None;
    }
    let mut facts = FrameFacts { keyframe, end_of_frame: marker, ..FrameFacts::default() };
    let mut layers = None;
    for (index, element) in Elements::new(aggregation, elements).enumerate() {
        let element = element?;
        if index == 0 && continues {
            continue;
        }
        let Some(unit) = Obu::parse(element) else { continue };
        let begins_frame = matches!(unit.unit_type, SEQUENCE_HEADER | FRAME_HEADER | METADATA | FRAME);
        facts.start_of_frame |= index == 0 && begins_frame;
        layers = layers.or(unit.layers);
        if unit.unit_type == SEQUENCE_HEADER {
            facts.resolution = resolution(unit.content);
        }
    }
    (facts.temporal, facts.spatial) = layers.unwrap_or_default();
    facts.switching_point = facts.temporal == 0;
    Some(facts)
}

/// The OBUs, or parts of OBUs, of a packet; `None`, and the end, at one that leaves it.
struct Elements<'a> {
    rest: &'a [u8],
    /// How many are left; `None` where each has a length.
    left: Option<u8>,
}

impl<'a> Elements<'a> {
    fn new(aggregation: u8, elements: &'a [u8]) -> Self {
        let count = (aggregation >> 4) & 3;
        Self { rest: elements, left: (count > 0).then_some(count) }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        if self.left == Some(1) {
            return Some(Some(std::mem::take(&mut self.rest)));
        }
        self.left = self.left.map(|left| left - 1);
        let element = leb128(self.rest).and_then(|(len, at)| {
            let end = at.checked_add(usize::try_from(len).ok()?)?;
            Some((self.rest.get(at..end)?, &self.rest[end..]))
        });
        self.rest = element.map_or(&[], |(_, rest)| rest);
        Some(element.map(|(element, _)| element))
    }
}

struct Obu<'a> {
    unit_type: u8,
    /// Temporal and spatial layer.
    layers: Option<(u8, u8)>,
    content: &'a [u8],
}

impl<'a> Obu<'a> {
    fn parse(element: &'a [u8]) -> Option<Self> {
        let (&head, mut content) = element.split_first()?;
        let mut layers = None;
        if head & HAS_EXTENSION != 0 {
            let (&extension, rest) = content.split_first()?;
            layers = Some((extension >> 5, (extension >> 3) & 3));
            content = rest;
        }
        if head & HAS_SIZE != 0 {
            let (_, len) = leb128(content)?;
            content = &content[len..];
        }
        Some(Self { unit_type: (head >> 3) & 0x0f, layers, content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bits::BitWriter;
    use proptest::prelude::*;

    /// Sequence header of a film of 1920x804, as an OBU without size.
    const SEQUENCE: [u8; 12] = [0x08, 0x00, 0x00, 0x00, 0x42, 0xa7, 0xbf, 0xe4, 0x60, 0x0d, 0x00, 0x40];

    #[test]
    fn a_new_sequence_begins_a_keyframe() {
        // Two elements: the sequence header, and a frame that goes on in the next packet.
        let mut payload = vec![0x68, SEQUENCE.len() as u8];
        payload.extend(SEQUENCE);
        payload.extend([0x30, 0x10, 0x00]);
        let facts = frame_facts(&payload, false).unwrap();
        assert!(facts.keyframe && facts.start_of_frame && facts.switching_point && !facts.end_of_frame);
        assert_eq!(facts.resolution, Some((1_920, 804)));
        let next = frame_facts(&[0x90, 0xaa, 0xbb], true).unwrap();
        assert!(!next.start_of_frame && !next.keyframe && next.end_of_frame);
    }

    #[test]
    fn units_with_a_size_are_read_too() {
        let mut payload = vec![0x18, 0x0a, SEQUENCE.len() as u8 - 1];
        payload.extend(&SEQUENCE[1..]);
        assert_eq!(frame_facts(&payload, false).unwrap().resolution, Some((1_920, 804)));
    }

    #[test]
    fn layers_stand_in_the_extension() {
        let facts = frame_facts(&[0x10, 0x34, 0x48, 0x00], true).unwrap();
        assert_eq!((facts.temporal, facts.spatial, facts.switching_point), (2, 1, false));
        assert!(facts.start_of_frame);
        let tiles = frame_facts(&[0x10, 0x20, 0x00], true).unwrap();
        assert!(!tiles.start_of_frame, "a tile group goes on with a frame");
    }

    #[test]
    fn refuses_what_cannot_be() {
        assert!(frame_facts(&[], false).is_none());
        assert!(frame_facts(&[0x10], false).is_none(), "no elements");
        assert!(frame_facts(&[0x98, 0x00], false).is_none(), "a new sequence cannot go on from before");
        assert!(frame_facts(&[0x20, 0x05, 0x30], false).is_none(), "an element leaves the packet");
        assert!(frame_facts(&[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], false).is_none());
    }

    proptest! {
        #[test]
        fn any_size_is_read(
            width in 1..=65_535u32, height in 1..=65_535u32, timing: bool, model: bool, display_delay: bool,
            points in 1..=32u32, reduced: bool,
        ) {
            let mut bits = BitWriter::default();
            bits.bits(0, 4).flag(reduced);
            if reduced {
                bits.bits(8, 5);
            } else {
                bits.flag(timing);
                if timing {
                    bits.bits(7, 32).bits(9, 32).flag(true).exp_golomb(3).flag(model);
                    if model {
                        bits.bits(9, 5).bits(1, 32).bits(0, 10);
                    }
                }
                bits.flag(display_delay).bits(points - 1, 5);
                for point in 0..points {
                    let level = point % 16;
                    bits.bits(point, 12).bits(level, 5);
                    if level > 7 {
                        bits.flag(true);
                    }
                    if timing && model {
                        let present = point % 2 == 0;
                        bits.flag(present);
                        if present {
                            bits.bits(5, 10).bits(6, 10).flag(false);
                        }
                    }
                    if display_delay {
                        bits.flag(point % 3 == 0);
                        if point % 3 == 0 {
                            bits.bits(2, 4);
                        }
                    }
                }
            }
            let sequence = bits.bits(15, 4).bits(15, 4).bits(width - 1, 16).bits(height - 1, 16).finish();
            prop_assert_eq!(resolution(&sequence), Some((width as u16, height as u16)));
        }
    }
}
