//! A browser's receiving side: feedback on every packet or REMB, reports, requests for lost packets and keyframes.

use super::decoder::{Decoder, Picture};
use super::record::FlowRecord;
use super::remb::ReceiveEstimator;
use super::sound::Sound;
use crate::media::Stamp;
use crate::peer::description::{OPUS, RED, ServerAnswer, VIDEO, VIDEO_RTX};
use crate::peer::measured::Measured;
use crate::peer::stream::Stream;
use sfu_rtc::codec::frame_facts;
use sfu_rtc::codec::red::Red;
use sfu_rtc::fec::{FecReceiver, Scheme};
use sfu_rtc::ids::{SeqNo, Ssrc};
use sfu_rtc::media::Codec;
use sfu_rtc::rtcp::{
    self, RtcpView, TwccFeedback, write_nack, write_pli, write_receiver_report, write_remb, write_twcc,
};
use sfu_rtc::rtp::RtpView;
use sfu_rtc::rtp::extension::{PlayoutDelay, parse_transport_cc};
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::twcc::{ArrivalConfig, ArrivalRecorder};

/// Time between receiver reports, as browsers do for video.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Time between feedback on every packet.
const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);
/// Round trip that is assumed until one is known, as libwebrtc does.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);
/// RTP clock of video, in Hz.
const VIDEO_CLOCK: f64 = 90_000.0;
/// Samples in a packet of sound.
const AUDIO_SAMPLES: u32 = 960;
/// Our own source in reports.
const OWN: Ssrc = Ssrc(1);

/// One browser that watches one stream of video and hears one of audio.
pub(super) struct Receiver {
    /// Id of the transport-wide sequence number, where it was negotiated.
    transport_cc: Option<u8>,
    /// Id of the limits of the playout delay, where it was negotiated.
    playout_delay: Option<u8>,
    /// Sources of retransmissions, each with the source that it repairs.
    repairs: Vec<(Ssrc, Ssrc)>,
    /// Whether it asks for lost packets.
    asks: bool,
    fec: FecReceiver,
    arrivals: ArrivalRecorder,
    feedback_count: u8,
    estimator: ReceiveEstimator,
    streams: Vec<(Ssrc, Stream)>,
    video: Option<Ssrc>,
    decoder: Decoder,
    sound: Sound,
    counts: Measured,
    /// Its way to the server.
    way_back: Duration,
    /// Round trip after which a missing packet is asked for again. A browser that publishes too knows it.
    round_trip: Duration,
    /// Where it may begin in the past: the first packet's timestamp and arrival, by which it knows when others were captured.
    timeline: Option<Option<(u32, Instant)>>,
    next_report: Instant,
    /// Keyframes that it asked for.
    keyframe_requests: u64,
}

impl Receiver {
    /// One that joins at `now`, its packets to the server taking `way_back`; whether it asks for lost packets.
    pub(super) fn new(answer: &ServerAnswer, asks: bool, way_back: Duration, now: Instant) -> Self {
        let transport_cc = answer.transport_cc;
        let mut fec = FecReceiver::default();
        for (parity, media) in &answer.parity {
            fec.add(Scheme::FlexFec03, *media, *parity, transport_cc.into_iter().collect());
        }
        let arrivals = ArrivalConfig {
            max_interval: FEEDBACK_INTERVAL,
            min_interval: FEEDBACK_INTERVAL,
            ..ArrivalConfig::default()
        };
        Self {
            transport_cc,
            playout_delay: answer.playout_delay,
            repairs: answer.repairs.clone(),
            asks,
            fec,
            arrivals: ArrivalRecorder::new(arrivals),
            feedback_count: 0,
            estimator: ReceiveEstimator::new(),
            streams: Vec::new(),
            video: None,
            decoder: Decoder::new(now),
            sound: Sound::default(),
            counts: Measured::default(),
            way_back,
            round_trip: FIRST_ROUND_TRIP,
            timeline: None,
            next_report: now + REPORT_INTERVAL,
            keyframe_requests: 0,
        }
    }

    /// Keeps video for so long, unless the sender asks otherwise.
    pub(super) fn keep_for(&mut self, delay: Duration) {
        self.decoder.set_min_delay(delay);
    }

    /// Its stream may begin with what came before it joined: it goes by timestamps alone, as browsers do, and does not know
    /// its round trip.
    pub(super) fn may_begin_in_the_past(&mut self) {
        self.timeline = Some(None);
    }

    /// Takes one packet, which was `size` bytes on the wire.
    pub(super) fn handle_rtp(&mut self, now: Instant, packet: &[u8], seq: SeqNo, size: usize, record: &mut FlowRecord) {
        let Ok(view) = RtpView::parse(packet) else { return };
        if let Some(value) = self.transport_cc.and_then(|id| view.extension(id))
            && let Some(wire) = parse_transport_cc(value)
        {
            self.arrivals.on_packet(now, wire);
        }
        let payload = view.payload();
        let payload_type = view.payload_type().0;
        self.estimator.on_packet(now, size, (payload_type == VIDEO).then(|| view.timestamp()));
        match payload_type {
            OPUS | VIDEO => self.handle_media(now, &view, payload, (view.ssrc(), seq), size, record),
            RED => self.handle_red(now, &view, (view.ssrc(), seq), size, record),
            VIDEO_RTX => self.handle_repair(now, &view, size, record),
            _ => {}
        }
        self.recover(now, packet, record);
    }

    /// Takes what is recovered by a packet.
    fn recover(&mut self, now: Instant, packet: &[u8], record: &mut FlowRecord) {
        self.fec.on_packet(packet);
        let mut recovered = Vec::new();
        while let Some(media) = self.fec.poll_recovered(&mut recovered) {
            let Ok(view) = RtpView::parse(&recovered) else { continue };
            let Some((_, stream)) = self.streams.iter().find(|(ssrc, _)| *ssrc == media) else { continue };
            let seq = stream.extend(view.seq());
            record.recovered += 1;
            self.handle_media(now, &view, view.payload(), (media, seq), recovered.len(), record);
        }
    }

    /// A retransmission: the packet that it repairs, behind that packet's sequence number (RFC 4588 section 4).
    fn handle_repair(&mut self, now: Instant, view: &RtpView<'_>, size: usize, record: &mut FlowRecord) {
        let Some((wire, payload)) = view.payload().split_first_chunk() else { return };
        let Some((_, media)) = self.repairs.iter().find(|(rtx, _)| *rtx == view.ssrc()).copied() else { return };
        let Some((_, stream)) = self.streams.iter().find(|(ssrc, _)| *ssrc == media) else { return };
        let seq = stream.extend(u16::from_be_bytes(*wire));
        self.handle_media(now, view, payload, (media, seq), size, record);
    }

    /// Sound with older sound in front of it (RFC 2198), of which each packet may be the one that was lost.
    fn handle_red(
        &mut self,
        now: Instant,
        view: &RtpView<'_>,
        (ssrc, seq): (Ssrc, SeqNo),
        size: usize,
        record: &mut FlowRecord,
    ) {
        let payload = view.payload();
        let Some(red) = Red::parse(payload) else { return };
        for block in &red.redundant {
            let data = &payload[block.range.clone()];
            let age = u64::from(u32::from(block.timestamp_offset) / AUDIO_SAMPLES);
            if let Some(stamp) = Stamp::find(data)
                && self.sound.heals(SeqNo(seq.0.saturating_sub(age)))
            {
                record.on_media(false, now - (Instant::ZERO + stamp.sent), data.len());
            }
        }
        self.handle_media(now, view, &payload[red.primary.clone()], (ssrc, seq), size, record);
    }

    fn handle_media(
        &mut self,
        now: Instant,
        view: &RtpView<'_>,
        payload: &[u8],
        (ssrc, seq): (Ssrc, SeqNo),
        size: usize,
        record: &mut FlowRecord,
    ) {
        let is_video = !matches!(view.payload_type().0, OPUS | RED);
        if self.streams.iter().all(|(known, _)| *known != ssrc) {
            let repairs = self.asks && self.repairs.iter().any(|(_, media)| *media == ssrc);
            self.streams.push((ssrc, Stream::new(!is_video, seq, now, repairs)));
        }
        let Some((_, stream)) = self.streams.iter_mut().find(|(known, _)| *known == ssrc) else { return };
        let is_new = stream.record(now, seq, &mut self.counts);
        let Some(stamp) = Stamp::find(payload).filter(|_| is_new) else { return };
        stream.record_jitter(now, view.timestamp());
        let mut captured = Instant::ZERO + stamp.sent;
        let delay = now - captured;
        if let Some(first) = self.timeline.as_mut().filter(|_| is_video) {
            let (timestamp, arrival) = *first.get_or_insert((view.timestamp(), now));
            let later = view.timestamp().wrapping_sub(timestamp) as i32;
            captured = arrival + Duration::from_secs_f64(f64::from(later.max(0)) / VIDEO_CLOCK);
        } else {
            self.round_trip = (self.round_trip * 15 + delay + self.way_back) / 16;
        }
        if is_video || self.sound.comes(seq) {
            record.on_media(is_video, delay, size);
        }
        if is_video && let Ok(facts) = frame_facts(Codec::Vp8, payload, view.marker(), None) {
            self.video = Some(ssrc);
            if let Some(delay) = self.playout_delay.and_then(|id| PlayoutDelay::parse(view.extension(id)?)) {
                self.decoder.set_min_delay(delay.min);
            }
            self.decoder.on_packet(now, seq, facts, view.timestamp(), captured);
        }
    }

    /// Takes in sender reports, for the next receiver reports.
    pub(super) fn handle_rtcp(&mut self, now: Instant, compound: &[u8]) {
        for packet in rtcp::compound(compound).flatten() {
            let RtcpView::SenderReport(report) = packet else { continue };
            if let Some((_, stream)) = self.streams.iter_mut().find(|(ssrc, _)| *ssrc == report.info.ssrc) {
                stream.reception.on_sender_report(now, report.info.ntp);
            }
        }
    }

    /// Hands the compounds that are due to `send`.
    pub(super) fn report(&mut self, now: Instant, send: &mut impl FnMut(&[u8])) {
        let mut buf = Vec::new();
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            let reports = self.streams.iter_mut().filter_map(|(ssrc, stream)| stream.reception.take_report(now, *ssrc));
            let blocks: Vec<_> = reports.collect();
            write_receiver_report(&mut buf, OWN, &blocks);
            send(&buf);
        }
        buf.clear();
        self.request(now, &mut buf);
        if self.transport_cc.is_none()
            && let Some(bitrate) = self.estimator.poll(now)
        {
            let ssrcs: Vec<_> = self.streams.iter().map(|(ssrc, _)| *ssrc).collect();
            write_remb(&mut buf, OWN, bitrate, &ssrcs);
        }
        if !buf.is_empty() {
            send(&buf);
        }
        let Self { arrivals, feedback_count, .. } = self;
        arrivals.report(now, |base_seq, arrivals| {
            let feedback = TwccFeedback { sender: OWN, media: OWN, base_seq, fb_count: *feedback_count, arrivals };
            *feedback_count = feedback_count.wrapping_add(1);
            buf.clear();
            let covered = write_twcc(&mut buf, &feedback);
            if covered > 0 {
                send(&buf);
            }
            covered
        });
    }

    /// Asks for what is missing: packets, and a keyframe where the picture stands still.
    fn request(&mut self, now: Instant, buf: &mut Vec<u8>) {
        if self.decoder.handle_timeout(now)
            && let Some(video) = self.video
        {
            self.keyframe_requests += 1;
            write_pli(buf, OWN, video);
        }
        for (ssrc, stream) in &mut self.streams {
            let mut missing = Vec::new();
            if let Some(nack) = &mut stream.nack {
                nack.take_due(now, self.round_trip, &mut missing);
            }
            if !missing.is_empty() {
                write_nack(buf, OWN, *ssrc, &missing);
            }
        }
    }

    /// When [`Self::report`] has something to do.
    pub(super) fn poll_timeout(&self) -> Instant {
        let nacks = self.streams.iter().filter_map(|(_, stream)| stream.nack.as_ref()?.poll_timeout());
        let feedback = self.arrivals.poll_timeout();
        nacks.chain(feedback).fold(self.next_report.min(self.decoder.poll_timeout()), Instant::min)
    }

    /// The source pauses until then.
    pub(super) fn pause(&mut self, until: Instant) {
        self.decoder.pause(until);
    }

    /// Ends at `now`; what the viewer saw.
    pub(super) fn finish(&mut self, now: Instant, record: &mut FlowRecord) -> Picture {
        self.streams.iter_mut().for_each(|(_, stream)| stream.cut(&mut self.counts));
        record.audio_lost = u64::try_from(self.counts.audio_lost).unwrap_or(0).saturating_sub(self.sound.healed());
        record.video_lost = u64::try_from(self.counts.lost - self.counts.audio_lost).unwrap_or(0);
        record.keyframe_requests = self.keyframe_requests;
        self.decoder.finish(now);
        std::mem::take(&mut self.decoder.picture)
    }
}
