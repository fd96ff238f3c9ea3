//! What every video encoder can do, whatever its codec.

use super::EncodedFrame;
use super::h264::H264Encoder;
use super::ladder::Ladder;
use super::references::LongTermReferences;
use crate::frame::VideoFrame;
use crate::peer::VideoCodec;
use anyhow::Result;
use sfu_rtc::units::Bitrate;

/// How to encode.
#[derive(Clone, PartialEq, Debug)]
pub struct EncoderConfig {
    /// Width of every picture.
    pub width: usize,
    /// Height of every picture.
    pub height: usize,
    /// Frames per second that rate control reckons with.
    pub frame_rate: f64,
    /// Bitrate to keep.
    pub bitrate: Bitrate,
    /// Leave pictures out where the bitrate cannot be kept otherwise. Off by default, so that every frame number
    /// arrives and a gap means loss.
    pub skip_frames: bool,
    /// Temporal layers: 1 to 4 of H.264, 1 to 3 of VP8, VP9 and AV1.
    pub temporal_layers: u8,
    /// Frames from one keyframe to the next; 0: only when asked for.
    pub keyframe_interval: u32,
    /// Keep long-term references (H.264 without temporal layers; else there are none).
    pub long_term: bool,
    /// Who chooses quantisers.
    pub quantizer: Quantizer,
    /// How much the encoder tries.
    pub effort: Effort,
    /// The pictures are those of a screen: text and drawings. AV1 has tools for such.
    pub screen: bool,
}

/// Who chooses quantisers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quantizer {
    /// The codec, so as to keep the bitrate.
    Codec,
    /// The caller, picture by picture: [`Encoder::set_quantizer`]. Bitrate and skipping are the caller's too.
    Caller,
}

/// How much an encoder tries: more modes and motion vectors, for a better picture and more time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effort {
    /// The fastest.
    Low,
    /// Between them.
    Medium,
    /// The best picture.
    High,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            width: 640,
            height: 360,
            frame_rate: 30.0,
            bitrate: Bitrate::from_kbps(1_000),
            skip_frames: false,
            temporal_layers: 1,
            keyframe_interval: 0,
            long_term: false,
            quantizer: Quantizer::Codec,
            effort: Effort::Low,
            screen: false,
        }
    }
}

/// A running encoder. Its first picture is a keyframe.
pub trait Encoder: Send {
    /// Encodes a picture captured at `millis`; `None` where the codec's rate control left it out.
    ///
    /// # Errors
    /// Where the picture has another size than configured, or the codec fails.
    fn encode(&mut self, picture: &VideoFrame, millis: i64) -> Result<Option<EncodedFrame>>;

    /// Makes the next picture a keyframe.
    ///
    /// # Errors
    /// Where the codec fails.
    fn force_keyframe(&mut self) -> Result<()>;

    /// Changes the bitrate; the codec's own rate control settles within 0.5 to 2 s.
    ///
    /// # Errors
    /// Where the codec refuses it.
    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<()>;

    /// Codes the next pictures at this quantiser, an index of [`Self::ladder`], where the caller chooses them.
    ///
    /// # Errors
    /// Where there is no such quantiser.
    fn set_quantizer(&mut self, quantizer: u8) -> Result<()>;

    /// Lets the next pictures be coded with this effort.
    ///
    /// # Errors
    /// Where the codec refuses it.
    fn set_effort(&mut self, effort: Effort) -> Result<()>;

    /// The quantisers that there are.
    fn ladder(&self) -> Ladder;

    /// Its long-term references, where it keeps any.
    fn long_term(&mut self) -> Option<&mut dyn LongTermReferences> {
        None
    }

    /// Temporal layer of the next picture, where that is no keyframe.
    fn next_layer(&self) -> u8 {
        0
    }
}

/// An encoder for `codec`.
///
/// # Errors
/// Where the codec was not built in, or refuses the configuration.
pub fn open_encoder(codec: VideoCodec, config: EncoderConfig) -> Result<Box<dyn Encoder>> {
    match codec {
        VideoCodec::H264 => Ok(Box::new(H264Encoder::new(config)?)),
        #[cfg(feature = "vpx")]
        VideoCodec::Vp8 | VideoCodec::Vp9 => Ok(Box::new(super::vpx::VpxEncoder::new(codec, config)?)),
        #[cfg(feature = "aom")]
        VideoCodec::Av1 => Ok(Box::new(super::aom::AomEncoder::new(config)?)),
        #[cfg(not(all(feature = "aom", feature = "vpx")))]
        _ => Err(codec.not_built_in()),
    }
}
