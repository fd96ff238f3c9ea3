//! Where pictures and sound come from.

#[cfg(feature = "camera")]
mod camera;
mod devices;
mod media_file;
#[cfg(feature = "microphone")]
mod microphone;
mod scene;
mod ticks;
mod tone;
pub(crate) mod voice;
mod wav;
mod y4m;

#[cfg(feature = "camera")]
pub use camera::Camera;
pub use devices::{open_camera, open_microphone};
pub use media_file::MediaFile;
#[cfg(feature = "microphone")]
pub use microphone::Microphone;
pub use scene::{Scene, SceneKind};
pub use ticks::Ticks;
pub use tone::Tone;
pub use voice::Voice;
pub use wav::WavReader;
pub use y4m::Y4mReader;

use crate::frame::VideoFrame;
use anyhow::Result;

/// Samples per second of all sound here: what Opus runs at inside.
pub const SAMPLE_RATE: u32 = 48_000;

/// A source of pictures.
pub trait VideoSource: Send {
    /// Width and height of every picture.
    fn size(&self) -> (usize, usize);

    /// Frames per second.
    fn frame_rate(&self) -> f64;

    /// Whether [`Self::draw`] may wait for the next picture; else it is busy for as long as it lasts.
    fn waits(&self) -> bool {
        false
    }

    /// The first of the pictures up to this one that look the same, where that is known.
    fn shown_since(&self, frame: u32) -> u32 {
        frame
    }

    /// Draws picture number `frame` into `picture`, which has [`Self::size`]. False: there are no more.
    ///
    /// # Errors
    /// Where the source cannot be read.
    fn draw(&mut self, frame: u32, picture: &mut VideoFrame) -> Result<bool>;
}

/// A source of sound: mono, [`SAMPLE_RATE`], 16 bits.
pub trait AudioSource: Send {
    /// Fills `samples`. False: there are no more.
    ///
    /// # Errors
    /// Where the source cannot be read.
    fn fill(&mut self, samples: &mut [i16]) -> Result<bool>;

    /// What a loudspeaker near it played during the samples last filled, of as many. False: there is none.
    ///
    /// # Errors
    /// Where that cannot be read.
    fn played(&mut self, _samples: &mut [i16]) -> Result<bool> {
        Ok(false)
    }
}
