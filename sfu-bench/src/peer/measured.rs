//! Counts over all subscribers of a generator thread.

use crate::measure::histogram::Histogram;
use sfu_rtc::time::Duration;

/// What subscribers found. Losses are signed: a packet that was missing at one cut may come before the next.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// RTP packets received, padding left out.
    pub packets: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// Sequence numbers that did not come.
    pub lost: i64,
    /// Of these, sound.
    pub audio_lost: i64,
    /// Packets of a source that a subscriber did not get between two that it got: what was lost, and what the server
    /// left out.
    pub skipped: i64,
    /// Peers that expected media and received none since the last cut.
    pub silent: u64,
    /// Packets of sound received.
    pub audio_packets: u64,
    /// Packets that were lost and came again when asked for.
    pub repaired: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets whose payload bears no stamp of ours.
    pub foreign: u64,
    /// Complete video frames.
    pub frames: u64,
    /// Freezes as webrtc-stats counts them.
    pub freezes: u64,
    /// Time frozen.
    pub frozen: Duration,
    /// One-way latency of video.
    pub latency: Histogram,
    /// One-way latency of sound.
    pub audio_latency: Histogram,
    /// From the beginning of the join to the first complete frame.
    pub first_frame: Histogram,
    /// From the request for a keyframe to its last packet.
    pub keyframe: Histogram,
    /// From the last packet of a source or layer to the first whole frame of that which took its place.
    pub switch: Histogram,
}

impl Measured {
    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.audio_lost += other.audio_lost;
        self.skipped += other.skipped;
        self.silent += other.silent;
        self.audio_packets += other.audio_packets;
        self.repaired += other.repaired;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.foreign += other.foreign;
        self.frames += other.frames;
        self.freezes += other.freezes;
        self.frozen += other.frozen;
        self.latency.merge(&other.latency);
        self.audio_latency.merge(&other.audio_latency);
        self.first_frame.merge(&other.first_frame);
        self.keyframe.merge(&other.keyframe);
        self.switch.merge(&other.switch);
    }
}
