//! Encoders: pictures to H.264, sound to Opus.

mod h264;
mod opus;

pub use h264::{H264Config, H264Encoder};
pub use opus::{FRAME_SAMPLES, OpusConfig, OpusEncoder};

use bytes::Bytes;

/// One encoded picture.
#[derive(Clone, Debug)]
pub struct EncodedFrame {
    /// H.264 in annex B form: start codes before every NAL unit.
    pub data: Bytes,
    /// A decoder can begin here.
    pub keyframe: bool,
}
