//! Generated scenes, each with what makes pictures easy or hard to code and to see.
//!
//! Every picture follows from its number alone, so a receiver that reads the number can draw the original again and
//! measure what the way has cost.

mod cast;
mod moving;
mod pages;
mod texture;

use super::VideoSource;
use crate::frame::VideoFrame;
use anyhow::{Result, bail, ensure};
use std::str::FromStr;
use texture::Texture;

/// What a scene shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SceneKind {
    /// A drifting gradient, a textured floor and a ball that bounces.
    Moving,
    /// A webcam: somebody who sways, speaks and moves both hands before a still room, with a sensor's noise.
    Talking,
    /// Hard motion: a textured world that pans fast and turns around, with textured things that cross it.
    Rush,
    /// Another room every 2.3 s, and a hard cut between them.
    Cuts,
    /// The webcam in a dark room: a twelfth of the light, more noise, light that wavers.
    Dark,
    /// Text on a shared screen, another page of it every 5 s; between them nothing moves.
    Pages,
}

impl SceneKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Moving, Self::Talking, Self::Rush, Self::Cuts, Self::Dark, Self::Pages];

    /// As options call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Moving => "moving",
            Self::Talking => "talking",
            Self::Rush => "rush",
            Self::Cuts => "cuts",
            Self::Dark => "dark",
            Self::Pages => "pages",
        }
    }
}

impl FromStr for SceneKind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|kind| kind.name() == text) {
            Some(kind) => Ok(kind),
            None => bail!("there is no scene {text:?}; there are {}", Self::ALL.map(Self::name).join(", ")),
        }
    }
}

/// Seconds from cut to cut.
const CUT_SECONDS: f64 = 2.3;

/// The generated scene.
#[derive(Clone, Debug)]
pub struct Scene {
    kind: SceneKind,
    width: usize,
    height: usize,
    frame_rate: f64,
    texture: Texture,
}

impl Scene {
    /// The moving scene, of this size and rate.
    ///
    /// # Errors
    /// Where the size is none that [`VideoFrame`] takes, or the rate is outside 1 to 240.
    pub fn new(width: usize, height: usize, frame_rate: f64) -> Result<Self> {
        Self::of(SceneKind::Moving, width, height, frame_rate)
    }

    /// A scene of this kind, size and rate.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(kind: SceneKind, width: usize, height: usize, frame_rate: f64) -> Result<Self> {
        VideoFrame::new(width, height)?;
        ensure!((1.0..=240.0).contains(&frame_rate), "the frame rate must be 1 to 240, not {frame_rate}");
        Ok(Self { kind, width, height, frame_rate, texture: Texture::new() })
    }
}

impl VideoSource for Scene {
    fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn frame_rate(&self) -> f64 {
        self.frame_rate
    }

    fn shown_since(&self, frame: u32) -> u32 {
        if self.kind != SceneKind::Pages {
            return frame;
        }
        let page = (f64::from(frame) / self.frame_rate / pages::SECONDS).floor();
        // The first picture of a page may be one later than the quotient says, by rounding.
        ((page * pages::SECONDS * self.frame_rate).ceil() as u32).min(frame)
    }

    fn draw(&mut self, frame: u32, picture: &mut VideoFrame) -> Result<bool> {
        ensure!((picture.width(), picture.height()) == self.size(), "the picture is not of the scene's size");
        let second = f64::from(frame) / self.frame_rate;
        match self.kind {
            SceneKind::Moving => moving::draw(picture, usize::try_from(frame)?),
            SceneKind::Talking => cast::talking(picture, &self.texture, second, 0),
            SceneKind::Rush => cast::rush(picture, &self.texture, second),
            SceneKind::Cuts => cast::talking(picture, &self.texture, second, (second / CUT_SECONDS) as usize),
            SceneKind::Dark => cast::talking(picture, &self.texture, second, 0),
            SceneKind::Pages => pages::draw(picture, second),
        }
        match self.kind {
            SceneKind::Moving | SceneKind::Pages => {}
            SceneKind::Dark => {
                cast::darken(picture, second);
                texture::grain(picture, frame, 5);
            }
            _ => texture::grain(picture, frame, 3),
        }
        Ok(true)
    }
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
    fn every_kind_has_a_name_and_draws_what_it_says() {
        for kind in SceneKind::ALL {
            assert_eq!(kind.name().parse::<SceneKind>().unwrap(), kind);
            let mut scene = Scene::of(kind, 160, 90, 30.0).unwrap();
            let mut draw = |frame| {
                let mut picture = VideoFrame::new(160, 90).unwrap();
                assert!(scene.draw(frame, &mut picture).unwrap());
                picture
            };
            assert_eq!(draw(3), draw(3));
            assert_eq!(draw(3) == draw(4), kind == SceneKind::Pages);
            draw(u32::MAX);
            let mean = |picture: &VideoFrame| {
                let luma = picture.planes().0;
                luma.iter().map(|sample| u64::from(*sample)).sum::<u64>() / luma.len() as u64
            };
            assert_eq!(mean(&draw(0)) < 60, kind == SceneKind::Dark, "{kind:?} {}", mean(&draw(0)));
            // Frame 69 is the first after 2.3 s.
            if kind == SceneKind::Pages {
                assert_eq!(draw(149), draw(0));
                assert_ne!(draw(150), draw(149));
                let scene = Scene::of(kind, 160, 90, 30.0).unwrap();
                assert_eq!([0, 149, 150, 301].map(|frame| scene.shown_since(frame)), [0, 0, 150, 300]);
                continue;
            }
            let likeness = |draw: &mut dyn FnMut(u32) -> VideoFrame, frame| {
                let before = draw(frame - 1);
                draw(frame).luma_psnr(&before).unwrap()
            };
            let is_cut = likeness(&mut draw, 69) + 4.0 < likeness(&mut draw, 68);
            assert_eq!(is_cut, kind == SceneKind::Cuts, "{kind:?}");
        }
        assert!("nothing".parse::<SceneKind>().is_err());
    }

    #[test]
    fn small_and_narrow_scenes_draw() {
        for (width, height) in [(16, 16), (2, 2), (640, 10), (10, 640)] {
            let mut picture = VideoFrame::new(width, height).unwrap();
            for kind in SceneKind::ALL {
                let mut scene = Scene::of(kind, width, height, 30.0).unwrap();
                for frame in 0..200 {
                    scene.draw(frame, &mut picture).unwrap();
                }
            }
        }
    }
}
