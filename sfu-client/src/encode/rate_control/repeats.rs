//! What a picture takes that shows what the one before shows: only what that one lacks, which is a matter of how much
//! finer it is to be.
//!
//! At the reference's own quantiser next to nothing is left to code, two steps finer most of the noise is, and beyond
//! that it is all there: no straight line of logarithms. So there is a value for every step, and what is learned of one
//! counts for its neighbours too.

/// Steps of the quantiser from the reference: so many coarser to so many finer.
const STEPS: (i8, i8) = (-4, 4);
const COUNT: usize = (STEPS.1 - STEPS.0 + 1) as usize;
/// Logarithms of bits per sample of half resolution, coarsest first, of a street with a camera's noise.
const FIRST: [f64; COUNT] = [-7.6, -6.0, -4.8, -4.2, -3.5, -2.1, -1.3, -1.1, -1.0];
/// How fast a value is learned, and what of that its neighbours learn.
const RATE: f64 = 0.5;
const NEIGHBOURS: f64 = 0.5;

/// Bits of repeats by how much finer they are than their reference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeats {
    /// Of each step: logarithm of bits per sample.
    log_bits: [f64; COUNT],
}

impl Default for Repeats {
    fn default() -> Self {
        Self { log_bits: FIRST }
    }
}

impl Repeats {
    /// How many steps finer than its reference a repeat of so many samples may be, to take `bits` at most; negative:
    /// coarser.
    pub(super) fn finer_by(&self, samples: f64, bits: f64) -> f64 {
        let wanted = (bits.max(1.0) / samples.max(1.0)).log2();
        let mut finer = f64::from(STEPS.0);
        for pair in self.log_bits.windows(2) {
            if pair[1] > wanted {
                let rise = (pair[1] - pair[0]).max(1e-6);
                return finer + ((wanted - pair[0]) / rise).clamp(0.0, 1.0);
            }
            finer += 1.0;
        }
        finer
    }

    /// Learns of one that took `bits`.
    pub(super) fn learn(&mut self, samples: f64, finer: f64, bits: f64) {
        let at = finer - f64::from(STEPS.0);
        if !(-0.5..COUNT as f64 - 0.5).contains(&at) {
            return;
        }
        let (below, share) = (at.max(0.0).floor(), at.max(0.0).fract());
        let value = |place: f64| self.log_bits[(place as usize).min(COUNT - 1)];
        let expected = value(below) * (1.0 - share) + value(below + 1.0) * share;
        let error = (bits.max(1.0) / samples.max(1.0)).log2() - expected;
        for (place, value) in self.log_bits.iter_mut().enumerate() {
            *value += RATE * error * NEIGHBOURS.powf((place as f64 - at).abs());
        }
        // Finer never takes less.
        for place in 1..COUNT {
            self.log_bits[place] = self.log_bits[place].max(self.log_bits[place - 1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: f64 = 57_600.0;

    #[test]
    fn more_bits_allow_finer_steps() {
        let repeats = Repeats::default();
        let steps: Vec<f64> = (0..20).map(|bits| repeats.finer_by(SAMPLES, f64::from(bits) * 2_500.0)).collect();
        assert!(steps.is_sorted(), "{steps:?}");
        assert_eq!((steps[0], steps[19]), (-4.0, 4.0));
        assert_eq!(repeats.finer_by(0.0, f64::INFINITY), 4.0);
    }

    #[test]
    fn what_came_out_is_what_is_foretold() {
        let mut repeats = Repeats::default();
        for _ in 0..10 {
            repeats.learn(SAMPLES, 1.0, 3_000.0);
            repeats.learn(SAMPLES, 3.0, 12_000.0);
        }
        assert!((repeats.finer_by(SAMPLES, 3_000.0) - 1.0).abs() < 0.3, "{repeats:?}");
        assert!((repeats.finer_by(SAMPLES, 12_000.0) - 3.0).abs() < 0.3, "{repeats:?}");
        // Beyond what is known nothing is learned, and nothing harms.
        let before = repeats.log_bits;
        repeats.learn(SAMPLES, -20.0, 1.0);
        assert_eq!(repeats.log_bits, before);
        repeats.learn(0.0, 0.2, f64::MAX);
        assert!(repeats.log_bits.iter().all(|value| value.is_finite()));
        assert!(repeats.log_bits.is_sorted());
    }
}
