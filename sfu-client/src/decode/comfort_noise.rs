//! Comfort noise: the background that was heard when nobody spoke, made anew.
//!
//! The background's spectrum is kept as the autocorrelation of quiet sound. From it Levinson's recursion (Durbin 1960;
//! Makhoul, "Linear prediction: a tutorial review", 1975) makes an all-pole filter that shapes white noise.

use crate::capture::SAMPLE_RATE;
use std::f32::consts::TAU;

/// Poles: enough for the slope of a room's noise.
const ORDER: usize = 12;
/// Sound up to this RMS (-50 dBov) is background; above it may be speech.
const LOUDEST: f32 = 100.0;
/// Share of a new piece of sound in the background.
const SHARE: f32 = 0.1;
/// The same of a quieter one: what was louder may have been the end of a word.
const QUIETER_SHARE: f32 = 0.3;
/// Pieces that make a background.
const ENOUGH: u32 = 10;
/// Quiet pieces in a row that are passed over: the edge of a word.
const EDGE: u32 = 5;
/// Bandwidth in Hz below which the spectrum has no detail: background does not ring.
const SMOOTH: f32 = 600.0;
/// Piece of sound that is learned from at a time.
const PIECE: usize = SAMPLE_RATE as usize / 100;

/// The background of one stream.
pub(super) struct ComfortNoise {
    /// Autocorrelation of the background, per sample; all zero until some was heard.
    correlation: [f32; ORDER + 1],
    /// Of the filter: the last outputs are multiplied by these.
    coefficients: [f32; ORDER],
    /// RMS of what is filtered.
    gain: f32,
    /// Last outputs, newest first.
    outputs: [f32; ORDER],
    /// Quiet pieces in a row.
    quiet: u32,
    /// Pieces that were learned from.
    learned: u32,
    seed: u32,
}

impl ComfortNoise {
    pub(super) fn new() -> Self {
        Self {
            correlation: [0.0; ORDER + 1],
            coefficients: [0.0; ORDER],
            gain: 0.0,
            outputs: [0.0; ORDER],
            quiet: 0,
            learned: 0,
            seed: 1,
        }
    }

    /// Learns from what is heard, where that is quiet.
    pub(super) fn learn(&mut self, samples: &[i16]) {
        for piece in samples.chunks_exact(PIECE) {
            let correlation = autocorrelation(piece);
            if correlation[0] > LOUDEST * LOUDEST {
                self.quiet = 0;
                continue;
            }
            self.quiet = self.quiet.saturating_add(1);
            if self.quiet <= EDGE {
                continue;
            }
            let share = if correlation[0] < self.correlation[0] { QUIETER_SHARE } else { SHARE };
            // The first ones weigh more: there was nothing before them.
            let share = share.max(1.0 / (self.learned as f32 + 1.0));
            self.learned = self.learned.saturating_add(1);
            for (kept, new) in self.correlation.iter_mut().zip(correlation) {
                *kept += (new - *kept) * share;
            }
            self.update_filter();
        }
    }

    /// The next sample of background.
    pub(super) fn next(&mut self) -> f32 {
        if self.gain == 0.0 {
            return 0.0;
        }
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Uniform from -1 to 1 has an RMS of 1 / sqrt(3).
        let white = ((self.seed >> 8) as f32 / (1 << 23) as f32 - 1.0) * 3f32.sqrt() * self.gain;
        let poles = self.coefficients.iter().zip(&self.outputs).map(|(coefficient, output)| coefficient * output);
        let sample = (white + poles.sum::<f32>()).clamp(-4.0 * LOUDEST, 4.0 * LOUDEST);
        self.outputs.copy_within(..ORDER - 1, 1);
        self.outputs[0] = sample;
        sample
    }

    fn update_filter(&mut self) {
        let energy = self.correlation[0];
        // Below one step of 16 bits there is nothing to hear.
        if energy < 1.0 || self.learned < ENOUGH {
            self.gain = 0.0;
            return;
        }
        let mut smooth = self.correlation;
        for (lag, value) in smooth.iter_mut().enumerate() {
            // A window over the lags spreads each peak of the spectrum (Tohkura, Itakura and Hashimoto, 1978).
            *value *= (-0.5 * (TAU * SMOOTH * lag as f32 / SAMPLE_RATE as f32).powi(2)).exp();
        }
        let (coefficients, error) = levinson(&smooth);
        self.coefficients = coefficients;
        self.gain = error.max(0.0).sqrt();
    }
}

fn autocorrelation(samples: &[i16]) -> [f32; ORDER + 1] {
    let mut correlation = [0.0; ORDER + 1];
    for (lag, value) in correlation.iter_mut().enumerate() {
        let products = samples[lag..].iter().zip(samples).map(|(a, b)| f32::from(*a) * f32::from(*b));
        *value = products.sum::<f32>() / samples.len() as f32;
    }
    correlation
}

/// The predictor for `correlation` and the energy of its error. Stable: the autocorrelation is that of a signal, and a
/// little white noise is added to it.
fn levinson(correlation: &[f32; ORDER + 1]) -> ([f32; ORDER], f32) {
    let mut coefficients = [0.0; ORDER];
    let mut error = correlation[0] * 1.001;
    for step in 0..ORDER {
        let predicted: f32 = (0..step).map(|i| coefficients[i] * correlation[step - i]).sum();
        let reflection = ((correlation[step + 1] - predicted) / error).clamp(-0.999, 0.999);
        let before = coefficients;
        for i in 0..step {
            coefficients[i] = before[i] - reflection * before[step - 1 - i];
        }
        coefficients[step] = reflection;
        error *= 1.0 - reflection * reflection;
    }
    (coefficients, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::voice::rms;

    /// Noise with more below than above: each sample is the one before, faded, and something new.
    fn background(level: f32, samples: usize) -> Vec<i16> {
        let (mut seed, mut last) = (7u32, 0.0);
        (0..samples)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                last = last * 0.9 + ((seed >> 8) as f32 / (1 << 23) as f32 - 1.0) * level;
                last as i16
            })
            .collect()
    }

    /// How like each sample is to the one before, -1 to 1.
    fn likeness(samples: &[i16]) -> f32 {
        let correlation = autocorrelation(samples);
        correlation[1] / correlation[0]
    }

    #[test]
    fn it_is_as_loud_and_as_dull_as_the_background() {
        let heard = background(30.0, 48_000);
        let mut noise = ComfortNoise::new();
        noise.learn(&heard);
        let made: Vec<i16> = (0..48_000).map(|_| noise.next() as i16).collect();
        let ratio = rms(&made) / rms(&heard);
        assert!((0.7..1.25).contains(&ratio), "{ratio}");
        assert!((likeness(&made) - likeness(&heard)).abs() < 0.1, "{} of {}", likeness(&made), likeness(&heard));
    }

    #[test]
    fn speech_is_no_background() {
        let mut noise = ComfortNoise::new();
        noise.learn(&background(3000.0, 48_000));
        assert!((0..960).all(|_| noise.next() == 0.0));
        noise.learn(&[0; 960]);
        assert!((0..960).all(|_| noise.next() == 0.0));
    }

    #[test]
    fn it_stays_bounded_whatever_is_heard() {
        for period in 1..60 {
            let mut noise = ComfortNoise::new();
            let heard: Vec<i16> = (0..9_600).map(|i| if i / period % 2 == 0 { 90 } else { -90 }).collect();
            noise.learn(&heard);
            assert!((0..9_600).all(|_| noise.next().abs() <= 4.0 * LOUDEST));
        }
    }
}
