//! A generated voice: vowels of a moving pitch with hiss between them, as codecs made for speech expect.

use super::{AudioSource, SAMPLE_RATE};
use anyhow::Result;
use std::f64::consts::TAU;

/// Formants of an open vowel: frequency and bandwidth in Hz, amplitude.
const FORMANTS: [(f64, f64, f64); 3] = [(700.0, 80.0, 1.0), (1220.0, 90.0, 0.5), (2600.0, 120.0, 0.25)];
/// Seconds of a vowel and the hiss after it.
const SYLLABLE: f64 = 0.4;
/// Share of a syllable that is vowel.
const VOWEL: f64 = 0.7;
/// Brings the RMS of vowels near 1.
const VOWEL_GAIN: f64 = 0.4;

/// The generated voice.
#[derive(Debug)]
pub struct Voice {
    level: f64,
    position: u64,
    /// Part of the pitch period that has passed.
    phase: f64,
    /// Last two values of each formant's resonator.
    resonators: [[f64; 2]; 3],
    seed: u32,
}

impl Voice {
    /// A voice with an RMS near `level`, of 32767.
    pub fn new(level: f64) -> Self {
        Self { level, position: 0, phase: 0.0, resonators: [[0.0; 2]; 3], seed: 1 }
    }

    fn noise(&mut self) -> f64 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(self.seed >> 8) / f64::from(1 << 23) - 1.0
    }

    fn next(&mut self) -> f64 {
        let rate = f64::from(SAMPLE_RATE);
        let second = self.position as f64 / rate;
        self.position += 1;
        self.phase += (125.0 + 15.0 * (0.7 * TAU * second).sin()) / rate;
        let pulse = if self.phase >= 1.0 { 1.0 } else { 0.0 };
        self.phase -= pulse;
        let mut vowel = 0.0;
        for ((frequency, bandwidth, amplitude), state) in FORMANTS.iter().zip(&mut self.resonators) {
            let radius = (-0.5 * TAU * bandwidth / rate).exp();
            let value = amplitude * pulse + 2.0 * radius * (TAU * frequency / rate).cos() * state[0]
                - radius * radius * state[1];
            *state = [value, state[0]];
            vowel += value;
        }
        let place = second / SYLLABLE % 1.0;
        // 20 ms of change between the two.
        let share = (place.min(VOWEL - place) * SYLLABLE / 0.02).clamp(0.0, 1.0);
        (vowel * VOWEL_GAIN * share + self.noise() * 0.6 * (1.0 - share)) * self.level
    }
}

impl AudioSource for Voice {
    fn fill(&mut self, samples: &mut [i16]) -> Result<bool> {
        for sample in samples {
            *sample = self.next() as i16;
        }
        Ok(true)
    }
}

/// How loud sound is.
#[cfg(test)]
pub(crate) fn rms(samples: &[i16]) -> f64 {
    let squares: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    (squares / samples.len() as f64).sqrt()
}
