//! From sources to packets: capture, encode, packetize, send.

mod audio;
mod control;
mod descriptor;
mod layer;
mod load;
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
    keyframe_bytes: AtomicU64,
    recovery_bytes: AtomicU64,
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
    /// Of the bytes, those of keyframes.
    pub keyframe_bytes: u64,
    /// Of the bytes, those of pictures that refer to an acknowledged long-term reference, so as to recover.
    pub recovery_bytes: u64,
}

impl SendCounters {
    fn add(&self, packets: u64, bytes: u64) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What was added last is a keyframe, or recovers.
    fn note(&self, bytes: u64, keyframe: bool, recovers: bool) {
        if keyframe {
            self.keyframes.fetch_add(1, Ordering::Relaxed);
            self.keyframe_bytes.fetch_add(bytes, Ordering::Relaxed);
        } else if recovers {
            self.recovery_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// What has been sent up to now.
    pub fn read(&self) -> Sent {
        Sent {
            frames: self.frames.load(Ordering::Relaxed),
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            keyframes: self.keyframes.load(Ordering::Relaxed),
            keyframe_bytes: self.keyframe_bytes.load(Ordering::Relaxed),
            recovery_bytes: self.recovery_bytes.load(Ordering::Relaxed),
        }
    }
}
