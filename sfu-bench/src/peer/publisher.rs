//! What a peer sends: sound every 20 ms, video frame by frame, sender reports, and keyframes and lost packets when
//! asked.

use super::description::{OPUS, RIDS, VIDEO};
use super::outgoing::{Outgoing, PacketFacts, TransportSeq};
use super::parity::ParityOut;
use crate::endpoint::Endpoint;
use crate::media::{self, PacketInfo, Stamp, VideoSource};
use sfu_rtc::fec::{PROTECTION_GROUPS, Protection};
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

/// When video is sent: the first part of each period.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pulse {
    /// How long it is sent.
    pub on: Duration,
    /// From one beginning to the next.
    pub of: Duration,
}

impl Pulse {
    /// How long after `at` video is sent next; nothing where it is then.
    fn wait(self, at: Instant) -> Duration {
        let phase = (at - Instant::ZERO).as_nanos() % self.of.as_nanos().max(1);
        let phase = Duration::from_nanos(phase as u64);
        if phase < self.on { Duration::ZERO } else { self.of - phase }
    }
}

/// Sound and video of one peer.
pub struct Publisher {
    audio: Option<AudioOut>,
    video: Vec<VideoOut>,
    next_frame: Instant,
    interval: Duration,
    /// Share of it over which the packets of a frame are spread.
    spread: f64,
    pulse: Option<Pulse>,
    transport_seq: TransportSeq,
    next_report: Instant,
    sent: SentVideo,
    scratch: Vec<u8>,
}

/// Bytes of video that a peer sent for the first time, headers apart.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SentVideo {
    /// All.
    pub bytes: u64,
    /// Of keyframes.
    pub keyframes: u64,
}

struct VideoOut {
    stream: Outgoing,
    source: VideoSource,
    /// When the next packet of the frame under way is due.
    next: Instant,
    /// Time from packet to packet of it.
    gap: Duration,
}

impl VideoOut {
    /// A frame begins at `at`, whose packets are spread over `time`.
    fn begin_frame(&mut self, at: Instant, time: Duration) {
        self.gap = time.div_f64(self.source.begin_frame() as f64);
        self.next = at;
    }

    /// Writes the next packet of the frame under way into `payload`, if it is due by `until`.
    fn next_packet(&mut self, until: Instant, clock: Duration, payload: &mut Vec<u8>) -> Option<PacketInfo> {
        if self.next > until {
            return None;
        }
        let info = self.source.next_packet(clock, payload);
        let more = info.is_some_and(|info| !info.marker);
        self.next = if more { self.next + self.gap } else { Instant::NEVER };
        info
    }
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
    /// A peer that sends nothing yet, its first frame being due at `first`. The packets of a frame are spread over the
    /// share `spread` of the time to the next, as a slow uplink does; at 0 they leave in a burst. `transport_cc` is the
    /// id of the transport-wide sequence number, where it was negotiated.
    pub fn new(first: Instant, spread: f64, transport_cc: Option<u8>) -> Self {
        Self {
            audio: None,
            video: Vec::new(),
            next_frame: first,
            interval: Duration::MAX,
            spread,
            pulse: None,
            transport_seq: TransportSeq::new(transport_cc),
            next_report: first + REPORT_INTERVAL,
            sent: SentVideo::default(),
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

    /// Adds the layers of video in section `mid`, lowest first; sent in `pulse`, or always.
    pub fn add_video(&mut self, mid: usize, layers: Vec<(Ssrc, VideoSource)>, pulse: Option<Pulse>) {
        self.pulse = pulse;
        let simulcast = layers.len() > 1;
        for (index, (ssrc, source)) in layers.into_iter().enumerate() {
            let rid = if simulcast { RIDS.get(index).copied() } else { None };
            self.interval = source.interval();
            let stream = Outgoing::new(ssrc, VIDEO, mid, rid);
            self.video.push(VideoOut { stream, source, next: Instant::NEVER, gap: Duration::ZERO });
        }
    }

    /// The encoder of a layer of video, lowest first, makes up this bitrate from its next frame on.
    pub fn set_bitrate(&mut self, layer: usize, bitrate: u64) {
        if let Some(video) = self.video.get_mut(layer) {
            video.source.set_bitrate(bitrate);
        }
    }

    /// Keeps video for those who ask again.
    pub fn keep_history(&mut self) {
        self.video.iter_mut().for_each(|video| video.stream.keep_history());
    }

    /// Sends parity beside the video, which has one layer, as far as [`Self::protect`] says.
    pub fn send_parity(&mut self) {
        let id = self.transport_seq.id();
        self.video.iter_mut().for_each(|video| video.stream.parity = Some(ParityOut::new(video.stream.ssrc, id)));
    }

    /// Protects what it sends by class of frame, where it can.
    pub fn protect(&mut self, classes: &[Protection; PROTECTION_GROUPS]) {
        let parity = self.video.iter_mut().filter_map(|video| video.stream.parity.as_mut());
        parity.for_each(|parity| parity.protect(classes));
    }

    /// When media is due.
    pub fn poll_timeout(&self) -> Instant {
        if self.video.iter().any(|video| video.stream.has_wanted()) {
            return Instant::ZERO;
        }
        self.next_media()
    }

    fn next_media(&self) -> Instant {
        let frame = if self.video.is_empty() { Instant::NEVER } else { self.next_frame };
        let video = self.video.iter().fold(frame, |first, video| first.min(video.next));
        self.audio.as_ref().map_or(Instant::NEVER, |audio| audio.next).min(video)
    }

    /// Sends what is due, stamped with `now`. Returns how many packets of media that were, and how late the earliest
    /// was.
    pub fn poll(&mut self, now: Instant, endpoint: &mut Endpoint, batch: &mut TransmitBatch) -> (u64, Duration) {
        let late = now - self.next_media().min(now);
        if late > MAX_LATE {
            self.skip_to(now);
        }
        self.skip_between_pulses();
        let clock = now - Instant::ZERO;
        let begins = !self.video.is_empty() && self.next_frame <= now;
        let Self { audio, video, next_frame, interval, spread, transport_seq, sent, scratch, .. } = self;
        let mut packets = 0;
        for video in video.iter_mut().filter(|video| video.stream.has_wanted()) {
            video.stream.resend(transport_seq, endpoint, batch);
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
        let mut send = |video: &mut VideoOut, until: Instant| {
            while let Some(info) = video.next_packet(until, clock, scratch) {
                let facts = PacketFacts { timestamp: info.timestamp, marker: info.marker, level: 0 };
                video.stream.send(now, facts, scratch, transport_seq, endpoint, batch);
                sent.bytes += scratch.len() as u64;
                sent.keyframes += if info.keyframe { scratch.len() as u64 } else { 0 };
                packets += 1;
            }
        };
        for video in video {
            if begins {
                // The rest of the frame before leaves first.
                send(video, Instant::NEVER);
                video.begin_frame(*next_frame, interval.mul_f64(*spread));
            }
            send(video, now);
        }
        if begins {
            *next_frame += *interval;
        }
        (packets, late)
    }

    /// What it sent so far.
    pub fn sent_video(&self) -> SentVideo {
        self.sent
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
            self.skip_frames(whole(self.next_frame, self.interval));
            // What is left of the frame under way leaves now.
            self.video.iter_mut().for_each(|video| video.next = video.next.max(now));
        }
    }

    /// Leaves out the frames up to the next pulse.
    fn skip_between_pulses(&mut self) {
        let wait = self.pulse.map_or(Duration::ZERO, |pulse| pulse.wait(self.next_frame));
        if !wait.is_zero() {
            self.skip_frames(wait.as_nanos().div_ceil(self.interval.as_nanos()) as u32);
        }
    }

    fn skip_frames(&mut self, frames: u32) {
        self.next_frame += self.interval * frames;
        self.video.iter_mut().for_each(|video| video.source.skip(frames));
    }

    /// Hands the reports that are due to `send`; `buf` is scratch.
    pub fn report(&mut self, now: Instant, ntp: NtpTime, buf: &mut Vec<u8>, send: &mut impl FnMut(&[u8])) {
        if now < self.next_report {
            return;
        }
        self.next_report = now + REPORT_INTERVAL;
        buf.clear();
        let audio = self.audio.as_ref().map(|audio| &audio.stream);
        audio.into_iter().chain(self.video.iter().map(|video| &video.stream)).for_each(|s| s.report(now, ntp, buf));
        if !buf.is_empty() {
            send(buf);
        }
    }

    /// Handles requests; returns how many of them were for keyframes.
    pub fn handle_rtcp(&mut self, compound: &[u8]) -> u64 {
        let mut keyframes = 0;
        for packet in rtcp::compound(compound).flatten() {
            match packet {
                RtcpView::Pli(pli) => keyframes += self.request_keyframe(pli.media),
                RtcpView::Fir(fir) => {
                    keyframes += fir.entries().map(|(ssrc, _)| self.request_keyframe(ssrc)).sum::<u64>()
                }
                RtcpView::Nack(nack) => {
                    let video = self.video.iter_mut().find(|video| video.stream.ssrc == nack.media);
                    video.into_iter().for_each(|video| video.stream.want(nack.seqs()));
                }
                _ => {}
            }
        }
        keyframes
    }

    fn request_keyframe(&mut self, wanted: Ssrc) -> u64 {
        let Some(video) = self.video.iter_mut().find(|video| video.stream.ssrc == wanted) else { return 0 };
        video.source.request_keyframe();
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::VideoCodec;

    #[test]
    fn what_is_left_out_passes_on_the_media_clocks() {
        let mut publisher = Publisher::new(Instant::from_millis(5), 0.0, None);
        publisher.add_audio(Ssrc(1), 0, 32_000, None);
        publisher.add_video(1, vec![(Ssrc(2), VideoSource::new(VideoCodec::Vp8, 2, 500_000, 25.0, (64, 64)))], None);
        publisher.skip_to(Instant::from_millis(1_015));
        let audio = publisher.audio.as_ref().unwrap();
        assert_eq!((audio.next, audio.timestamp), (Instant::from_millis(1_005), 50 * AUDIO_SAMPLES));
        assert_eq!(publisher.next_frame, Instant::from_millis(1_005));
        let source = &mut publisher.video[0].source;
        source.begin_frame();
        let first = source.next_packet(Duration::ZERO, &mut Vec::new()).unwrap();
        assert_eq!(first.timestamp, 25 * 3_600);
    }

    #[test]
    fn packets_of_a_frame_are_spread_or_leave_in_a_burst() {
        let begin = Instant::from_millis(100);
        let due = |spread: f64| {
            let source = VideoSource::new(VideoCodec::Vp8, 2, 2_000_000, 25.0, (64, 64));
            let mut publisher = Publisher::new(begin, spread, None);
            publisher.add_video(0, vec![(Ssrc(2), source)], None);
            let (interval, video) = (publisher.interval, &mut publisher.video[0]);
            video.begin_frame(begin, interval.mul_f64(spread));
            let next =
                || Some(video.next).filter(|due| video.next_packet(*due, Duration::ZERO, &mut Vec::new()).is_some());
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        let (burst, spread) = (due(0.0), due(0.5));
        assert!(burst.len() > 4 && burst.iter().all(|due| *due == begin), "{burst:?}");
        assert_eq!((spread.len(), spread[0]), (burst.len(), begin));
        assert!(spread.is_sorted_by(|one, next| one < next), "{spread:?}");
        let length = *spread.last().unwrap() - begin;
        assert!((10..20).contains(&length.as_millis()), "{spread:?}");
    }

    #[test]
    fn between_pulses_no_frame_is_due_and_the_media_clock_goes_on() {
        let pulse = Pulse { on: Duration::from_secs(1), of: Duration::from_secs(4) };
        let waits = [0, 999, 1_000, 3_999, 4_000, 5_500].map(|at| pulse.wait(Instant::from_millis(at)).as_millis());
        assert_eq!(waits, [0, 0, 3_000, 1, 0, 2_500]);
        let mut publisher = Publisher::new(Instant::from_millis(1_010), 0.0, None);
        let source = VideoSource::new(VideoCodec::Vp8, 2, 500_000, 25.0, (64, 64));
        publisher.add_video(1, vec![(Ssrc(2), source)], Some(pulse));
        publisher.skip_between_pulses();
        assert_eq!(publisher.next_frame, Instant::from_millis(4_010));
        let source = &mut publisher.video[0].source;
        source.begin_frame();
        assert_eq!(source.next_packet(Duration::ZERO, &mut Vec::new()).unwrap().timestamp, 75 * 3_600);
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
