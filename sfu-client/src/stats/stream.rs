//! Measurements of one received stream.

use super::frame_numbers::FrameNumbers;
use super::latency::LatencyHistogram;
use super::likeness::Comparison;
use super::report::StreamReport;
use crate::capture::SceneKind;
use crate::frame::VideoFrame;
use crate::overlay::Overlay;
use crate::peer::{MediaKind, TrackFormat};
use crate::receive::{JitterCounters, PlayoutStats};
use sfu_rtc::fec::DecoderStats;
use sfu_rtc::reception::{Jitter, MAX_DELAY_CHANGE};
use sfu_rtc::time::Instant as RtpInstant;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Intervals over which a freeze compares (W3C webrtc-stats, freezeCount).
const FREEZE_WINDOW: usize = 30;
/// What an interval must exceed the average by to be a freeze (as above).
const FREEZE_MARGIN: Duration = Duration::from_millis(150);

/// Measurements of one received stream, shared between the tasks that make them and the one that shows them.
#[derive(Debug)]
pub struct StreamStats {
    mid: String,
    kind: MediaKind,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    format: Option<TrackFormat>,
    ssrc: Option<u32>,
    /// A recorder waits for a keyframe.
    wishes_keyframe: bool,
    label: String,
    limit: &'static str,
    bytes: u64,
    frames_received: u64,
    frames_decoded: u64,
    decode_errors: u64,
    keyframes: u64,
    size: Option<(usize, usize)>,
    first_packet: Option<Instant>,
    first_decoded: Option<Instant>,
    newest_timestamp: Option<u32>,
    jitter: Jitter,
    counters: JitterCounters,
    fec: DecoderStats,
    numbers: FrameNumbers,
    latency: LatencyHistogram,
    freezes: Freezes,
    loudness: Option<f64>,
    playout: Option<PlayoutStats>,
    comparison: Option<Comparison>,
    /// Start of the current window and what there was then.
    window: Window,
}

#[derive(Debug)]
struct Window {
    start: Instant,
    bytes: u64,
    frames_received: u64,
    frames_decoded: u64,
    latency: LatencyHistogram,
}

impl StreamStats {
    /// Nothing measured yet.
    pub fn new(mid: String, kind: MediaKind) -> Self {
        let now = Instant::now();
        let window = Window {
            start: now,
            bytes: 0,
            frames_received: 0,
            frames_decoded: 0,
            latency: LatencyHistogram::default(),
        };
        let inner = Inner {
            started: now,
            format: None,
            ssrc: None,
            wishes_keyframe: false,
            label: String::new(),
            limit: "",
            bytes: 0,
            frames_received: 0,
            frames_decoded: 0,
            decode_errors: 0,
            keyframes: 0,
            size: None,
            first_packet: None,
            first_decoded: None,
            newest_timestamp: None,
            jitter: Jitter::default(),
            counters: JitterCounters::default(),
            fec: DecoderStats::default(),
            numbers: FrameNumbers::default(),
            latency: LatencyHistogram::default(),
            freezes: Freezes::default(),
            loudness: None,
            playout: None,
            comparison: None,
            window,
        };
        Self { mid, kind, inner: Mutex::new(inner) }
    }

    /// Section that carries the stream.
    pub fn mid(&self) -> &str {
        &self.mid
    }

    /// Audio or video.
    pub const fn kind(&self) -> MediaKind {
        self.kind
    }

    /// Sets who is shown as its sender.
    pub fn set_label(&self, label: &str) {
        label.clone_into(&mut self.lock().label);
    }

    /// Sets why the server sends no more of it; empty where it does.
    pub fn set_limit(&self, limit: &'static str) {
        self.lock().limit = limit;
    }

    /// Who is shown as its sender; empty where that is not known.
    pub fn label(&self) -> String {
        self.lock().label.clone()
    }

    /// SSRC of the last packet.
    pub fn ssrc(&self) -> Option<u32> {
        self.lock().ssrc
    }

    /// Lets the receiver ask for a keyframe, which it does not need itself.
    pub(crate) fn wish_keyframe(&self) {
        self.lock().wishes_keyframe = true;
    }

    /// Whether a keyframe has been wished for since the last one came.
    pub(crate) fn wishes_keyframe(&self) -> bool {
        self.lock().wishes_keyframe
    }

    /// When the first packet came.
    pub fn first_packet(&self) -> Option<Instant> {
        self.lock().first_packet
    }

    /// When the first picture was decoded.
    pub fn first_decoded(&self) -> Option<Instant> {
        self.lock().first_decoded
    }

    /// Pictures (or packets of sound) that came whole.
    pub fn frames_received(&self) -> u64 {
        self.lock().frames_received
    }

    /// Pictures (or packets of sound) decoded.
    pub fn frames_decoded(&self) -> u64 {
        self.lock().frames_decoded
    }

    pub(crate) fn on_packet(&self, now: Instant, packet: &rtp::Packet, format: Option<TrackFormat>) {
        let mut inner = self.lock();
        inner.first_packet.get_or_insert(now);
        inner.ssrc = Some(packet.header.ssrc);
        inner.bytes += packet.payload.len() as u64;
        inner.format = format.or(inner.format);
        let arrival = RtpInstant::ZERO + (now - inner.started);
        inner.on_timing(arrival, packet.header.timestamp, self.kind.clock_rate());
    }

    pub(crate) fn on_frame(&self, counters: JitterCounters, keyframe: bool) {
        let mut inner = self.lock();
        inner.frames_received += 1;
        inner.keyframes += u64::from(keyframe);
        inner.wishes_keyframe &= !keyframe;
        inner.counters = counters;
    }

    pub(crate) fn on_counters(&self, counters: JitterCounters) {
        self.lock().counters = counters;
    }

    pub(crate) fn on_fec(&self, fec: DecoderStats) {
        self.lock().fec = fec;
    }

    /// From now on pictures are compared with those of this scene and frame rate.
    pub fn compare_with(&self, kind: SceneKind, frame_rate: f64) {
        self.lock().comparison = Some(Comparison::new(kind, frame_rate));
    }

    pub(crate) fn on_picture(&self, now: Instant, picture: &VideoFrame, overlay: Option<(Overlay, Duration)>) {
        let mut inner = self.lock();
        inner.frames_decoded += 1;
        inner.size = Some((picture.width(), picture.height()));
        inner.first_decoded.get_or_insert(now);
        inner.freezes.observe(now);
        if let Some((overlay, age)) = overlay {
            inner.numbers.observe(&overlay);
            inner.latency.record(age);
            inner.window.latency.record(age);
            if let Some(comparison) = &mut inner.comparison {
                comparison.observe(picture, overlay, age);
            }
        }
    }

    pub(crate) fn on_sound(&self, now: Instant, samples: &[i16], playout: &PlayoutStats) {
        let squares: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        let rms = (squares / samples.len().max(1) as f64).sqrt() / f64::from(i16::MAX);
        let mut inner = self.lock();
        inner.frames_decoded = playout.packets_decoded;
        inner.decode_errors = playout.decode_errors + playout.packets_damaged;
        inner.playout = Some(*playout);
        if playout.packets_decoded > 0 {
            inner.first_decoded.get_or_insert(now);
            inner.loudness = Some(if rms > 0.0 { (20.0 * rms.log10()).max(-127.0) } else { -127.0 });
        }
    }

    pub(crate) fn on_decode_error(&self) {
        self.lock().decode_errors += 1;
    }

    /// Rates since the last call to [`Self::next_window`], everything else since the start.
    pub fn report(&self) -> StreamReport {
        let inner = self.lock();
        let window = inner.window.start.elapsed();
        inner.report(
            &self.mid,
            self.kind,
            window,
            &inner.window.latency,
            [
                inner.bytes - inner.window.bytes,
                inner.frames_received - inner.window.frames_received,
                inner.frames_decoded - inner.window.frames_decoded,
            ],
        )
    }

    /// Everything since the start.
    pub fn total(&self) -> StreamReport {
        let inner = self.lock();
        let all = [inner.bytes, inner.frames_received, inner.frames_decoded];
        inner.report(&self.mid, self.kind, inner.started.elapsed(), &inner.latency, all)
    }

    /// Begins a new window.
    pub fn next_window(&self) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.window.start = Instant::now();
        inner.window.bytes = inner.bytes;
        inner.window.frames_received = inner.frames_received;
        inner.window.frames_decoded = inner.frames_decoded;
        inner.window.latency.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Counters stay usable after a panic elsewhere.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Takes a packet into the jitter, but for one that says nothing about the path: packets of one picture leave
    /// together, and what is older came again.
    fn on_timing(&mut self, arrival: RtpInstant, timestamp: u32, clock_rate: u32) {
        let longest = MAX_DELAY_CHANGE.as_secs() as u32 * clock_rate;
        if self.newest_timestamp.is_none_or(|newest| newest.wrapping_sub(timestamp) > longest) {
            self.newest_timestamp = Some(timestamp);
            self.jitter.on_packet(arrival, timestamp, clock_rate);
        }
    }

    fn report(
        &self,
        mid: &str,
        kind: MediaKind,
        duration: Duration,
        latency: &LatencyHistogram,
        [bytes, received, decoded]: [u64; 3],
    ) -> StreamReport {
        let seconds = duration.as_secs_f64().max(0.001);
        StreamReport {
            mid: mid.to_owned(),
            kind,
            label: self.label.clone(),
            limit: self.limit,
            codec: self.format.map_or("", TrackFormat::name),
            size: self.size,
            frame_rate: decoded as f64 / seconds,
            received_frame_rate: received as f64 / seconds,
            bitrate_kbps: bytes as f64 * 8.0 / seconds / 1000.0,
            bytes: self.bytes,
            frames_received: self.frames_received,
            frames_decoded: self.frames_decoded,
            decode_errors: self.decode_errors,
            keyframes: self.keyframes,
            counters: self.counters,
            fec: self.fec,
            jitter_ms: self.jitter.ticks() / f64::from(kind.clock_rate()) * 1000.0,
            latency_p50_ms: latency.percentile(0.5).map(millis),
            latency_p95_ms: latency.percentile(0.95).map(millis),
            freezes: self.freezes.count,
            frozen: self.freezes.frozen,
            numbers: self.numbers,
            loudness_dbfs: self.loudness,
            playout: self.playout,
            likeness: self.comparison.as_ref().map(|comparison| comparison.likeness().clone()),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Freezes as W3C webrtc-stats counts them: an interval above max(3 x average, average + 150 ms) of the last 30.
#[derive(Debug, Default)]
struct Freezes {
    last: Option<Instant>,
    intervals: VecDeque<Duration>,
    count: u64,
    frozen: Duration,
}

impl Freezes {
    fn observe(&mut self, now: Instant) {
        let Some(last) = self.last.replace(now) else { return };
        let interval = now - last;
        if let Ok(count @ 1..) = u32::try_from(self.intervals.len()) {
            let average = self.intervals.iter().sum::<Duration>() / count;
            if interval > (average * 3).max(average + FREEZE_MARGIN) {
                self.count += 1;
                self.frozen += interval;
            }
        }
        if self.intervals.len() == FREEZE_WINDOW {
            self.intervals.pop_front();
        }
        self.intervals.push_back(interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_a_freeze() {
        let mut freezes = Freezes::default();
        let mut now = Instant::now();
        for interval in [33, 33, 33, 90, 33, 400, 33] {
            now += Duration::from_millis(interval);
            freezes.observe(now);
        }
        assert_eq!((freezes.count, freezes.frozen), (1, Duration::from_millis(400)));
    }

    /// Jitter in milliseconds after pictures every 20 ms, of two packets each, with these timestamps; every second one
    /// is late by `late`.
    fn jitter(timestamps: impl Iterator<Item = u32>, late: Duration) -> f64 {
        let stats = StreamStats::new("0".to_owned(), MediaKind::Video);
        let started = Instant::now();
        for (n, timestamp) in (0_u32..).zip(timestamps) {
            let arrival = started + Duration::from_millis(20) * n + late * (n % 2);
            let header = rtp::Header { timestamp, ..Default::default() };
            let packet = rtp::Packet { header, ..Default::default() };
            stats.on_packet(arrival, &packet, None);
            stats.on_packet(arrival + Duration::from_millis(5), &packet, None);
        }
        stats.total().jitter_ms
    }

    #[test]
    fn jitter_is_of_pictures_and_goes_on_where_a_source_begins_anew() {
        let even = |from: u32| (0..200).map(move |n| from.wrapping_add(n * 1_800));
        let late = Duration::from_millis(2);
        assert!(jitter(even(4_294_900_000), Duration::ZERO) < 0.001, "over the wrap");
        for anew in [1_000_000, 2_000_000_000, 4_000_000_000] {
            assert!(jitter(even(3_000_000_000).chain(even(anew)), Duration::ZERO) < 0.001, "{anew}");
            let found = jitter(even(3_000_000_000).chain(even(anew)), late);
            assert!((1.9..2.01).contains(&found), "{anew}: {found}");
        }
    }

    #[test]
    fn packets_that_come_late_are_no_jitter() {
        let repaired = (0..200).flat_map(|n: u32| [n * 1_800, (n * 1_800).saturating_sub(9_000)]);
        let stats = StreamStats::new("0".to_owned(), MediaKind::Video);
        let started = Instant::now();
        for (n, timestamp) in (0_u32..).zip(repaired) {
            let header = rtp::Header { timestamp, ..Default::default() };
            let packet = rtp::Packet { header, ..Default::default() };
            stats.on_packet(started + Duration::from_millis(10) * (n & !1), &packet, None);
        }
        assert!(stats.total().jitter_ms < 0.001);
    }
}
