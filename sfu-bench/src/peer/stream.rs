//! One RTP stream that the server sends: which packets came, which frames are whole, and what is reported of it.

use super::frames::{Frames, Part};
use super::measured::Measured;
use crate::media::Stamp;
use sfu_rtc::codec::frame_facts;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::media::Codec;
use sfu_rtc::nack::{NackConfig, NackGenerator};
use sfu_rtc::reception::Reception;
use sfu_rtc::rtp::RtpView;
use sfu_rtc::time::{Duration, Instant};

/// Time between requests while a first keyframe is awaited, or a broken picture is to be mended.
const PLI_INTERVAL: Duration = Duration::from_millis(500);
/// A hole that is not mended by then is answered with a request for a keyframe, as libwebrtc does after 200 ms of a
/// frozen picture and some more.
const REPAIR_PATIENCE: Duration = Duration::from_millis(300);

/// One stream of one subscriber.
pub(crate) struct Stream {
    pub(super) is_audio: bool,
    pub(crate) reception: Reception,
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
    pub(crate) nack: Option<NackGenerator>,
}

impl Stream {
    /// The stream begins with `seq` at `now`; whether what is lost can be had again.
    pub(crate) fn new(is_audio: bool, seq: SeqNo, now: Instant, repairs: bool) -> Self {
        let patience = if repairs { REPAIR_PATIENCE } else { Duration::ZERO };
        Self {
            is_audio,
            reception: Reception::new(seq),
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
    pub(crate) fn extend(&self, wire: u16) -> SeqNo {
        self.reception.highest().extend(wire)
    }

    /// Records a sequence number; whether it is new.
    pub(crate) fn record(&mut self, now: Instant, seq: SeqNo, out: &mut Measured) -> bool {
        if let Some(nack) = &mut self.nack {
            nack.on_packet(now, seq);
        }
        let overtaken = seq < self.reception.highest();
        let is_new = self.reception.admit(seq).is_ok();
        out.reordered += u64::from(is_new && overtaken);
        out.duplicates += u64::from(!is_new);
        is_new
    }

    /// Records a stamp: how many packets of its source were skipped since the last one. One that comes late takes back
    /// that it was skipped. Another source (another layer, another speaker) begins anew.
    pub(super) fn record_stamp(&mut self, now: Instant, stamp: &Stamp) -> i64 {
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

    pub(crate) fn record_jitter(&mut self, now: Instant, timestamp: u32) {
        let clock_rate = if self.is_audio { 48_000 } else { 90_000 };
        self.reception.on_timing(now, timestamp, clock_rate);
    }

    /// Counts what went missing since the last cut.
    pub(crate) fn cut(&mut self, out: &mut Measured) {
        let lost = self.reception.lost().cast_signed() - self.cut;
        self.cut += lost;
        out.lost += lost;
        if self.is_audio {
            out.audio_lost += lost;
        }
    }

    /// Follows the frames; how many this packet completed.
    pub(super) fn record_part(
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
            self.record_frame(now, out);
        }
        if completed.keyframe {
            self.asked.take().inspect(|asked| out.keyframe.record(now - *asked));
            self.switched.take().inspect(|before| out.switch.record(now - *before));
        }
        completed.frames
    }

    /// Freeze as in webrtc-stats: a gap of at least max(3 d, d + 150 ms), d being the mean gap.
    fn record_frame(&mut self, now: Instant, out: &mut Measured) {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_leaves_out_is_skipped_and_what_comes_late_is_not() {
        let mut stream = Stream::new(false, SeqNo(1), Instant::ZERO, false);
        let mut note =
            |source, sequence| stream.record_stamp(Instant::ZERO, &Stamp { source, sequence, sent: Duration::ZERO });
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
                stream.record(Instant::ZERO, SeqNo(*seq), &mut out);
            });
            stream.cut(&mut out);
            (out.lost, out.audio_lost)
        };
        assert_eq!(lost_by(&mut stream, &[70_000, 70_003]), (2, 2));
        assert_eq!(lost_by(&mut stream, &[70_001, 70_004]), (-1, -1));
        assert_eq!(lost_by(&mut stream, &[]), (0, 0));
    }
}
