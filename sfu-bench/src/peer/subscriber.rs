//! What a peer makes of what it gets: loss, order, latency, frames, and the reports, requests and feedback that a
//! browser would send.

use super::description::{OPUS, VIDEO, VIDEO_RTX};
use super::measured::Measured;
use super::stream::Stream;
use crate::media::{Stamp, VideoCodec};
use sfu_rtc::ids::{SeqNo, Ssrc};
use sfu_rtc::media::Codec;
use sfu_rtc::nack::NackGenerator;
use sfu_rtc::rtcp::{
    self, MAX_REPORT_BLOCKS, RtcpView, TwccFeedback, write_nack, write_pli, write_receiver_report, write_twcc,
};
use sfu_rtc::rtp::RtpView;
use sfu_rtc::rtp::extension::parse_transport_cc;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::twcc::{ArrivalConfig, ArrivalRecorder};

/// Time between receiver reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Arrivals that a peer remembers. Feedback is due at least every 100 ms; this is enough for 2,500 packets/s, and a
/// generator has thousands of peers.
const ARRIVALS: usize = 256;
/// Round trip after which a missing packet is asked for again; libwebrtc takes as much until it knows better.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// A compound that is as long as this takes no more requests for packets, so that it stays below the MTU.
const MAX_COMPOUND: usize = 800;
/// A peer that joined less than this ago may not have got anything yet.
const FIRST_MEDIA: Duration = Duration::from_secs(3);
/// After so much silence a second counts as silent.
const SECOND: Duration = Duration::from_secs(1);
/// Our own source in reports.
const OWN: Ssrc = Ssrc(1);

/// What a peer knows of what it will get.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Codec of all video.
    pub codec: VideoCodec,
    /// Id of the transport-wide sequence number, where it was negotiated.
    pub transport_cc: Option<u8>,
    /// Sources of retransmissions, each with the source that it repairs.
    pub repairs: Vec<(Ssrc, Ssrc)>,
    /// Time between requests for keyframes that nothing calls for; zero for none.
    pub keyframe_interval: Duration,
    /// Whether it will get anything at all.
    pub media: bool,
}

/// One peer's receiving side.
pub struct Subscriber {
    codec: Codec,
    expected: Expected,
    arrivals: ArrivalRecorder,
    feedback_count: u8,
    /// A peer has few streams, so that a search through a dense list beats hashing.
    ssrcs: Vec<Ssrc>,
    streams: Vec<Stream>,
    joined: Instant,
    saw_frame: bool,
    /// When media came last; a newcomer is granted its time.
    heard: Instant,
    next_report: Instant,
    /// When the first keyframe or missing packet is to be asked for.
    next_request: Instant,
    next_wanted_keyframe: Instant,
}

impl Subscriber {
    /// A peer that began to join at `joined`.
    pub fn new(expected: Expected, joined: Instant) -> Self {
        let codec = match expected.codec {
            VideoCodec::Vp8 => Codec::Vp8,
            VideoCodec::H264 => Codec::H264,
        };
        let every = expected.keyframe_interval;
        Self {
            codec,
            expected,
            arrivals: ArrivalRecorder::new(ArrivalConfig { window: ARRIVALS, ..ArrivalConfig::default() }),
            feedback_count: 0,
            ssrcs: Vec::new(),
            streams: Vec::new(),
            joined,
            saw_frame: false,
            heard: joined + (FIRST_MEDIA - SECOND),
            next_report: joined + REPORT_INTERVAL,
            next_request: Instant::NEVER,
            next_wanted_keyframe: if every.is_zero() { Instant::NEVER } else { joined + every },
        }
    }

    /// Takes one packet, at `now` on the clock on which stamps are made.
    pub fn handle_rtp(&mut self, now: Instant, packet: &[u8], seq: SeqNo, out: &mut Measured) {
        let Ok(view) = RtpView::parse(packet) else { return };
        if let Some(value) = self.expected.transport_cc.and_then(|id| view.extension(id))
            && let Some(wire) = parse_transport_cc(value)
        {
            self.arrivals.on_packet(now, wire);
        }
        let payload = view.payload();
        match view.payload_type().0 {
            OPUS => self.handle_media(now, &view, payload, (view.ssrc(), seq), out),
            VIDEO => self.handle_media(now, &view, payload, (view.ssrc(), seq), out),
            VIDEO_RTX => self.handle_repair(now, &view, out),
            _ => {}
        }
    }

    /// A retransmission: the packet that it repairs, behind that packet's sequence number (RFC 4588 section 4).
    fn handle_repair(&mut self, now: Instant, view: &RtpView<'_>, out: &mut Measured) {
        let Some((wire, payload)) = view.payload().split_first_chunk() else { return };
        let Some((_, media)) = self.expected.repairs.iter().find(|(rtx, _)| *rtx == view.ssrc()) else { return };
        let Some(place) = self.ssrcs.iter().position(|known| known == media) else { return };
        let seq = self.streams[place].extend(u16::from_be_bytes(*wire));
        let (received, reordered, duplicates) = (out.packets, out.reordered, out.duplicates);
        self.handle_media(now, view, payload, (*media, seq), out);
        out.repaired += out.packets - received;
        // What was not lost and comes once more is a probe of the server, as padding is.
        (out.reordered, out.duplicates) = (reordered, duplicates);
    }

    fn handle_media(
        &mut self,
        now: Instant,
        view: &RtpView<'_>,
        payload: &[u8],
        (ssrc, seq): (Ssrc, SeqNo),
        out: &mut Measured,
    ) {
        let place = self.stream(ssrc, view.payload_type().0 == OPUS, seq, now);
        let stream = &mut self.streams[place];
        if !stream.record(now, seq, out) {
            return;
        }
        if let Some(due) = stream.nack.as_ref().and_then(NackGenerator::poll_timeout) {
            self.next_request = self.next_request.min(due);
        }
        if payload.is_empty() {
            // Padding: a probe of the server.
            return;
        }
        self.heard = self.heard.max(now);
        out.packets += 1;
        out.bytes += (view.header_len() + payload.len()) as u64;
        if view.payload_type().0 != VIDEO_RTX {
            stream.record_jitter(now, view.timestamp());
        }
        let Some(stamp) = Stamp::find(payload) else {
            out.foreign += 1;
            return;
        };
        out.skipped += stream.record_stamp(now, &stamp);
        let latency = (now - Instant::ZERO).saturating_sub(stamp.sent);
        if stream.is_audio {
            out.audio_packets += 1;
            out.audio_latency.record(latency);
            return;
        }
        out.latency.record(latency);
        if stream.record_part(now, self.codec, view, payload, seq, out) > 0
            && !std::mem::replace(&mut self.saw_frame, true)
        {
            out.first_frame.record(now - self.joined);
        }
        if stream.is_broken() {
            self.next_request = self.next_request.min(stream.next_pli);
        }
    }

    /// The stream's place; a new one gets a first keyframe request if none comes by itself.
    fn stream(&mut self, ssrc: Ssrc, is_audio: bool, seq: SeqNo, now: Instant) -> usize {
        self.ssrcs.iter().position(|known| *known == ssrc).unwrap_or_else(|| {
            let repairs = self.expected.repairs.iter().any(|(_, media)| *media == ssrc);
            self.ssrcs.push(ssrc);
            self.streams.push(Stream::new(is_audio, seq, now, repairs));
            self.streams.len() - 1
        })
    }

    /// Takes in sender reports, for the next receiver reports.
    pub fn handle_rtcp(&mut self, now: Instant, compound: &[u8]) {
        for packet in rtcp::compound(compound).flatten() {
            let RtcpView::SenderReport(report) = packet else { continue };
            if let Some(place) = self.ssrcs.iter().position(|known| *known == report.info.ssrc) {
                self.streams[place].reception.on_sender_report(now, report.info.ntp);
            }
        }
    }

    /// Hands the compounds that are due to `send`; `buf` is scratch.
    pub fn report(&mut self, now: Instant, buf: &mut Vec<u8>, send: &mut impl FnMut(&[u8])) {
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            let Self { ssrcs, streams, .. } = self;
            let report = |(ssrc, stream): (&Ssrc, &mut Stream)| stream.reception.take_report(now, *ssrc);
            let blocks: Vec<_> = ssrcs.iter().zip(streams).filter_map(report).collect();
            for blocks in blocks.chunks(MAX_REPORT_BLOCKS) {
                buf.clear();
                write_receiver_report(buf, OWN, blocks);
                send(buf);
            }
        }
        if now >= self.next_wanted_keyframe {
            self.next_wanted_keyframe = now + self.expected.keyframe_interval;
            self.streams.iter_mut().for_each(Stream::want_keyframe);
            self.next_request = now;
        }
        if now >= self.next_request {
            self.request(now, buf);
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

    /// Asks for keyframes and missing packets that are due.
    fn request(&mut self, now: Instant, buf: &mut Vec<u8>) {
        buf.clear();
        self.next_request = Instant::NEVER;
        let mut missing = Vec::new();
        for (ssrc, stream) in self.ssrcs.iter().zip(&mut self.streams) {
            // Servers that know no reduced-size RTCP want a report in front (RFC 3550 section 6.1).
            let begin = |buf: &mut Vec<u8>| {
                if buf.is_empty() {
                    write_receiver_report(buf, OWN, &[]);
                }
            };
            if stream.keyframe_due(now) {
                begin(buf);
                stream.ask(now);
                write_pli(buf, OWN, *ssrc);
            }
            missing.clear();
            if let Some(nack) = &mut stream.nack {
                nack.take_due(now, ROUND_TRIP, &mut missing);
            }
            if !missing.is_empty() && buf.len() < MAX_COMPOUND {
                begin(buf);
                write_nack(buf, OWN, *ssrc, &missing);
            }
            self.next_request = self.next_request.min(stream.next_request());
        }
    }

    /// When [`Self::report`] has something to do.
    pub fn poll_timeout(&self) -> Instant {
        let feedback = self.arrivals.poll_timeout().unwrap_or(Instant::NEVER);
        self.next_report.min(self.next_request).min(self.next_wanted_keyframe).min(feedback)
    }

    /// Counts what went missing since the last cut.
    pub fn cut(&mut self, now: Instant, out: &mut Measured) {
        out.silent += u64::from(self.expected.media && now - self.heard >= SECOND);
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
            source.begin_frame();
            let mut payload = Vec::new();
            while let Some(info) = source.next_packet(Duration::from_millis(5), &mut payload) {
                let mut packet = Vec::new();
                let header = RtpHeader {
                    payload_type: PayloadType(VIDEO),
                    seq: seq.wire(),
                    timestamp: info.timestamp,
                    ssrc: Ssrc(9),
                    marker: info.marker,
                };
                HeaderWriter::new(&mut packet, header).finish();
                packet.extend(&payload);
                all.push((seq, packet));
                seq = seq.next();
            }
        }
        all
    }

    fn measure(packets: impl IntoIterator<Item = (SeqNo, Vec<u8>)>) -> Measured {
        let mut subscriber = Subscriber::new(Expected::default(), Instant::ZERO);
        let mut out = Measured::default();
        for (index, (seq, packet)) in packets.into_iter().enumerate() {
            let now = Instant::from_millis(7 + index as u64);
            subscriber.handle_rtp(now, &packet, seq, &mut out);
        }
        subscriber.cut(Instant::ZERO, &mut out);
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
    fn silence_is_noticed() {
        let expected = Expected { media: true, ..Expected::default() };
        let mut subscriber = Subscriber::new(expected, Instant::ZERO);
        let silent = |subscriber: &mut Subscriber, millis: u64| {
            let mut out = Measured::default();
            subscriber.cut(Instant::from_millis(millis), &mut out);
            out.silent
        };
        assert_eq!((silent(&mut subscriber, 1_000), silent(&mut subscriber, 5_000)), (0, 1));
        let (seq, packet) = &packets(1)[0];
        subscriber.handle_rtp(Instant::from_millis(5_900), packet, *seq, &mut Measured::default());
        assert_eq!((silent(&mut subscriber, 6_000), silent(&mut subscriber, 7_000)), (0, 1));
        let (seq, packet) = &packets(2)[1];
        subscriber.handle_rtp(Instant::from_millis(7_950), packet, *seq, &mut Measured::default());
        assert_eq!((silent(&mut subscriber, 8_000), silent(&mut subscriber, 8_100)), (0, 0), "no second has passed");
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
        let mut subscriber = Subscriber::new(Expected::default(), Instant::ZERO);
        let mut out = Measured::default();
        let sent = packets(2);
        // The keyframe is missing.
        for (seq, packet) in sent.into_iter().skip(24) {
            subscriber.handle_rtp(Instant::ZERO, &packet, seq, &mut out);
        }
        let mut plis = 0;
        subscriber.report(subscriber.next_request, &mut Vec::new(), &mut |compound| {
            plis += rtcp::compound(compound).filter(|packet| matches!(packet, Ok(RtcpView::Pli(_)))).count();
        });
        assert_eq!((plis, out.frames), (1, 0));
    }

    #[test]
    fn arrivals_are_fed_back_within_a_tenth_of_a_second() {
        let mut subscriber = Subscriber::new(Expected { transport_cc: Some(2), ..Expected::default() }, Instant::ZERO);
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

    #[test]
    fn lost_packets_are_asked_for_and_what_comes_again_mends_the_picture() {
        let (media, rtx) = (Ssrc(9), Ssrc(10));
        let expected = Expected { repairs: vec![(rtx, media)], ..Expected::default() };
        let mut subscriber = Subscriber::new(expected, Instant::ZERO);
        let mut out = Measured::default();
        let sent = packets(3);
        let lost = sent.len() - 8;
        for (index, (seq, packet)) in sent.iter().enumerate().filter(|(index, _)| *index != lost) {
            subscriber.handle_rtp(Instant::from_millis(index as u64), packet, *seq, &mut out);
        }
        assert_eq!((out.frames, out.repaired), (1, 0));
        let mut asked = Vec::new();
        let due = subscriber.next_request;
        subscriber.report(due, &mut Vec::new(), &mut |compound| {
            for packet in rtcp::compound(compound).flatten() {
                let RtcpView::Nack(nack) = packet else { continue };
                asked.extend(nack.seqs());
            }
        });
        assert_eq!(asked, [sent[lost].0.wire()]);
        let original = RtpView::parse(&sent[lost].1).unwrap();
        let (timestamp, marker) = (original.timestamp(), original.marker());
        let header = RtpHeader { payload_type: PayloadType(VIDEO_RTX), seq: 77, timestamp, ssrc: rtx, marker };
        let mut repair = Vec::new();
        HeaderWriter::new(&mut repair, header).finish();
        repair.extend(asked[0].to_be_bytes());
        repair.extend(original.payload());
        subscriber.handle_rtp(due, &repair, SeqNo(77), &mut out);
        subscriber.cut(Instant::ZERO, &mut out);
        assert_eq!((out.frames, out.repaired, out.lost, out.skipped), (3, 1, 0, 0));
    }

    #[test]
    fn a_keyframe_can_be_asked_for_without_need_and_its_way_is_timed() {
        let expected = Expected { keyframe_interval: Duration::from_secs(1), ..Expected::default() };
        let mut subscriber = Subscriber::new(expected, Instant::ZERO);
        let mut out = Measured::default();
        let sent = packets(2);
        sent.iter().for_each(|(seq, packet)| subscriber.handle_rtp(Instant::ZERO, packet, *seq, &mut out));
        assert_eq!(subscriber.next_wanted_keyframe, Instant::from_millis(1_000));
        let mut compounds = 0;
        subscriber.report(Instant::from_millis(1_000), &mut Vec::new(), &mut |compound| {
            compounds += rtcp::compound(compound).filter(|packet| matches!(packet, Ok(RtcpView::Pli(_)))).count();
        });
        assert_eq!((compounds, out.keyframe.count()), (1, 0));
        let after = sent[sent.len() - 1].0.0 + 1 - sent[0].0.0;
        for (seq, packet) in &sent {
            subscriber.handle_rtp(Instant::from_millis(1_080), packet, SeqNo(seq.0 + after), &mut out);
        }
        assert_eq!(out.keyframe.max(), Duration::from_millis(80));
    }
}
