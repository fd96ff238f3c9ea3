//! What a peer sends: sound every 20 ms, video frame by frame, sender reports, and keyframes and lost packets when
//! asked.

use super::description::{OPUS, RIDS, VIDEO};
use super::outgoing::{Outgoing, PacketFacts, TransportSeq};
use crate::endpoint::Endpoint;
use crate::media::{self, Stamp, VideoSource};
use sfu_rtc::ids::Ssrc;
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::rtcp::{self, RtcpView};
use sfu_rtc::time::{Duration, Instant, NtpTime};

/// Packet time of Opus.
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
/// Samples of 48 kHz per packet.
const AUDIO_SAMPLES: u32 = 960;
/// Audio level of somebody who speaks (RFC 6464): voice bit, -20 dBov.
const SPEAKING: u8 = 0x80 | 20;
/// Audio level of somebody who is silent: no voice, -127 dBov.
const SILENT: u8 = 127;
/// Time between sender reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// A generator that is later than this leaves frames out, as an encoder would, rather than send all of them at once.
const MAX_LATE: Duration = Duration::from_millis(500);

/// When a publisher speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// Its place in the order.
    pub index: usize,
    /// How many take turns.
    pub of: usize,
    /// How long each speaks.
    pub length: Duration,
}

impl Turn {
    fn level(turn: Option<Self>, now: Instant) -> u8 {
        let speaks = turn.is_none_or(|turn| {
            let turns = (now - Instant::ZERO).as_nanos() / turn.length.as_nanos().max(1);
            turns % turn.of.max(1) as u128 == turn.index as u128
        });
        if speaks { SPEAKING } else { SILENT }
    }
}

/// Sound and video of one peer.
pub struct Publisher {
    audio: Option<AudioOut>,
    video: Vec<(Outgoing, VideoSource)>,
    next_frame: Instant,
    interval: Duration,
    transport_seq: TransportSeq,
    next_report: Instant,
    scratch: Vec<u8>,
}

struct AudioOut {
    stream: Outgoing,
    source: u32,
    sequence: u32,
    timestamp: u32,
    size: usize,
    next: Instant,
    turn: Option<Turn>,
}

impl Publisher {
    /// A peer that sends nothing yet, its first frame being due at `first`; `transport_cc` is the id of the
    /// transport-wide sequence number, where it was negotiated.
    pub fn new(first: Instant, transport_cc: Option<u8>) -> Self {
        Self {
            audio: None,
            video: Vec::new(),
            next_frame: first,
            interval: Duration::MAX,
            transport_seq: TransportSeq::new(transport_cc),
            next_report: first + REPORT_INTERVAL,
            scratch: Vec::new(),
        }
    }

    /// Adds sound of `bitrate` bits per second in section `mid`; speech in `turn`, or always.
    pub fn add_audio(&mut self, ssrc: Ssrc, mid: usize, bitrate: u64, turn: Option<Turn>) {
        let per_packet = AUDIO_INTERVAL.as_secs_f64() * bitrate as f64 / 8.0;
        let stream = Outgoing::new(ssrc, OPUS, mid, None);
        let size = per_packet as usize;
        let next = self.next_frame;
        self.audio = Some(AudioOut { stream, source: ssrc.0, sequence: 0, timestamp: 0, size, next, turn });
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

    /// Keeps video for those who ask again.
    pub fn keep_history(&mut self) {
        self.video.iter_mut().for_each(|(stream, _)| stream.keep_history());
    }

    /// When media is due.
    pub fn poll_timeout(&self) -> Instant {
        if self.video.iter().any(|(stream, _)| stream.has_wanted()) {
            return Instant::ZERO;
        }
        self.next_media()
    }

    fn next_media(&self) -> Instant {
        let video = if self.video.is_empty() { Instant::NEVER } else { self.next_frame };
        self.audio.as_ref().map_or(Instant::NEVER, |audio| audio.next).min(video)
    }

    /// Sends what is due, stamped with `now`. Returns how many packets of media that were, and how late the earliest
    /// was.
    pub fn poll(&mut self, now: Instant, endpoint: &mut Endpoint, batch: &mut TransmitBatch) -> (u64, Duration) {
        let late = now - self.next_media().min(now);
        if late > MAX_LATE {
            self.skip_to(now);
        }
        let clock = now - Instant::ZERO;
        let Self { audio, video, transport_seq, scratch, .. } = self;
        let mut packets = 0;
        for (stream, _) in video.iter_mut().filter(|(stream, _)| stream.has_wanted()) {
            stream.resend(transport_seq, endpoint, batch);
        }
        if let Some(audio) = audio.as_mut().filter(|audio| audio.next <= now) {
            scratch.clear();
            let stamp = Stamp { source: audio.source, sequence: audio.sequence, sent: clock };
            media::opus_payload(stamp, audio.size, scratch);
            let facts = PacketFacts { timestamp: audio.timestamp, marker: false, level: Turn::level(audio.turn, now) };
            audio.stream.send(now, facts, scratch, transport_seq, endpoint, batch);
            audio.sequence = audio.sequence.wrapping_add(1);
            audio.timestamp = audio.timestamp.wrapping_add(AUDIO_SAMPLES);
            audio.next += AUDIO_INTERVAL;
            packets += 1;
        }
        if !video.is_empty() && self.next_frame <= now {
            for (stream, source) in video {
                source.next_frame(clock, scratch, |info, payload| {
                    let facts = PacketFacts { timestamp: info.timestamp, marker: info.marker, level: 0 };
                    stream.send(now, facts, payload, transport_seq, endpoint, batch);
                    packets += 1;
                });
            }
            self.next_frame += self.interval;
        }
        (packets, late)
    }

    /// Leaves out what was due before `now`; the media clocks go on as if it had been sent.
    pub fn skip_to(&mut self, now: Instant) {
        let whole = |from: Instant, interval: Duration| ((now - from).as_nanos() / interval.as_nanos()) as u32;
        if let Some(audio) = &mut self.audio {
            let packets = whole(audio.next, AUDIO_INTERVAL);
            audio.next += AUDIO_INTERVAL * packets;
            audio.timestamp = audio.timestamp.wrapping_add(packets.wrapping_mul(AUDIO_SAMPLES));
        }
        if !self.video.is_empty() {
            let frames = whole(self.next_frame, self.interval);
            self.next_frame += self.interval * frames;
            self.video.iter_mut().for_each(|(_, source)| source.skip(frames));
        }
    }

    /// Hands the reports that are due to `send`; `buf` is scratch.
    pub fn report(&mut self, now: Instant, ntp: NtpTime, buf: &mut Vec<u8>, send: &mut impl FnMut(&[u8])) {
        if now < self.next_report {
            return;
        }
        self.next_report = now + REPORT_INTERVAL;
        buf.clear();
        let audio = self.audio.as_ref().map(|audio| &audio.stream);
        audio.into_iter().chain(self.video.iter().map(|(stream, _)| stream)).for_each(|s| s.report(now, ntp, buf));
        if !buf.is_empty() {
            send(buf);
        }
    }

    /// Heeds requests; how many of them were for keyframes.
    pub fn handle_rtcp(&mut self, compound: &[u8]) -> u64 {
        let mut keyframes = 0;
        for packet in rtcp::compound(compound).flatten() {
            match packet {
                RtcpView::Pli(pli) => keyframes += self.heed(pli.media),
                RtcpView::Fir(fir) => keyframes += fir.entries().map(|(ssrc, _)| self.heed(ssrc)).sum::<u64>(),
                RtcpView::Nack(nack) => {
                    let stream = self.video.iter_mut().find(|(stream, _)| stream.ssrc == nack.media);
                    stream.into_iter().for_each(|(stream, _)| stream.want(nack.seqs()));
                }
                _ => {}
            }
        }
        keyframes
    }

    fn heed(&mut self, wanted: Ssrc) -> u64 {
        let Some((_, source)) = self.video.iter_mut().find(|(stream, _)| stream.ssrc == wanted) else { return 0 };
        source.request_keyframe();
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::VideoCodec;

    #[test]
    fn what_is_left_out_passes_on_the_media_clocks() {
        let mut publisher = Publisher::new(Instant::from_millis(5), None);
        publisher.add_audio(Ssrc(1), 0, 32_000, None);
        publisher.add_video(1, vec![(Ssrc(2), VideoSource::new(VideoCodec::Vp8, 2, 500_000, 25.0, (64, 64)))]);
        publisher.skip_to(Instant::from_millis(1_015));
        let audio = publisher.audio.as_ref().unwrap();
        assert_eq!((audio.next, audio.timestamp), (Instant::from_millis(1_005), 50 * AUDIO_SAMPLES));
        assert_eq!(publisher.next_frame, Instant::from_millis(1_005));
        let mut timestamps = Vec::new();
        publisher.video[0].1.next_frame(Duration::ZERO, &mut Vec::new(), |info, _| timestamps.push(info.timestamp));
        assert_eq!(timestamps[0], 25 * 3_600);
    }

    #[test]
    fn speakers_take_turns() {
        let length = Duration::from_secs(2);
        let speaker = |seconds: u64| {
            let speaks = |index: &usize| {
                let turn = Turn { index: *index, of: 3, length };
                Turn::level(Some(turn), Instant::from_millis(seconds * 1_000)) == SPEAKING
            };
            (0..3).filter(speaks).collect::<Vec<_>>()
        };
        assert_eq!([speaker(0), speaker(1), speaker(2), speaker(5), speaker(6)], [[0], [0], [1], [2], [0]]);
        assert_eq!(Turn::level(None, Instant::ZERO), SPEAKING);
    }
}
