//! A long linear echo filter, before the canceller's: reflections of a large room go on for longer than that one's filter.
//!
//! A Kalman filter in the frequency domain, in partitioned blocks (Enzner and Vary, "Frequency-domain adaptive Kalman
//! filter for acoustic echo control in hands-free telephones", Signal Processing 86, 2006). How fast each bin learns
//! follows from how unsure it is and from what else the microphone hears there, so that somebody who speaks does not undo
//! what was learned, and nobody has to tell whether somebody does.

mod fft;

use super::STEP_SAMPLES;
use fft::{BINS, Complex, Fft, POINTS};

/// Steps that the filter is long: 400 ms.
const PARTITIONS: usize = 40;
/// What of the path is expected to stay from step to step. The less, the sooner another path is learned, and the more is
/// left of the echo.
const STAYS: f32 = 0.9993;
/// How unsure a bin is at first of the first partition, and how much less of each partition after it: echo fades. With more
/// than echo has, it learns wrong things from what else is heard, which stay for long.
const UNSURE: f32 = 0.01;
const FADES: f32 = 0.05;
/// Never surer than this, or it would learn no more.
const LEAST_UNSURE: f32 = 1e-9;
/// Smoothing of what is left, which the near sound is taken for, from step to step.
const SMOOTHING: f32 = 0.5;
/// Power of the near sound in a bin before anything was heard.
const NEAR: f32 = 1e4;
/// Share of a transform that a step fills.
const SHARE: f32 = STEP_SAMPLES as f32 / POINTS as f32;
/// Partitions that are brought back to their length in each step.
const CONSTRAINED: usize = 2;
/// Smoothing of what comes in and goes out, from step to step: 100 ms.
const WATCHED: f32 = 0.9;

/// The filter of one microphone.
pub(super) struct LongEcho {
    fft: Fft,
    /// The last samples that were played.
    history: [f32; POINTS],
    /// Transforms of what was played, `newest` the last of them, the one before it next.
    played: Vec<[Complex; BINS]>,
    newest: usize,
    /// The path, and the variance of its error.
    filter: Vec<[Complex; BINS]>,
    unsure: Vec<[f32; BINS]>,
    /// Power of what else is heard.
    near: [f32; BINS],
    /// Partition that is brought back to its length next.
    constrained: usize,
    /// Power of what was heard, and of what was left of it.
    heard: f32,
    left: f32,
}

impl LongEcho {
    pub(super) fn new() -> Self {
        let unsure = |partition: usize| [UNSURE * (-FADES * partition as f32).exp(); BINS];
        Self {
            fft: Fft::new(),
            history: [0.0; POINTS],
            played: vec![[Complex::default(); BINS]; PARTITIONS],
            newest: 0,
            filter: vec![[Complex::default(); BINS]; PARTITIONS],
            unsure: (0..PARTITIONS).map(unsure).collect(),
            near: [NEAR; BINS],
            constrained: 0,
            heard: 0.0,
            left: 0.0,
        }
    }

    /// Takes the echo of what was `played` out of a step that was heard.
    pub(super) fn process(&mut self, heard: &mut [i16; STEP_SAMPLES], played: &[i16]) {
        self.history.copy_within(STEP_SAMPLES.., 0);
        for (sample, played) in self.history[POINTS - STEP_SAMPLES..].iter_mut().zip(played) {
            *sample = f32::from(*played);
        }
        self.newest = (self.newest + PARTITIONS - 1) % PARTITIONS;
        self.fft.forward(&self.history, &mut self.played[self.newest]);
        let mut spectrum = [Complex::default(); BINS];
        for (partition, filter) in self.filter.iter().enumerate() {
            let played = &self.played[(self.newest + partition) % PARTITIONS];
            for ((sum, played), filter) in spectrum.iter_mut().zip(played).zip(filter) {
                *sum = sum.plus(played.times(*filter));
            }
        }
        let mut echo = [0.0; POINTS];
        self.fft.inverse(&spectrum, &mut echo);
        let mut error = [0.0; POINTS];
        let step = POINTS - STEP_SAMPLES..;
        for ((error, heard), echo) in error[step.clone()].iter_mut().zip(heard.iter()).zip(&echo[step.clone()]) {
            *error = f32::from(*heard) - echo;
        }
        let power = |samples: &mut dyn Iterator<Item = f32>| samples.map(|sample| sample * sample).sum::<f32>();
        self.heard = WATCHED * self.heard + power(&mut heard.iter().map(|sample| f32::from(*sample)));
        self.left = WATCHED * self.left + power(&mut error.iter().copied());
        // A path that was another until just now would add an echo.
        if self.left < self.heard {
            for (heard, error) in heard.iter_mut().zip(&error[step]) {
                *heard = error.round() as i16;
            }
        }
        self.fft.forward(&error, &mut spectrum);
        self.learn(&spectrum);
    }

    fn learn(&mut self, error: &[Complex; BINS]) {
        let mut scale = [0.0; BINS];
        for (partition, unsure) in self.unsure.iter().enumerate() {
            let played = &self.played[(self.newest + partition) % PARTITIONS];
            for ((scale, played), unsure) in scale.iter_mut().zip(played).zip(unsure) {
                *scale += SHARE * played.power() * unsure;
            }
        }
        for ((scale, near), error) in scale.iter_mut().zip(&mut self.near).zip(error) {
            *near = SMOOTHING * *near + (1.0 - SMOOTHING) * error.power();
            *scale = 1.0 / (*scale + *near + 1e-3);
        }
        let stays = STAYS * STAYS;
        for (partition, (filter, unsure)) in self.filter.iter_mut().zip(&mut self.unsure).enumerate() {
            let played = &self.played[(self.newest + partition) % PARTITIONS];
            for bin in 0..BINS {
                let gain = unsure[bin] * scale[bin];
                filter[bin] = filter[bin].plus(played[bin].conjugate().times(error[bin]).scaled(gain));
                let surer = (1.0 - SHARE * gain * played[bin].power()).max(0.0) * unsure[bin];
                unsure[bin] = stays * surer + (1.0 - stays) * filter[bin].power() + LEAST_UNSURE;
            }
        }
        let mut path = [0.0; POINTS];
        for _ in 0..CONSTRAINED {
            let filter = &mut self.filter[self.constrained];
            self.fft.inverse(filter, &mut path);
            path[STEP_SAMPLES..].fill(0.0);
            self.fft.forward(&path, filter);
            self.constrained = (self.constrained + 1) % PARTITIONS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise, the same from the same seed.
    fn noise(seed: u32, samples: usize) -> Vec<i16> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) as i16) / 16
        };
        (0..samples).map(next).collect()
    }

    fn power(samples: &[i16]) -> f64 {
        samples.iter().map(|sample| f64::from(*sample).powi(2)).sum()
    }

    #[test]
    fn echo_of_300_ms_ago_goes_and_near_sound_stays() {
        [1, 3, 10].into_iter().for_each(late_echo_goes);
    }

    /// Where the echo is so much less than what is played.
    fn late_echo_goes(less: i16) {
        let played = noise(1, 480 * 800);
        let late = 48 * 300;
        let near = noise(2, played.len());
        let mut filter = LongEcho::new();
        let mut left = Vec::new();
        for step in 0..800 {
            // Somebody is heard in the last second.
            let sample = |at: usize| {
                let echo = if at < late { 0 } else { played[at - late] / less };
                if step < 700 { echo } else { echo + near[at] }
            };
            let at = step * 480;
            let mut heard: [i16; STEP_SAMPLES] = std::array::from_fn(|index| sample(at + index));
            filter.process(&mut heard, &played[at..at + 480]);
            left.extend(heard);
        }
        let before = power(&played[480 * 600 - late..480 * 700 - late]) / f64::from(less).powi(2);
        assert!(power(&left[480 * 600..480 * 700]) < before / 1_000.0, "30 dB less");
        let added: Vec<i16> = (480 * 700..480 * 800).map(|at| left[at] - near[at]).collect();
        assert!(power(&added) < before / 30.0, "{} of {before}", power(&added));
    }

    #[test]
    fn silence_and_the_loudest_sound_do_no_harm() {
        let mut filter = LongEcho::new();
        for step in 0..300 {
            let loud = if step % 2 == 0 { i16::MIN } else { i16::MAX };
            let mut heard = [loud; STEP_SAMPLES];
            filter.process(&mut heard, if step % 3 == 0 { &[i16::MIN; STEP_SAMPLES] } else { &[0; STEP_SAMPLES] });
        }
        for _ in 0..100 {
            let mut heard = [0; STEP_SAMPLES];
            filter.process(&mut heard, &[0; STEP_SAMPLES]);
        }
        assert!(filter.filter.iter().flatten().all(|bin| bin.power().is_finite()));
    }
}
