//! H.265 payloads (RFC 7798 section 4.4): single units, aggregation packets, fragmentation units; size from the
//! sequence parameter set.
//!
//! ```text
//! |F|   type    |  layer id | TID |   0-47 a single unit, 48 aggregation (AP), 49 fragmentation (FU)
//! AP: | length (16) | unit |, repeated          FU: |S|E|   type    | part of a unit |
//! ```

use super::bits::BitReader;
use super::nal::ParameterSetId;
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

/// Which parameter set of the base layer a unit is (H.265 sections 7.3.2.1 to 7.3.2.3); `None` where it is none, or cut
/// short.
fn parameter_set_id(unit: &[u8]) -> Option<ParameterSetId> {
    let (head, content) = unit.split_first_chunk::<HEAD>()?;
    if layer_id(head) != 0 {
        return None;
    }
    let content = nal::unescaped(content);
    let mut bits = BitReader::new(&content);
    match unit_type(head[0]) {
        VPS => Some(ParameterSetId::Video(bits.bits(4)?)),
        SPS => {
            bits.skip(4)?; // id of the video parameter set
            let sublayers = bits.bits(3)?;
            bits.skip(1)?; // sps_temporal_id_nesting_flag
            skip_profile_and_level(&mut bits, sublayers)?;
            Some(ParameterSetId::Sequence(bits.exp_golomb()?))
        }
        PPS => Some(ParameterSetId::Picture(bits.exp_golomb()?)),
        _ => None,
    }
}

fn layer_id(head: &[u8; HEAD]) -> u8 {
    ((head[0] & 1) << 5) | (head[1] >> 3)
}

/// The parameter sets in a payload, each a whole unit.
pub(super) fn parameter_sets(payload: &[u8]) -> impl Iterator<Item = (ParameterSetId, &[u8])> {
    whole_units(payload).filter_map(|unit| Some((parameter_set_id(unit)?, unit)))
}

/// Whether a payload has the beginning of a picture from which decoding can begin: its first slice segment, or the first
/// fragment of that.
pub(super) fn begins_random_access(payload: &[u8]) -> bool {
    let is_first = |unit_type: u8, slice: &[u8]| {
        RANDOM_ACCESS.contains(&unit_type) && slice.first().is_some_and(|first| first & 0x80 != 0)
    };
    match payload.split_first_chunk::<HEAD>() {
        Some((head, [fragment, part @ ..])) if unit_type(head[0]) == FRAGMENTATION => {
            fragment & 0x80 != 0 && is_first(fragment & 0x3f, part)
        }
        _ => whole_units(payload)
            .filter_map(|unit| unit.split_first_chunk::<HEAD>())
            .any(|(head, slice)| is_first(unit_type(head[0]), slice)),
    }
}

/// The unit of a payload, or those that it aggregates; none of a fragment.
fn whole_units(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (single, aggregate) = match payload.split_first_chunk::<HEAD>() {
        Some((head, _)) if unit_type(head[0]) < AGGREGATION => (Some(payload), &[][..]),
        Some((head, rest)) if unit_type(head[0]) == AGGREGATION => (None, rest),
        _ => (None, &[][..]),
    };
    single.into_iter().chain(nal::aggregated(aggregate).map_while(|unit| unit))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameter set of 1280x720, Main profile, level 3.1.
    const SPS_720: [u8; 43] = [
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x5d,
        0xa0, 0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xc0, 0x40, 0x40, 0x00, 0x00, 0x03, 0x00,
        0x40, 0x00, 0x00, 0x07, 0x82, 0x00, 0x00,
    ];
    /// Parameter set of 1920x1080 cropped from 1088 rows.
    const SPS_1080: [u8; 42] = [
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x78,
        0xa0, 0x03, 0xc0, 0x80, 0x10, 0xe5, 0x96, 0x66, 0x69, 0x24, 0xca, 0xe0, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
        0x00, 0x00, 0x03, 0x01, 0xe0, 0x80,
    ];

    fn facts(payload: &[u8]) -> FrameFacts {
        frame_facts(payload, true).unwrap()
    }

    #[test]
    fn reads_the_size() {
        assert_eq!(facts(&SPS_720).resolution, Some((1_280, 720)));
        assert_eq!(facts(&SPS_1080).resolution, Some((1_920, 1_080)));
        assert_eq!(facts(&SPS_720[..20]).resolution, None);
    }

    #[test]
    fn an_aggregate_with_parameter_sets_begins_a_keyframe() {
        let mut payload = vec![0x60, 0x01, 0, 4, 0x40, 0x01, 0x0c, 0x01, 0, SPS_720.len() as u8];
        payload.extend(SPS_720);
        let seen = facts(&payload);
        assert!(seen.start_of_frame && seen.keyframe && seen.end_of_frame);
        assert_eq!(seen.resolution, Some((1_280, 720)));
        payload.pop();
        assert!(frame_facts(&payload, true).is_none());
    }

    #[test]
    fn parameter_sets_and_beginnings_of_pictures_are_found() {
        const VPS_0: [u8; 4] = [0x40, 0x01, 0x0c, 0x01];
        const PPS_2: [u8; 3] = [0x44, 0x01, 0x60];
        let ids = |payload: &[u8]| parameter_sets(payload).map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(ids(&SPS_720), [ParameterSetId::Sequence(0)]);
        assert_eq!((ids(&VPS_0), ids(&PPS_2)), (vec![ParameterSetId::Video(0)], vec![ParameterSetId::Picture(2)]));
        let aggregate = [&[0x60, 0x01, 0, 4][..], &VPS_0, &[0, 3], &PPS_2, &[0, 3, 0x26, 0x01, 0x80]].concat();
        assert_eq!(ids(&aggregate), [ParameterSetId::Video(0), ParameterSetId::Picture(2)]);
        for begins in [&aggregate[..], &[0x26, 0x01, 0x80], &[0x2a, 0x01, 0xff], &[0x62, 0x01, 0x93, 0x80]] {
            assert!(begins_random_access(begins), "{begins:02x?}");
        }
        let (later, trailing) = ([0x26, 0x01, 0x7f], [0x02, 0x01, 0x80]);
        for other in [&[][..], &[0x26], &[0x26, 0x01], &later, &trailing, &[0x62, 0x01, 0x13, 0x80], &VPS_0] {
            assert!(!begins_random_access(other), "{other:02x?}");
        }
        for none in [&SPS_720[..12], &[0x44, 0x01], &[0x44, 0x09, 0x60], &[0x45, 0x01, 0x60], &[0x60, 0x01, 0, 9]] {
            assert!(ids(none).is_empty(), "cut, or of another layer: {none:02x?}");
        }
    }

    #[test]
    fn slices_tell_where_a_picture_begins() {
        let trailing = facts(&[0x02, 0x01, 0x80]);
        assert!(trailing.start_of_frame && !trailing.keyframe && trailing.switching_point);
        assert!(!facts(&[0x02, 0x01, 0x7f]).start_of_frame, "a later segment");
        let idr = facts(&[0x26, 0x01, 0x80]);
        assert!(idr.keyframe && !idr.start_of_frame, "the parameter sets come first");
        assert!(facts(&[0x40, 0x01, 0x0c]).start_of_frame && !facts(&SPS_720).start_of_frame);
        assert!(facts(&[0x46, 0x01, 0x50]).start_of_frame, "access unit delimiter");
    }

    #[test]
    fn temporal_layers_are_entered_at_their_access_pictures() {
        let seen = facts(&[0x02, 0x03, 0x80]);
        assert_eq!((seen.temporal, seen.switching_point), (2, false));
        let access = facts(&[0x06, 0x03, 0x80]);
        assert_eq!((access.temporal, access.switching_point), (2, true));
        assert!(frame_facts(&[0x02, 0x00, 0x80], false).is_none(), "no temporal layer has the id -1");
    }

    #[test]
    fn fragments_tell_the_unit_that_they_are_of() {
        assert!(facts(&[0x62, 0x01, 0x93, 0x80]).keyframe);
        assert!(facts(&[0x62, 0x01, 0x13, 0x80]).keyframe, "a later fragment too");
        assert!(facts(&[0x62, 0x01, 0x81, 0x80]).start_of_frame);
        assert!(!facts(&[0x62, 0x01, 0x01, 0x80]).start_of_frame);
        assert!(frame_facts(&[0x62, 0x01], false).is_none());
        assert!(frame_facts(&[0x64, 0x01, 0, 0], false).is_none(), "PACI is never negotiated");
    }
}
