//! A generated moving scene: a drifting gradient, a textured floor and a ball that bounces.
//!
//! Every picture follows from its number alone, so a receiver that reads the number can draw the original again and
//! measure what the way has cost.

use super::VideoSource;
use crate::frame::VideoFrame;
use anyhow::{Result, ensure};

/// The generated scene.
#[derive(Clone, Debug)]
pub struct Scene {
    width: usize,
    height: usize,
    frame_rate: f64,
}

impl Scene {
    /// A scene of this size and rate.
    ///
    /// # Errors
    /// Where the size is none that [`VideoFrame`] takes, or the rate is outside 1 to 240.
    pub fn new(width: usize, height: usize, frame_rate: f64) -> Result<Self> {
        VideoFrame::new(width, height)?;
        ensure!((1.0..=240.0).contains(&frame_rate), "the frame rate must be 1 to 240, not {frame_rate}");
        Ok(Self { width, height, frame_rate })
    }
}

impl VideoSource for Scene {
    fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn frame_rate(&self) -> f64 {
        self.frame_rate
    }

    fn draw(&mut self, frame: u32, picture: &mut VideoFrame) -> Result<bool> {
        ensure!((picture.width(), picture.height()) == self.size(), "the picture is not of the scene's size");
        let step = usize::try_from(frame)?;
        sky(picture, step);
        floor(picture, step);
        ball(picture, step);
        Ok(true)
    }
}

/// A gradient over the whole picture that drifts a sample per frame.
fn sky(picture: &mut VideoFrame, step: usize) {
    let (width, height) = (picture.width(), picture.height());
    let (luma, u, v) = picture.planes_mut();
    for (y, line) in luma.chunks_exact_mut(width).enumerate() {
        let base = 60 + y * 80 / height;
        for (x, sample) in line.iter_mut().enumerate() {
            *sample = to_u8(base + triangle(x + step, 128) / 2);
        }
    }
    for (y, (u, v)) in u.chunks_exact_mut(width / 2).zip(v.chunks_exact_mut(width / 2)).enumerate() {
        u.fill(to_u8(110 + triangle(y + step / 2, 64)));
        v.fill(to_u8(150 - triangle(y + step / 3, 64)));
    }
}

/// A checkered texture in the lower third that moves sideways: work for motion search.
fn floor(picture: &mut VideoFrame, step: usize) {
    let (width, height) = (picture.width(), picture.height());
    let top = height * 2 / 3;
    for (row, line) in picture.planes_mut().0.chunks_exact_mut(width).enumerate().skip(top) {
        for (x, sample) in line.iter_mut().enumerate() {
            let checker = ((x + step * 2) / 16 + (row - top) / 12) % 2;
            let grain = (x + step * 2).wrapping_mul(0x9e37_79b1) ^ row.wrapping_mul(0x85eb_ca6b);
            *sample = to_u8(60 + checker * 90 + (grain >> 7) % 12);
        }
    }
}

/// A ball that bounces off all four sides.
fn ball(picture: &mut VideoFrame, step: usize) {
    let (width, height) = (picture.width(), picture.height());
    let radius = (width.min(height) / 8).max(1);
    let centre_x = radius + triangle(step * 4, (width - 2 * radius).max(1));
    let centre_y = radius + triangle(step * 3, (height - 2 * radius).max(1));
    let (luma, u, v) = picture.planes_mut();
    for y in centre_y - radius..(centre_y + radius).min(height) {
        let reach = (radius * radius - centre_y.abs_diff(y).pow(2)).isqrt();
        let (from, to) = (centre_x - reach, (centre_x + reach).min(width));
        luma[y * width + from..y * width + to].fill(200);
        let chroma = y / 2 * (width / 2) + from / 2..y / 2 * (width / 2) + to / 2;
        u[chroma.clone()].fill(90);
        v[chroma].fill(190);
    }
}

/// 0 up to `peak` and down again, once every `2 * peak` steps.
const fn triangle(step: usize, peak: usize) -> usize {
    let phase = step % (2 * peak);
    if phase < peak { phase } else { 2 * peak - phase }
}

fn to_u8(value: usize) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_follow_from_their_number_and_move() {
        let mut scene = Scene::new(320, 180, 30.0).unwrap();
        let mut draw = |frame| {
            let mut picture = VideoFrame::new(320, 180).unwrap();
            assert!(scene.draw(frame, &mut picture).unwrap());
            picture
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        draw(u32::MAX);
    }

    #[test]
    fn small_and_narrow_scenes_draw() {
        for (width, height) in [(16, 16), (2, 2), (640, 10), (10, 640)] {
            let mut scene = Scene::new(width, height, 30.0).unwrap();
            let mut picture = VideoFrame::new(width, height).unwrap();
            for frame in 0..200 {
                scene.draw(frame, &mut picture).unwrap();
            }
        }
    }
}
