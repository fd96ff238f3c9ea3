//! Faster and slower sound at the same pitch: a whole number of pitch periods is left out or said again.
//!
//! As in WSOLA (Verhelst and Roelands, 1993): the waveform goes on, over a short blend, at the place nearby that is most
//! like the one where it stands. Where no place is like it, nothing is done, so that no step is heard.

const MS: usize = super::MS as usize;
/// Shortest change: no less than a blend. Every pitch above 200 Hz has a multiple up to [`MAX_LAG`].
const MIN_LAG: usize = BLEND;
/// Longest change: the period of 67 Hz.
const MAX_LAG: usize = 15 * MS;
/// Time in which one waveform becomes the other, and on both sides of it how far they are compared.
const BLEND: usize = 5 * MS;
/// Sound before the frame that is kept: what a change goes back to, and what is compared before it.
const HISTORY: usize = MAX_LAG + BLEND;
/// Energy per sample of background noise (RMS 50, -56 dBov), in which no change is heard.
const QUIET: f64 = 2_500.0;

/// Changes the speed of one stream of sound.
pub(super) struct Stretch {
    /// The last sound before the frame at hand, [`HISTORY`] samples.
    history: Vec<i16>,
    /// Room for history and frame in one piece.
    joined: Vec<i16>,
}

impl Stretch {
    pub(super) fn new() -> Self {
        Self { history: vec![0; HISTORY], joined: Vec::new() }
    }

    /// Leaves out some of `frame`, where a place is found whose likeness (-1 to 1) is at least `likeness`. The samples
    /// that are gone.
    pub(super) fn accelerate(&mut self, frame: &mut Vec<i16>, likeness: f64) -> usize {
        let longest = MAX_LAG.min(frame.len().saturating_sub(BLEND));
        let Some(lag) = self.find(frame, likeness, (MIN_LAG..=longest).map(|lag| lag as isize)) else { return 0 };
        let lag = lag.unsigned_abs();
        for i in 0..BLEND {
            frame[i + lag] = blend(frame[i], frame[i + lag], i);
        }
        frame.drain(..lag);
        lag
    }

    /// Says something once more before `frame`, where a place is found whose likeness is at least `likeness`. The
    /// samples that are added.
    pub(super) fn decelerate(&mut self, frame: &mut Vec<i16>, likeness: f64) -> usize {
        if frame.len() < BLEND {
            return 0;
        }
        let Some(lag) = self.find(frame, likeness, (MIN_LAG..=MAX_LAG).map(|lag| -(lag as isize))) else { return 0 };
        let lag = lag.unsigned_abs();
        // From where the frame would begin over to a period earlier, and on from there into the whole frame.
        let earlier = HISTORY - lag;
        let mut added = std::mem::take(&mut self.joined);
        added.clear();
        added.extend_from_slice(&self.history[earlier..]);
        added.extend_from_slice(frame);
        for i in 0..BLEND {
            added[i] = blend(frame[i], added[i], i);
        }
        std::mem::swap(frame, &mut added);
        self.joined = added;
        lag
    }

    /// Takes what will be played as it is now.
    pub(super) fn remember(&mut self, frame: &[i16]) {
        let new = &frame[frame.len().saturating_sub(HISTORY)..];
        self.history.drain(..new.len());
        self.history.extend_from_slice(new);
    }

    /// The offset among `lags` where the sound is most like that around the start of `frame`.
    fn find(&mut self, frame: &[i16], least: f64, lags: impl Iterator<Item = isize>) -> Option<isize> {
        self.joined.clear();
        self.joined.extend_from_slice(&self.history);
        self.joined.extend_from_slice(&frame[..frame.len().min(MAX_LAG + BLEND)]);
        let start = HISTORY - BLEND;
        let here = self.joined.get(start..start + 2 * BLEND)?;
        let energy = energy(here);
        if energy < QUIET * here.len() as f64 {
            // In noise any place is as good as another: the farthest needs the fewest changes.
            return lags.last();
        }
        let likest = lags
            .map(|lag| {
                let there = &self.joined[start.wrapping_add_signed(lag)..][..2 * BLEND];
                (lag, product(here, there) / (energy * self::energy(there)).sqrt().max(1.0))
            })
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        (likest.1 >= least).then_some(likest.0)
    }
}

/// From `from` to `to` at sample `i` of the blend.
fn blend(from: i16, to: i16, i: usize) -> i16 {
    let share = (i as i32 + 1) * 1024 / (BLEND as i32 + 1);
    ((i32::from(from) * (1024 - share) + i32::from(to) * share) / 1024) as i16
}

fn product(a: &[i16], b: &[i16]) -> f64 {
    a.iter().zip(b).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum::<i64>() as f64
}

fn energy(samples: &[i16]) -> f64 {
    product(samples, samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::AudioSource;
    use crate::capture::voice::{Voice, rms};

    const FRAME: usize = 20 * MS;

    /// A tone of this frequency, from this phase on.
    struct Sine(f64, f64);

    impl AudioSource for Sine {
        fn fill(&mut self, samples: &mut [i16]) -> anyhow::Result<bool> {
            samples.fill_with(|| {
                self.1 += self.0 / 48_000.0;
                ((self.1 * std::f64::consts::TAU).sin() * 9_000.0) as i16
            });
            Ok(true)
        }
    }

    #[derive(Clone, Copy)]
    enum Change {
        Faster,
        Slower,
    }

    /// A second of `source`, each second frame changed; and by how many samples in all.
    fn changed(source: &mut impl AudioSource, change: Change, likeness: f64) -> (Vec<i16>, usize) {
        let (mut stretch, mut played, mut samples) = (Stretch::new(), Vec::new(), 0);
        for number in 0..50 {
            let mut frame = vec![0; FRAME];
            source.fill(&mut frame).unwrap();
            if number >= 2 && number % 2 == 0 {
                samples += match change {
                    Change::Faster => stretch.accelerate(&mut frame, likeness),
                    Change::Slower => stretch.decelerate(&mut frame, likeness),
                };
            }
            stretch.remember(&frame);
            played.extend(frame);
        }
        (played, samples)
    }

    fn largest_step(samples: &[i16]) -> i32 {
        samples.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap()
    }

    fn crossings(samples: &[i16]) -> f64 {
        samples.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count() as f64
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_has_no_steps() {
        for frequency in [97.0, 180.0, 441.0, 1234.0] {
            let mut whole = vec![0; 50 * FRAME];
            Sine(frequency, 0.0).fill(&mut whole).unwrap();
            for (change, sign) in [(Change::Faster, -1.0), (Change::Slower, 1.0)] {
                let (played, samples) = changed(&mut Sine(frequency, 0.0), change, 0.9);
                assert!(samples > 24 * MIN_LAG, "{frequency} Hz: {samples} samples");
                assert_eq!(played.len() as f64, 50.0 * FRAME as f64 + sign * samples as f64);
                let pitch = crossings(&played) / played.len() as f64 * 48_000.0;
                assert!((pitch - frequency).abs() < 0.02 * frequency, "{frequency} Hz is heard as {pitch}");
                let (step, natural) = (largest_step(&played), largest_step(&whole));
                assert!(f64::from(step) < 1.3 * f64::from(natural), "{frequency} Hz: {step} of {natural}");
            }
        }
    }

    #[test]
    fn a_voice_stays_as_loud_and_has_no_steps() {
        let mut whole = vec![0; 50 * FRAME];
        Voice::new(2000.0).fill(&mut whole).unwrap();
        for change in [Change::Faster, Change::Slower] {
            let (played, samples) = changed(&mut Voice::new(2000.0), change, 0.6);
            assert!(samples > 50 * MS, "{samples} samples");
            assert!((0.9..1.1).contains(&(rms(&played) / rms(&whole))));
            assert!(f64::from(largest_step(&played)) < 1.2 * f64::from(largest_step(&whole)));
        }
    }

    #[test]
    fn what_is_like_nothing_is_left_alone_and_silence_is_not() {
        struct Noise(u32);
        impl AudioSource for Noise {
            fn fill(&mut self, samples: &mut [i16]) -> anyhow::Result<bool> {
                samples.fill_with(|| {
                    self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (self.0 >> 18) as i16 - 8192
                });
                Ok(true)
            }
        }
        struct Silence;
        impl AudioSource for Silence {
            fn fill(&mut self, samples: &mut [i16]) -> anyhow::Result<bool> {
                samples.fill(0);
                Ok(true)
            }
        }
        for change in [Change::Faster, Change::Slower] {
            assert_eq!(changed(&mut Noise(1), change, 0.7).1, 0);
            assert_eq!(changed(&mut Silence, change, 0.7).1, 24 * MAX_LAG);
        }
    }

    #[test]
    fn short_frames_do_no_harm() {
        let mut stretch = Stretch::new();
        for length in 0..FRAME {
            let mut frame = vec![1000; length];
            let gone = stretch.accelerate(&mut frame, -1.0);
            assert_eq!(frame.len() + gone, length);
            let mut frame = vec![1000; length];
            let added = stretch.decelerate(&mut frame, -1.0);
            assert_eq!(frame.len(), length + added);
            stretch.remember(&frame);
        }
    }
}
