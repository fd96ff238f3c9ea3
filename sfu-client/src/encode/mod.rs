//! Encoders: pictures to H.264, VP8 and VP9 (feature `vpx`) and AV1 (feature `aom`), sound to Opus.

#[cfg(feature = "aom")]
mod aom;
mod codec;
#[cfg(all(test, any(feature = "aom", feature = "vpx")))]
mod codec_tests;
mod complexity;
mod effort;
mod h264;
mod keeper;
mod ladder;
mod layers;
mod opus;
mod rate_control;
mod references;
mod slice_header;
#[cfg(any(feature = "aom", feature = "vpx"))]
mod steering;
mod video;
#[cfg(feature = "vpx")]
mod vpx;

#[cfg(feature = "aom")]
pub use aom::AomEncoder;
pub use codec::{Effort, Encoder, EncoderConfig, Quantizer, open_encoder};
pub use complexity::{Complexity, ComplexityMeter};
pub use effort::EffortControl;
pub use h264::H264Encoder;
pub use keeper::{KeptPicture, ReferenceKeeper, ReferenceNews};
pub use ladder::Ladder;
pub use layers::Layering;
pub use opus::{FRAME_SAMPLES, OpusConfig, OpusEncoder, PacketTime};
pub use rate_control::{Plan, RateControl, RateControlConfig};
pub use references::{LongTermReferences, References};
pub use video::{EffortMode, EncoderStats, RateMode, VideoEncoder};
#[cfg(feature = "vpx")]
pub use vpx::VpxEncoder;

use bytes::Bytes;

/// One encoded picture.
#[derive(Clone, Debug)]
pub struct EncodedFrame {
    /// H.264 in annex B form: start codes before every NAL unit. VP8 and VP9 as a frame of the codec, AV1 as a temporal
    /// unit in the low-overhead format (AV1 specification section 5.2).
    pub data: Bytes,
    /// A decoder can begin here.
    pub keyframe: bool,
    /// Where it stands among the temporal layers.
    pub layering: Layering,
    /// Which picture it needs, and which it keeps.
    pub references: References,
}
