//! Decoders: H.264 to pictures, Opus to sound.

mod comfort_noise;
mod concealment;
mod h264;
mod opus;

pub use h264::H264Decoder;
pub use opus::{OpusDecoder, duration as opus_duration};
