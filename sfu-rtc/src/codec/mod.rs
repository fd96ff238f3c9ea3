//! Payload headers of the codecs: what a forwarder must know of a frame without decoding it.

pub mod av1;
pub(crate) mod bits;
mod facts;
pub mod h264;
pub mod h265;
mod nal;
pub mod opus;
mod picture_id;
pub mod red;
pub mod vp8;
pub mod vp9;

pub use facts::{FrameFacts, frame_facts};
pub use nal::{ParameterSetId, begins_keyframe, parameter_sets};

#[cfg(test)]
mod tests;
