//! H.264 payloads (RFC 6184 section 5): single units, STAP-A, FU-A; size from the sequence parameter set.
//!
//! ```text
//! |F|NRI|  type   |   1-23 a single unit, 24 STAP-A, 28 FU-A
//! STAP-A: | length (16) | unit |, repeated          FU-A: |S|E|R|  type   | part of a unit |
//! ```

use super::bits::BitReader;
use super::nal::ParameterSetId;
use super::{FrameFacts, nal};

const SLICE: u8 = 1;
const IDR_SLICE: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// What the units of a packet say.
#[derive(Default)]
struct Seen {
    parameter_sets: bool,
    keyframe: bool,
    picture_begins: bool,
    slices: bool,
    reference: bool,
    resolution: Option<(u16, u16)>,
}

impl Seen {
    /// A whole unit, or the first part of one.
    fn unit(&mut self, unit: &[u8]) {
        let Some((&head, content)) = unit.split_first() else { return };
        let unit_type = head & 0x1f;
        self.part(head, unit_type);
        match unit_type {
            SPS => {
                self.parameter_sets = true;
                self.resolution = resolution(content);
            }
            DELIMITER => self.picture_begins = true,
            SLICE => self.picture_begins |= begins_picture(content),
            _ => {}
        }
    }

    /// Any part of a unit.
    fn part(&mut self, head: u8, unit_type: u8) {
        self.keyframe |= matches!(unit_type, IDR_SLICE | SPS | PPS);
        if matches!(unit_type, SLICE..=IDR_SLICE) {
            self.slices = true;
            self.reference |= head & 0x60 != 0;
        }
    }
}

/// Whether a slice is its picture's first: first_mb_in_slice is 0, which Exp-Golomb writes as a single 1.
fn begins_picture(slice: &[u8]) -> bool {
    slice.first().is_some_and(|first| first & 0x80 != 0)
}

/// What a packet says of its frame.
pub(super) fn frame_facts(payload: &[u8], marker: bool) -> Option<FrameFacts> {
    let head = *payload.first()?;
    let mut seen = Seen::default();
    match head & 0x1f {
        1..=23 => seen.unit(payload),
        STAP_A => {
            for unit in nal::aggregated(&payload[1..]) {
                seen.unit(unit?);
            }
        }
        FU_A => {
            let [_, fragment, content @ ..] = payload else { return None };
            let unit_type = fragment & 0x1f;
            seen.part(head, unit_type);
            let first = fragment & 0x80 != 0;
            seen.picture_begins = first && unit_type == SLICE && begins_picture(content);
        }
        _ => return None,
    }
    Some(FrameFacts {
        start_of_frame: seen.parameter_sets || seen.picture_begins,
        end_of_frame: marker,
        keyframe: seen.keyframe,
        switching_point: true,
        discardable: seen.slices && !seen.reference,
        resolution: seen.resolution,
        ..FrameFacts::default()
    })
}

/// Which parameter set a unit is (H.264 sections 7.3.2.1.1 and 7.3.2.2); `None` where it is none, or cut short.
fn parameter_set_id(unit: &[u8]) -> Option<ParameterSetId> {
    let (&head, content) = unit.split_first()?;
    match head & 0x1f {
        SPS => {
            let content = nal::unescaped(content);
            let mut bits = BitReader::new(&content);
            bits.skip(24)?; // profile, constraint flags, level
            Some(ParameterSetId::Sequence(bits.exp_golomb()?))
        }
        PPS => Some(ParameterSetId::Picture(BitReader::new(&nal::unescaped(content)).exp_golomb()?)),
        _ => None,
    }
}

/// The parameter sets in a payload, each a whole unit.
pub(super) fn parameter_sets(payload: &[u8]) -> impl Iterator<Item = (ParameterSetId, &[u8])> {
    whole_units(payload).filter_map(|unit| Some((parameter_set_id(unit)?, unit)))
}

/// Whether a payload has the beginning of an IDR picture: its first slice, or the first fragment of that.
pub(super) fn begins_idr(payload: &[u8]) -> bool {
    first_idr_slice(payload).is_some()
}

/// The content of the first slice of an IDR picture, as far as the payload has it.
fn first_idr_slice(payload: &[u8]) -> Option<&[u8]> {
    let is_first = |head: u8, slice: &[u8]| head & 0x1f == IDR_SLICE && begins_picture(slice);
    match payload {
        [head, fragment, part @ ..] if head & 0x1f == FU_A => {
            (fragment & 0x80 != 0 && is_first(*fragment, part)).then_some(part)
        }
        _ => whole_units(payload)
            .filter_map(<[u8]>::split_first)
            .find_map(|(head, slice)| is_first(*head, slice).then_some(slice)),
    }
}

/// The picture parameter set that an IDR picture needs which begins in this payload (H.264 section 7.3.3).
pub fn picture_set_of_idr(payload: &[u8]) -> Option<ParameterSetId> {
    let content = nal::unescaped(first_idr_slice(payload)?);
    let mut bits = BitReader::new(&content);
    bits.exp_golomb()?; // first_mb_in_slice
    bits.exp_golomb()?; // slice_type
    bits.exp_golomb().map(ParameterSetId::Picture)
}

/// The sequence parameter set that a picture parameter set needs (H.264 section 7.3.2.2).
pub fn sequence_set_of(picture_set: &[u8]) -> Option<ParameterSetId> {
    let content = nal::unescaped(picture_set.get(1..)?);
    let mut bits = BitReader::new(&content);
    bits.exp_golomb()?; // id
    bits.exp_golomb().map(ParameterSetId::Sequence)
}

/// The unit of a payload, or those that it aggregates; none of a fragment.
fn whole_units(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (single, aggregate) = match payload {
        [head, ..] if matches!(head & 0x1f, 1..=23) => (Some(payload), &[][..]),
        [head, rest @ ..] if head & 0x1f == STAP_A => (None, rest),
        _ => (None, &[][..]),
    };
    single.into_iter().chain(nal::aggregated(aggregate).map_while(|unit| unit))
}

/// Size in a sequence parameter set (H.264 section 7.3.2.1.1).
pub fn resolution(sps: &[u8]) -> Option<(u16, u16)> {
    let content = nal::unescaped(sps);
    let mut bits = BitReader::new(&content);
    let profile = bits.bits(8)?;
    bits.skip(16)?; // constraint flags, level
    bits.exp_golomb()?; // id
    let chroma = if has_chroma_format(profile) { read_chroma_format(&mut bits)? } else { Chroma::YUV_420 };
    bits.exp_golomb()?; // log2_max_frame_num_minus4
    skip_picture_order(&mut bits)?;
    bits.exp_golomb()?; // max_num_ref_frames
    bits.skip(1)?; // gaps_in_frame_num_value_allowed_flag
    let (columns, rows) = (bits.exp_golomb()?.checked_add(1)?, bits.exp_golomb()?.checked_add(1)?);
    let fields = if bits.flag()? { 1 } else { 2 };
    if fields == 2 {
        bits.skip(1)?; // mb_adaptive_frame_field_flag
    }
    bits.skip(1)?; // direct_8x8_inference_flag
    let mut sides = [0; 4];
    if bits.flag()? {
        for side in &mut sides {
            *side = bits.exp_golomb()?;
        }
    }
    let (width, height) = (columns.checked_mul(16)?, rows.checked_mul(16 * fields)?);
    nal::cropped(width, height, sides, (chroma.crop_x, chroma.crop_y * fields))
}

/// Profiles whose parameter set tells the chroma format: High and above.
fn has_chroma_format(profile: u32) -> bool {
    matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135)
}

/// Units in which pictures are cropped.
struct Chroma {
    crop_x: u32,
    crop_y: u32,
}

impl Chroma {
    const YUV_420: Self = Self { crop_x: 2, crop_y: 2 };
}

fn read_chroma_format(bits: &mut BitReader<'_>) -> Option<Chroma> {
    let format = bits.exp_golomb()?;
    if format == 3 {
        bits.skip(1)?; // separate_colour_plane_flag
    }
    bits.exp_golomb()?; // bit_depth_luma_minus8
    bits.exp_golomb()?; // bit_depth_chroma_minus8
    bits.skip(1)?; // qpprime_y_zero_transform_bypass_flag
    if bits.flag()? {
        let lists = if format == 3 { 12 } else { 8 };
        for list in 0..lists {
            if bits.flag()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(match format {
        1 => Chroma::YUV_420,
        2 => Chroma { crop_x: 2, crop_y: 1 },
        _ => Chroma { crop_x: 1, crop_y: 1 },
    })
}

fn skip_scaling_list(bits: &mut BitReader<'_>, size: usize) -> Option<()> {
    let (mut last, mut next) = (8i32, 8i32);
    for _ in 0..size {
        if next != 0 {
            next = last.checked_add(bits.signed_exp_golomb()?)?.rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

fn skip_picture_order(bits: &mut BitReader<'_>) -> Option<()> {
    match bits.exp_golomb()? {
        0 => drop(bits.exp_golomb()?), // log2_max_pic_order_cnt_lsb_minus4
        1 => {
            bits.skip(1)?; // delta_pic_order_always_zero_flag
            bits.exp_golomb()?; // offset_for_non_ref_pic
            bits.exp_golomb()?; // offset_for_top_to_bottom_field
            let cycle = bits.exp_golomb()?;
            for _ in 0..cycle {
                bits.exp_golomb()?; // offset_for_ref_frame; ends with the bits at the latest
            }
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{
        FrameFacts, ParameterSetId, begins_idr, frame_facts, parameter_sets, picture_set_of_idr, sequence_set_of,
    };
    use crate::codec::bits::BitWriter;
    use proptest::prelude::*;

    /// Of a camera's recording, 768x432, Baseline profile.
    const SPS: [u8; 23] = [
        0x67, 0x42, 0x80, 0x16, 0x96, 0x54, 0x06, 0x01, 0xbd, 0x35, 0x06, 0x06, 0x06, 0x40, 0x00, 0x00, 0x03, 0x00,
        0x40, 0x00, 0x00, 0x06, 0x61,
    ];
    const PPS: [u8; 4] = [0x68, 0xce, 0x35, 0x20];

    fn facts(payload: &[u8]) -> FrameFacts {
        frame_facts(payload, false).unwrap()
    }

    #[test]
    fn an_aggregate_with_parameter_sets_begins_a_keyframe() {
        let mut payload = vec![0x78, 0, SPS.len() as u8];
        payload.extend(SPS);
        payload.extend([0, 4]);
        payload.extend(PPS);
        let seen = facts(&payload);
        assert!(seen.start_of_frame && seen.keyframe && !seen.end_of_frame && !seen.discardable);
        payload.truncate(payload.len() - 1);
        assert!(frame_facts(&payload, false).is_none(), "a unit is cut short");
        assert!(frame_facts(&[0x78, 0, 0], false).is_none(), "a unit is empty");
    }

    #[test]
    fn slices_tell_where_a_picture_begins() {
        assert!(facts(&[0x61, 0x88]).start_of_frame);
        assert!(!facts(&[0x61, 0x48]).start_of_frame, "a later slice");
        assert!(facts(&[0x01, 0x88]).discardable && !facts(&[0x61, 0x88]).discardable);
        assert!(facts(&[0x09, 0xf0]).start_of_frame, "access unit delimiter");
        let idr = facts(&[0x65, 0x88]);
        assert!(idr.keyframe && !idr.start_of_frame, "the parameter sets come first");
        assert!(!facts(&[0x06, 0x05]).start_of_frame, "supplemental information");
    }

    #[test]
    fn fragments_tell_the_unit_that_they_are_of() {
        let first = facts(&[0x7c, 0x85, 0x88]);
        assert!(first.keyframe && !first.start_of_frame);
        let middle = facts(&[0x7c, 0x05, 0xff]);
        assert!(middle.keyframe && !middle.start_of_frame);
        assert!(facts(&[0x5c, 0x81, 0x88]).start_of_frame);
        assert!(!facts(&[0x5c, 0x01, 0x88]).start_of_frame, "not its first fragment");
        assert!(frame_facts(&[0x5c], false).is_none());
        assert!(facts(&[0x1c, 0x81, 0x88]).discardable);
    }

    #[test]
    fn parameter_sets_and_beginnings_of_pictures_are_found() {
        let ids = |payload: &[u8]| parameter_sets(payload).map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(ids(&SPS), [ParameterSetId::Sequence(0)]);
        assert_eq!(ids(&[0x68, 0x60]), [ParameterSetId::Picture(2)]);
        let aggregate = [&[0x78, 0, SPS.len() as u8][..], &SPS, &[0, 4], &PPS, &[0, 2, 0x65, 0x88]].concat();
        assert_eq!(ids(&aggregate), [ParameterSetId::Sequence(0), ParameterSetId::Picture(0)]);
        assert!(begins_idr(&aggregate));
        for begins in [&[0x65, 0x88][..], &[0x7c, 0x85, 0x88]] {
            assert!(begins_idr(begins) && ids(begins).is_empty());
        }
        for other in [&[][..], &[0x65], &[0x65, 0x48], &[0x7c, 0x05, 0x88], &[0x7c, 0x81, 0x88], &[0x61, 0x88], &SPS] {
            assert!(!begins_idr(other), "{other:02x?}");
        }
        for cut in [&[0x67, 0x42, 0xc0][..], &[0x68], &[0x78, 0, 9, 0x68]] {
            assert!(ids(cut).is_empty(), "{cut:02x?}");
        }
    }

    #[test]
    fn what_a_keyframe_needs_is_read() {
        // first_mb_in_slice 0, slice_type 7, pic_parameter_set_id 3
        let slice = [0x88, 0x24, 0x21];
        for payload in [&[&[0x65][..], &slice].concat(), &[&[0x7c, 0x85][..], &slice].concat()] {
            assert_eq!(picture_set_of_idr(payload), Some(ParameterSetId::Picture(3)));
        }
        assert_eq!(picture_set_of_idr(&[0x65, 0x88, 0x80]), Some(ParameterSetId::Picture(0)));
        for none in [&[][..], &[0x65, 0x88], &[0x65, 0x48, 0x84], &[0x61, 0x88, 0x80], &[0x7c, 0x05, 0x88, 0x80]] {
            assert_eq!(picture_set_of_idr(none), None, "{none:02x?}");
        }
        assert_eq!(sequence_set_of(&PPS), Some(ParameterSetId::Sequence(0)));
        assert_eq!(sequence_set_of(&[0x68, 0x64]), Some(ParameterSetId::Sequence(3)), "of picture set 2");
        assert_eq!(sequence_set_of(&[0x68]), None);
    }

    #[test]
    fn types_that_are_never_negotiated_are_refused() {
        for unit_type in [0, 25, 26, 27, 29, 30, 31] {
            assert!(frame_facts(&[unit_type, 0, 0], false).is_none());
        }
        assert!(frame_facts(&[], false).is_none());
    }

    #[test]
    fn reads_the_size_of_a_recording() {
        assert_eq!(facts(&SPS).resolution, Some((768, 432)));
    }

    fn sps(profile: u32, columns: u32, rows: u32, frames_only: bool, crop: Option<[u32; 4]>) -> Vec<u8> {
        let mut bits = BitWriter::default();
        bits.bits(0x67, 8).bits(profile, 8).bits(0, 16).exp_golomb(0);
        if profile == 100 {
            // 4:2:0, 8 bits, and a scaling list that ends at once.
            bits.exp_golomb(1).exp_golomb(0).exp_golomb(0).flag(false).flag(true).flag(true).exp_golomb(16).bits(0, 7);
        }
        bits.exp_golomb(0).exp_golomb(1).flag(false).exp_golomb(3).exp_golomb(4).exp_golomb(2);
        bits.exp_golomb(5).exp_golomb(6); // a cycle of two, as picture order type 1 has it
        bits.exp_golomb(1).flag(false).exp_golomb(columns - 1).exp_golomb(rows - 1).flag(frames_only);
        if !frames_only {
            bits.flag(false);
        }
        bits.flag(true).flag(crop.is_some());
        for side in crop.into_iter().flatten() {
            bits.exp_golomb(side);
        }
        bits.bits(1, 1).finish()
    }

    #[test]
    fn sizes_are_cropped() {
        assert_eq!(facts(&sps(66, 80, 45, true, None)).resolution, Some((1_280, 720)));
        assert_eq!(facts(&sps(100, 120, 68, true, Some([0, 0, 0, 4]))).resolution, Some((1_920, 1_080)));
        assert_eq!(facts(&sps(66, 120, 34, false, Some([0, 0, 0, 2]))).resolution, Some((1_920, 1_080)));
        assert_eq!(facts(&sps(66, 1, 1, true, Some([9, 9, 0, 0]))).resolution, None, "more than there is");
    }

    proptest! {
        #[test]
        fn any_size_is_read(profile in prop_oneof![Just(66u32), Just(77), Just(100)], columns in 1..500u32, rows in 1..500u32) {
            // Zeros in a row would need emulation prevention; the reader takes it out, so the writer must put it in.
            let plain = sps(profile, columns, rows, true, None);
            let mut escaped: Vec<u8> = Vec::new();
            for byte in plain {
                if byte <= 3 && escaped.ends_with(&[0, 0]) {
                    escaped.push(3);
                }
                escaped.push(byte);
            }
            prop_assert_eq!(facts(&escaped).resolution, Some(((columns * 16) as u16, (rows * 16) as u16)));
        }
    }
}
