//! Descriptors of a stream without layers, each frame of which refers to one other: L1T1, whose templates are a frame that
//! stands alone and one that refers to the frame before it. Any other reference is written out.

use crate::codec::bits::BitWriter;

/// The furthest reference: three nibbles say one less.
pub const MAX_DIFF: u16 = 1 << 12;

/// A frame, as its packets describe it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameDescription {
    /// Its number.
    pub number: u16,
    /// How many frame numbers back the frame is that it refers to; 0: it stands alone.
    pub reference: u16,
    /// Width and height.
    pub size: (u16, u16),
}

/// A reference is further back than descriptors reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FarReference;

/// Template ids.
const ALONE: u32 = 0;
const PREDICTED: u32 = 1;
/// In the order of the extended flags: templates are attached; the frame differences are its own.
const ATTACHED: u32 = 0b1_0000;
const OWN_DIFFS: u32 = 0b0_0010;

impl FrameDescription {
    /// The descriptor of the frame's packet that is its first, last, both or neither. The first of a frame that stands alone
    /// brings the templates.
    ///
    /// # Errors
    /// Where the reference is beyond [`MAX_DIFF`].
    pub fn to_bytes(&self, first: bool, last: bool) -> Result<Vec<u8>, FarReference> {
        if self.reference > MAX_DIFF {
            return Err(FarReference);
        }
        let mut bits = BitWriter::default();
        let template = if self.reference == 0 { ALONE } else { PREDICTED };
        bits.flag(first).flag(last).bits(template, 6).bits(self.number.into(), 16);
        if self.reference == 0 && first {
            bits.bits(ATTACHED, 5);
            self.write_templates(&mut bits);
        } else if self.reference > 1 {
            bits.bits(OWN_DIFFS, 5);
            let nibbles = (u16::BITS - (self.reference - 1).leading_zeros()).div_ceil(4);
            bits.bits(nibbles, 2).bits(u32::from(self.reference) - 1, 4 * nibbles).bits(0, 2);
        }
        Ok(bits.finish())
    }

    fn write_templates(&self, bits: &mut BitWriter) {
        // The first id, one decode target; a second template of the same layer, and the end.
        bits.bits(0, 6).bits(0, 5).bits(0, 2).bits(3, 2);
        // A receiver may begin with the first; of the second it needs all.
        bits.bits(2, 2).bits(3, 2);
        // References: none; the frame before.
        bits.flag(false).flag(true).bits(0, 4).flag(false);
        // No chains: a frame may be of use after one that was lost.
        bits.bits(0, 1);
        let (width, height) = self.size;
        bits.flag(true).bits(u32::from(width.max(1)) - 1, 16).bits(u32::from(height.max(1)) - 1, 16);
    }
}

#[cfg(test)]
mod tests {
    use super::super::DependencyStructure;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut structure = DependencyStructure::default();
        for (at, reference) in [0, 1, 1, 2, 16, 17, 256, 257, MAX_DIFF, 1, 0, 1].into_iter().enumerate() {
            for (first, last) in [(true, false), (false, false), (false, true), (true, true)] {
                let frame =
                    FrameDescription { number: 65_530_u16.wrapping_add(at as u16), reference, size: (640, 360) };
                let read = structure.parse(&frame.to_bytes(first, last).unwrap()).unwrap();
                assert_eq!((read.start_of_frame, read.end_of_frame, read.frame_number), (first, last, frame.number));
                assert_eq!(read.frame_diffs.as_slice(), &[reference][usize::from(reference == 0)..]);
                assert_eq!(read.is_keyframe(), reference == 0);
                assert_eq!((read.structure_attached, read.resolution), (reference == 0 && first, Some((640, 360))));
                assert!(!read.is_discardable() && read.temporal == 0);
            }
        }
        let far = FrameDescription { number: 0, reference: MAX_DIFF + 1, size: (0, 0) };
        assert_eq!(far.to_bytes(true, true), Err(FarReference));
    }
}
