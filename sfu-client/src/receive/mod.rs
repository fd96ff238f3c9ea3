//! From packets to frames: order, repair, put together.

mod audio;
mod depacketizer;
mod dependencies;
mod jitter_buffer;
mod lip_sync;
mod parameter_sets;
mod playout;
mod video;

pub use audio::receive_audio;
pub use depacketizer::{annex_b, is_keyframe, without_descriptors};
pub use dependencies::Dependencies;
pub use jitter_buffer::{JitterBuffer, JitterConfig, JitterCounters, ReceivedFrame};
pub use lip_sync::{LipSync, StreamSync};
pub use playout::{Playout, PlayoutConfig, PlayoutStats};
pub use video::receive_video;
