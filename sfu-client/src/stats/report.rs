//! Measurements as a table for people and as JSON for programs.

use super::frame_numbers::FrameNumbers;
use super::likeness::Likeness;
use crate::peer::MediaKind;
use crate::receive::{JitterCounters, PlayoutStats};
use serde_json::{Value, json};
use sfu_rtc::fec::DecoderStats;
use std::fmt::{self, Write};
use std::time::Duration;

/// One received stream.
#[derive(Clone, Debug)]
pub struct StreamReport {
    /// Section that carries it.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// Who sends it, where that is known.
    pub label: String,
    /// Why the server sends no more of it; empty where it does.
    pub limit: &'static str,
    /// Codec as in SDP; empty before the first packet.
    pub codec: &'static str,
    /// Size of the last picture.
    pub size: Option<(usize, usize)>,
    /// Pictures decoded per second.
    pub frame_rate: f64,
    /// Pictures received whole per second.
    pub received_frame_rate: f64,
    /// Payload per second.
    pub bitrate_kbps: f64,
    /// Payload, in bytes.
    pub bytes: u64,
    /// Pictures received whole.
    pub frames_received: u64,
    /// Pictures decoded.
    pub frames_decoded: u64,
    /// Pictures that the decoder refused.
    pub decode_errors: u64,
    /// Keyframes received.
    pub keyframes: u64,
    /// Packets.
    pub counters: JitterCounters,
    /// Parity, and what was recovered by it.
    pub fec: DecoderStats,
    /// Interarrival jitter.
    pub jitter_ms: f64,
    /// Glass to glass, half of the pictures.
    pub latency_p50_ms: Option<f64>,
    /// Glass to glass, 95 % of the pictures.
    pub latency_p95_ms: Option<f64>,
    /// Freezes.
    pub freezes: u64,
    /// How long they took in all (W3C webrtc-stats, totalFreezesDuration).
    pub frozen: Duration,
    /// Burned-in frame numbers.
    pub numbers: FrameNumbers,
    /// Loudness of the last sound.
    pub loudness_dbfs: Option<f64>,
    /// What its playout buffer has done; sound only.
    pub playout: Option<PlayoutStats>,
    /// How like its pictures are to those that were drawn, where they are compared.
    pub likeness: Option<Likeness>,
}

impl StreamReport {
    /// Share of packets that never came, 0 to 1.
    pub fn loss(&self) -> f64 {
        let all = self.counters.received + self.counters.lost;
        if all == 0 { 0.0 } else { self.counters.lost as f64 / all as f64 }
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "mid": self.mid,
            "kind": if self.kind == MediaKind::Audio { "audio" } else { "video" },
            "label": self.label,
            "limit": self.limit,
            "codec": self.codec,
            "width": self.size.map(|(width, _)| width),
            "height": self.size.map(|(_, height)| height),
            "fps": self.frame_rate,
            "received_fps": self.received_frame_rate,
            "bitrate_kbps": self.bitrate_kbps,
            "bytes_received": self.bytes,
            "frames_received": self.frames_received,
            "frames_decoded": self.frames_decoded,
            "decode_errors": self.decode_errors,
            "keyframes": self.keyframes,
            "packets_received": self.counters.received,
            "packets_lost": self.counters.lost,
            "packets_recovered": self.counters.recovered,
            "packets_discarded": self.counters.discarded,
            "fec_packets_received": self.fec.parity,
            "fec_bytes_received": self.fec.bytes,
            "fec_packets_discarded": self.fec.discarded,
            "fec_packets_refused": self.fec.refused,
            "packets_recovered_by_fec": self.fec.recovered,
            "nacks": self.counters.nacked,
            "plis": self.counters.keyframe_requests,
            "loss": self.loss(),
            "jitter_ms": self.jitter_ms,
            "latency_p50_ms": self.latency_p50_ms,
            "latency_p95_ms": self.latency_p95_ms,
            "freezes": self.freezes,
            "frozen_s": self.frozen.as_secs_f64(),
            "frame_numbers_read": self.numbers.read,
            "frame_numbers_missing": self.numbers.missing,
            "frame_number_gaps": self.numbers.gaps,
            "frame_numbers_repeated": self.numbers.repeated,
            "source_switches": self.numbers.switches,
            "last_frame_number": self.numbers.last(),
            "loudness_dbfs": self.loudness_dbfs,
            "playout": self.playout.as_ref().map(PlayoutStats::to_json),
            "likeness": self.likeness.as_ref().map(Likeness::to_json),
        })
    }
}

/// A stream that was assigned to us, and of which nothing has come yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Awaited {
    /// Section that is to carry it.
    pub mid: String,
    /// Who sends it, where that is known.
    pub label: String,
    /// Why the server sends none of it.
    pub limit: &'static str,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.label, self.limit)
    }
}

/// All received streams.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Time since the join.
    pub elapsed: Duration,
    /// From the start of the join to the first decoded picture (or sound, where there is no picture).
    pub join_to_first_frame: Option<Duration>,
    /// Round trip of the last ICE check.
    pub round_trip: Option<Duration>,
    /// Streams, by mid.
    pub streams: Vec<StreamReport>,
    /// Streams of which nothing has come, and the server says why.
    pub awaited: Vec<Awaited>,
}

impl Report {
    /// For programs; `event` says what the line is.
    pub fn to_json(&self, event: &str) -> Value {
        json!({
            "event": event,
            "elapsed_s": self.elapsed.as_secs_f64(),
            "join_to_first_frame_ms": self.join_to_first_frame.map(|time| time.as_secs_f64() * 1000.0),
            "round_trip_ms": self.round_trip.map(|time| time.as_secs_f64() * 1000.0),
            "streams": self.streams.iter().map(StreamReport::to_json).collect::<Vec<_>>(),
            "awaited": self.awaited.iter().map(|awaited| {
                json!({ "mid": awaited.mid, "from": awaited.label, "limit": awaited.limit })
            }).collect::<Vec<_>>(),
        })
    }
}

/// The streams as a table.
pub fn table(report: &Report) -> String {
    let mut out = format!(
        "{:<5}{:<18}{:<6}{:>10}{:>7}{:>9}{:>7}{:>8}{:>8}{:>8}{:>8}{:>7}{:>7}{:>7}{:>10}\n",
        "mid",
        "from",
        "codec",
        "size",
        "fps",
        "kbit/s",
        "loss%",
        "jitter",
        "g2g p50",
        "g2g p95",
        "freezes",
        "nacks",
        "fec",
        "gaps",
        "frames"
    );
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    for stream in &report.streams {
        let size = match (stream.size, stream.loudness_dbfs) {
            (Some((width, height)), _) => format!("{width}x{height}"),
            (None, Some(loudness)) => format!("{loudness:.0} dBFS"),
            (None, None) => "-".to_owned(),
        };
        let label: String = stream.label.chars().take(17).collect();
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{:<5}{label:<18}{:<6}{size:>10}{:>7.1}{:>9.1}{:>7.2}{:>8.1}{:>8}{:>8}{:>8}{:>7}{:>7}{:>7}{:>10}",
            stream.mid,
            stream.codec,
            if stream.frames_decoded > 0 { stream.frame_rate } else { stream.received_frame_rate },
            stream.bitrate_kbps,
            stream.loss() * 100.0,
            stream.jitter_ms,
            number(stream.latency_p50_ms),
            number(stream.latency_p95_ms),
            stream.freezes,
            stream.counters.nacked,
            stream.fec.recovered,
            stream.numbers.missing,
            stream.frames_decoded.max(stream.frames_received),
        );
    }
    for awaited in &report.awaited {
        let _ = writeln!(out, "{:<5}{awaited}", awaited.mid);
    }
    out
}
