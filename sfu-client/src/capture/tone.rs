//! A generated tone that beeps once a second, so that an ear hears gaps and a meter sees speech-like levels.

use super::{AudioSource, SAMPLE_RATE};
use anyhow::Result;
use std::f64::consts::TAU;

/// Share of each second that sounds.
const DUTY: f64 = 0.7;

/// The generated tone.
#[derive(Clone, Debug)]
pub struct Tone {
    frequency: f64,
    position: u64,
}

impl Tone {
    /// A tone of `frequency` Hz.
    pub const fn new(frequency: f64) -> Self {
        Self { frequency, position: 0 }
    }
}

impl AudioSource for Tone {
    fn fill(&mut self, samples: &mut [i16]) -> Result<bool> {
        for sample in samples {
            let second = (self.position % u64::from(SAMPLE_RATE)) as f64 / f64::from(SAMPLE_RATE);
            // 5 ms of fade at both ends keep clicks out.
            let envelope = (second.min(DUTY - second) / 0.005).clamp(0.0, 1.0);
            // Whole periods per second keep the phase exact for ever.
            *sample = ((second * self.frequency.round() * TAU).sin() * envelope * 9000.0) as i16;
            self.position += 1;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sounds_and_pauses() {
        let mut samples = vec![0; 48_000];
        assert!(Tone::new(440.0).fill(&mut samples).unwrap());
        assert!(samples[..30_000].iter().any(|s| *s > 8000));
        assert!(samples[34_000..].iter().all(|s| *s == 0));
    }
}
