//! Transforms of real sound between time and frequency, of one size.

/// Points of a transform: a step of 480 samples and a partition of the filter as long overlap within it.
pub(super) const POINTS: usize = 1_024;
/// Bins that say all of a real signal.
pub(super) const BINS: usize = POINTS / 2 + 1;

/// A complex number.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Complex {
    real: f32,
    imaginary: f32,
}

impl Complex {
    pub(super) fn plus(self, other: Self) -> Self {
        Self { real: self.real + other.real, imaginary: self.imaginary + other.imaginary }
    }

    fn minus(self, other: Self) -> Self {
        Self { real: self.real - other.real, imaginary: self.imaginary - other.imaginary }
    }

    pub(super) fn times(self, other: Self) -> Self {
        Self {
            real: self.real * other.real - self.imaginary * other.imaginary,
            imaginary: self.real * other.imaginary + self.imaginary * other.real,
        }
    }

    pub(super) fn scaled(self, by: f32) -> Self {
        Self { real: self.real * by, imaginary: self.imaginary * by }
    }

    pub(super) fn conjugate(self) -> Self {
        Self { imaginary: -self.imaginary, ..self }
    }

    pub(super) fn power(self) -> f32 {
        self.real * self.real + self.imaginary * self.imaginary
    }
}

/// Transforms of [`POINTS`] points (Cooley and Tukey, radix 2).
pub(super) struct Fft {
    /// Roots of unity, of the first half of the circle.
    roots: Vec<Complex>,
    work: Vec<Complex>,
}

impl Fft {
    pub(super) fn new() -> Self {
        let root = |place: usize| {
            let angle = -std::f64::consts::TAU * place as f64 / POINTS as f64;
            Complex { real: angle.cos() as f32, imaginary: angle.sin() as f32 }
        };
        Self { roots: (0..POINTS / 2).map(root).collect(), work: vec![Complex::default(); POINTS] }
    }

    /// From time to frequency.
    pub(super) fn forward(&mut self, samples: &[f32; POINTS], bins: &mut [Complex; BINS]) {
        for (work, sample) in self.work.iter_mut().zip(samples) {
            *work = Complex { real: *sample, imaginary: 0.0 };
        }
        self.transform();
        bins.copy_from_slice(&self.work[..BINS]);
    }

    /// And back.
    pub(super) fn inverse(&mut self, bins: &[Complex; BINS], samples: &mut [f32; POINTS]) {
        // The inverse of a conjugate is the conjugate of the transform; what is real has no conjugate.
        for (place, bin) in bins.iter().enumerate() {
            self.work[place] = bin.conjugate();
            if (1..POINTS / 2).contains(&place) {
                self.work[POINTS - place] = *bin;
            }
        }
        self.transform();
        for (sample, work) in samples.iter_mut().zip(&self.work) {
            *sample = work.real / POINTS as f32;
        }
    }

    fn transform(&mut self) {
        let unused = usize::BITS - POINTS.trailing_zeros();
        for place in 0..POINTS {
            let other = place.reverse_bits() >> unused;
            if place < other {
                self.work.swap(place, other);
            }
        }
        let mut half = 1;
        while half < POINTS {
            let step = POINTS / 2 / half;
            for group in self.work.chunks_exact_mut(2 * half) {
                let (lower, upper) = group.split_at_mut(half);
                for (place, (lower, upper)) in lower.iter_mut().zip(upper).enumerate() {
                    let turned = upper.times(self.roots[place * step]);
                    (*lower, *upper) = (lower.plus(turned), lower.minus(turned));
                }
            }
            half *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_is_one_bin_and_leads_back() {
        let mut fft = Fft::new();
        let wave = |at: usize| (std::f32::consts::TAU * 5.0 * at as f32 / POINTS as f32).cos();
        let samples: [f32; POINTS] = std::array::from_fn(wave);
        let mut bins = [Complex::default(); BINS];
        fft.forward(&samples, &mut bins);
        for (place, bin) in bins.iter().enumerate() {
            let expected = if place == 5 { (POINTS / 2) as f32 } else { 0.0 };
            assert!((bin.power().sqrt() - expected).abs() < 0.01, "{place}: {bin:?}");
        }
        let mut back = [0.0; POINTS];
        fft.inverse(&bins, &mut back);
        assert!(samples.iter().zip(&back).all(|(before, after)| (before - after).abs() < 1e-4));
    }
}
