//! Grain: a texture with detail of every size, and a sensor's noise.

use crate::frame::VideoFrame;

/// Side of the texture, which repeats; a power of two.
const SIDE: usize = 256;
/// Sizes of detail, in samples, and how strong it is.
const OCTAVES: [(usize, i32); 5] = [(64, 34), (32, 28), (16, 22), (8, 18), (4, 14)];

/// A texture: -116 to 116, in the mean 0.
#[derive(Clone, Debug)]
pub(super) struct Texture(Vec<i8>);

impl Texture {
    pub(super) fn new() -> Self {
        let mut samples = vec![0; SIDE * SIDE];
        for (y, row) in samples.chunks_exact_mut(SIDE).enumerate() {
            for (x, sample) in row.iter_mut().enumerate() {
                let sum: i32 = OCTAVES.iter().map(|(cell, strength)| octave(x, y, *cell) * strength / 256).sum();
                *sample = sum as i8;
            }
        }
        Self(samples)
    }

    /// The sample at a place, which may be anywhere.
    pub(super) fn at(&self, x: isize, y: isize) -> i32 {
        let wrap = |place: isize| place.rem_euclid(SIDE as isize) as usize;
        i32::from(self.0[wrap(y) * SIDE + wrap(x)])
    }
}

/// Random values at every `cell` samples, and straight lines between them: -256 to 256.
fn octave(x: usize, y: usize, cell: usize) -> i32 {
    let cells = SIDE / cell;
    let corner = |dx: usize, dy: usize| {
        let (x, y) = ((x / cell + dx) % cells, (y / cell + dy) % cells);
        (hash((y * 257 + x + cell * 65_537) as u32) % 513) as i32 - 256
    };
    let (part_x, part_y, whole) = ((x % cell) as i32, (y % cell) as i32, cell as i32);
    let upper = corner(0, 0) * (whole - part_x) + corner(1, 0) * part_x;
    let lower = corner(0, 1) * (whole - part_x) + corner(1, 1) * part_x;
    (upper * (whole - part_y) + lower * part_y) / (whole * whole)
}

/// Adds noise of -`strength` to `strength`, in the mean 0 and triangular, to the luma of picture number `frame`.
pub(super) fn grain(picture: &mut VideoFrame, frame: u32, strength: i32) {
    let mut state = u64::from(hash(frame)) << 32 | 0x9e37_79b9;
    for sample in picture.planes_mut().0 {
        // Marsaglia's xorshift: a hash of every place would take longer than all else.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let (a, b) = ((state & 0xff) as i32, (state >> 8 & 0xff) as i32);
        let noise = (a - b) * strength / 256;
        *sample = (i32::from(*sample) + noise).clamp(0, 255) as u8;
    }
}

/// A finaliser of MurmurHash3.
pub(super) const fn hash(value: u32) -> u32 {
    let value = (value ^ value >> 16).wrapping_mul(0x85eb_ca6b);
    let value = (value ^ value >> 13).wrapping_mul(0xc2b2_ae35);
    value ^ value >> 16
}
