//! What a publishing session has sent, and why no more.

use crate::peer::FarReception;
use crate::send::{MAX_ENCODINGS, Sent, VideoControl, VideoSender, VideoStats};
use serde_json::{Value, json};
use sfu_proto::v1::EncodingDirective;
use sfu_rtc::units::Bitrate;
use std::fmt;
use std::time::Duration;

/// What has been published so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublishReport {
    /// Time since media began to flow.
    pub elapsed: Duration,
    /// From the start of the join until media could flow.
    pub join: Duration,
    /// Pictures: those of all encodings; how many there are is of the one that has most.
    pub video: Sent,
    /// Of each encoding, smallest first.
    pub encodings: [Option<SentEncoding>; MAX_ENCODINGS],
    /// Sound.
    pub audio: Sent,
    /// Keyframes that the far side asked for.
    pub keyframe_requests: u64,
    /// Parity packets sent beside the pictures.
    pub parity: u64,
    /// What the path to the far side carries, by its feedback.
    pub available_outgoing_bitrate: Option<Bitrate>,
    /// What was done to pictures.
    pub pipeline: VideoStats,
    /// How pictures arrive, by the far side's last report.
    pub video_reception: Option<FarReception>,
    /// The same of sound.
    pub audio_reception: Option<FarReception>,
    /// What the server asks for of pictures, while it does.
    pub asked: Option<Asked>,
}

/// What has been sent of one encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SentEncoding {
    /// Its RID; empty where it is the only one.
    pub rid: &'static str,
    /// Its pictures.
    pub sent: Sent,
    /// Width and height of the last one.
    pub size: (usize, usize),
    /// Bitrate that its encoder has (targetBitrate).
    pub target: Bitrate,
    /// Why less is sent than is wanted (qualityLimitationReason).
    pub limitation: QualityLimitation,
}

/// Why less is sent than is wanted, as webrtc-stats names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum QualityLimitation {
    /// It is not.
    #[default]
    None,
    /// The machine cannot follow.
    Cpu,
    /// The path to the server carries no more.
    Bandwidth,
}

impl QualityLimitation {
    fn of(control: &VideoControl) -> Self {
        match (control.is_short_of_time(), control.is_short_of_room()) {
            (true, _) => Self::Cpu,
            (false, true) => Self::Bandwidth,
            (false, false) => Self::None,
        }
    }

    /// Its name in webrtc-stats.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Cpu => "cpu",
            Self::Bandwidth => "bandwidth",
        }
    }
}

/// What a directive asks for of the largest encoding that is wanted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Asked {
    /// False: nobody watches.
    pub active: bool,
    /// Most bits per second; zero: as the user has it.
    pub bitrate: Bitrate,
    /// Most pictures per second; zero: as the user has it.
    pub frame_rate: f32,
    /// How much smaller each side is to be; one or less: not at all.
    pub scale: f32,
}

impl Asked {
    pub(super) fn of(encoding: &EncodingDirective) -> Self {
        Self {
            active: encoding.active,
            bitrate: Bitrate::from_bps(encoding.max_bitrate_bps),
            frame_rate: encoding.max_framerate,
            scale: encoding.scale_resolution_down_by,
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.active {
            return f.write_str("send nothing, nobody watches");
        }
        let mut parts = Vec::new();
        if self.bitrate > Bitrate::ZERO {
            parts.push(format!("{} kbit/s", self.bitrate.as_bps() / 1_000));
        }
        if self.frame_rate > 0.0 {
            parts.push(format!("{} fps", self.frame_rate));
        }
        if self.scale > 1.0 {
            parts.push(format!("1/{:.1} of the size", self.scale));
        }
        f.write_str(&if parts.is_empty() { "as it is".to_owned() } else { format!("at most {}", parts.join(", ")) })
    }
}

impl PublishReport {
    /// For programs; `event` says what the line is.
    pub fn to_json(&self, event: &str) -> Value {
        let sent = |sent: Sent| {
            json!({
                "frames": sent.frames, "packets": sent.packets, "bytes": sent.bytes, "keyframes": sent.keyframes,
                "keyframe_bytes": sent.keyframe_bytes, "recovery_bytes": sent.recovery_bytes,
            })
        };
        let encoding = |one: &SentEncoding| {
            json!({
                "rid": one.rid,
                "sent": sent(one.sent),
                "frameWidth": one.size.0,
                "frameHeight": one.size.1,
                "targetBitrate": one.target.as_bps(),
                "qualityLimitationReason": one.limitation.name(),
            })
        };
        json!({
            "event": event,
            "elapsed_s": self.elapsed.as_secs_f64(),
            "join_ms": self.join.as_secs_f64() * 1000.0,
            "video": sent(self.video),
            "encodings": self.encodings.iter().flatten().map(encoding).collect::<Vec<_>>(),
            "audio": sent(self.audio),
            "keyframe_requests": self.keyframe_requests,
            "remote_video": self.video_reception.map(|reception| reception.to_json(90_000)),
            "remote_audio": self.audio_reception.map(|reception| reception.to_json(48_000)),
            "asked": self.asked.map(|asked| asked.to_string()),
            "parity_packets": self.parity,
            "availableOutgoingBitrate": self.available_outgoing_bitrate.map(Bitrate::as_bps),
            "pipeline": {
                "frame_width": self.pipeline.size.0,
                "frame_height": self.pipeline.size.1,
                "pictures": self.pipeline.preprocess.pictures,
                "denoised": self.pipeline.preprocess.denoised,
                "brightened": self.pipeline.preprocess.brightened,
                "skipped": self.pipeline.encoder.skipped,
                "coded_again": self.pipeline.encoder.coded_again,
                "quantizer_sum": self.pipeline.encoder.quantizer_sum,
                "encode_time_s": self.pipeline.encoder.encode_time.as_secs_f64(),
                "slowest_encode_ms": self.pipeline.encoder.slowest.as_secs_f64() * 1000.0,
                "effort_changes": self.pipeline.encoder.effort_changes,
                "recovered": self.pipeline.encoder.recovered,
            },
        })
    }
}

/// Of each encoding that runs.
pub(super) fn sent_encodings(video: &VideoSender) -> [Option<SentEncoding>; MAX_ENCODINGS] {
    let sent = |at: usize| {
        let encoding = video.encodings().get(at)?;
        let control = &encoding.control;
        Some(SentEncoding {
            rid: encoding.rid,
            sent: encoding.counters.read(),
            size: encoding.stats().size,
            target: control.bitrate(),
            limitation: QualityLimitation::of(control),
        })
    };
    std::array::from_fn(sent)
}
