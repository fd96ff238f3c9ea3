//! What a peer sends: sound every 20 ms, video frame by frame, reports, and packets again when asked.

use super::description::{EXTENSIONS, OPUS, RIDS, VIDEO};
use crate::endpoint::Endpoint;
use crate::media::{self, Stamp, VideoSource};
use sfu_rtc::ids::{PayloadType, SeqNo, Ssrc};
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::rtcp::RtcpView;
use sfu_rtc::rtp::RtpHeader;
use sfu_rtc::rtp::extension::ExtensionKind;
use sfu_rtc::time::{Duration, Instant};

/// Packet time of Opus.
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
/// Samples of 48 kHz per packet.
const AUDIO_SAMPLES: u32 = 960;
/// Audio level of somebody who speaks (RFC 6464): voice bit, -20 dBov.
const SPEAKING: u8 = 0x80 | 20;

/// Id of an extension that we offer.
fn extension_id(kind: ExtensionKind) -> u8 {
    EXTENSIONS.iter().find(|(offered, _)| *offered == kind).map_or(0, |(_, id)| *id)
}

/// One RTP stream on its way out.
struct Outgoing {
    ssrc: Ssrc,
    payload_type: PayloadType,
    mid: String,
    rid: Option<&'static str>,
    next_seq: SeqNo,
    packets: u64,
}

impl Outgoing {
    fn new(ssrc: Ssrc, payload_type: u8, mid: usize, rid: Option<&'static str>) -> Self {
        let payload_type = PayloadType(payload_type);
        Self { ssrc, payload_type, mid: mid.to_string(), rid, next_seq: SeqNo(1_000), packets: 0 }
    }

    fn send(&mut self, endpoint: &mut Endpoint, at: Timing, payload: &[u8], batch: &mut TransmitBatch) {
        let seq = self.next_seq;
        self.next_seq = seq.next();
        self.packets += 1;
        let header = RtpHeader {
            payload_type: self.payload_type,
            seq: seq.wire(),
            timestamp: at.timestamp,
            ssrc: self.ssrc,
            marker: at.marker,
        };
        let mid = (extension_id(ExtensionKind::Mid), self.mid.as_bytes());
        let rid = self.rid.map(|rid| (extension_id(ExtensionKind::Rid), rid.as_bytes()));
        let level = (extension_id(ExtensionKind::AudioLevel), &[at.level][..]);
        let is_audio = self.payload_type.0 == OPUS;
        match (rid, is_audio) {
            (Some(rid), _) => endpoint.send_rtp(header, seq, &[mid, rid], payload, batch),
            (None, true) => endpoint.send_rtp(header, seq, &[mid, level], payload, batch),
            (None, false) => endpoint.send_rtp(header, seq, &[mid], payload, batch),
        }
    }
}

#[derive(Clone, Copy)]
struct Timing {
    timestamp: u32,
    marker: bool,
    level: u8,
}

/// Sound and video of one peer.
pub struct Publisher {
    audio: Option<AudioOut>,
    video: Vec<(Outgoing, VideoSource)>,
    next_frame: Instant,
    interval: Duration,
    scratch: Vec<u8>,
}

struct AudioOut {
    stream: Outgoing,
    source: u32,
    sequence: u32,
    size: usize,
    next: Instant,
}

impl Publisher {
    /// A peer that sends nothing yet, its first frame being due at `first`.
    pub fn new(first: Instant) -> Self {
        Self { audio: None, video: Vec::new(), next_frame: first, interval: Duration::MAX, scratch: Vec::new() }
    }

    /// Adds sound of `bitrate` bits per second in section `mid`.
    pub fn add_audio(&mut self, ssrc: Ssrc, mid: usize, source: u32, bitrate: u64) {
        let per_packet = AUDIO_INTERVAL.as_secs_f64() * bitrate as f64 / 8.0;
        let stream = Outgoing::new(ssrc, OPUS, mid, None);
        self.audio = Some(AudioOut { stream, source, sequence: 0, size: per_packet as usize, next: self.next_frame });
    }

    /// Adds the layers of video in section `mid`, lowest first.
    pub fn add_video(&mut self, mid: usize, layers: Vec<(Ssrc, VideoSource)>) {
        let simulcast = layers.len() > 1;
        for (index, (ssrc, source)) in layers.into_iter().enumerate() {
            let rid = if simulcast { RIDS.get(index).copied() } else { None };
            self.interval = source.interval();
            self.video.push((Outgoing::new(ssrc, VIDEO, mid, rid), source));
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Instant {
        let video = if self.video.is_empty() { Instant::NEVER } else { self.next_frame };
        self.audio.as_ref().map_or(Instant::NEVER, |audio| audio.next).min(video)
    }

    /// Sends what is due; `clock` is the time that goes into stamps. Returns how late the earliest of it was.
    pub fn poll(
        &mut self,
        now: Instant,
        clock: Duration,
        endpoint: &mut Endpoint,
        batch: &mut TransmitBatch,
    ) -> Duration {
        let late = now - self.poll_timeout().min(now);
        if let Some(audio) = self.audio.as_mut().filter(|audio| audio.next <= now) {
            self.scratch.clear();
            let stamp = Stamp { source: audio.source, sequence: audio.sequence, sent: clock };
            media::opus_payload(stamp, audio.size, &mut self.scratch);
            let timestamp = audio.sequence.wrapping_mul(AUDIO_SAMPLES);
            audio.sequence = audio.sequence.wrapping_add(1);
            audio.stream.send(endpoint, Timing { timestamp, marker: false, level: SPEAKING }, &self.scratch, batch);
            audio.next += AUDIO_INTERVAL;
        }
        if !self.video.is_empty() && self.next_frame <= now {
            for (stream, source) in &mut self.video {
                source.next_frame(clock, &mut self.scratch, |info, payload| {
                    let timing = Timing { timestamp: info.timestamp, marker: info.marker, level: 0 };
                    stream.send(endpoint, timing, payload, batch);
                });
            }
            self.next_frame += self.interval;
        }
        late
    }

    /// Heeds requests for keyframes; how many there were.
    pub fn handle_rtcp(&mut self, packet: &RtcpView<'_>) -> u64 {
        let mut heed = |wanted: Ssrc| {
            let source = self.video.iter_mut().find(|(stream, _)| stream.ssrc == wanted);
            source.map_or(0, |(_, source)| {
                source.request_keyframe();
                1
            })
        };
        match packet {
            RtcpView::Pli(pli) => heed(pli.media),
            RtcpView::Fir(fir) => fir.entries().map(|(ssrc, _)| heed(ssrc)).sum(),
            _ => 0,
        }
    }

    /// Packets sent.
    pub fn packets(&self) -> u64 {
        let audio = self.audio.as_ref().map_or(0, |audio| audio.stream.packets);
        audio + self.video.iter().map(|(stream, _)| stream.packets).sum::<u64>()
    }
}
