//! Decoders: H.264, and VP8 and VP9 with the feature `vpx`, to pictures; Opus to sound.

mod comfort_noise;
mod concealment;
mod h264;
mod opus;
#[cfg(feature = "vpx")]
mod vpx;

pub use h264::H264Decoder;
pub use opus::{OpusDecoder, duration as opus_duration};
#[cfg(feature = "vpx")]
pub use vpx::VpxDecoder;

use crate::frame::VideoFrame;
use crate::peer::VideoCodec;
use anyhow::Result;

/// A running decoder of pictures.
pub trait Decoder: Send {
    /// Decodes one whole frame, as [`crate::encode::EncodedFrame`] has it; `None` where it held no picture.
    ///
    /// # Errors
    /// Where it is damaged or refers to pictures that were lost; ask for a keyframe then.
    fn decode(&mut self, frame: &[u8]) -> Result<Option<VideoFrame>>;
}

/// A decoder for `codec`.
///
/// # Errors
/// Where the codec was not built in, or cannot make one.
pub fn open_decoder(codec: VideoCodec) -> Result<Box<dyn Decoder>> {
    match codec {
        VideoCodec::H264 => Ok(Box::new(H264Decoder::new()?)),
        #[cfg(feature = "vpx")]
        VideoCodec::Vp8 | VideoCodec::Vp9 => Ok(Box::new(VpxDecoder::new(codec)?)),
        _ => Err(codec.not_built_in()),
    }
}
