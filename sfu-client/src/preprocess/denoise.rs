//! Temporal noise reduction: what differs little from the picture before is noise, and goes towards it; what differs
//! much has moved, and stays.
//!
//! How much is little follows from the noise that still parts of the pictures show. Without any the stage does nothing.

use crate::frame::VideoFrame;

/// Side of the blocks that noise is measured in.
const BLOCK: usize = 16;
/// Every so many rows of blocks are measured.
const BLOCK_ROWS: usize = 3;
/// The share of blocks that lie still at least: noise is read from those that differ least.
const STILL_SHARE: f64 = 0.25;
/// Mean difference between two pictures with noise of deviation 1, and between one and a filtered one.
const RAW: f64 = 1.128;
const FILTERED: f64 = 0.87;
/// Noise (deviation of luma) from which on the stage works, and below which it rests again.
const NOISY: f64 = 1.2;
const CLEAN: f64 = 0.8;
/// Beyond this nothing lies still: what looks like noise is motion, and stays.
const MOTION: f64 = 5.0;
/// Weight of the new picture, of 64, where the difference is below the first number of deviations; it is all from the
/// second on.
const WEIGHT: i16 = 20;
const BEGINS: f64 = 1.5;
const ENDS: f64 = 4.0;

/// The stage.
#[derive(Clone, Debug, Default)]
pub struct Denoise {
    active: bool,
    /// All planes of the last picture, as it was handed on.
    before: Vec<u8>,
    width: usize,
    /// Measured deviation of the noise, smoothed.
    noise: f64,
    /// Scratch: differences of blocks.
    differences: Vec<u32>,
}

impl Denoise {
    /// A stage that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes noise from `picture`, where there is some; false: it is as it was.
    pub fn process(&mut self, picture: &mut VideoFrame) -> bool {
        if self.before.len() != picture.data().len() || self.width != picture.width() {
            self.width = picture.width();
            self.before.clear();
            self.before.extend_from_slice(picture.data());
            (self.active, self.noise) = (false, 0.0);
            return false;
        }
        self.measure(picture);
        self.active = self.noise > if self.active { CLEAN } else { NOISY } && self.noise < MOTION;
        if self.active {
            filter(picture.data_mut(), &mut self.before, self.noise);
        } else {
            self.before.copy_from_slice(picture.data());
        }
        self.active
    }

    /// Deviation of the noise in luma, as measured last.
    pub const fn noise(&self) -> f64 {
        self.noise
    }

    fn measure(&mut self, picture: &VideoFrame) {
        let width = picture.width();
        let now = picture.planes().0;
        let stripes = now.chunks_exact(width * BLOCK).zip(self.before.chunks_exact(width * BLOCK));
        self.differences.clear();
        for (now, before) in stripes.step_by(BLOCK_ROWS) {
            for x in (0..(width + 1).saturating_sub(BLOCK)).step_by(BLOCK) {
                let rows = (0..BLOCK).map(|row| {
                    let at = row * width + x;
                    let pairs = now[at..at + BLOCK].iter().zip(&before[at..at + BLOCK]);
                    pairs.map(|(now, before)| u32::from(now.abs_diff(*before))).sum::<u32>()
                });
                self.differences.push(rows.sum());
            }
        }
        if self.differences.is_empty() {
            return;
        }
        let place = (self.differences.len() as f64 * STILL_SHARE) as usize;
        let (_, still, _) = self.differences.select_nth_unstable(place);
        let per_sample = f64::from(*still) / (BLOCK * BLOCK) as f64;
        let noise = per_sample / if self.active { FILTERED } else { RAW };
        // A picture that is shown twice has no difference, and says nothing of noise.
        if noise > 0.0 || !self.active {
            self.noise += (noise - self.noise) * 0.15;
        }
    }
}

/// Moves every sample towards the one before, and remembers what came out.
fn filter(samples: &mut [u8], before: &mut [u8], noise: f64) {
    let begins = (BEGINS * noise).round() as i16;
    let rise = (f64::from(64 - WEIGHT) / ((ENDS - BEGINS) * noise)).ceil() as i16;
    // In 16 bits throughout, so that compilers make vectors of it: 255 * 64 fits.
    for (sample, before) in samples.iter_mut().zip(before) {
        let difference = i16::from(*sample) - i16::from(*before);
        let over = (difference.abs() - begins).max(0);
        let weight = (WEIGHT + over * rise).min(64);
        let out = (i16::from(*before) + ((difference * weight + 32) >> 6)) as u8;
        *sample = out;
        *before = out;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Scene, SceneKind, VideoSource};

    /// Noise like a sensor's, of about `strength` deviations.
    fn add_noise(picture: &mut VideoFrame, frame: u32, strength: i32) {
        let mut state = frame.wrapping_mul(2_654_435_761) | 1;
        for sample in picture.planes_mut().0 {
            let mut sum = 0;
            for _ in 0..2 {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                sum += (state & 0xff) as i32;
            }
            // The sum of two even numbers of 0 to 255 deviates by 104.
            *sample = (i32::from(*sample) + (sum - 255) * strength / 104).clamp(0, 255) as u8;
        }
    }

    #[test]
    fn noise_goes_and_motion_stays() {
        let mut scene = Scene::of(SceneKind::Moving, 320, 180, 30.0).unwrap();
        let mut clean = VideoFrame::new(320, 180).unwrap();
        // Still for a while, then the whole scene jumps.
        let mut stage = Denoise::new();
        for frame in 0..60 {
            scene.draw(if frame < 40 { 0 } else { 200 }, &mut clean).unwrap();
            let mut noisy = clean.clone();
            add_noise(&mut noisy, frame, 4);
            let mut output = noisy.clone();
            let done = stage.process(&mut output);
            let (before, after) = (noisy.luma_psnr(&clean).unwrap(), output.luma_psnr(&clean).unwrap());
            if (30..40).contains(&frame) || frame >= 55 {
                assert!(done && after > before + 2.5, "frame {frame}: {after} of {before}");
            }
            // Right after the jump, what differs little from what was there lags.
            let harm = if (40..46).contains(&frame) { 2.5 } else { 0.3 };
            assert!(after > before - harm, "frame {frame}: {after} of {before}");
        }
        assert!((stage.noise() - 4.0).abs() < 1.2, "{}", stage.noise());
    }

    #[test]
    fn where_all_moves_nothing_is_taken_for_noise() {
        let mut scene = Scene::of(SceneKind::Moving, 320, 180, 30.0).unwrap();
        let mut stage = Denoise::new();
        let mut picture = VideoFrame::new(320, 180).unwrap();
        for frame in 0..60 {
            // Far more strides per picture than the scene is meant to make.
            scene.draw(frame * 40, &mut picture).unwrap();
            let source = picture.clone();
            let done = stage.process(&mut picture);
            assert!(frame < 20 || !done && source == picture, "frame {frame}: {}", stage.noise());
        }
    }

    #[test]
    fn clean_pictures_are_left_alone() {
        let mut scene = Scene::new(320, 180, 30.0).unwrap();
        let mut stage = Denoise::new();
        let mut picture = VideoFrame::new(320, 180).unwrap();
        for frame in 0..60 {
            scene.draw(0, &mut picture).unwrap();
            picture.fill_grey(frame, frame, 40, 40, 200);
            let source = picture.clone();
            assert!(!stage.process(&mut picture));
            assert_eq!(source, picture);
        }
    }

    #[test]
    fn sizes_may_change_and_be_small() {
        let mut stage = Denoise::new();
        for (width, height) in [(2, 2), (16, 4), (4, 16), (34, 18), (64, 64)] {
            for frame in 0..5 {
                let mut picture = VideoFrame::new(width, height).unwrap();
                add_noise(&mut picture, frame, 8);
                stage.process(&mut picture);
            }
        }
    }
}
