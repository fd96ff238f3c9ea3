//! Sequence headers (AV1 specification section 5.5), and where they stand in a temporal unit.

use super::{HAS_EXTENSION, HAS_SIZE, Obu, SEQUENCE_HEADER};
use crate::codec::bits::{BitReader, leb128};

/// A sequence header in a temporal unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SequenceHeader<'a> {
    /// The whole open bitstream unit.
    pub unit: &'a [u8],
    /// What [`resolution`] and [`Configuration::read`] read.
    pub content: &'a [u8],
}

/// The sequence headers of a temporal unit in the low-overhead format (AV1 specification section 5.2), up to where that is
/// damaged.
pub fn sequence_headers(temporal_unit: &[u8]) -> impl Iterator<Item = SequenceHeader<'_>> {
    let mut rest = temporal_unit;
    let units = std::iter::from_fn(move || {
        let (unit, after) = rest.split_at_checked(unit_len(rest)?)?;
        rest = after;
        Some(unit)
    });
    units.filter_map(|unit| {
        let parsed = Obu::parse(unit).filter(|parsed| parsed.unit_type == SEQUENCE_HEADER)?;
        Some(SequenceHeader { unit, content: parsed.content })
    })
}

/// Length of the unit that begins here; one without a size is the last.
fn unit_len(units: &[u8]) -> Option<usize> {
    let head = *units.first()?;
    let at = if head & HAS_EXTENSION != 0 { 2 } else { 1 };
    if head & HAS_SIZE == 0 {
        return Some(units.len());
    }
    let (size, len) = leb128(units.get(at..)?)?;
    usize::try_from(size).ok()?.checked_add(at + len)
}

/// What a decoder must know before it begins, as a file says it (AV1 codec ISO media file format binding, section 2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Configuration {
    /// `seq_profile`.
    pub profile: u8,
    /// `seq_level_idx` of the first operating point.
    pub level: u8,
    /// `seq_tier` of the first operating point.
    pub high_tier: bool,
    /// Ten bits a sample, or twelve.
    pub high_bitdepth: bool,
    /// Twelve bits a sample.
    pub twelve_bit: bool,
    /// No chroma.
    pub monochrome: bool,
    /// Chroma has half the width; half the height.
    pub subsampling: (bool, bool),
    /// `chroma_sample_position`.
    pub chroma_sample_position: u8,
    /// Largest width and height in pixels.
    pub resolution: (u16, u16),
}

/// Largest size in a sequence header, in pixels.
pub fn resolution(sequence_header: &[u8]) -> Option<(u16, u16)> {
    Some(Head::read(&mut BitReader::new(sequence_header))?.resolution)
}

impl Configuration {
    /// Of a sequence header.
    pub fn read(sequence_header: &[u8]) -> Option<Self> {
        let mut bits = BitReader::new(sequence_header);
        let Head { profile, reduced, level, high_tier, resolution } = Head::read(&mut bits)?;
        skip_tools(&mut bits, reduced)?;
        let high_bitdepth = bits.flag()?;
        let twelve_bit = profile == 2 && high_bitdepth && bits.flag()?;
        let monochrome = profile != 1 && bits.flag()?;
        let mut configuration = Self {
            profile,
            level,
            high_tier,
            high_bitdepth,
            twelve_bit,
            monochrome,
            subsampling: (true, true),
            chroma_sample_position: 0,
            resolution,
        };
        let described = if bits.flag()? { [bits.bits(8)?, bits.bits(8)?, bits.bits(8)?] } else { [2; 3] };
        if monochrome {
            return Some(configuration);
        }
        // BT.709, sRGB, identity: no range follows, and nothing is subsampled.
        if described == [1, 13, 0] {
            configuration.subsampling = (false, false);
            return Some(configuration);
        }
        bits.skip(1)?; // color_range
        configuration.subsampling = match profile {
            0 => (true, true),
            1 => (false, false),
            _ if twelve_bit => {
                let horizontal = bits.flag()?;
                (horizontal, horizontal && bits.flag()?)
            }
            _ => (true, false),
        };
        if configuration.subsampling == (true, true) {
            configuration.chroma_sample_position = bits.byte(2)?;
        }
        Some(configuration)
    }
}

/// A sequence header up to its size.
struct Head {
    profile: u8,
    reduced: bool,
    level: u8,
    high_tier: bool,
    resolution: (u16, u16),
}

impl Head {
    fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        let profile = bits.byte(3)?;
        bits.skip(1)?; // still_picture
        let reduced = bits.flag()?;
        let (level, high_tier) = if reduced { (bits.byte(5)?, false) } else { read_operating_points(bits)? };
        let (width_bits, height_bits) = (bits.bits(4)? + 1, bits.bits(4)? + 1);
        let (width, height) = (bits.bits(width_bits)? + 1, bits.bits(height_bits)? + 1);
        let resolution = (width.try_into().ok()?, height.try_into().ok()?);
        Some(Self { profile, reduced, level, high_tier, resolution })
    }
}

/// Level and tier of the first.
fn read_operating_points(bits: &mut BitReader<'_>) -> Option<(u8, bool)> {
    let mut delay_bits = None;
    if bits.flag()? {
        bits.skip(64)?; // num_units_in_display_tick, time_scale
        if bits.flag()? {
            bits.exp_golomb()?; // num_ticks_per_picture_minus_1
        }
        if bits.flag()? {
            delay_bits = Some(bits.bits(5)? as usize + 1);
            bits.skip(32 + 5 + 5)?; // num_units_in_decoding_tick, two lengths
        }
    }
    let has_display_delay = bits.flag()?;
    let mut first = None;
    for _ in 0..=bits.bits(5)? {
        bits.skip(12)?; // idc
        let level = bits.byte(5)?;
        let high_tier = level > 7 && bits.flag()?;
        first = first.or(Some((level, high_tier)));
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.skip(2 * delay_bits + 1)?;
        }
        if has_display_delay && bits.flag()? {
            bits.skip(4)?;
        }
    }
    first
}

/// What stands between size and colours.
fn skip_tools(bits: &mut BitReader<'_>, reduced: bool) -> Option<()> {
    if !reduced && bits.flag()? {
        bits.skip(4 + 3)?; // lengths of frame ids
    }
    bits.skip(3)?; // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
    if !reduced {
        bits.skip(4)?; // interintra and masked compound, warped motion, dual filter
        let has_order_hint = bits.flag()?;
        if has_order_hint {
            bits.skip(2)?; // enable_jnt_comp, enable_ref_frame_mvs
        }
        // Chosen by frame, or forced on or off; where they may be on, so are vectors of whole samples.
        let may_have_screen_content = bits.flag()? || bits.flag()?;
        if may_have_screen_content && !bits.flag()? {
            bits.skip(1)?; // seq_force_integer_mv
        }
        if has_order_hint {
            bits.skip(3)?; // order_hint_bits_minus_1
        }
    }
    bits.skip(3) // enable_superres, enable_cdef, enable_restoration
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bits::BitWriter;
    use proptest::prelude::*;

    #[test]
    fn headers_are_found_in_their_units() {
        let film = [0x08, 0x00, 0x00, 0x00, 0x42, 0xa7, 0xbf, 0xe4, 0x60, 0x0d, 0x00, 0x40];
        let found: Vec<_> = sequence_headers(&film).collect();
        assert_eq!(found, [SequenceHeader { unit: &film, content: &film[1..] }]);
        let configuration = Configuration::read(&film[1..]).unwrap();
        assert_eq!((configuration.profile, configuration.level, configuration.resolution), (0, 8, (1_920, 804)));
        // Behind a temporal delimiter and before a frame.
        let with_size = [&[0x12, 0, 0x0a, 11], &film[1..], &[0x32, 2, 0x10, 0]].concat();
        let found: Vec<_> = sequence_headers(&with_size).collect();
        assert_eq!(found, [SequenceHeader { unit: &with_size[2..15], content: &film[1..] }]);
        assert_eq!(sequence_headers(&[0x12, 0, 0x0a, 99, 1]).count(), 0, "it leaves the unit");
        assert_eq!(sequence_headers(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).count(), 0);
    }

    proptest! {
        #[test]
        fn colours_are_read(
            profile in 0..3u32, high: bool, twelve: bool, mono: bool, colours in 0..3u32, half: (bool, bool),
            position in 0..4u32, hints: bool, ids: bool, screen in 0..3u32, reduced: bool,
        ) {
            let mut bits = BitWriter::default();
            bits.bits(profile, 3).bits(0, 1).flag(reduced);
            if !reduced {
                bits.bits(0, 2).bits(0, 5).bits(0, 12);
            }
            bits.bits(9, 5);
            if !reduced {
                bits.flag(true);
            }
            bits.bits(9, 4).bits(8, 4).bits(639, 10).bits(359, 9);
            if !reduced {
                bits.flag(ids);
                if ids {
                    bits.bits(0x7f, 7);
                }
            }
            bits.bits(7, 3);
            if !reduced {
                bits.bits(0xf, 4).flag(hints);
                if hints {
                    bits.bits(3, 2);
                }
                match screen {
                    0 => bits.bits(0, 2),
                    1 => bits.bits(0b11, 2),
                    _ => bits.bits(0b0_1_0_1, 4),
                };
                if hints {
                    bits.bits(6, 3);
                }
            }
            bits.bits(7, 3).flag(high);
            let twelve = profile == 2 && high && twelve;
            if profile == 2 && high {
                bits.flag(twelve);
            }
            let mono = profile != 1 && mono;
            if profile != 1 {
                bits.flag(mono);
            }
            bits.flag(colours > 0);
            match colours {
                0 => &mut bits,
                1 => bits.bits(0x01_0d_00, 24),
                _ => bits.bits(0x09_10_09, 24),
            };
            let mut expected = (true, true);
            let is_rgb = !mono && colours == 1;
            if is_rgb {
                expected = (false, false);
            } else {
                bits.flag(true);
                if !mono {
                    expected = match profile {
                        0 => (true, true),
                        1 => (false, false),
                        _ if twelve => {
                            bits.flag(half.0);
                            if half.0 {
                                bits.flag(half.1);
                            }
                            (half.0, half.0 && half.1)
                        }
                        _ => (true, false),
                    };
                }
            }
            let has_position = !mono && !is_rgb && expected == (true, true);
            if has_position {
                bits.bits(position, 2);
            }
            let header = bits.bits(0, 2).bits(1, 1).finish();
            let read = Configuration::read(&header).unwrap();
            prop_assert_eq!((u32::from(read.profile), read.level, read.high_tier), (profile, 9, !reduced));
            prop_assert_eq!((read.high_bitdepth, read.twelve_bit, read.monochrome), (high, twelve, mono));
            prop_assert_eq!(read.subsampling, expected);
            prop_assert_eq!(u32::from(read.chroma_sample_position), if has_position { position } else { 0 });
            prop_assert_eq!((read.resolution, resolution(&header)), ((640, 360), Some((640, 360))));
        }

        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for header in sequence_headers(&bytes) {
                let configuration = Configuration::read(header.content);
                prop_assert!(configuration.is_none_or(|read| Some(read.resolution) == resolution(header.content)));
            }
        }
    }
}
