//! From sources to packets: capture, encode, packetize, send.

mod audio;
mod control;
mod descriptor;
mod layer;
mod packetizer;
mod redundancy;
mod video;

pub use audio::{AudioControl, AudioSender, AudioSettings};
pub use control::VideoControl;
pub use packetizer::Packetizer;
pub use redundancy::{MAX_GENERATIONS, RedConfig, Redundancy};
pub use video::{EncodingSettings, MAX_ENCODINGS, RunningEncoding, VideoSender, VideoSettings, VideoStats};

use std::sync::atomic::{AtomicU64, Ordering};

/// What a sender has sent so far.
#[derive(Debug, Default)]
pub struct SendCounters {
    frames: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    keyframes: AtomicU64,
}

/// A reading of [`SendCounters`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// Pictures, or packets of sound.
    pub frames: u64,
    /// RTP packets.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Keyframes.
    pub keyframes: u64,
}

impl SendCounters {
    fn add(&self, packets: u64, bytes: u64, keyframe: bool) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.keyframes.fetch_add(u64::from(keyframe), Ordering::Relaxed);
    }

    /// What has been sent up to now.
    pub fn read(&self) -> Sent {
        Sent {
            frames: self.frames.load(Ordering::Relaxed),
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            keyframes: self.keyframes.load(Ordering::Relaxed),
        }
    }
}
