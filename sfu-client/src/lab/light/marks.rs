//! What a clip looks like, in numbers.

use crate::frame::VideoFrame;

/// Side of the blocks whose contrast counts as local, and whose stillness shows noise.
const BLOCK: usize = 16;
/// Noise is read from the stillest blocks: this share of them differs less than what is read.
const STILL_SHARE: f64 = 0.25;

/// Means over a clip.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Marks {
    /// Luma.
    pub luma: f64,
    /// Standard deviation of luma within blocks of 16x16.
    pub contrast: f64,
    /// Change of the mean luma from picture to picture, without its sign.
    pub flicker: f64,
    /// Difference from picture to picture, per sample, where the picture lies still.
    pub noise: f64,
    /// The chroma planes.
    pub u: f64,
    /// The other one.
    pub v: f64,
}

/// Adds pictures up.
#[derive(Debug)]
pub(super) struct Marker {
    sum: Marks,
    pictures: u32,
    before: Option<(VideoFrame, f64)>,
}

impl Marker {
    pub(super) const fn new() -> Self {
        let sum = Marks { luma: 0.0, contrast: 0.0, flicker: 0.0, noise: 0.0, u: 0.0, v: 0.0 };
        Self { sum, pictures: 0, before: None }
    }

    pub(super) fn add(&mut self, picture: &VideoFrame) {
        let (luma, u, v) = picture.planes();
        let mean = mean(luma);
        self.sum.luma += mean;
        self.sum.u += self::mean(u);
        self.sum.v += self::mean(v);
        self.sum.contrast += contrast(picture);
        if let Some((before, mean_before)) = &self.before {
            self.sum.flicker += (mean - mean_before).abs();
            self.sum.noise += still_difference(picture, before);
        }
        self.before = Some((picture.clone(), mean));
        self.pictures += 1;
    }

    pub(super) fn marks(&self) -> Marks {
        let (all, pairs) = (f64::from(self.pictures.max(1)), f64::from(self.pictures.max(2) - 1));
        Marks {
            luma: self.sum.luma / all,
            contrast: self.sum.contrast / all,
            flicker: self.sum.flicker / pairs,
            noise: self.sum.noise / pairs,
            u: self.sum.u / all,
            v: self.sum.v / all,
        }
    }
}

fn mean(samples: &[u8]) -> f64 {
    samples.iter().map(|sample| u64::from(*sample)).sum::<u64>() as f64 / samples.len() as f64
}

fn contrast(picture: &VideoFrame) -> f64 {
    let luma = picture.planes().0;
    let deviations = blocks(picture).map(|at| {
        let (mut sum, mut squares) = (0u32, 0u32);
        for sample in block(luma, picture.width(), at) {
            sum += u32::from(sample);
            squares += u32::from(sample).pow(2);
        }
        let count = (BLOCK * BLOCK) as f64;
        let mean = f64::from(sum) / count;
        (f64::from(squares) / count - mean * mean).max(0.0).sqrt()
    });
    let (sum, count) = deviations.fold((0.0, 0u32), |(sum, count), deviation| (sum + deviation, count + 1));
    sum / f64::from(count.max(1))
}

fn still_difference(picture: &VideoFrame, before: &VideoFrame) -> f64 {
    let (now, then, width) = (picture.planes().0, before.planes().0, picture.width());
    let pairs = |at| block(now, width, at).zip(block(then, width, at));
    let difference = |at| pairs(at).map(|(a, b)| u32::from(a.abs_diff(b))).sum::<u32>();
    let mut differences: Vec<u32> = blocks(picture).map(difference).collect();
    if differences.is_empty() {
        return 0.0;
    }
    let place = (differences.len() as f64 * STILL_SHARE) as usize;
    f64::from(*differences.select_nth_unstable(place).1) / (BLOCK * BLOCK) as f64
}

/// Where whole blocks begin.
fn blocks(picture: &VideoFrame) -> impl Iterator<Item = (usize, usize)> {
    let (columns, rows) = (picture.width() / BLOCK, picture.height() / BLOCK);
    (0..columns * rows).map(move |block| (block % columns * BLOCK, block / columns * BLOCK))
}

fn block(plane: &[u8], width: usize, (x, y): (usize, usize)) -> impl Iterator<Item = u8> {
    (0..BLOCK).flat_map(move |row| plane[(y + row) * width + x..][..BLOCK].iter().copied())
}
