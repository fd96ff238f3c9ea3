//! What a peer makes of what it gets: loss, order, latency, frames, and the reports and feedback that a browser would
//! send.

use super::description::{OPUS, VIDEO};
use super::measured::Measured;
use super::stream::Stream;
use crate::media::{Stamp, VideoCodec};
use sfu_rtc::ids::{SeqNo, Ssrc};
use sfu_rtc::media::Codec;
use sfu_rtc::rtcp::{self, RtcpView, TwccFeedback, write_pli, write_receiver_report, write_twcc};
use sfu_rtc::rtp::RtpView;
use sfu_rtc::rtp::extension::transport_cc;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::twcc::{ArrivalConfig, ArrivalRecorder};

/// Time between receiver reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Time between requests while a first keyframe is awaited, or a broken picture is to be mended.
const PLI_INTERVAL: Duration = Duration::from_millis(500);
/// Arrivals that a peer remembers. Feedback is due at least every 100 ms; this is enough for 2,500 packets/s, and a
/// generator has thousands of peers.
const ARRIVALS: usize = 256;
/// Report blocks in one compound: what a report holds at most (RFC 3550 section 6.4.1).
const BLOCKS: usize = 31;
/// Our own source in reports.
const OWN: Ssrc = Ssrc(1);

/// One peer's receiving side.
pub struct Subscriber {
    codec: Codec,
    /// Id of the transport-wide sequence number, where it was negotiated.
    transport_cc: Option<u8>,
    arrivals: ArrivalRecorder,
    feedback_count: u8,
    /// A peer has few streams, so that a search through a dense list beats hashing.
    ssrcs: Vec<Ssrc>,
    streams: Vec<Stream>,
    joined: Instant,
    saw_frame: bool,
    next_report: Instant,
    /// When the first of the broken pictures is to be asked for.
    next_pli: Instant,
}

impl Subscriber {
    /// A peer that began to join at `joined`; `transport_cc` is the id of the transport-wide sequence number, where it
    /// was negotiated.
    pub fn new(codec: VideoCodec, transport_cc: Option<u8>, joined: Instant) -> Self {
        let codec = match codec {
            VideoCodec::Vp8 => Codec::Vp8,
            VideoCodec::H264 => Codec::H264,
        };
        Self {
            codec,
            transport_cc,
            arrivals: ArrivalRecorder::new(ArrivalConfig { window: ARRIVALS, ..ArrivalConfig::default() }),
            feedback_count: 0,
            ssrcs: Vec::new(),
            streams: Vec::new(),
            joined,
            saw_frame: false,
            next_report: joined + REPORT_INTERVAL,
            next_pli: Instant::NEVER,
        }
    }

    /// Takes one packet, at `now` on the clock on which stamps are made.
    pub fn handle_rtp(&mut self, now: Instant, packet: &[u8], seq: SeqNo, out: &mut Measured) {
        let Ok(view) = RtpView::parse(packet) else { return };
        if let Some(value) = self.transport_cc.and_then(|id| view.extension(id))
            && let Some(wire) = transport_cc::parse(value)
        {
            self.arrivals.on_packet(now, wire);
        }
        let payload_type = view.payload_type().0;
        if payload_type != OPUS && payload_type != VIDEO {
            return;
        }
        let stream = self.stream(view.ssrc(), payload_type == OPUS, seq, now);
        let stream = &mut self.streams[stream];
        if !stream.note(seq, out) {
            return;
        }
        let payload = view.payload();
        if payload.is_empty() {
            // Padding: a probe of the server.
            return;
        }
        out.packets += 1;
        out.bytes += packet.len() as u64;
        stream.note_jitter(now, view.timestamp());
        let Some(stamp) = Stamp::find(payload) else {
            out.foreign += 1;
            return;
        };
        out.skipped += stream.note_stamp(&stamp);
        let latency = (now - Instant::ZERO).saturating_sub(stamp.sent);
        if stream.is_audio {
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
        if stream.is_broken() {
            self.next_pli = self.next_pli.min(stream.next_pli);
        }
    }

    /// The stream's place; a new one gets a first keyframe request if none comes by itself.
    fn stream(&mut self, ssrc: Ssrc, is_audio: bool, seq: SeqNo, now: Instant) -> usize {
        self.ssrcs.iter().position(|known| *known == ssrc).unwrap_or_else(|| {
            self.ssrcs.push(ssrc);
            self.streams.push(Stream::new(is_audio, seq, now + PLI_INTERVAL));
            self.streams.len() - 1
        })
    }

    /// Heeds sender reports.
    pub fn handle_rtcp(&mut self, now: Instant, compound: &[u8]) {
        for packet in rtcp::compound(compound).flatten() {
            let RtcpView::SenderReport(report) = packet else { continue };
            if let Some(place) = self.ssrcs.iter().position(|known| *known == report.info.ssrc) {
                self.streams[place].sender_report = Some((report.info.ntp.middle(), now));
            }
        }
    }

    /// Hands the compounds that are due to `send`; `buf` is scratch.
    pub fn report(&mut self, now: Instant, buf: &mut Vec<u8>, send: &mut impl FnMut(&[u8])) {
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            let Self { ssrcs, streams, .. } = self;
            let blocks: Vec<_> = ssrcs.iter().zip(streams).map(|(ssrc, stream)| stream.report(now, *ssrc)).collect();
            for blocks in blocks.chunks(BLOCKS) {
                buf.clear();
                write_receiver_report(buf, OWN, blocks);
                send(buf);
            }
        }
        if now >= self.next_pli {
            self.ask_for_keyframes(now, buf);
            if !buf.is_empty() {
                send(buf);
            }
        }
        let Self { arrivals, feedback_count, ssrcs, .. } = self;
        arrivals.report(now, |base_seq, arrivals| {
            let media = ssrcs.first().copied().unwrap_or(OWN);
            let feedback = TwccFeedback { sender: OWN, media, base_seq, fb_count: *feedback_count, arrivals };
            *feedback_count = feedback_count.wrapping_add(1);
            buf.clear();
            let covered = write_twcc(buf, &feedback);
            if covered > 0 {
                send(buf);
            }
            covered
        });
    }

    fn ask_for_keyframes(&mut self, now: Instant, buf: &mut Vec<u8>) {
        buf.clear();
        self.next_pli = Instant::NEVER;
        for (ssrc, stream) in self.ssrcs.iter().zip(&mut self.streams).filter(|(_, stream)| stream.is_broken()) {
            if now >= stream.next_pli {
                stream.next_pli = now + PLI_INTERVAL;
                if buf.is_empty() {
                    // Servers that know no reduced-size RTCP want a report in front (RFC 3550 section 6.1).
                    write_receiver_report(buf, OWN, &[]);
                }
                write_pli(buf, OWN, *ssrc);
            }
            self.next_pli = self.next_pli.min(stream.next_pli);
        }
    }

    /// When [`Self::report`] has something to do.
    pub fn poll_timeout(&self) -> Instant {
        self.next_report.min(self.next_pli).min(self.arrivals.poll_timeout().unwrap_or(Instant::NEVER))
    }

    /// Counts what went missing since the last cut.
    pub fn cut(&mut self, out: &mut Measured) {
        self.streams.iter_mut().for_each(|stream| stream.cut(out));
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
        let mut subscriber = Subscriber::new(VideoCodec::Vp8, None, Instant::ZERO);
        let mut out = Measured::default();
        for (index, (seq, packet)) in packets.into_iter().enumerate() {
            let now = Instant::from_millis(7 + index as u64);
            subscriber.handle_rtp(now, &packet, seq, &mut out);
        }
        subscriber.cut(&mut out);
        out
    }

    #[test]
    fn whole_streams_are_whole() {
        let sent = packets(10);
        let measured = measure(sent.clone());
        assert_eq!((measured.packets, measured.lost, measured.frames), (sent.len() as u64, 0, 10));
        assert_eq!(measured.first_frame.count(), 1);
        let fastest = measured.latency.quantile(0.0).unwrap();
        assert!(fastest.as_micros().abs_diff(2_000) < 50, "{fastest:?}");
        assert_eq!(measured.skipped, 0);
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
        assert_eq!(measured.skipped, 1);
        assert!(measured.frames < 4, "a frame with a hole, and those that depend on it, cannot be shown");
    }

    #[test]
    fn a_broken_picture_is_asked_for_again() {
        let mut subscriber = Subscriber::new(VideoCodec::Vp8, None, Instant::ZERO);
        let mut out = Measured::default();
        let sent = packets(2);
        // The keyframe is missing.
        for (seq, packet) in sent.into_iter().skip(24) {
            subscriber.handle_rtp(Instant::ZERO, &packet, seq, &mut out);
        }
        let mut plis = 0;
        subscriber.report(subscriber.next_pli, &mut Vec::new(), &mut |compound| {
            plis += rtcp::compound(compound).filter(|packet| matches!(packet, Ok(RtcpView::Pli(_)))).count();
        });
        assert_eq!((plis, out.frames), (1, 0));
    }

    #[test]
    fn arrivals_are_fed_back_within_a_tenth_of_a_second() {
        let mut subscriber = Subscriber::new(VideoCodec::Vp8, Some(2), Instant::ZERO);
        let mut out = Measured::default();
        for n in 0..8u16 {
            let mut packet = Vec::new();
            let header =
                RtpHeader { payload_type: PayloadType(VIDEO), seq: n, timestamp: 0, ssrc: Ssrc(9), marker: false };
            let mut writer = HeaderWriter::new(&mut packet, header);
            writer.extension(2, &(500 + n).to_be_bytes());
            writer.finish();
            packet.extend([0x10; 50]);
            if n != 3 {
                subscriber.handle_rtp(Instant::from_millis(n.into()), &packet, SeqNo(n.into()), &mut out);
            }
        }
        let due = subscriber.poll_timeout();
        assert!(due <= Instant::from_millis(100), "{due:?}");
        let mut arrived = Vec::new();
        subscriber.report(due, &mut Vec::new(), &mut |compound| {
            for packet in rtcp::compound(compound).flatten() {
                let RtcpView::Twcc(feedback) = packet else { continue };
                arrived.extend(feedback.packets().filter_map(|(seq, delta)| delta.map(|_| seq)));
            }
        });
        assert_eq!(arrived, [500, 501, 502, 504, 505, 506, 507]);
        assert!(subscriber.poll_timeout() > due);
    }
}
