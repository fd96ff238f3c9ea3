//! What a picture will cost, before it is coded: how much of it neither motion nor a flat block explains.
//!
//! Looked at in half resolution, in blocks of 8x8 samples (a macroblock of the whole picture): the sum of absolute
//! differences to the picture before at the best of a few motion vectors, and to the block's own mean.

use crate::frame::VideoFrame;

/// Side of a block.
const BLOCK: usize = 8;
/// Steps of the search around the best vector, in samples of half resolution.
const STEPS: [(isize, isize); 4] = [(1, 0), (-1, 0), (0, 1), (0, -1)];
/// Rounds of the search: motion of up to this many samples is found from rest, more from the neighbour's vector.
const ROUNDS: usize = 4;
/// A mean difference per sample that no search makes better: noise.
const STILL: u32 = 2 * (BLOCK * BLOCK) as u32;

/// How hard a picture is to code, in sums of absolute differences over half resolution.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Complexity {
    /// As an intra picture.
    pub intra: f64,
    /// From the picture before; as intra where there is none.
    pub inter: f64,
    /// Share of blocks that the picture before does not explain better than their own mean, 0 to 1.
    pub new_share: f64,
    /// Samples that were looked at.
    pub samples: f64,
}

impl Complexity {
    /// Of a picture against the one before the last, where the last was left out: at most.
    pub fn and(self, next: Self) -> Self {
        let inter = (self.inter + next.inter).min(next.intra);
        Self { inter, new_share: self.new_share.max(next.new_share), ..next }
    }
}

/// Looks at one picture after another.
#[derive(Debug, Default)]
pub struct ComplexityMeter {
    width: usize,
    height: usize,
    current: Vec<u8>,
    before: Vec<u8>,
    /// Whether `before` is a picture.
    has_before: bool,
    /// Motion vectors of a row of blocks, of the row above while it is being filled.
    vectors: Vec<(isize, isize)>,
}

impl ComplexityMeter {
    /// A meter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Measures `picture` against the one that was measured before it.
    pub fn measure(&mut self, picture: &VideoFrame) -> Complexity {
        let size = (picture.width() / 2, picture.height() / 2);
        if (self.width, self.height) != size {
            (self.width, self.height) = size;
            self.current.resize(size.0 * size.1, 0);
            self.before.resize(size.0 * size.1, 0);
            self.vectors.resize(size.0 / BLOCK, (0, 0));
            self.has_before = false;
        }
        halve(picture.planes().0, picture.width(), &mut self.current);
        let complexity = self.sum();
        std::mem::swap(&mut self.current, &mut self.before);
        self.has_before = true;
        complexity
    }

    /// What is less than a block at the right and lower border is left out.
    fn sum(&mut self) -> Complexity {
        let (mut intra_sum, mut inter_sum, mut new, mut blocks) = (0u64, 0u64, 0u32, 0u32);
        self.vectors.fill((0, 0));
        for y in 0..self.height / BLOCK {
            let mut left = (0, 0);
            for x in 0..self.width / BLOCK {
                let at = (x * BLOCK, y * BLOCK);
                let intra = intra(&self.current, self.width, at);
                let mut inter = intra;
                if self.has_before {
                    let (difference, vector) = self.search(at, [left, self.vectors[x]]);
                    (left, self.vectors[x]) = (vector, vector);
                    inter = inter.min(difference);
                    new += u32::from(difference >= intra && intra > STILL);
                }
                intra_sum += u64::from(intra);
                inter_sum += u64::from(inter);
                blocks += 1;
            }
        }
        Complexity {
            intra: intra_sum as f64,
            inter: inter_sum as f64,
            new_share: f64::from(new) / f64::from(blocks.max(1)),
            samples: f64::from(blocks) * (BLOCK * BLOCK) as f64,
        }
    }

    /// The least difference, and its vector: first from rest and the neighbours, then step by step.
    fn search(&self, at: (usize, usize), neighbours: [(isize, isize); 2]) -> (u32, (isize, isize)) {
        let mut vector = (0, 0);
        let mut best = self.difference(at, vector).unwrap_or(u32::MAX);
        for candidate in neighbours {
            if best > STILL && candidate != vector {
                let difference = self.difference(at, candidate).unwrap_or(u32::MAX);
                if difference < best {
                    (best, vector) = (difference, candidate);
                }
            }
        }
        for _ in 0..ROUNDS {
            if best <= STILL {
                break;
            }
            let centre = vector;
            for (dx, dy) in STEPS {
                let candidate = (centre.0 + dx, centre.1 + dy);
                let difference = self.difference(at, candidate).unwrap_or(u32::MAX);
                if difference < best {
                    (best, vector) = (difference, candidate);
                }
            }
            if vector == centre {
                break;
            }
        }
        (best, vector)
    }

    /// The block's difference to where `vector` leads in the picture before; `None` beyond its border.
    fn difference(&self, (x, y): (usize, usize), vector: (isize, isize)) -> Option<u32> {
        let (from_x, from_y) = (x.checked_add_signed(vector.0)?, y.checked_add_signed(vector.1)?);
        if from_x + BLOCK > self.width || from_y + BLOCK > self.height {
            return None;
        }
        let rows = (0..BLOCK).map(|row| {
            let now: &[u8; BLOCK] = block_row(&self.current, self.width, x, y + row);
            let then: &[u8; BLOCK] = block_row(&self.before, self.width, from_x, from_y + row);
            now.iter().zip(then).map(|(now, then)| u32::from(now.abs_diff(*then))).sum::<u32>()
        });
        Some(rows.sum())
    }
}

/// The block's difference to its mean.
fn intra(plane: &[u8], stride: usize, (x, y): (usize, usize)) -> u32 {
    let rows = || (0..BLOCK).map(|row| block_row(plane, stride, x, y + row));
    let sum: u32 = rows().flatten().map(|sample| u32::from(*sample)).sum();
    let mean = (sum / (BLOCK * BLOCK) as u32) as u8;
    rows().flatten().map(|sample| u32::from(sample.abs_diff(mean))).sum()
}

fn block_row(plane: &[u8], stride: usize, x: usize, y: usize) -> &[u8; BLOCK] {
    let start = y * stride + x;
    // Callers stay within the plane.
    plane[start..start + BLOCK].first_chunk().unwrap_or(&[0; BLOCK])
}

/// Means of two by two samples.
fn halve(plane: &[u8], width: usize, out: &mut [u8]) {
    for (rows, out) in plane.chunks_exact(2 * width).zip(out.chunks_exact_mut(width / 2)) {
        let (upper, lower) = rows.split_at(width);
        for ((upper, lower), out) in upper.chunks_exact(2).zip(lower.chunks_exact(2)).zip(out) {
            let sum = u16::from(upper[0]) + u16::from(upper[1]) + u16::from(lower[0]) + u16::from(lower[1]);
            *out = ((sum + 2) / 4) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texture that moves `shift` samples to the left, of a world that `seed` names.
    fn picture(shift: usize, seed: u32) -> VideoFrame {
        let mut picture = VideoFrame::new(320, 176).unwrap();
        for (y, row) in picture.planes_mut().0.chunks_exact_mut(320).enumerate() {
            for (x, sample) in row.iter_mut().enumerate() {
                let cell = ((x + shift) / 6) as u32 * 7919 + (y / 6) as u32 * 104_729 + seed * 15_485_863;
                let mixed = (cell ^ cell >> 15).wrapping_mul(0x85eb_ca6b);
                *sample = ((mixed ^ mixed >> 13).wrapping_mul(0xc2b2_ae35) >> 25) as u8 + 60;
            }
        }
        picture
    }

    #[test]
    fn the_first_picture_costs_as_intra() {
        let first = ComplexityMeter::new().measure(&picture(0, 1));
        assert!(first.intra > 0.0);
        assert_eq!(first.inter, first.intra);
        assert_eq!(first.new_share, 0.0);
    }

    #[test]
    fn stillness_costs_nothing_motion_little_and_a_cut_all() {
        let mut meter = ComplexityMeter::new();
        meter.measure(&picture(0, 1));
        let still = meter.measure(&picture(0, 1));
        assert_eq!((still.inter, still.new_share), (0.0, 0.0));
        let moved = meter.measure(&picture(4, 1));
        assert!(moved.inter < 0.3 * moved.intra && moved.new_share < 0.1, "{moved:?}");
        let cut = meter.measure(&picture(4, 99));
        assert!(cut.inter > 0.6 * cut.intra && cut.new_share > 0.3, "{cut:?}");
    }

    #[test]
    fn a_flat_picture_and_any_size_pass() {
        let mut meter = ComplexityMeter::new();
        for (width, height) in [(2, 2), (16, 16), (18, 34), (640, 360)] {
            for _ in 0..2 {
                let flat = meter.measure(&VideoFrame::new(width, height).unwrap());
                assert_eq!((flat.intra, flat.inter, flat.new_share), (0.0, 0.0, 0.0));
            }
        }
    }
}
