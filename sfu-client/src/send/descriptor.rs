//! Payload descriptors of VP8 and VP9: what goes before each piece of a frame.
//!
//! VP8 (RFC 7741 section 4.2): `X R N S PID`, `I L T K`, a picture id of 15 bits, and with layers TL0PICIDX and
//! `TID Y KEYIDX`.
//!
//! VP9 (RFC 9628 section 4.2) in flexible mode: `I P L F B E V Z`, a picture id of 15 bits, with layers `TID U SID D`, how
//! many pictures back each reference is (`P_DIFF N`), and with a keyframe its size (`N_S Y G`, width, height).

use crate::encode::{EncodedFrame, Layering};
use arrayvec::ArrayVec;

/// The longest descriptor.
pub(super) const MAX_LEN: usize = 10;

/// Numbers of the pictures of one stream.
#[derive(Debug)]
pub(super) struct Numbers {
    picture: u16,
    base: u8,
}

impl Numbers {
    /// Begins somewhere.
    pub(super) const fn new(random: u32) -> Self {
        Self { picture: (random & 0x7fff) as u16, base: (random >> 16) as u8 }
    }

    /// Goes on to the next picture.
    pub(super) const fn advance(&mut self, layering: Layering) {
        self.picture = (self.picture + 1) & 0x7fff;
        if layering.layer == 0 {
            self.base = self.base.wrapping_add(1);
        }
    }

    /// What goes before a piece of a VP8 frame.
    pub(super) fn vp8(&self, layering: Layering, first: bool) -> ArrayVec<u8, MAX_LEN> {
        let mut out = ArrayVec::new();
        let has_layers = layering.layers > 1;
        out.push(0x80 | flag(layering.is_discardable, 0x20) | flag(first, 0x10));
        out.push(0x80 | flag(has_layers, 0x40 | 0x20));
        out.extend(self.picture_id());
        if has_layers {
            out.extend([self.base, layering.layer << 6 | flag(layering.is_sync, 0x20)]);
        }
        out
    }

    /// What goes before a piece of a VP9 frame; `size` is that of a keyframe.
    pub(super) fn vp9(
        &self,
        frame: &EncodedFrame,
        size: Option<(u16, u16)>,
        first: bool,
        last: bool,
    ) -> ArrayVec<u8, MAX_LEN> {
        let mut out = ArrayVec::new();
        let layering = frame.layering;
        let has_layers = layering.layers > 1;
        let size = size.filter(|_| first && frame.keyframe);
        out.push(
            0x80 | 0x10
                | flag(!frame.keyframe, 0x40)
                | flag(has_layers, 0x20)
                | flag(first, 0x08)
                | flag(last, 0x04)
                | flag(size.is_some(), 0x02),
        );
        out.extend(self.picture_id());
        if has_layers {
            out.push(layering.layer << 5 | flag(layering.is_sync, 0x10));
        }
        if !frame.keyframe {
            out.push(layering.reference << 1);
        }
        if let Some((width, height)) = size {
            out.push(0x10);
            out.extend(width.to_be_bytes());
            out.extend(height.to_be_bytes());
        }
        out
    }

    fn picture_id(&self) -> [u8; 2] {
        (self.picture | 0x8000).to_be_bytes()
    }
}

const fn flag(is_set: bool, bits: u8) -> u8 {
    if is_set { bits } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::References;
    use bytes::Bytes;
    use sfu_rtc::codec::{vp8, vp9};

    const TOP: Layering = Layering { layers: 3, layer: 2, is_sync: true, is_discardable: true, reference: 1 };

    fn payload(descriptor: &[u8]) -> Vec<u8> {
        [descriptor, &[1, 2, 3]].concat()
    }

    #[test]
    fn vp8_descriptors_say_layer_and_numbers() {
        let mut numbers = Numbers::new(0x0012_7fff);
        numbers.advance(Layering::default());
        let plain = payload(&numbers.vp8(Layering::default(), true));
        let plain = vp8::Descriptor::parse(&plain).unwrap();
        assert_eq!((plain.picture_id, plain.tl0_pic_idx, plain.temporal), (Some(0), None, None));
        assert_eq!((plain.start_of_frame, plain.non_reference, plain.len), (true, false, 4));
        numbers.advance(TOP);
        let top = payload(&numbers.vp8(TOP, false));
        let top = vp8::Descriptor::parse(&top).unwrap();
        assert_eq!((top.picture_id, top.tl0_pic_idx, top.temporal), (Some(1), Some(0x13), Some(2)));
        assert_eq!((top.start_of_frame, top.non_reference, top.layer_sync, top.len), (false, true, true, 6));
    }

    #[test]
    fn vp9_descriptors_say_layer_reference_and_size() {
        let numbers = Numbers::new(7);
        let frame = |keyframe, layering| EncodedFrame {
            data: Bytes::new(),
            keyframe,
            layering,
            references: References::of(layering),
        };
        let key = payload(&numbers.vp9(&frame(true, Layering::default()), Some((640, 360)), true, false));
        let key = vp9::Descriptor::parse(&key).unwrap();
        assert_eq!((key.predicted, key.begin, key.end, key.flexible), (false, true, false, true));
        assert_eq!((key.sizes.as_slice(), key.picture_id, key.len), (&[(640, 360)][..], Some(7), 8));
        let top = payload(&numbers.vp9(&frame(false, TOP), None, false, true));
        assert_eq!(top[4] >> 1, 1, "how far back the reference is");
        let top = vp9::Descriptor::parse(&top).unwrap();
        assert_eq!((top.predicted, top.begin, top.end, top.temporal, top.switching_up), (true, false, true, 2, true));
        assert_eq!(top.len, 5);
    }
}
