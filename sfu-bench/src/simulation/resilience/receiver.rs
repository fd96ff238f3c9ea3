//! A subscriber: feedback, frames, a decoder, and what is seen.

use crate::endpoint::{Endpoint, Incoming};
use crate::peer::extension_id;
use anyhow::Result;
use sfu_client::decode::{Decoder, H264Decoder};
use sfu_client::frame::VideoFrame;
use sfu_client::receive::{Dependencies, annex_b};
use sfu_rtc::ids::{SeqNo, Ssrc};
use sfu_rtc::rtcp::{TwccFeedback, write_pli, write_twcc};
use sfu_rtc::rtp::RtpView;
use sfu_rtc::rtp::extension::{ExtensionKind, parse_transport_cc};
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::twcc::{ArrivalConfig, ArrivalRecorder};
use std::collections::{BTreeMap, VecDeque};

/// Time between feedback on every packet, as browsers have it.
const FEEDBACK: Duration = Duration::from_millis(50);
/// Time between two requests for a keyframe, as our client has it.
const RETRY: Duration = Duration::from_millis(200);
/// Frames of which a mean is taken, and what a freeze is beyond it (webrtc-stats, `freezeCount`).
const MEAN_OF: usize = 30;
const FREEZE: Duration = Duration::from_millis(150);
/// Our own source.
const OWN: Ssrc = Ssrc(1);

/// A frame on its way in.
#[derive(Default)]
struct Partial {
    timestamp: u32,
    first: Option<u64>,
    last: Option<u64>,
    payloads: BTreeMap<u64, Vec<u8>>,
}

/// A frame that was shown.
pub(super) struct Shown {
    pub(super) at: Instant,
    pub(super) number: u16,
    pub(super) picture: VideoFrame,
    /// It is the first after one that could not be shown.
    pub(super) recovers: bool,
}

pub(super) struct Receiver {
    pub(super) endpoint: Endpoint,
    transport_cc: Option<u8>,
    arrivals: ArrivalRecorder,
    feedback_count: u8,
    media: Option<Ssrc>,
    frames: BTreeMap<u64, Partial>,
    newest: SeqNo,
    dependencies: Dependencies,
    decoder: H264Decoder,
    /// It cannot decode what comes.
    waits: bool,
    next_request: Instant,
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) freezes: Freezes,
}

impl Receiver {
    pub(super) fn new(endpoint: Endpoint, transport_cc: Option<u8>, now: Instant) -> Result<Self> {
        let arrivals = ArrivalConfig { max_interval: FEEDBACK, min_interval: FEEDBACK, ..ArrivalConfig::default() };
        Ok(Self {
            endpoint,
            transport_cc,
            arrivals: ArrivalRecorder::new(arrivals),
            feedback_count: 0,
            media: None,
            frames: BTreeMap::new(),
            newest: SeqNo(1 << 16),
            dependencies: Dependencies::default(),
            decoder: H264Decoder::new()?,
            waits: false,
            next_request: now,
            requests: 0,
            errors: 0,
            freezes: Freezes::default(),
        })
    }

    /// The server sends a datagram, unless it is of a frame that is lost. The frame that can be shown with it.
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        is_lost: impl Fn(u16, SeqNo) -> bool,
    ) -> Option<Shown> {
        let Incoming::Rtp(packet, seq) = self.endpoint.handle_datagram(now, datagram) else { return None };
        let view = RtpView::parse(packet).ok()?;
        let value = view.extension(extension_id(ExtensionKind::DependencyDescriptor))?;
        let [flags, high, low] = *value.first_chunk()?;
        let number = u16::from_be_bytes([high, low]);
        if is_lost(number, seq) {
            return None;
        }
        if let Some(wide) = self.transport_cc.and_then(|id| parse_transport_cc(view.extension(id)?)) {
            self.arrivals.on_packet(now, wide);
        }
        self.media = Some(view.ssrc());
        self.dependencies.on_packet(value, (view.seq(), view.timestamp()));
        let extended = self.newest.extend(number);
        self.newest = self.newest.max(extended);
        let partial = self.frames.entry(extended.0).or_default();
        partial.timestamp = view.timestamp();
        partial.first = if flags & 0x80 != 0 { Some(seq.0) } else { partial.first };
        partial.last = if flags & 0x40 != 0 { Some(seq.0) } else { partial.last };
        partial.payloads.insert(seq.0, view.payload().to_vec());
        let count = partial.last? + 1 - partial.first?;
        if partial.payloads.len() as u64 != count {
            return None;
        }
        let frame = self.frames.remove(&extended.0)?;
        self.frames.retain(|number, _| *number > extended.0);
        self.show(now, number, frame)
    }

    fn show(&mut self, now: Instant, number: u16, frame: Partial) -> Option<Shown> {
        let first = frame.first.unwrap_or_default() as u16; // as on the wire
        if self.dependencies.take(frame.timestamp, first) != Some(true) {
            self.waits = true;
            return None;
        }
        let payloads: Vec<_> = frame.payloads.into_values().map(Into::into).collect();
        let unit = annex_b(&payloads)?;
        let Ok(Some(picture)) = self.decoder.decode(&unit) else {
            self.errors += 1;
            self.dependencies.forget();
            self.waits = true;
            return None;
        };
        self.freezes.on_frame(now);
        Some(Shown { at: now, number, picture, recovers: std::mem::take(&mut self.waits) })
    }

    /// What it has to say.
    pub(super) fn report(&mut self, now: Instant, send: &mut impl FnMut(&mut Endpoint, &[u8])) {
        let mut buf = Vec::new();
        if self.waits
            && now >= self.next_request
            && let Some(media) = self.media
        {
            self.next_request = now + RETRY;
            self.requests += 1;
            write_pli(&mut buf, OWN, media);
            send(&mut self.endpoint, &buf);
        }
        let Self { arrivals, feedback_count, endpoint, .. } = self;
        arrivals.report(now, |base_seq, arrivals| {
            let feedback = TwccFeedback { sender: OWN, media: OWN, base_seq, fb_count: *feedback_count, arrivals };
            *feedback_count = feedback_count.wrapping_add(1);
            buf.clear();
            let covered = write_twcc(&mut buf, &feedback);
            if covered > 0 {
                send(endpoint, &buf);
            }
            covered
        });
    }
}

/// Freezes as webrtc-stats counts them: a frame is shown much later after the one before than usual.
#[derive(Default)]
pub(super) struct Freezes {
    last: Option<Instant>,
    between: VecDeque<Duration>,
    from: Instant,
    pub(super) count: u64,
    pub(super) time: Duration,
}

impl Freezes {
    /// Counts those that end after `at`.
    pub(super) fn count_from(&mut self, at: Instant) {
        self.from = at;
    }

    fn on_frame(&mut self, now: Instant) {
        let Some(last) = self.last.replace(now) else { return };
        let time = now - last;
        let mean = self.between.iter().fold(Duration::ZERO, |sum, time| sum + *time) / self.between.len().max(1) as u32;
        if !self.between.is_empty() && time > (mean * 3).max(mean + FREEZE) && now >= self.from {
            self.count += 1;
            self.time += time;
        }
        if self.between.len() == MEAN_OF {
            self.between.pop_front();
        }
        self.between.push_back(time);
    }

    /// The end, at which the picture may stand still.
    pub(super) fn finish(&mut self, now: Instant) {
        self.on_frame(now);
    }
}
