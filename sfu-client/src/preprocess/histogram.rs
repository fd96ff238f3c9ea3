//! How much of a picture is how bright.

use crate::frame::VideoFrame;

/// Every so many rows count: enough for a mean within a hundredth of a step, at a fraction of the time.
const ROWS: usize = 2;

/// Luma values of a picture, counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Histogram {
    counts: [u32; 256],
    total: u32,
}

impl Histogram {
    /// Counts every second row of `picture`.
    pub fn of(picture: &VideoFrame) -> Self {
        // Four counters side by side: neighbours are often equal, and would wait for each other.
        let mut counts = [[0u32; 256]; 4];
        for row in picture.planes().0.chunks_exact(picture.width()).step_by(ROWS) {
            let (quads, rest) = row.as_chunks::<4>();
            for quad in quads {
                for (counts, sample) in counts.iter_mut().zip(quad) {
                    counts[usize::from(*sample)] += 1;
                }
            }
            rest.iter().for_each(|sample| counts[0][usize::from(*sample)] += 1);
        }
        let counts: [u32; 256] = std::array::from_fn(|luma| counts.iter().map(|counts| counts[luma]).sum());
        Self { counts, total: counts.iter().sum::<u32>().max(1) }
    }

    /// Mean luma.
    pub fn mean(&self) -> f64 {
        self.mean_through(&std::array::from_fn(|luma| luma as u8))
    }

    /// Mean luma after every value is replaced as `table` says.
    pub fn mean_through(&self, table: &[u8; 256]) -> f64 {
        let sum: u64 = self.counts.iter().zip(table).map(|(count, luma)| u64::from(*count) * u64::from(*luma)).sum();
        sum as f64 / f64::from(self.total)
    }

    /// Share of the picture that has this luma.
    pub fn share(&self, luma: u8) -> f64 {
        f64::from(self.counts[usize::from(luma)]) / f64::from(self.total)
    }

    /// Standard deviation of luma.
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        let squares =
            self.counts.iter().enumerate().map(|(luma, count)| (luma as f64 - mean).powi(2) * f64::from(*count));
        (squares.sum::<f64>() / f64::from(self.total)).sqrt()
    }

    /// The luma that `share` of the picture, 0 to 1, is not above.
    pub fn percentile(&self, share: f64) -> f64 {
        let wanted = share * f64::from(self.total);
        let mut seen = 0.0;
        for (luma, count) in self.counts.iter().enumerate() {
            seen += f64::from(*count);
            if seen >= wanted {
                return luma as f64;
            }
        }
        255.0
    }

    /// How unlike two pictures are: 0 to 1.
    pub fn distance(&self, other: &Self) -> f64 {
        // Over neighbours together: noise and a little more light are no other picture.
        let sum = |histogram: &Self, cell: usize| -> f64 {
            let counts = &histogram.counts[cell * 16..cell * 16 + 16];
            f64::from(counts.iter().sum::<u32>()) / f64::from(histogram.total)
        };
        (0..16).map(|cell| (sum(self, cell) - sum(other, cell)).abs()).sum::<f64>() / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_there() {
        let mut picture = VideoFrame::new(6, 4).unwrap();
        picture.fill_grey(0, 0, 6, 4, 100);
        picture.fill_grey(0, 0, 2, 4, 40);
        let histogram = Histogram::of(&picture);
        assert!((histogram.mean() - 80.0).abs() < 1e-9);
        assert!((histogram.deviation() - 800f64.sqrt()).abs() < 1e-9);
        assert_eq!((histogram.percentile(0.3), histogram.percentile(0.5)), (40.0, 100.0));
        let mut table = [0; 256];
        table[100] = 30;
        assert!((histogram.mean_through(&table) - 20.0).abs() < 1e-9);
        let other = Histogram::of(&VideoFrame::new(64, 64).unwrap());
        assert!(histogram.distance(&histogram) < 1e-9);
        assert!((histogram.distance(&other) - 1.0).abs() < 1e-9);
    }
}
