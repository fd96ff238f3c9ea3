//! VP8 payload descriptor (RFC 7741 section 4.2) and the frame header behind it (RFC 6386 section 9.1).
//!
//! ```text
//! |X|R|N|S|R| PID |   X extended, N non-reference, S start of partition PID
//! |I|L|T|K|  RSV  |   X: what follows
//! |M| PictureID   |   I: 7 bits, or 15 with M
//! |  TL0PICIDX    |   L
//! |TID|Y| KEYIDX  |   T or K: temporal layer, layer sync
//! ```
//! Frame header: P (bit 0; 0 on a keyframe), and on a keyframe after three bytes 9d 01 2a, width and height with two
//! bits of scale above 14 of size, little-endian.

use super::FrameFacts;
use arrayvec::ArrayVec;

/// A VP8 payload descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Descriptor {
    /// No other frame refers to the frame.
    pub non_reference: bool,
    /// The frame begins here: start of partition 0.
    pub start_of_frame: bool,
    /// Picture id.
    pub picture_id: Option<u16>,
    /// Index of the base-layer frame.
    pub tl0_pic_idx: Option<u8>,
    /// Temporal layer.
    pub temporal: Option<u8>,
    /// The frame refers to the base layer only.
    pub layer_sync: bool,
    /// Index of the keyframe.
    pub key_idx: Option<u8>,
    /// Bytes of the descriptor.
    pub len: usize,
}

const EXTENDED: u8 = 0x80;
const NON_REFERENCE: u8 = 0x20;
const START: u8 = 0x10;
const PARTITION: u8 = 0x07;
const HAS_PICTURE_ID: u8 = 0x80;
const HAS_TL0: u8 = 0x40;
const HAS_TEMPORAL: u8 = 0x20;
const HAS_KEY_IDX: u8 = 0x10;
const LAYER_SYNC: u8 = 0x20;

impl Descriptor {
    /// Reads the descriptor that begins a payload; at least a byte of the frame must follow.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let mut descriptor = Self {
            non_reference: first & NON_REFERENCE != 0,
            start_of_frame: first & (START | PARTITION) == START,
            len: 1,
            ..Self::default()
        };
        if first & EXTENDED != 0 {
            descriptor.parse_extension(payload)?;
        }
        (descriptor.len < payload.len()).then_some(descriptor)
    }

    fn parse_extension(&mut self, payload: &[u8]) -> Option<()> {
        let flags = *payload.get(1)?;
        let mut at = 2;
        if flags & HAS_PICTURE_ID != 0 {
            let (id, len) = read_picture_id(payload.get(at..)?)?;
            self.picture_id = Some(id);
            at += len;
        }
        if flags & HAS_TL0 != 0 {
            self.tl0_pic_idx = Some(*payload.get(at)?);
            at += 1;
        }
        if flags & (HAS_TEMPORAL | HAS_KEY_IDX) != 0 {
            let byte = *payload.get(at)?;
            self.temporal = (flags & HAS_TEMPORAL != 0).then_some(byte >> 6);
            self.layer_sync = flags & HAS_TEMPORAL != 0 && byte & LAYER_SYNC != 0;
            self.key_idx = (flags & HAS_KEY_IDX != 0).then_some(byte & 0x1f);
            at += 1;
        }
        self.len = at;
        Some(())
    }
}

/// What a packet says of its frame.
pub(super) fn frame_facts(payload: &[u8], marker: bool) -> Option<FrameFacts> {
    let descriptor = Descriptor::parse(payload)?;
    let frame = &payload[descriptor.len..];
    let keyframe = descriptor.start_of_frame && frame[0] & 1 == 0;
    let temporal = descriptor.temporal.unwrap_or(0);
    Some(FrameFacts {
        start_of_frame: descriptor.start_of_frame,
        end_of_frame: marker,
        keyframe,
        temporal,
        spatial: 0,
        switching_point: temporal == 0 || descriptor.layer_sync,
        discardable: descriptor.non_reference,
        picture_id: descriptor.picture_id,
        tl0_pic_idx: descriptor.tl0_pic_idx,
        frame_number: None,
        reference: None,
        resolution: if keyframe { resolution(frame) } else { None },
    })
}

/// Size of a keyframe.
fn resolution(frame: &[u8]) -> Option<(u16, u16)> {
    let [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = *frame.first_chunk::<10>()? else { return None };
    let size = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
    Some((size(w0, w1), size(h0, h1)))
}

/// Writes into `out` what replaces the first bytes of `payload`, so that it carries this picture id (15 bits) where it
/// carries any, and this base-layer index: one without temporal layers gets both, and becomes a frame of the base layer.
/// Returns how many bytes are replaced; 0 where there is nothing to do. A picture id of 7 bits grows to 15 where the new
/// one does not fit.
pub fn patch(payload: &[u8], picture_id: u16, tl0_pic_idx: Option<u8>, out: &mut ArrayVec<u8, 16>) -> u8 {
    out.clear();
    let Some(descriptor) = Descriptor::parse(payload) else { return 0 };
    let is_extended = payload[0] & EXTENDED != 0;
    let (flags, mut replaced) = if is_extended { (payload[1], 2) } else { (0, 1) };
    let base = tl0_pic_idx.filter(|_| flags & (HAS_TL0 | HAS_TEMPORAL) == 0);
    if base.is_none() && flags & (HAS_PICTURE_ID | HAS_TL0) == 0 {
        return 0;
    }
    let added = if base.is_some() { HAS_PICTURE_ID | HAS_TL0 | HAS_TEMPORAL } else { 0 };
    out.extend([payload[0] | EXTENDED, flags | added]);
    let old_len = if flags & HAS_PICTURE_ID == 0 { 0 } else { 1 + usize::from(payload[2] >> 7) };
    if (flags | added) & HAS_PICTURE_ID != 0 {
        write_picture_id(picture_id & 0x7fff, old_len, out);
        replaced += old_len as u8; // at most 2
    }
    if let Some(base) = base {
        // RFC 7741 section 4.2: layer 0, and the index of the keyframe where there was one.
        out.extend([base, descriptor.key_idx.unwrap_or(0)]);
        replaced += u8::from(descriptor.key_idx.is_some());
    } else if flags & HAS_TL0 != 0 {
        out.push(tl0_pic_idx.unwrap_or(0));
        replaced += 1;
    }
    replaced
}

/// Picture ids of VP8 and VP9 are written alike: 7 bits, or 15 where this one is set.
const WIDE_PICTURE_ID: u8 = 0x80;

/// The picture id of VP8 or VP9 (RFC 7741 section 4.2, RFC 9628 section 4.2) that begins `bytes`, and how many bytes it
/// takes.
pub(super) fn read_picture_id(bytes: &[u8]) -> Option<(u16, usize)> {
    let first = *bytes.first()?;
    if first & WIDE_PICTURE_ID == 0 {
        return Some((u16::from(first), 1));
    }
    Some((u16::from_be_bytes([first & !WIDE_PICTURE_ID, *bytes.get(1)?]), 2))
}

/// Writes `picture_id` as wide as `old_len` bytes, or wider where it does not fit.
pub(super) fn write_picture_id(picture_id: u16, old_len: usize, out: &mut ArrayVec<u8, 16>) {
    let [high, low] = picture_id.to_be_bytes();
    if old_len == 1 && picture_id < 0x80 {
        out.push(low);
    } else {
        out.extend([high | WIDE_PICTURE_ID, low]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// First packet of a keyframe of 320x240: 15-bit picture id 0x1234, base-layer index 7, temporal layer 0.
    const KEYFRAME: [u8; 16] =
        [0x90, 0xe0, 0x92, 0x34, 7, 0x00, 0x50, 0x42, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];

    #[test]
    fn reads_a_keyframe() {
        let facts = frame_facts(&KEYFRAME, true).unwrap();
        let expected = FrameFacts {
            start_of_frame: true,
            end_of_frame: true,
            keyframe: true,
            switching_point: true,
            picture_id: Some(0x1234),
            tl0_pic_idx: Some(7),
            resolution: Some((320, 240)),
            ..FrameFacts::default()
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn reads_temporal_layers() {
        let upper = frame_facts(&[0xa0, 0xe0, 0x05, 7, 0x80, 0x01], false).unwrap();
        assert_eq!((upper.temporal, upper.switching_point, upper.discardable), (2, false, true));
        assert_eq!((upper.start_of_frame, upper.keyframe, upper.picture_id), (false, false, Some(5)));
        let sync = frame_facts(&[0x90, 0xe0, 0x05, 7, 0x60, 0x01], false).unwrap();
        assert_eq!((sync.temporal, sync.switching_point, sync.discardable), (1, true, false));
        let key_idx = Descriptor::parse(&[0x90, 0x10, 0xff, 0x01]).unwrap();
        assert_eq!((key_idx.key_idx, key_idx.temporal, key_idx.layer_sync), (Some(31), None, false));
    }

    #[test]
    fn only_the_first_partition_begins_a_frame() {
        assert!(frame_facts(&[0x10, 0x00], false).unwrap().keyframe);
        assert!(!frame_facts(&[0x11, 0x00], false).unwrap().start_of_frame);
        assert!(!frame_facts(&[0x00, 0x00], false).unwrap().keyframe);
        assert!(!frame_facts(&[0x10, 0x01], false).unwrap().keyframe);
    }

    #[test]
    fn refuses_what_is_cut_short() {
        for len in 0..=6 {
            assert!(frame_facts(&KEYFRAME[..len], false).is_none(), "cut to {len}");
        }
        assert_eq!(frame_facts(&KEYFRAME[..12], false).unwrap().resolution, None);
    }

    #[test]
    fn ids_are_rewritten_at_the_same_length_where_they_fit() {
        let mut out = ArrayVec::new();
        assert_eq!(patch(&KEYFRAME, 5, Some(9), &mut out), 5);
        assert_eq!(out[..], [0x90, 0xe0, 0x80, 5, 9]);
        let short = [0x90, 0xc0, 0x12, 3, 0x01];
        assert_eq!(patch(&short, 0x7f, Some(9), &mut out), 4);
        assert_eq!(out[..], [0x90, 0xc0, 0x7f, 9]);
        assert_eq!(patch(&short, 0x80, Some(9), &mut out), 4);
        assert_eq!(out[..], [0x90, 0xc0, 0x80, 0x80, 9], "seven bits grow to fifteen");
        assert_eq!(patch(&[0x10, 0x01], 5, None, &mut out), 0);
        assert!(out.is_empty(), "nothing to rewrite");
        assert_eq!(patch(&KEYFRAME[..5], 5, Some(9), &mut out), 0);
    }

    #[test]
    fn a_frame_without_layers_becomes_one_of_the_base_layer() {
        let mut out = ArrayVec::new();
        for (payload, replaced, key_idx) in [
            (&[0x90, 0x80, 0x12, 0x01][..], 3, None),
            (&[0x80, 0x90, 0x80, 0x12, 0x1f, 0x01], 5, Some(31)),
            (&[0x10, 0x01], 1, None),
            (&[0x90, 0x10, 0x1f, 0x01], 3, Some(31)),
        ] {
            assert_eq!(patch(payload, 0x180, Some(9), &mut out), replaced);
            let patched = [&out, &payload[usize::from(replaced)..]].concat();
            let descriptor = Descriptor::parse(&patched).unwrap();
            assert_eq!((descriptor.picture_id, descriptor.tl0_pic_idx), (Some(0x180), Some(9)));
            assert_eq!((descriptor.temporal, descriptor.layer_sync, descriptor.key_idx), (Some(0), false, key_idx));
            assert_eq!(patched[descriptor.len..], [0x01]);
            let had_id = Descriptor::parse(payload).unwrap().picture_id.is_some();
            let plain = patch(payload, 5, None, &mut out);
            assert_eq!(plain > 0, had_id, "no index, no layer");
        }
        assert_eq!(patch(&[0x90, 0x20, 0x00, 0x01], 5, Some(9), &mut out), 0, "it has a layer, and no numbers");
    }

    proptest! {
        #[test]
        fn a_rewrite_changes_the_ids_alone(
            payload in vec(any::<u8>(), 0..20), picture_id in 0..0x8000u16, tl0: u8,
        ) {
            let mut out = ArrayVec::new();
            let before = Descriptor::parse(&payload);
            let given = before.as_ref().and_then(|before| before.tl0_pic_idx).map(|_| tl0);
            let replaced = usize::from(patch(&payload, picture_id, given, &mut out));
            if let Some(before) = before {
                let after = Descriptor::parse(&[&out[..], &payload[replaced..]].concat()).unwrap();
                prop_assert_eq!(after.picture_id, before.picture_id.map(|_| picture_id));
                prop_assert_eq!(after.tl0_pic_idx, given);
                let ids = |d: Descriptor| Descriptor { picture_id: None, tl0_pic_idx: None, len: 0, ..d };
                prop_assert_eq!(ids(after), ids(before));
                prop_assert_eq!(after.len - out.len(), before.len - replaced);
            } else {
                prop_assert_eq!(replaced, 0);
            }
        }
    }
}
