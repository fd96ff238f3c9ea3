//! Is this layer alive, and what does it carry?

use crate::rate::RateMeter;
use sfu_rtc::packet::PacketData;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;

/// A layer counts as dead after this time without a packet, at least: encoders of layers of one source pause for a few
/// frames when they change rate, and networks for a few hundred ms.
const MIN_SILENCE: Duration = Duration::from_millis(700);
/// For this time the bitrate of a stream says little: encoders begin low.
const BEGINNING: Duration = Duration::from_secs(2);
/// A layer at a low frame rate is given this many frame times.
const SILENT_FRAMES: f64 = 4.0;
/// But never more than this.
const MAX_SILENCE: Duration = Duration::from_secs(3);

/// Watches one received stream.
#[derive(Default, Debug)]
pub(crate) struct StreamTracker {
    bytes: RateMeter,
    frames: RateMeter,
    last_packet: Option<Instant>,
    /// When packets began to come, the last time.
    began: Instant,
    newest_timestamp: Option<u32>,
    resolution: Option<(u16, u16)>,
    /// The last silence that the layer is forgiven, from its frame rate while it was last well.
    silence: Duration,
}

impl StreamTracker {
    /// Records a packet.
    pub(crate) fn on_packet(&mut self, packet: &PacketData) {
        let now = packet.arrival;
        self.bytes.add(now, u32::try_from(packet.payload().len()).unwrap_or(0));
        if self.last_packet.is_none_or(|last| now - last > MIN_SILENCE) {
            self.began = now;
        }
        self.last_packet = Some(now);
        let newer = self.newest_timestamp.is_none_or(|last| packet.timestamp.wrapping_sub(last) as i32 > 0);
        if newer {
            self.newest_timestamp = Some(packet.timestamp);
            self.frames.add(now, 1);
            self.resolution = packet.frame.resolution.or(self.resolution);
        }
    }

    /// Whether packets are coming. To be asked regularly while they do.
    pub(crate) fn is_alive(&mut self, now: Instant) -> bool {
        let Some(last) = self.last_packet else { return false };
        let fps = self.frames.per_second(now);
        if now - last < MIN_SILENCE && fps > 0.0 {
            self.silence =
                Duration::from_secs_f64((SILENT_FRAMES / fps).min(MAX_SILENCE.as_secs_f64())).max(MIN_SILENCE);
        }
        now - last <= self.silence.max(MIN_SILENCE)
    }

    /// Bitrate over the last second.
    pub(crate) fn bitrate(&self, now: Instant) -> Bitrate {
        self.bytes.bitrate(now)
    }

    /// Bitrate over the last second, once it says something: zero while the stream begins.
    pub(crate) fn steady_bitrate(&self, now: Instant) -> Bitrate {
        if now - self.began < BEGINNING { Bitrate::ZERO } else { self.bitrate(now) }
    }

    /// Whether nothing has come for longer than any layer that is alive is forgiven.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        self.last_packet.is_none_or(|last| now - last > MAX_SILENCE)
    }

    /// Frames per second over the last second.
    pub(crate) fn fps(&self, now: Instant) -> f32 {
        self.frames.per_second(now) as f32
    }

    /// Width and height, as the last keyframe said.
    pub(crate) fn resolution(&self) -> Option<(u16, u16)> {
        self.resolution
    }
}
