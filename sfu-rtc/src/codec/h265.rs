//! H.265 payloads (RFC 7798 section 4.4): single units, aggregation packets, fragmentation units; size from the
//! sequence parameter set.
//!
//! ```text
//! |F|   type    |  layer id | TID |   0-47 a single unit, 48 aggregation (AP), 49 fragmentation (FU)
//! AP: | length (16) | unit |, repeated          FU: |S|E|   type    | part of a unit |
//! ```

use super::bits::BitReader;
use super::{FrameFacts, nal};

/// Units of slices.
const LAST_SLICE: u8 = 31;
/// Slices of pictures at which a receiver may enter a temporal layer: TSA_N to STSA_R.
const SUBLAYER_ACCESS: std::ops::RangeInclusive<u8> = 2..=5;
/// Slices of pictures from which decoding can begin: BLA, IDR, CRA and two reserved types.
const RANDOM_ACCESS: std::ops::RangeInclusive<u8> = 16..=23;
const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;
const DELIMITER: u8 = 35;
const AGGREGATION: u8 = 48;
const FRAGMENTATION: u8 = 49;
/// Bytes of a unit's header.
const HEAD: usize = 2;

/// What the units of a packet say.
#[derive(Default)]
struct Seen {
    keyframe: bool,
    picture_begins: bool,
    sublayer_access: bool,
    resolution: Option<(u16, u16)>,
}

impl Seen {
    /// A whole unit.
    fn unit(&mut self, unit: &[u8]) {
        let Some((head, content)) = unit.split_first_chunk::<HEAD>() else { return };
        let unit_type = unit_type(head[0]);
        self.part(unit_type);
        self.beginning(unit_type, content);
        if unit_type == SPS {
            self.resolution = resolution(content);
        }
    }

    /// Any part of a unit.
    fn part(&mut self, unit_type: u8) {
        self.keyframe |= RANDOM_ACCESS.contains(&unit_type) || matches!(unit_type, VPS | SPS | PPS);
        self.sublayer_access |= SUBLAYER_ACCESS.contains(&unit_type);
    }

    /// The first part of a unit. A slice begins a picture where first_slice_segment_in_pic_flag is set; that of a
    /// keyframe does not count, since the parameter sets come before it.
    fn beginning(&mut self, unit_type: u8, content: &[u8]) {
        let first_slice = unit_type <= LAST_SLICE
            && !RANDOM_ACCESS.contains(&unit_type)
            && content.first().is_some_and(|first| first & 0x80 != 0);
        self.picture_begins |= first_slice || matches!(unit_type, VPS | DELIMITER);
    }
}

fn unit_type(head: u8) -> u8 {
    (head >> 1) & 0x3f
}

/// What a packet says of its frame.
pub(super) fn frame_facts(payload: &[u8], marker: bool) -> Option<FrameFacts> {
    let (head, content) = payload.split_first_chunk::<HEAD>()?;
    let temporal = (head[1] & 7).checked_sub(1)?;
    let mut seen = Seen::default();
    match unit_type(head[0]) {
        0..AGGREGATION => seen.unit(payload),
        AGGREGATION => {
            for unit in nal::aggregated(content) {
                seen.unit(unit?);
            }
        }
        FRAGMENTATION => {
            let (fragment, content) = content.split_first()?;
            let unit_type = fragment & 0x3f;
            seen.part(unit_type);
            if fragment & 0x80 != 0 {
                seen.beginning(unit_type, content);
            }
        }
        _ => return None,
    }
    Some(FrameFacts {
        start_of_frame: seen.picture_begins,
        end_of_frame: marker,
        keyframe: seen.keyframe,
        temporal,
        switching_point: temporal == 0 || seen.sublayer_access,
        resolution: seen.resolution,
        ..FrameFacts::default()
    })
}

/// Size in a sequence parameter set (H.265 section 7.3.2.2.1).
pub fn resolution(sps: &[u8]) -> Option<(u16, u16)> {
    let content = nal::unescaped(sps);
    let mut bits = BitReader::new(&content);
    bits.skip(4)?; // id of the video parameter set
    let sublayers = bits.bits(3)?;
    bits.skip(1)?; // sps_temporal_id_nesting_flag
    skip_profile_and_level(&mut bits, sublayers)?;
    bits.exp_golomb()?; // id
    let chroma = bits.exp_golomb()?;
    if chroma == 3 {
        bits.skip(1)?; // separate_colour_plane_flag
    }
    let (width, height) = (bits.exp_golomb()?, bits.exp_golomb()?);
    let mut sides = [0; 4];
    if bits.flag()? {
        for side in &mut sides {
            *side = bits.exp_golomb()?;
        }
    }
    let unit = match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    nal::cropped(width, height, sides, unit)
}

/// Profile, tier and level (section 7.3.3) of the whole and of `sublayers` sub-layers.
fn skip_profile_and_level(bits: &mut BitReader<'_>, sublayers: u32) -> Option<()> {
    const PROFILE: usize = 88;
    const LEVEL: usize = 8;
    bits.skip(PROFILE + LEVEL)?;
    if sublayers == 0 {
        return Some(());
    }
    let mut len = 0;
    for sublayer in 0..8 {
        let (profile, level) = (bits.flag()?, bits.flag()?); // both 0 beyond the last
        if sublayer < sublayers {
            len += usize::from(profile) * PROFILE + usize::from(level) * LEVEL;
        }
    }
    bits.skip(len)
}
