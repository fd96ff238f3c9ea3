//! Which packets a parity packet protects.

use super::MAX_STREAMS;
use crate::ids::Ssrc;
use arrayvec::ArrayVec;

/// Bits of a mask.
pub(super) const BITS: u16 = 128;

/// Packets of one stream: a first sequence number, and a bit for each from there on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Protected {
    pub(super) ssrc: Ssrc,
    pub(super) base: u16,
    /// The highest bit is `base`, as on the wire.
    pub(super) mask: u128,
}

impl Protected {
    /// None of the stream's packets.
    pub(super) fn none(ssrc: Ssrc) -> Self {
        Self { ssrc, base: 0, mask: 0 }
    }

    /// Adds the packet `seq`, which lies less than [`BITS`] behind the base; the first one is the base.
    pub(super) fn insert(&mut self, seq: u16) {
        if self.mask == 0 {
            self.base = seq;
        }
        self.mask |= 1 << (BITS - 1 - seq.wrapping_sub(self.base));
    }

    /// Whether a mask of `span` bits reaches as far as `seq`, which lies ahead of all that are in.
    pub(super) fn has_room(&self, seq: u16, span: u16) -> bool {
        self.mask == 0 || seq.wrapping_sub(self.base) < span
    }

    /// Those of the packets that are in `mask`, which counts from the same base and is not empty.
    pub(super) fn only(&self, mask: u128) -> Self {
        let ahead = mask.leading_zeros();
        Self { ssrc: self.ssrc, base: self.base.wrapping_add(ahead as u16), mask: mask << ahead }
    }

    /// How many bits the mask needs.
    pub(super) fn bits(&self) -> u16 {
        BITS - self.mask.trailing_zeros() as u16
    }

    /// How far behind the base each packet is, in order.
    pub(super) fn offsets(&self) -> impl Iterator<Item = u16> + use<> {
        let mut rest = self.mask;
        std::iter::from_fn(move || {
            let offset = rest.leading_zeros() as u16;
            (rest != 0).then(|| {
                rest ^= 1 << (BITS - 1 - offset);
                offset
            })
        })
    }
}

/// What the header of a parity packet says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Parity {
    /// Row of the code's matrix; in row 0, which is XOR, all coefficients are 1.
    pub(super) row: u8,
    /// At most one entry per stream.
    pub(super) streams: ArrayVec<Protected, MAX_STREAMS>,
}

impl Parity {
    /// XOR over packets of one stream.
    pub(super) fn xor(stream: Protected) -> Self {
        let mut streams = ArrayVec::new();
        streams.push(stream);
        Self { row: 0, streams }
    }
}
