//! Descriptors of a stream each frame of which refers to one other, without layers or with up to three temporal ones: L1T1,
//! L1T2, L1T3. The templates are a frame that stands alone and, for each layer, one that refers as far back as is usual
//! there. Any other reference is written out.

use super::Dti;
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
    /// Temporal layers of the stream, 1 to 3.
    pub layers: u8,
    /// The frame's own, 0 for the base.
    pub temporal: u8,
}

/// A reference is further back than descriptors reach, or there is no such layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Undescribable;

/// Template of a frame that stands alone; those of layers follow, the base's first.
const ALONE: u32 = 0;
/// Most temporal layers: templates of more would not fit the 16 bytes of a one-byte header extension.
const MAX_LAYERS: u8 = 3;
/// In the order of the extended flags: templates are attached; the frame differences are its own.
const ATTACHED: u32 = 0b1_0000;
const OWN_DIFFS: u32 = 0b0_0010;

impl FrameDescription {
    /// The descriptor of the frame's packet that is its first, last, both or neither. The first of a frame that stands alone
    /// brings the templates.
    ///
    /// # Errors
    /// Where the reference is beyond [`MAX_DIFF`], or there is no such layer.
    pub fn to_bytes(&self, first: bool, last: bool) -> Result<Vec<u8>, Undescribable> {
        let is_layer = self.temporal < self.layers && (1..=MAX_LAYERS).contains(&self.layers);
        if self.reference > MAX_DIFF || !is_layer || self.reference == 0 && self.temporal > 0 {
            return Err(Undescribable);
        }
        let mut bits = BitWriter::default();
        let template = if self.reference == 0 { ALONE } else { 1 + u32::from(self.temporal) };
        bits.flag(first).flag(last).bits(template, 6).bits(self.number.into(), 16);
        if self.reference == 0 && first {
            bits.bits(ATTACHED, 5);
            self.write_templates(&mut bits);
        } else if self.reference > 0 && self.reference != self.usual_reference(self.temporal) {
            bits.bits(OWN_DIFFS, 5);
            let nibbles = (u16::BITS - (self.reference - 1).leading_zeros()).div_ceil(4).max(1);
            bits.bits(nibbles, 2).bits(u32::from(self.reference) - 1, 4 * nibbles).bits(0, 2);
        }
        Ok(bits.finish())
    }

    /// How far back frames of a layer refer: to the frame that the layer would follow if none above it were sent.
    fn usual_reference(&self, temporal: u8) -> u16 {
        1 << (self.layers - 1 - temporal)
    }

    fn write_templates(&self, bits: &mut BitWriter) {
        // The first id; as many decode targets as layers.
        bits.bits(0, 6).bits(u32::from(self.layers) - 1, 5);
        // A second template of the base, then one of each next layer, and the end.
        bits.bits(0, 2);
        for _ in 1..self.layers {
            bits.bits(1, 2);
        }
        bits.bits(3, 2);
        // A receiver may begin with the first.
        for _ in 0..self.layers {
            bits.bits(Dti::Switch as u32, 2);
        }
        for temporal in 0..self.layers {
            for target in 0..self.layers {
                bits.bits(indication(temporal, target) as u32, 2);
            }
        }
        // References: none; of each layer the usual one.
        bits.flag(false);
        for temporal in 0..self.layers {
            bits.flag(true).bits(u32::from(self.usual_reference(temporal)) - 1, 4).flag(false);
        }
        // No chains: a frame may be of use after one that was lost. One more value than there are targets, in ns(n).
        bits.bits(0, (u32::from(self.layers) + 1).ilog2());
        let (width, height) = self.size;
        bits.flag(true).bits(u32::from(width.max(1)) - 1, 16).bits(u32::from(height.max(1)) - 1, 16);
    }
}

/// What a frame of this layer, that refers to another, means for the target that ends with layer `target`.
fn indication(temporal: u8, target: u8) -> Dti {
    match temporal {
        _ if temporal > target => Dti::NotPresent,
        // Of the base a receiver needs all.
        0 => Dti::Required,
        _ if temporal == target => Dti::Discardable,
        // What is above it refers to it, or to nothing before it.
        _ => Dti::Switch,
    }
}

#[cfg(test)]
mod tests {
    use super::super::DependencyStructure;
    use super::*;

    const PLAIN: FrameDescription =
        FrameDescription { number: 0, reference: 0, size: (640, 360), layers: 1, temporal: 0 };

    #[test]
    fn what_is_written_is_read() {
        let mut structure = DependencyStructure::default();
        for (at, reference) in [0, 1, 1, 2, 16, 17, 256, 257, MAX_DIFF, 1, 0, 1].into_iter().enumerate() {
            for (first, last) in [(true, false), (false, false), (false, true), (true, true)] {
                let frame = FrameDescription { number: 65_530_u16.wrapping_add(at as u16), reference, ..PLAIN };
                let read = structure.parse(&frame.to_bytes(first, last).unwrap()).unwrap();
                assert_eq!((read.start_of_frame, read.end_of_frame, read.frame_number), (first, last, frame.number));
                assert_eq!(read.frame_diffs.as_slice(), &[reference][usize::from(reference == 0)..]);
                assert_eq!(read.is_keyframe(), reference == 0);
                assert_eq!((read.structure_attached, read.resolution), (reference == 0 && first, Some((640, 360))));
                assert!(!read.is_discardable() && read.temporal == 0);
            }
        }
        let far = FrameDescription { reference: MAX_DIFF + 1, ..PLAIN };
        assert_eq!(far.to_bytes(true, true), Err(Undescribable));
    }

    #[test]
    fn layers_are_read() {
        // Layer, reference, a receiver may begin with its layer here, nothing depends on it.
        let two = [(0, 0, true, false), (1, 1, true, true), (0, 2, false, false), (1, 1, true, true)];
        let three = [
            (0, 0, true, false),
            (2, 1, true, true),
            (1, 2, true, false),
            (2, 1, true, true),
            (0, 4, false, false),
            (0, 1, false, false),
        ];
        for (layers, frames) in [(2, &two[..]), (3, &three[..])] {
            let mut structure = DependencyStructure::default();
            for (number, (temporal, reference, switch, discardable)) in (0..).zip(frames.iter().copied()) {
                let frame = FrameDescription { number, reference, layers, temporal, ..PLAIN };
                let bytes = frame.to_bytes(true, true).unwrap();
                assert!(bytes.len() <= 16, "{}", bytes.len());
                let read = structure.parse(&bytes).unwrap();
                assert_eq!(read.frame_diffs.as_slice(), &[reference][usize::from(reference == 0)..]);
                assert_eq!(
                    (read.temporal, read.switching_point, read.is_discardable()),
                    (temporal, switch, discardable)
                );
                assert_eq!((read.is_keyframe(), read.resolution), (reference == 0, Some((640, 360))));
                assert!(read.dtis.iter().take(temporal.into()).all(|dti| dti == Dti::NotPresent));
            }
            assert_eq!(structure.decode_targets().len(), usize::from(layers));
        }
        for (layers, temporal, reference) in [(0, 0, 1), (4, 0, 1), (2, 2, 1), (2, 1, 0)] {
            let frame = FrameDescription { layers, temporal, reference, ..PLAIN };
            assert_eq!(frame.to_bytes(true, true), Err(Undescribable));
        }
    }
}
