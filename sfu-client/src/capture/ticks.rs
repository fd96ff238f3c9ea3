//! Ticks of the wall clock, to hear how late sound is.

use super::{AudioSource, SAMPLE_RATE};
use crate::clock::unix_now;
use anyhow::Result;
use std::time::Duration;

/// Length of a tick.
const LENGTH: u64 = 10_000;
/// A tone of 1 kHz.
const CYCLES_PER_MICRO: f64 = 0.001;
const AMPLITUDE: f64 = 16_000.0;

/// Ticks whenever the wall clock passes a multiple of [`Ticks::INTERVAL`]. As a microphone does, it hands out what was heard
/// in the time before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ticks;

impl Ticks {
    /// Time between two.
    pub const INTERVAL: Duration = Duration::from_millis(500);
}

impl AudioSource for Ticks {
    fn fill(&mut self, samples: &mut [i16]) -> Result<bool> {
        let micros = |samples: usize| samples as u64 * 1_000_000 / u64::from(SAMPLE_RATE);
        let begun = unix_now().as_micros() as u64 - micros(samples.len());
        for (index, sample) in samples.iter_mut().enumerate() {
            let since = (begun + micros(index)) % Self::INTERVAL.as_micros() as u64;
            let wave = (since as f64 * CYCLES_PER_MICRO * std::f64::consts::TAU).sin() * AMPLITUDE;
            *sample = if since < LENGTH { wave as i16 } else { 0 };
        }
        Ok(true)
    }
}
