//! One RTP stream that the server sends: which packets came, which frames are whole, and what is reported of it.

use super::frames::{Frames, Part};
use super::measured::Measured;
use crate::media::Stamp;
use sfu_rtc::codec::frame_facts;
use sfu_rtc::ids::{SeqNo, Ssrc};
use sfu_rtc::media::Codec;
use sfu_rtc::nack::{NackConfig, NackGenerator};
use sfu_rtc::rtcp::ReportBlock;
use sfu_rtc::rtp::RtpView;
use sfu_rtc::time::{Duration, Instant};

/// Sequence numbers behind the highest that are told apart.
const WINDOW: u64 = 128;
/// Time between requests while a first keyframe is awaited, or a broken picture is to be mended.
const PLI_INTERVAL: Duration = Duration::from_millis(500);
/// A hole that is not mended by then is answered with a request for a keyframe, as libwebrtc does after 200 ms of a
/// frozen picture and some more.
const REPAIR_PATIENCE: Duration = Duration::from_millis(300);

/// One stream of one subscriber.
pub(super) struct Stream {
    pub(super) is_audio: bool,
    base: SeqNo,
    highest: SeqNo,
    /// Bit n: `highest - n` was received.
    window: u128,
    received: u64,
    reported: (u64, u64),
    /// Missing at the last cut.
    cut: i64,
    /// Source and sequence number of the latest stamp.
    source: Option<(u32, u32)>,
    frames: Frames,
    last_frame: Option<Instant>,
    mean_gap: Duration,
    pub(super) next_pli: Instant,
    wanted: bool,
    /// When the keyframe that is awaited was asked for.
    asked: Option<Instant>,
    last_packet: Instant,
    /// When the last packet came before another source took its place, until that shows.
    switched: Option<Instant>,
    /// What is missing and can be asked for again, where the stream has retransmissions.
    pub(super) nack: Option<NackGenerator>,
    jitter: Jitter,
    /// Middle of the NTP time of the last sender report, and when it came.
    pub(super) sender_report: Option<(u32, Instant)>,
}

impl Stream {
    /// The stream begins with `seq` at `now`; whether what is lost can be had again.
    pub(super) fn new(is_audio: bool, seq: SeqNo, now: Instant, repairs: bool) -> Self {
        let patience = if repairs { REPAIR_PATIENCE } else { Duration::ZERO };
        Self {
            is_audio,
            base: seq,
            highest: seq,
            window: 0,
            received: 0,
            reported: (0, 0),
            cut: 0,
            source: None,
            frames: Frames::new(patience),
            last_frame: None,
            mean_gap: Duration::ZERO,
            next_pli: now + PLI_INTERVAL,
            wanted: false,
            asked: None,
            last_packet: now,
            switched: None,
            nack: (repairs && !is_audio).then(|| NackGenerator::new(NackConfig::default())),
            jitter: Jitter::default(),
            sender_report: None,
        }
    }

    /// Whether the picture waits for a keyframe.
    pub(super) fn is_broken(&self) -> bool {
        !self.is_audio && self.frames.is_broken()
    }

    /// A keyframe is to be asked for, broken or not.
    pub(super) fn want_keyframe(&mut self) {
        self.wanted = !self.is_audio;
    }

    /// Whether a keyframe is to be asked for now.
    pub(super) fn keyframe_due(&self, now: Instant) -> bool {
        self.wanted || (self.is_broken() && now >= self.next_pli)
    }

    /// When something is to be asked for.
    pub(super) fn next_request(&self) -> Instant {
        let repair = self.nack.as_ref().and_then(NackGenerator::poll_timeout).unwrap_or(Instant::NEVER);
        if self.is_broken() { repair.min(self.next_pli) } else { repair }
    }

    /// A keyframe is asked for.
    pub(super) fn ask(&mut self, now: Instant) {
        self.wanted = false;
        self.next_pli = now + PLI_INTERVAL;
        self.asked.get_or_insert(now);
    }

    /// Extends the sequence number that a retransmission bears.
    pub(super) fn extend(&self, wire: u16) -> SeqNo {
        self.highest.extend(wire)
    }

    /// Notes a sequence number; whether it is new.
    pub(super) fn note(&mut self, now: Instant, seq: SeqNo, out: &mut Measured) -> bool {
        if let Some(nack) = &mut self.nack {
            nack.on_packet(now, seq);
        }
        if self.received > 0 && seq <= self.highest {
            let behind = self.highest.0 - seq.0;
            if behind >= WINDOW || self.window & (1 << behind) != 0 {
                out.duplicates += 1;
                return false;
            }
            out.reordered += 1;
            self.window |= 1 << behind;
            self.base = self.base.min(seq);
        } else {
            let ahead = seq.0 - self.highest.0;
            self.window = if ahead >= WINDOW { 0 } else { self.window << ahead } | 1;
            self.highest = seq;
        }
        self.received += 1;
        true
    }

    /// Notes a stamp: how many packets of its source were skipped since the last one. One that comes late takes back
    /// that it was skipped. Another source (another layer, another speaker) begins anew.
    pub(super) fn note_stamp(&mut self, now: Instant, stamp: &Stamp) -> i64 {
        let before = std::mem::replace(&mut self.last_packet, now);
        match &mut self.source {
            Some((source, last)) if *source == stamp.source => {
                let ahead = stamp.sequence.wrapping_sub(*last).cast_signed();
                if ahead > 0 {
                    *last = stamp.sequence;
                    i64::from(ahead) - 1
                } else {
                    -1
                }
            }
            source => {
                if source.is_some() {
                    self.switched.get_or_insert(before);
                }
                *source = Some((stamp.source, stamp.sequence));
                0
            }
        }
    }

    pub(super) fn note_jitter(&mut self, now: Instant, timestamp: u32) {
        let clock_rate = if self.is_audio { 48_000 } else { 90_000 };
        self.jitter.note(now, timestamp, clock_rate);
    }

    fn missing(&self) -> i64 {
        let expected = self.highest.0 - self.base.0 + 1;
        expected.cast_signed() - self.received.cast_signed()
    }

    /// Counts what went missing since the last cut.
    pub(super) fn cut(&mut self, out: &mut Measured) {
        let lost = self.missing() - self.cut;
        self.cut += lost;
        out.lost += lost;
        if self.is_audio {
            out.audio_lost += lost;
        }
    }

    /// Follows the frames; how many this packet completed.
    pub(super) fn note_part(
        &mut self,
        now: Instant,
        codec: Codec,
        view: &RtpView<'_>,
        payload: &[u8],
        seq: SeqNo,
        out: &mut Measured,
    ) -> u64 {
        let Ok(facts) = frame_facts(codec, payload, view.marker(), None) else { return 0 };
        let part = Part { start: facts.start_of_frame, end: view.marker(), keyframe: facts.keyframe };
        let completed = self.frames.on_packet(now, seq, part);
        for _ in 0..completed.frames {
            self.note_frame(now, out);
        }
        if completed.keyframe {
            self.asked.take().inspect(|asked| out.keyframe.record(now - *asked));
            self.switched.take().inspect(|before| out.switch.record(now - *before));
        }
        completed.frames
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

    pub(super) fn report(&mut self, now: Instant, ssrc: Ssrc) -> ReportBlock {
        let (expected, received) = (self.highest.0 - self.base.0 + 1, self.received);
        let expected_now = expected - self.reported.0;
        let lost_now = expected_now.saturating_sub(received - self.reported.1);
        self.reported = (expected, received);
        let fraction = (lost_now * 256).checked_div(expected_now).unwrap_or(0);
        let (last_sr, since) = self.sender_report.map_or((0, Duration::ZERO), |(ntp, came)| (ntp, now - came));
        ReportBlock {
            ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(expected.saturating_sub(received)).unwrap_or(i32::MAX),
            highest_seq: self.highest.0 as u32,
            jitter: self.jitter.value(),
            last_sr,
            delay_since_last_sr: u32::try_from((since.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX),
        }
    }
}

/// Interarrival jitter (RFC 3550 appendix A.8).
#[derive(Default)]
struct Jitter {
    transit: Option<i32>,
    /// Sixteen times the estimate.
    scaled: u32,
}

impl Jitter {
    fn note(&mut self, now: Instant, timestamp: u32, clock_rate: u64) {
        // Only differences matter, so that the arrival may wrap as the timestamp does.
        let arrival = (now.as_micros() * (clock_rate / 1_000) / 1_000) as u32;
        let transit = arrival.wrapping_sub(timestamp).cast_signed();
        if let Some(last) = self.transit.replace(transit) {
            let change = transit.wrapping_sub(last).unsigned_abs();
            self.scaled = self.scaled.saturating_add(change).saturating_sub((self.scaled + 8) >> 4);
        }
    }

    fn value(&self) -> u32 {
        self.scaled >> 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_leaves_out_is_skipped_and_what_comes_late_is_not() {
        let mut stream = Stream::new(false, SeqNo(1), Instant::ZERO, false);
        let mut note =
            |source, sequence| stream.note_stamp(Instant::ZERO, &Stamp { source, sequence, sent: Duration::ZERO });
        assert_eq!([note(1, 10), note(1, 11), note(1, 15)], [0, 0, 3]);
        assert_eq!([note(1, 13), note(1, 16)], [-1, 0]);
        assert_eq!([note(2, 900), note(2, 902)], [0, 1]);
    }

    #[test]
    fn a_packet_that_is_missing_at_one_cut_may_come_before_the_next() {
        let mut stream = Stream::new(true, SeqNo(70_000), Instant::ZERO, false);
        let lost_by = |stream: &mut Stream, seqs: &[u64]| {
            let mut out = Measured::default();
            seqs.iter().for_each(|seq| {
                stream.note(Instant::ZERO, SeqNo(*seq), &mut out);
            });
            stream.cut(&mut out);
            (out.lost, out.audio_lost)
        };
        assert_eq!(lost_by(&mut stream, &[70_000, 70_003]), (2, 2));
        assert_eq!(lost_by(&mut stream, &[70_001, 70_004]), (-1, -1));
        assert_eq!(lost_by(&mut stream, &[]), (0, 0));
    }

    #[test]
    fn jitter_follows_uneven_arrivals_only() {
        let jitter = |uneven: u64| {
            let mut jitter = Jitter::default();
            for n in 0..500u64 {
                let late = if n % 2 == 0 { 0 } else { uneven };
                jitter.note(Instant::from_millis(20 * n + late), (n * 960) as u32, 48_000);
            }
            jitter.value()
        };
        assert_eq!(jitter(0), 0);
        // Each transit differs from the last by 2 ms, which are 96 units.
        assert!((90..=96).contains(&jitter(2)), "{}", jitter(2));
    }
}
