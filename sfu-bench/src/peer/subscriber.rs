//! What a peer makes of what it gets: loss, order, latency, frames, freezes, and the reports that a browser would send.

use super::description::{OPUS, VIDEO};
use crate::measure::histogram::Histogram;
use crate::media::{Stamp, VideoCodec};
use sfu_rtc::codec::frame_facts;
use sfu_rtc::ids::{SeqNo, Ssrc};
use sfu_rtc::media::Codec;
use sfu_rtc::rtcp::{ReportBlock, write_pli, write_receiver_report};
use sfu_rtc::rtp::RtpView;
use sfu_rtc::time::{Duration, Instant};
use std::collections::HashMap;

/// Time between receiver reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Time between requests while a first keyframe is awaited, or a broken picture is to be mended.
const PLI_INTERVAL: Duration = Duration::from_millis(500);

/// Counts over all subscribers of a generator thread.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// RTP packets received.
    pub packets: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// Sequence numbers that never came.
    pub lost: u64,
    /// Of these, sound.
    pub audio_lost: u64,
    /// Packets of sound received.
    pub audio_packets: u64,
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
}

impl Measured {
    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.audio_lost += other.audio_lost;
        self.audio_packets += other.audio_packets;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.foreign += other.foreign;
        self.frames += other.frames;
        self.freezes += other.freezes;
        self.frozen += other.frozen;
        self.latency.merge(&other.latency);
        self.audio_latency.merge(&other.audio_latency);
        self.first_frame.merge(&other.first_frame);
    }
}

/// One peer's receiving side.
pub struct Subscriber {
    codec: Codec,
    streams: HashMap<Ssrc, Incoming>,
    joined: Instant,
    saw_frame: bool,
    next_report: Instant,
}

/// One stream that the server sends.
struct Incoming {
    is_audio: bool,
    base: SeqNo,
    highest: SeqNo,
    /// Bit n: `highest - n` was received.
    window: u128,
    received: u64,
    reported: (u64, u64),
    forgiven: u64,
    frame: FrameAssembly,
    last_frame: Option<Instant>,
    mean_gap: Duration,
    next_pli: Instant,
}

/// Follows whether the current frame came whole and whether it can be decoded.
#[derive(Default)]
struct FrameAssembly {
    decodable: bool,
    whole: bool,
    next: Option<SeqNo>,
}

impl Subscriber {
    /// A peer that began to join at `joined`.
    pub fn new(codec: VideoCodec, joined: Instant) -> Self {
        let codec = match codec {
            VideoCodec::Vp8 => Codec::Vp8,
            VideoCodec::H264 => Codec::H264,
        };
        Self { codec, streams: HashMap::new(), joined, saw_frame: false, next_report: joined + REPORT_INTERVAL }
    }

    /// Takes one packet; `clock` is the generator's time, on which stamps were made.
    pub fn handle_rtp(&mut self, now: Instant, clock: Duration, packet: &[u8], seq: SeqNo, out: &mut Measured) {
        let Ok(view) = RtpView::parse(packet) else { return };
        let payload_type = view.payload_type().0;
        if payload_type != OPUS && payload_type != VIDEO {
            return;
        }
        let is_audio = payload_type == OPUS;
        out.packets += 1;
        out.bytes += packet.len() as u64;
        let stream = self.streams.entry(view.ssrc()).or_insert_with(|| Incoming::new(is_audio, seq, now));
        if !stream.note(seq, out) {
            return;
        }
        let Some(stamp) = Stamp::find(view.payload()) else {
            out.foreign += 1;
            return;
        };
        let latency = clock.saturating_sub(stamp.sent);
        if is_audio {
            out.audio_packets += 1;
            out.audio_latency.record(latency);
            return;
        }
        out.latency.record(latency);
        if stream.frame_complete(self.codec, &view, seq) {
            stream.note_frame(now, out);
            if !std::mem::replace(&mut self.saw_frame, true) {
                out.first_frame.record(now - self.joined);
            }
        }
    }

    /// Appends the reports and requests that are due to `rtcp`.
    pub fn poll(&mut self, now: Instant, rtcp: &mut Vec<u8>) {
        let own = Ssrc(1);
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            let blocks: Vec<_> = self.streams.iter_mut().map(|(ssrc, stream)| stream.report(*ssrc)).collect();
            // A report holds at most 31 blocks (RFC 3550 section 6.4.1).
            for blocks in blocks.chunks(31) {
                write_receiver_report(rtcp, own, blocks);
            }
        }
        for (ssrc, stream) in &mut self.streams {
            if !stream.is_audio && !stream.frame.decodable && now >= stream.next_pli {
                stream.next_pli = now + PLI_INTERVAL;
                if rtcp.is_empty() {
                    write_receiver_report(rtcp, own, &[]);
                }
                write_pli(rtcp, own, *ssrc);
            }
        }
    }

    /// When [`Self::poll`] has something to do.
    pub fn poll_timeout(&self) -> Instant {
        let broken = |stream: &&Incoming| !stream.is_audio && !stream.frame.decodable;
        let pli = self.streams.values().filter(broken).map(|stream| stream.next_pli).min();
        self.next_report.min(pli.unwrap_or(Instant::NEVER))
    }

    /// What was lost so far does not count.
    pub fn forget_losses(&mut self) {
        for stream in self.streams.values_mut() {
            stream.forgiven = stream.expected().saturating_sub(stream.received);
        }
    }

    /// Counts what is still missing at the end.
    pub fn finish(&self, out: &mut Measured) {
        for stream in self.streams.values() {
            let lost = stream.expected().saturating_sub(stream.received + stream.forgiven);
            out.lost += lost;
            if stream.is_audio {
                out.audio_lost += lost;
            }
        }
    }
}

impl Incoming {
    fn new(is_audio: bool, seq: SeqNo, now: Instant) -> Self {
        Self {
            is_audio,
            base: seq,
            highest: seq,
            window: 0,
            received: 0,
            reported: (0, 0),
            forgiven: 0,
            frame: FrameAssembly::default(),
            last_frame: None,
            mean_gap: Duration::ZERO,
            next_pli: now + PLI_INTERVAL,
        }
    }

    /// Notes a sequence number; whether it is new.
    fn note(&mut self, seq: SeqNo, out: &mut Measured) -> bool {
        if self.received > 0 && seq <= self.highest {
            let behind = self.highest.0 - seq.0;
            if behind >= 128 || self.window & (1 << behind) != 0 {
                out.duplicates += 1;
                return false;
            }
            out.reordered += 1;
            self.window |= 1 << behind;
            self.base = self.base.min(seq);
        } else {
            let ahead = seq.0 - self.highest.0;
            self.window = if ahead >= 128 { 0 } else { self.window << ahead } | 1;
            self.highest = seq;
        }
        self.received += 1;
        true
    }

    fn expected(&self) -> u64 {
        self.highest.0 - self.base.0 + 1
    }

    /// Whether this packet ends a frame that came whole and can be decoded. A loss breaks the picture until the next
    /// keyframe; the repair of losses is the browser tests' and the simulation's affair.
    fn frame_complete(&mut self, codec: Codec, view: &RtpView<'_>, seq: SeqNo) -> bool {
        let Ok(facts) = frame_facts(codec, view.payload(), view.marker(), None) else { return false };
        let frame = &mut self.frame;
        let continuous = frame.next == Some(seq);
        frame.next = Some(seq.next());
        if facts.start_of_frame {
            frame.decodable = facts.keyframe || (frame.decodable && continuous);
            frame.whole = true;
        } else if !continuous {
            frame.whole = false;
            frame.decodable = false;
        }
        view.marker() && frame.whole && frame.decodable
    }

    /// Freeze as in webrtc-stats: a gap of at least max(3 d, d + 150 ms), d being the mean gap.
    fn note_frame(&mut self, now: Instant, out: &mut Measured) {
        out.frames += 1;
        if let Some(last) = self.last_frame.replace(now) {
            let gap = now - last;
            let mean = if self.mean_gap.is_zero() { gap } else { self.mean_gap };
            if gap >= (mean * 3).max(mean + Duration::from_millis(150)) {
                out.freezes += 1;
                out.frozen += gap;
            }
            self.mean_gap = (mean * 15 + gap) / 16;
        }
    }

    fn report(&mut self, ssrc: Ssrc) -> ReportBlock {
        let (expected, received) = (self.expected(), self.received);
        let expected_now = expected - self.reported.0;
        let lost_now = expected_now.saturating_sub(received - self.reported.1);
        self.reported = (expected, received);
        let fraction = (lost_now * 256).checked_div(expected_now).unwrap_or(0);
        ReportBlock {
            ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(expected.saturating_sub(received)).unwrap_or(i32::MAX),
            highest_seq: self.highest.0 as u32,
            jitter: 0,
            last_sr: 0,
            delay_since_last_sr: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::VideoSource;
    use sfu_rtc::ids::PayloadType;
    use sfu_rtc::rtp::{HeaderWriter, RtpHeader};

    /// Frames of VP8 as packets with their sequence numbers, from 65,530 on.
    fn packets(frames: usize) -> Vec<(SeqNo, Vec<u8>)> {
        let mut source = VideoSource::new(VideoCodec::Vp8, 1, 1_500_000, 30.0, (640, 360));
        let mut all = Vec::new();
        let mut seq = SeqNo(65_530);
        for _ in 0..frames {
            source.next_frame(Duration::from_millis(5), &mut Vec::new(), |info, payload| {
                let mut packet = Vec::new();
                let header = RtpHeader {
                    payload_type: PayloadType(VIDEO),
                    seq: seq.wire(),
                    timestamp: info.timestamp,
                    ssrc: Ssrc(9),
                    marker: info.marker,
                };
                HeaderWriter::new(&mut packet, header).finish();
                packet.extend(payload);
                all.push((seq, packet));
                seq = seq.next();
            });
        }
        all
    }

    fn measure(packets: impl IntoIterator<Item = (SeqNo, Vec<u8>)>) -> Measured {
        let mut subscriber = Subscriber::new(VideoCodec::Vp8, Instant::ZERO);
        let mut out = Measured::default();
        for (index, (seq, packet)) in packets.into_iter().enumerate() {
            let now = Instant::from_millis(index as u64);
            subscriber.handle_rtp(now, Duration::from_millis(7), &packet, seq, &mut out);
        }
        subscriber.finish(&mut out);
        out
    }

    #[test]
    fn whole_streams_are_whole() {
        let sent = packets(10);
        let measured = measure(sent.clone());
        assert_eq!((measured.packets, measured.lost, measured.frames), (sent.len() as u64, 0, 10));
        assert_eq!(measured.first_frame.count(), 1);
        assert_eq!(measured.latency.quantile(0.5), Some(Duration::from_millis(2)));
    }

    #[test]
    fn loss_duplicates_and_disorder_are_told_apart() {
        let mut sent = packets(4);
        let lost = sent.len() - 10;
        sent.remove(lost);
        sent.swap(3, 4);
        sent.push(sent[sent.len() - 1].clone());
        let measured = measure(sent);
        assert_eq!((measured.lost, measured.duplicates, measured.reordered), (1, 1, 1));
        assert!(measured.frames < 4, "a frame with a hole, and those that depend on it, cannot be shown");
    }

    #[test]
    fn a_broken_picture_is_asked_for_again() {
        let mut subscriber = Subscriber::new(VideoCodec::Vp8, Instant::ZERO);
        let mut out = Measured::default();
        let sent = packets(2);
        // The keyframe is missing.
        for (seq, packet) in sent.into_iter().skip(24) {
            subscriber.handle_rtp(Instant::ZERO, Duration::ZERO, &packet, seq, &mut out);
        }
        let mut rtcp = Vec::new();
        subscriber.poll(subscriber.poll_timeout(), &mut rtcp);
        let plis = sfu_rtc::rtcp::compound(&rtcp).filter(|p| matches!(p, Ok(sfu_rtc::rtcp::RtcpView::Pli(_)))).count();
        assert_eq!((plis, out.frames), (1, 0));
    }
}
