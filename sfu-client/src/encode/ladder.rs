//! Quantisers of the codecs on one scale: that of H.264, where 6 more double the step, and 4 is a step of 1.

/// The quantisers of a codec, finest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ladder {
    /// 0 to 51; the scale itself (H.264 section 8.5.9).
    H264,
    /// libvpx's 64 of VP8.
    Vp8,
    /// libvpx's 64 of VP9.
    Vp9,
    /// libaom's 64 of AV1.
    Av1,
}

/// Steps of AC coefficients (RFC 6386 section 14.1) at libvpx's 64 quantisers; its transform doubles coefficients.
const VP8_STEPS: [u16; 64] = [
    4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 19, 21, 22, 23, 24, 25, 27, 28, 29, 30, 31, 32, 33, 34, 35, 37, 39, 41,
    43, 45, 47, 49, 51, 53, 55, 57, 60, 64, 68, 72, 78, 84, 90, 96, 102, 108, 114, 122, 131, 140, 149, 158, 167, 177,
    189, 201, 213, 225, 239, 254, 269, 284,
];
/// The same of VP9 (bitstream specification section 8.6.1), at quantiser indices 0, 4, 8 and so on; its transform makes
/// coefficients eight times as large. AV1 has the same (specification section 7.12.2), and libaom goes by the same indices.
const VP9_STEPS: [u16; 64] = [
    4, 11, 15, 19, 23, 27, 31, 35, 39, 43, 47, 51, 55, 59, 63, 67, 71, 75, 79, 83, 87, 91, 95, 99, 104, 112, 120, 128,
    136, 144, 152, 164, 176, 188, 200, 215, 231, 247, 265, 285, 305, 329, 353, 380, 408, 440, 474, 510, 550, 593, 639,
    689, 743, 801, 864, 933, 1007, 1087, 1173, 1267, 1369, 1479, 1628, 1828,
];

impl Ladder {
    /// The coarsest quantiser.
    pub const fn coarsest(self) -> u8 {
        match self {
            Self::H264 => 51,
            Self::Vp8 | Self::Vp9 | Self::Av1 => 63,
        }
    }

    /// Where a quantiser stands on the scale; beyond the coarsest: as that.
    pub fn level(self, quantizer: u8) -> f64 {
        let quantizer = quantizer.min(self.coarsest());
        let of = |step: u16, gain: f64| 4.0 + 6.0 * (f64::from(step) / gain).log2();
        match self {
            Self::H264 => f64::from(quantizer),
            Self::Vp8 => of(VP8_STEPS[usize::from(quantizer)], 2.0),
            Self::Vp9 | Self::Av1 => of(VP9_STEPS[usize::from(quantizer)], 8.0),
        }
    }

    /// The quantiser nearest to a place on the scale.
    pub fn nearest(self, level: f64) -> u8 {
        // Levels rise: the first at or above, or the one before it.
        let (mut low, mut high) = (0, self.coarsest());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.level(middle) < level {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let is_below_nearer = low > 0 && level - self.level(low - 1) < self.level(low) - level;
        low - u8::from(is_below_nearer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_rise_and_lead_back() {
        for ladder in [Ladder::H264, Ladder::Vp8, Ladder::Vp9, Ladder::Av1] {
            for quantizer in 0..=ladder.coarsest() {
                assert_eq!(ladder.nearest(ladder.level(quantizer)), quantizer, "{ladder:?}");
            }
            assert!((1..=ladder.coarsest()).all(|quantizer| ladder.level(quantizer) > ladder.level(quantizer - 1)));
            assert_eq!((ladder.nearest(-99.0), ladder.nearest(99.0)), (0, ladder.coarsest()));
            assert_eq!(ladder.level(255), ladder.level(ladder.coarsest()));
        }
        assert_eq!((Ladder::H264.nearest(20.4), Ladder::H264.nearest(20.6)), (20, 21));
    }
}
