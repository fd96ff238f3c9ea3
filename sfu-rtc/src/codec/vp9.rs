//! VP9 payload descriptor (RFC 9628 section 4.2).
//!
//! ```text
//! |I|P|L|F|B|E|V|Z|   P inter-picture predicted, B/E begin and end of a layer frame, Z not for upper spatial layers
//! |M| PICTURE ID  |   I: 7 bits, or 15 with M
//! | TID |U| SID |D|   L: layers, U switching up point, D inter-layer dependency
//! |   TL0PICIDX   |   L and not F
//! |   P_DIFF    |N|   F and P: up to three, as long as N
//! | N_S |Y|G|-|-|-|   V: scalability structure: sizes (16 + 16 bits each), then the pictures of a group
//! ```

use super::FrameFacts;
use super::bits::BitReader;
use super::vp8::{read_picture_id, write_picture_id};
use arrayvec::ArrayVec;

const HAS_PICTURE_ID: u8 = 0x80;
const PREDICTED: u8 = 0x40;
const HAS_LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGIN: u8 = 0x08;
const END: u8 = 0x04;
const HAS_STRUCTURE: u8 = 0x02;
const NOT_FOR_UPPER: u8 = 0x01;

/// Most spatial layers: their count has three bits.
const MAX_SPATIAL: usize = 8;
/// Most frames that a frame may refer to.
const MAX_REFERENCES: usize = 3;

/// A VP9 payload descriptor.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Descriptor {
    /// Picture id.
    pub picture_id: Option<u16>,
    /// The layer frame refers to earlier pictures.
    pub predicted: bool,
    /// References are told frame by frame.
    pub flexible: bool,
    /// First packet of a layer frame.
    pub begin: bool,
    /// Last packet of a layer frame.
    pub end: bool,
    /// Upper spatial layers of the picture do not refer to the layer frame.
    pub not_for_upper: bool,
    /// Temporal layer.
    pub temporal: u8,
    /// Spatial layer.
    pub spatial: u8,
    /// From here on temporal layers above this one refer to nothing before it.
    pub switching_up: bool,
    /// The layer frame refers to the spatial layer below.
    pub inter_layer: bool,
    /// Index of the base-layer frame.
    pub tl0_pic_idx: Option<u8>,
    /// Width and height of each spatial layer, lowest first, where the packet tells them.
    pub sizes: ArrayVec<(u16, u16), MAX_SPATIAL>,
    /// Bytes of the descriptor.
    pub len: usize,
}

impl Descriptor {
    /// Reads the descriptor that begins a payload; at least a byte of the frame must follow.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let flags = *payload.first()?;
        let has = |flag| flags & flag != 0;
        let mut descriptor = Self {
            predicted: has(PREDICTED),
            flexible: has(FLEXIBLE),
            begin: has(BEGIN),
            end: has(END),
            not_for_upper: has(NOT_FOR_UPPER),
            len: 1,
            ..Self::default()
        };
        if has(HAS_PICTURE_ID) {
            let (id, len) = read_picture_id(&payload[descriptor.len..])?;
            descriptor.picture_id = Some(id);
            descriptor.len += len;
        }
        if has(HAS_LAYERS) {
            descriptor.read_layers(payload)?;
        }
        if has(FLEXIBLE) && has(PREDICTED) {
            descriptor.skip_references(payload)?;
        }
        if has(HAS_STRUCTURE) {
            descriptor.read_structure(payload)?;
        }
        (descriptor.len < payload.len()).then_some(descriptor)
    }

    fn byte(&mut self, payload: &[u8]) -> Option<u8> {
        let byte = *payload.get(self.len)?;
        self.len += 1;
        Some(byte)
    }

    fn read_layers(&mut self, payload: &[u8]) -> Option<()> {
        let layers = self.byte(payload)?;
        self.temporal = layers >> 5;
        self.switching_up = layers & 0x10 != 0;
        self.spatial = (layers >> 1) & 7;
        self.inter_layer = layers & 1 != 0;
        if !self.flexible {
            self.tl0_pic_idx = Some(self.byte(payload)?);
        }
        Some(())
    }

    fn skip_references(&mut self, payload: &[u8]) -> Option<()> {
        for _ in 0..MAX_REFERENCES {
            if self.byte(payload)? & 1 == 0 {
                return Some(());
            }
        }
        None
    }

    fn read_structure(&mut self, payload: &[u8]) -> Option<()> {
        let head = self.byte(payload)?;
        if head & 0x10 != 0 {
            for _ in 0..=head >> 5 {
                let size: [u8; 4] = *payload.get(self.len..)?.first_chunk()?;
                self.len += 4;
                self.sizes.push((u16::from_be_bytes([size[0], size[1]]), u16::from_be_bytes([size[2], size[3]])));
            }
        }
        if head & 0x08 != 0 {
            for _ in 0..self.byte(payload)? {
                let references = (self.byte(payload)? >> 2) & 3;
                self.len += usize::from(references);
            }
        }
        Some(())
    }
}

/// What a packet says of its layer frame.
pub(super) fn frame_facts(payload: &[u8]) -> Option<FrameFacts> {
    let descriptor = Descriptor::parse(payload)?;
    // Upper layers of a key picture are not predicted either, but need the base.
    let keyframe = !descriptor.predicted && descriptor.spatial == 0;
    // Only the first packet of a picture tells sizes: the highest layer's is that of the whole.
    let told = descriptor.sizes.last().copied();
    let in_frame = || (keyframe && descriptor.begin).then(|| keyframe_size(&payload[descriptor.len..])).flatten();
    Some(FrameFacts {
        start_of_frame: descriptor.begin,
        end_of_frame: descriptor.end,
        keyframe,
        temporal: descriptor.temporal,
        spatial: descriptor.spatial,
        switching_point: descriptor.temporal == 0 || descriptor.switching_up,
        discardable: false,
        picture_id: descriptor.picture_id,
        tl0_pic_idx: descriptor.tl0_pic_idx,
        frame_number: None,
        reference: None,
        resolution: told.or_else(in_frame),
    })
}

/// Size in a keyframe's uncompressed header (VP9 bitstream specification section 6.2).
fn keyframe_size(frame: &[u8]) -> Option<(u16, u16)> {
    const FRAME_MARKER: u32 = 2;
    const SYNC_CODE: u32 = 0x49_8342;
    const RGB: u32 = 7;
    let mut bits = BitReader::new(frame);
    if bits.bits(2)? != FRAME_MARKER {
        return None;
    }
    let profile = bits.bits(1)? + 2 * bits.bits(1)?;
    if profile == 3 {
        bits.skip(1)?;
    }
    let (shows_existing, not_key) = (bits.flag()?, bits.flag()?);
    if shows_existing || not_key {
        return None;
    }
    bits.skip(2)?; // show_frame, error_resilient_mode
    if bits.bits(24)? != SYNC_CODE {
        return None;
    }
    if profile >= 2 {
        bits.skip(1)?; // ten_or_twelve_bit
    }
    let has_subsampling = profile == 1 || profile == 3;
    match (bits.bits(3)?, has_subsampling) {
        (RGB, false) => {}
        (RGB, true) => bits.skip(1)?,   // reserved_zero
        (_, false) => bits.skip(1)?,    // color_range
        (_, true) => bits.skip(1 + 3)?, // and subsampling_x, subsampling_y, reserved_zero
    }
    let (width, height) = (bits.bits(16)? + 1, bits.bits(16)? + 1);
    Some((width.try_into().ok()?, height.try_into().ok()?))
}

/// Writes into `out` what replaces the first bytes of `payload`, so that it carries this picture id (15 bits) and
/// base-layer index where it carries any. Returns how many bytes are replaced; 0 where there is nothing to do. A
/// picture id of 7 bits grows to 15 where the new one does not fit.
pub fn patch(payload: &[u8], picture_id: u16, tl0_pic_idx: u8, out: &mut ArrayVec<u8, 16>) -> u8 {
    out.clear();
    let [flags, rest @ ..] = payload else { return 0 };
    let has_tl0 = flags & (HAS_LAYERS | FLEXIBLE) == HAS_LAYERS;
    let has_picture_id = flags & HAS_PICTURE_ID != 0;
    if !(has_tl0 || has_picture_id) || Descriptor::parse(payload).is_none() {
        return 0;
    }
    out.push(*flags);
    let mut replaced = 1;
    if has_picture_id {
        let old_len = if rest[0] & 0x80 != 0 { 2 } else { 1 };
        write_picture_id(picture_id & 0x7fff, old_len, out);
        replaced += old_len;
    }
    if has_tl0 {
        out.extend([payload[replaced], tl0_pic_idx]);
        replaced += 2;
    }
    replaced as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Uncompressed header of a keyframe of 640x360, profile 0.
    const KEYFRAME: [u8; 9] = [0x82, 0x49, 0x83, 0x42, 0x00, 0x27, 0xf0, 0x16, 0x70];

    #[test]
    fn reads_a_keyframe_of_three_spatial_layers() {
        // I, L, B, V; picture id 0x0102; layer 0; base-layer index 9; three sizes and no group.
        let mut payload = vec![0xaa, 0x81, 0x02, 0x00, 9, 0x50];
        for [width, height] in [[320u16, 180], [640, 360], [1_280, 720]] {
            payload.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
        }
        payload.push(0x82);
        let facts = frame_facts(&payload).unwrap();
        let expected = FrameFacts {
            start_of_frame: true,
            keyframe: true,
            switching_point: true,
            picture_id: Some(0x0102),
            tl0_pic_idx: Some(9),
            resolution: Some((1_280, 720)),
            ..FrameFacts::default()
        };
        assert_eq!(facts, expected);
        assert_eq!(Descriptor::parse(&payload).unwrap().sizes.len(), 3);
    }

    #[test]
    fn upper_layers_of_a_key_picture_are_no_keyframes() {
        // I, L, E; layer 1, which depends on the layer below.
        let facts = frame_facts(&[0xa4, 0x05, 0x03, 9, 0xff]).unwrap();
        assert_eq!((facts.spatial, facts.keyframe, facts.end_of_frame), (1, false, true));
    }

    #[test]
    fn flexible_mode_tells_references_in_place_of_the_base_layer_index() {
        // I, P, L, F, B, E; temporal layer 1, switching up; two references.
        let payload = [0xfc, 0x05, 0x30, 0x05, 0x06, 0xff];
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert_eq!((descriptor.len, descriptor.tl0_pic_idx), (5, None));
        let facts = frame_facts(&payload).unwrap();
        assert_eq!((facts.temporal, facts.switching_point, facts.keyframe), (1, true, false));
        assert!(facts.start_of_frame && facts.end_of_frame);
        assert!(Descriptor::parse(&[0xfc, 0x05, 0x30, 0x05, 0x07, 0x07, 0xff]).is_none(), "three are the most");
    }

    #[test]
    fn a_group_of_pictures_is_passed_over() {
        // V alone: one layer without size, a group of two pictures with one and two references.
        let descriptor = Descriptor::parse(&[0x0a, 0x08, 2, 0x04, 1, 0x38, 1, 2, 0x82]).unwrap();
        assert_eq!(descriptor.len, 8);
        assert!(Descriptor::parse(&[0x0a, 0x08, 255, 0x04, 1]).is_none());
    }

    #[test]
    fn the_frame_header_tells_the_size_where_the_descriptor_does_not() {
        let payload = [&[0x8c, 0x05][..], &KEYFRAME].concat();
        assert_eq!(frame_facts(&payload).unwrap().resolution, Some((640, 360)));
        let mut predicted = payload.clone();
        predicted[0] |= PREDICTED;
        assert_eq!(frame_facts(&predicted).unwrap().resolution, None);
        let mut no_sync = payload;
        no_sync[4] ^= 1;
        assert_eq!(frame_facts(&no_sync).unwrap().resolution, None);
    }

    #[test]
    fn ids_are_rewritten_at_the_same_length_where_they_fit() {
        let mut out = ArrayVec::new();
        assert_eq!(patch(&[0xa4, 0x85, 0x03, 0x30, 9, 0xff], 7, 200, &mut out), 5);
        assert_eq!(out[..], [0xa4, 0x80, 0x07, 0x30, 200]);
        assert_eq!(patch(&[0xa4, 0x05, 0x30, 9, 0xff], 0x123, 200, &mut out), 4);
        assert_eq!(out[..], [0xa4, 0x81, 0x23, 0x30, 200]);
        assert_eq!(patch(&[0xbc, 0x05, 0x30, 0xff], 6, 200, &mut out), 2);
        assert_eq!(out[..], [0xbc, 0x06], "flexible mode has no base-layer index");
        assert_eq!(patch(&[0x0c, 0xff], 6, 200, &mut out), 0);
    }

    proptest! {
        #[test]
        fn a_rewrite_changes_the_ids_alone(
            payload in vec(any::<u8>(), 0..60), picture_id in 0..0x8000u16, tl0: u8,
        ) {
            let mut out = ArrayVec::new();
            let replaced = usize::from(patch(&payload, picture_id, tl0, &mut out));
            if let Some(before) = Descriptor::parse(&payload) {
                let after = Descriptor::parse(&[&out[..], &payload[replaced..]].concat()).unwrap();
                prop_assert_eq!(after.picture_id, before.picture_id.map(|_| picture_id));
                prop_assert_eq!(after.tl0_pic_idx, before.tl0_pic_idx.map(|_| tl0));
                prop_assert_eq!(after.len - out.len(), before.len - replaced);
                let ids = |d: Descriptor| Descriptor { picture_id: None, tl0_pic_idx: None, len: 0, ..d };
                prop_assert_eq!(ids(after), ids(before));
            } else {
                prop_assert_eq!(replaced, 0);
            }
        }
    }
}
