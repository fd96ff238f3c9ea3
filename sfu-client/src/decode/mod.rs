//! Decoders: H.264, VP8 and VP9 (feature `vpx`) and AV1 (feature `aom`) to pictures; Opus to sound.

#[cfg(feature = "aom")]
mod aom;
mod comfort_noise;
mod concealment;
mod h264;
mod opus;
#[cfg(any(feature = "aom", feature = "vpx"))]
mod planes;
#[cfg(feature = "vpx")]
mod vpx;

#[cfg(feature = "aom")]
pub use aom::AomDecoder;
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
        #[cfg(feature = "aom")]
        VideoCodec::Av1 => Ok(Box::new(AomDecoder::new()?)),
        #[cfg(not(all(feature = "aom", feature = "vpx")))]
        _ => Err(codec.not_built_in()),
    }
}
