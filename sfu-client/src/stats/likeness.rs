//! How like the pictures that come are to those that were drawn.

use crate::capture::{Scene, SceneKind, VideoSource};
use crate::frame::VideoFrame;
use crate::overlay::Overlay;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;

/// From so much PSNR on, in dB, a picture of text is as sharp as the screen that it was taken from.
const SHARP: f64 = 38.0;
/// So many are remembered.
const MOST_STILLS: usize = 64;

/// Draws again what a publisher has drawn, which follows from its number, and compares.
#[derive(Debug)]
pub(super) struct Comparison {
    kind: SceneKind,
    frame_rate: f64,
    original: Option<Original>,
    likeness: Likeness,
}

#[derive(Debug)]
struct Original {
    scene: Scene,
    picture: VideoFrame,
    overlay: Option<Overlay>,
}

impl Comparison {
    pub(super) fn new(kind: SceneKind, frame_rate: f64) -> Self {
        Self { kind, frame_rate, original: None, likeness: Likeness::default() }
    }

    pub(super) fn likeness(&self) -> &Likeness {
        &self.likeness
    }

    /// Takes a picture that is shown `age` after what it shows was captured.
    pub(super) fn observe(&mut self, picture: &VideoFrame, overlay: Overlay, age: Duration) {
        let size = (picture.width(), picture.height());
        let psnr = self.original(size, overlay).and_then(|original| picture.luma_psnr(original));
        if let Some(psnr) = psnr {
            self.likeness.record(overlay.frame, size, psnr, age);
        }
    }

    fn original(&mut self, (width, height): (usize, usize), overlay: Overlay) -> Option<&VideoFrame> {
        let fits = |original: &Original| original.scene.size() == (width, height);
        if !self.original.as_ref().is_some_and(fits) {
            let scene = Scene::of(self.kind, width, height, self.frame_rate).ok()?;
            self.original = Some(Original { scene, picture: VideoFrame::new(width, height).ok()?, overlay: None });
        }
        let Original { scene, picture, overlay: drawn } = self.original.as_mut()?;
        if *drawn != Some(overlay) {
            scene.draw(overlay.frame, picture).ok()?;
            overlay.draw(picture);
            *drawn = Some(overlay);
        }
        Some(picture)
    }
}

/// PSNR of pictures, and how soon each one that stayed for a while became sharp.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Likeness {
    /// Of the last picture, in dB.
    pub psnr: f64,
    /// The last pictures of different content.
    pub stills: VecDeque<Still>,
}

/// A picture that stays until another comes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Still {
    /// Its number.
    pub frame: u32,
    /// Width and height in which it came last.
    pub size: (usize, usize),
    /// From its capture until something of it was shown.
    pub shown_after: Duration,
    /// From its capture until it was sharp.
    pub sharp_after: Option<Duration>,
    /// The most that it came to, in dB.
    pub psnr: f64,
}

impl Likeness {
    fn record(&mut self, frame: u32, size: (usize, usize), psnr: f64, age: Duration) {
        self.psnr = psnr;
        if self.stills.back().is_none_or(|still| still.frame != frame) {
            if self.stills.len() == MOST_STILLS {
                self.stills.pop_front();
            }
            self.stills.push_back(Still { frame, size, shown_after: age, sharp_after: None, psnr });
        }
        if let Some(still) = self.stills.back_mut() {
            (still.size, still.psnr) = (size, still.psnr.max(psnr));
            if psnr >= SHARP {
                still.sharp_after.get_or_insert(age);
            }
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        let still = |still: &Still| {
            json!({
                "frame": still.frame,
                "width": still.size.0,
                "height": still.size.1,
                "shown_after_ms": millis(still.shown_after),
                "sharp_after_ms": still.sharp_after.map(millis),
                "psnr_db": still.psnr,
            })
        };
        json!({ "psnr_db": self.psnr, "stills": self.stills.iter().map(still).collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_sharp_once_it_is_like_the_one_that_was_drawn() {
        let mut scene = Scene::of(SceneKind::Pages, 640, 360, 15.0).unwrap();
        let mut comparison = Comparison::new(SceneKind::Pages, 15.0);
        let mut page = |frame, blur: u8| {
            let mut picture = VideoFrame::new(640, 360).unwrap();
            scene.draw(frame, &mut picture).unwrap();
            Overlay::new(1, frame, Duration::ZERO).draw(&mut picture);
            picture.planes_mut().0.iter_mut().skip(640 * 200).for_each(|luma| *luma = luma.saturating_sub(blur));
            picture
        };
        for (frame, blur, millis) in [(0, 40, 100), (0, 9, 400), (0, 1, 500), (75, 40, 80)] {
            let overlay = Overlay::new(1, frame, Duration::ZERO);
            comparison.observe(&page(frame, blur), overlay, Duration::from_millis(millis));
        }
        let stills = &comparison.likeness().stills;
        assert_eq!(stills.iter().map(|still| still.frame).collect::<Vec<_>>(), [0, 75]);
        assert_eq!(stills[0].shown_after, Duration::from_millis(100));
        assert_eq!((stills[0].sharp_after, stills[1].sharp_after), (Some(Duration::from_millis(500)), None));
    }
}
