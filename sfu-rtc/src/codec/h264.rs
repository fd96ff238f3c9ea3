//! H.264 payloads (RFC 6184 section 5): single units, STAP-A, FU-A; size from the sequence parameter set.
//!
//! ```text
//! |F|NRI|  type   |   1-23 a single unit, 24 STAP-A, 28 FU-A
//! STAP-A: | length (16) | unit |, repeated          FU-A: |S|E|R|  type   | part of a unit |
//! ```

use super::bits::BitReader;
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
