//! A room as its reflections: each is the sound later and quieter.

use crate::capture::SAMPLE_RATE;

/// Reflections: enough that none stands out.
const REFLECTIONS: usize = 80;
/// Echo return loss in dB: how much quieter all reflections together are than what is played. ITU-T G.168 tests
/// cancellers from 6 dB on.
const RETURN_LOSS: f32 = 10.0;

/// Delay in samples and gain of each reflection.
#[derive(Debug)]
pub(super) struct Room(Vec<(usize, f32)>);

impl Room {
    /// One whose echo begins after `delay` and fades by 60 dB within `decay`, both in milliseconds.
    pub(super) fn new(seed: u32, delay: usize, decay: usize) -> Self {
        let (mut seed, millis) = (seed, SAMPLE_RATE as usize / 1_000);
        let mut random = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 24) as f32
        };
        let reflection = |index| {
            let place = if index == 0 { 0.0 } else { random() };
            let sign = if random() < 0.5 { -1.0 } else { 1.0 };
            let gain = 10.0f32.powf(-60.0 * place / 20.0);
            (delay * millis + (place * (decay * millis) as f32) as usize, sign * gain)
        };
        let mut reflections: Vec<_> = (0..REFLECTIONS).map(reflection).collect();
        let energy: f32 = reflections.iter().map(|(_, gain)| gain * gain).sum();
        let scale = (10.0f32.powf(-RETURN_LOSS / 10.0) / energy).sqrt();
        reflections.iter_mut().for_each(|(_, gain)| *gain *= scale);
        Self(reflections)
    }

    /// What comes back of `played`.
    pub(super) fn echo(&self, played: &[i16]) -> Vec<f32> {
        let mut echo = vec![0.0; played.len()];
        for (delay, gain) in &self.0 {
            for (echo, played) in echo.iter_mut().skip(*delay).zip(played) {
                *echo += gain * f32::from(*played);
            }
        }
        echo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_begins_after_its_delay_and_fades() {
        let mut played = vec![0; 48_000];
        played[0] = 10_000;
        let echo = Room::new(1, 20, 100).echo(&played);
        let energy = |from: usize, to: usize| echo[from..to].iter().map(|sample| sample * sample).sum::<f32>();
        assert_eq!(energy(0, 960), 0.0);
        assert!(energy(960, 1_960) > 10.0 * energy(3_000, 4_000), "it fades");
        assert_eq!(energy(960 + 4_800 + 1, 48_000), 0.0);
    }
}
