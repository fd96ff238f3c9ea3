//! Encoders: pictures to H.264, sound to Opus.

mod complexity;
mod effort;
mod h264;
mod opus;
mod rate_control;
mod video;

pub use complexity::{Complexity, ComplexityMeter};
pub use effort::EffortControl;
pub use h264::{Effort, H264Config, H264Encoder, Quantizer};
pub use opus::{FRAME_SAMPLES, OpusConfig, OpusEncoder};
pub use rate_control::{Plan, RateControl, RateControlConfig};
pub use video::{EffortMode, EncoderStats, RateMode, VideoEncoder};

use bytes::Bytes;

/// One encoded picture.
#[derive(Clone, Debug)]
pub struct EncodedFrame {
    /// H.264 in annex B form: start codes before every NAL unit.
    pub data: Bytes,
    /// A decoder can begin here.
    pub keyframe: bool,
}
