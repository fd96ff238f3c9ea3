//! Scaling down: every sample is the mean of the area that it stands for.

use crate::frame::VideoFrame;
use anyhow::{Result, ensure};

/// Weights along an axis add up to this: fine enough for thousands of samples in one, and its square times 255 fits 32
/// bits.
const ONE: u32 = 4096;

/// From one size to another, not larger, one.
#[derive(Clone, Debug)]
pub struct Scaler {
    from: (usize, usize),
    to: (usize, usize),
    luma: Axes,
    chroma: Axes,
    /// Scratch: a row of output, before it is divided.
    row: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Axes {
    x: Vec<Span>,
    y: Vec<Span>,
}

/// What goes into one sample of output, along one axis.
#[derive(Clone, Debug)]
struct Span {
    /// First sample of input.
    start: usize,
    /// Weights of that and the following ones; their sum is [`ONE`].
    weights: Vec<u32>,
}

impl Scaler {
    /// Between these sizes.
    ///
    /// # Errors
    /// Where a size is none that [`VideoFrame`] takes, or the second has a longer side.
    pub fn new(from: (usize, usize), to: (usize, usize)) -> Result<Self> {
        VideoFrame::new(from.0, from.1)?;
        VideoFrame::new(to.0, to.1)?;
        ensure!(
            to.0 <= from.0 && to.1 <= from.1,
            "pictures are scaled down only, not from {}x{} to {}x{}",
            from.0,
            from.1,
            to.0,
            to.1
        );
        let axes = |divisor: usize| Axes {
            x: spans(from.0 / divisor, to.0 / divisor),
            y: spans(from.1 / divisor, to.1 / divisor),
        };
        Ok(Self { from, to, luma: axes(1), chroma: axes(2), row: vec![0; from.0] })
    }

    /// The size that is a `factor` smaller (1 or more), with even sides of at least 16, or as large as they are.
    pub fn size(from: (usize, usize), factor: f64) -> (usize, usize) {
        let factor = if factor.is_finite() { factor.max(1.0) } else { 1.0 };
        let side = |side: usize| (((side as f64 / factor / 2.0).round() as usize) * 2).max(16).min(side);
        (side(from.0), side(from.1))
    }

    /// Draws `source` into `target`.
    ///
    /// # Errors
    /// Where they do not have the sizes that the scaler is for.
    pub fn scale(&mut self, source: &VideoFrame, target: &mut VideoFrame) -> Result<()> {
        ensure!(
            (source.width(), source.height()) == self.from && (target.width(), target.height()) == self.to,
            "the scaler is for other sizes"
        );
        let (y, u, v) = source.planes();
        let (to_y, to_u, to_v) = target.planes_mut();
        plane(&self.luma, (y, self.from.0), (to_y, self.to.0), &mut self.row);
        plane(&self.chroma, (u, self.from.0 / 2), (to_u, self.to.0 / 2), &mut self.row);
        plane(&self.chroma, (v, self.from.0 / 2), (to_v, self.to.0 / 2), &mut self.row);
        Ok(())
    }
}

fn plane(axes: &Axes, (from, stride): (&[u8], usize), (to, to_stride): (&mut [u8], usize), row: &mut [u32]) {
    for (line, span) in to.chunks_exact_mut(to_stride).zip(&axes.y) {
        let row = &mut row[..stride];
        row.fill(0);
        for (source, weight) in from.chunks_exact(stride).skip(span.start).zip(&span.weights) {
            for (sum, sample) in row.iter_mut().zip(source) {
                *sum += u32::from(*sample) * weight;
            }
        }
        for (out, span) in line.iter_mut().zip(&axes.x) {
            let sums = row[span.start..span.start + span.weights.len()].iter().zip(&span.weights);
            let sum: u32 = sums.map(|(sum, weight)| sum * weight).sum();
            *out = ((sum + ONE * ONE / 2) / (ONE * ONE)) as u8;
        }
    }
}

fn spans(from: usize, to: usize) -> Vec<Span> {
    let ratio = from as f64 / to as f64;
    let span = |out: usize| {
        let (begin, end) = (out as f64 * ratio, ((out + 1) as f64 * ratio).min(from as f64));
        let start = begin as usize;
        let last = ((end - 1e-9).ceil() as usize).clamp(start + 1, from);
        let share = |sample: usize| (end.min((sample + 1) as f64) - begin.max(sample as f64)).max(0.0) / ratio;
        let mut weights: Vec<u32> = (start..last).map(|sample| (share(sample) * f64::from(ONE)) as u32).collect();
        // What rounding left over goes to the middle.
        let middle = weights.len() / 2;
        let others: u32 = weights.iter().sum::<u32>() - weights[middle];
        weights[middle] = ONE - others;
        Span { start, weights }
    };
    (0..to).map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Scene, SceneKind, VideoSource};

    fn scene(width: usize, height: usize) -> VideoFrame {
        let mut picture = VideoFrame::new(width, height).unwrap();
        Scene::of(SceneKind::Talking, width, height, 30.0).unwrap().draw(0, &mut picture).unwrap();
        picture
    }

    #[test]
    fn halves_are_means_of_four() {
        let source = scene(64, 32);
        let mut half = VideoFrame::new(32, 16).unwrap();
        Scaler::new((64, 32), (32, 16)).unwrap().scale(&source, &mut half).unwrap();
        let at = |x: usize, y: usize| u32::from(source.planes().0[y * 64 + x]);
        for y in 0..16 {
            for x in 0..32 {
                let sum = at(2 * x, 2 * y) + at(2 * x + 1, 2 * y) + at(2 * x, 2 * y + 1) + at(2 * x + 1, 2 * y + 1);
                assert_eq!(u32::from(half.planes().0[y * 32 + x]), (sum + 2) / 4);
            }
        }
    }

    #[test]
    fn any_ratio_keeps_flat_pictures_and_means() {
        let mean = |picture: &VideoFrame| {
            let luma = picture.planes().0;
            luma.iter().map(|sample| f64::from(*sample)).sum::<f64>() / luma.len() as f64
        };
        let source = scene(640, 360);
        let mut flat = source.clone();
        flat.fill_grey(0, 0, 640, 360, 77);
        for to in [(640, 360), (638, 358), (426, 240), (320, 180), (214, 120), (16, 16), (2, 2)] {
            let mut scaler = Scaler::new((640, 360), to).unwrap();
            let mut target = VideoFrame::new(to.0, to.1).unwrap();
            scaler.scale(&flat, &mut target).unwrap();
            assert!(target.planes().0.iter().all(|sample| *sample == 77), "{to:?}");
            scaler.scale(&source, &mut target).unwrap();
            assert!((mean(&target) - mean(&source)).abs() < 1.0, "{to:?}");
        }
    }

    #[test]
    fn sizes_follow_from_factors() {
        let size = |factor| Scaler::size((1280, 720), factor);
        assert_eq!((size(1.0), size(2.0), size(1.5), size(4.0)), ((1280, 720), (640, 360), (854, 480), (320, 180)));
        assert_eq!((size(0.2), size(f64::NAN), size(1e9)), ((1280, 720), (1280, 720), (16, 16)));
        assert_eq!(Scaler::size((8, 8), 4.0), (8, 8));
        assert!(Scaler::new((64, 64), (66, 64)).is_err());
        assert!(Scaler::new((64, 64), (31, 64)).is_err());
        let mut scaler = Scaler::new((64, 64), (32, 32)).unwrap();
        assert!(scaler.scale(&scene(32, 32), &mut scene(32, 32)).is_err());
    }
}
