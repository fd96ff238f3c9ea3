//! Arrival times by transport-wide sequence number, handed out as feedback every 50 to 100 ms, and more often to a sender
//! that ramps up.

use crate::ids::SeqNo;
use crate::prefetch::prefetch;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// When feedback is due, and what is remembered for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArrivalConfig {
    /// Feedback at a low rate: what libwebrtc's receivers begin with.
    pub max_interval: Duration,
    /// Feedback at a high rate; below 50 ms a sender at its rate learns nothing more.
    pub min_interval: Duration,
    /// Feedback to a sender that ramps up: it probes, and waits for the answer before it goes on.
    pub ramp_interval: Duration,
    /// How long a sender ramps up, from its first packet on and since it last sent more than it used to.
    pub ramp: Duration,
    /// So many arrivals call for feedback before `max_interval` is over.
    pub soon_after: usize,
    /// Sequence numbers remembered, so that a packet overtaken by its feedback can be reported after all; a jump
    /// beyond begins anew.
    pub window: usize,
}

impl Default for ArrivalConfig {
    fn default() -> Self {
        Self {
            max_interval: Duration::from_millis(100),
            min_interval: Duration::from_millis(50),
            ramp_interval: Duration::from_millis(30),
            ramp: Duration::from_secs(2),
            soon_after: 20,
            window: 2_048,
        }
    }
}

/// Arrivals per second: of the last moments, and as they usually are.
#[derive(Clone, Copy, Default, Debug)]
struct Rates {
    recent: f64,
    usual: f64,
}

/// What is recent and what is usual, in seconds. A frame each 200 ms is no rise.
const RECENT: f64 = 0.3;
const USUAL: f64 = 2.0;
/// So much more than usual is a rise.
const RISE: f64 = 1.5;

impl Rates {
    /// So many arrived in that time. Whether the rate rises.
    fn add(&mut self, packets: usize, passed: Duration) -> bool {
        let passed = passed.as_secs_f64().max(0.001);
        let rate = packets as f64 / passed;
        self.recent += (rate - self.recent) * (passed / RECENT).min(1.0);
        self.usual += (rate - self.usual) * (passed / USUAL).min(1.0);
        self.recent > self.usual * RISE
    }
}

/// How many packets the peer sent, and how many of them arrived; those of now and of before compared tell what was lost
/// meanwhile. What was late is lost at first.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ArrivalCounts {
    /// Sent, as far as numbers tell.
    pub sent: u64,
    /// Arrived.
    pub arrived: u64,
}

/// Records arrivals and tells when and what to report.
#[derive(Debug)]
pub struct ArrivalRecorder {
    config: ArrivalConfig,
    /// Arrivals of the numbers from `first` on.
    slots: VecDeque<Option<Instant>>,
    first: SeqNo,
    /// Where the next feedback begins: behind the last, or at a packet that came late for it.
    report_from: SeqNo,
    /// Up to which they were counted.
    counted_to: SeqNo,
    unreported: usize,
    last_report: Option<Instant>,
    /// Arrival of the oldest unreported packet.
    waiting_since: Instant,
    rates: Rates,
    ramps_until: Instant,
    counts: ArrivalCounts,
    scratch: Vec<Option<Instant>>,
}

impl ArrivalRecorder {
    /// Nothing arrived.
    pub fn new(config: ArrivalConfig) -> Self {
        Self {
            config,
            slots: VecDeque::new(),
            first: SeqNo(0),
            report_from: SeqNo(0),
            counted_to: SeqNo(0),
            unreported: 0,
            last_report: None,
            waiting_since: Instant::ZERO,
            rates: Rates::default(),
            ramps_until: Instant::ZERO,
            counts: ArrivalCounts::default(),
            scratch: Vec::new(),
        }
    }

    /// Fetches the place of the next arrival.
    pub fn prefetch(&self) {
        if let Some(newest) = self.slots.back() {
            prefetch(newest);
        }
    }

    /// Records that the packet with the transport-wide number `wire` arrived.
    pub fn on_packet(&mut self, now: Instant, wire: u16) {
        let seq = self.place(wire);
        let Some(index) = seq.0.checked_sub(self.first.0).and_then(|n| usize::try_from(n).ok()) else { return };
        let Some(slot) = self.slots.get_mut(index) else { return };
        if slot.is_some() {
            return;
        }
        *slot = Some(now);
        if self.unreported == 0 {
            self.waiting_since = now;
        }
        self.unreported += 1;
        self.report_from = self.report_from.min(seq);
    }

    /// When feedback is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.unreported == 0 {
            return None;
        }
        let ArrivalConfig { max_interval, min_interval, ramp_interval, soon_after, .. } = self.config;
        let Some(last) = self.last_report else { return Some(self.waiting_since + ramp_interval) };
        let interval = if self.unreported >= soon_after { min_interval } else { max_interval };
        Some(last + if last < self.ramps_until { interval.min(ramp_interval) } else { interval })
    }

    /// What was reported so far.
    pub fn counts(&self) -> ArrivalCounts {
        self.counts
    }

    /// If feedback is due, hands what is to be reported to `write`, which tells how much of it one packet covered and
    /// gets the rest in its next call: the number of the first packet, and consecutive arrivals, of which the last is
    /// one. The first is that behind the last reported, arrived or not: what was lost in between stands in no other
    /// feedback.
    pub fn report(&mut self, now: Instant, mut write: impl FnMut(u16, &[Option<Instant>]) -> usize) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        let skip = usize::try_from(self.report_from.0 - self.first.0).unwrap_or(usize::MAX);
        self.scratch.clear();
        self.scratch.extend(self.slots.iter().skip(skip));
        while self.scratch.last().is_some_and(Option::is_none) {
            self.scratch.pop();
        }
        let mut at = 0;
        while at < self.scratch.len() {
            let base = SeqNo(self.report_from.0 + at as u64).wire();
            // Whoever covers nothing has no room; then this round is lost, as if on the way.
            let covered = write(base, &self.scratch[at..]);
            at = if covered == 0 { self.scratch.len() } else { (at + covered).min(self.scratch.len()) };
        }
        self.counts.arrived += self.unreported as u64;
        self.counts.sent += (self.report_from.0 + self.scratch.len() as u64).saturating_sub(self.counted_to.0);
        self.report_from = SeqNo(self.report_from.0 + self.scratch.len() as u64);
        self.counted_to = self.counted_to.max(self.report_from);
        // Nothing is known of the time before the first.
        let since = self.last_report.unwrap_or(self.waiting_since);
        if self.rates.add(self.unreported, now - since) {
            self.ramps_until = now + self.config.ramp;
        }
        self.unreported = 0;
        self.last_report = Some(now);
    }

    /// Extends `wire` and makes room for it.
    fn place(&mut self, wire: u16) -> SeqNo {
        let highest = SeqNo(self.first.0 + self.slots.len() as u64);
        if self.slots.is_empty() {
            // Far from zero, so that numbers below the first one can be told.
            return self.restart(SeqNo(1 << 16 | u64::from(wire)));
        }
        let seq = highest.extend(wire);
        if seq.0 >= highest.0 + self.config.window as u64 {
            return self.restart(seq);
        }
        while self.first.0 + self.slots.len() as u64 <= seq.0 {
            self.slots.push_back(None);
        }
        self.trim();
        seq
    }

    fn restart(&mut self, seq: SeqNo) -> SeqNo {
        self.slots.clear();
        self.slots.push_back(None);
        (self.first, self.report_from, self.counted_to, self.unreported) = (seq, seq, seq, 0);
        seq
    }

    fn trim(&mut self) {
        while self.slots.len() > self.config.window {
            if self.slots.pop_front().flatten().is_some() && self.first >= self.report_from {
                self.unreported = self.unreported.saturating_sub(1);
            }
            self.first = self.first.next();
        }
        self.report_from = self.report_from.max(self.first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Ssrc;
    use crate::rtcp::{self, RtcpView, TwccFeedback, write_twcc};
    use proptest::prelude::*;

    fn ms(n: u64) -> Instant {
        Instant::from_millis(n)
    }

    fn take(recorder: &mut ArrivalRecorder, now: Instant) -> Vec<(u16, Option<Instant>)> {
        let mut out = Vec::new();
        recorder.report(now, |base, arrivals| {
            out.extend(arrivals.iter().enumerate().map(|(i, at)| (base.wrapping_add(i as u16), *at)));
            arrivals.len()
        });
        out
    }

    #[test]
    fn reports_what_arrived_and_the_holes_between() {
        let mut recorder = ArrivalRecorder::new(ArrivalConfig::default());
        recorder.on_packet(ms(1), 65_535);
        recorder.on_packet(ms(2), 1);
        assert_eq!(recorder.poll_timeout(), Some(ms(31)));
        assert!(take(&mut recorder, ms(30)).is_empty());
        assert_eq!(take(&mut recorder, ms(31)), [(65_535, Some(ms(1))), (0, None), (1, Some(ms(2)))]);
        assert_eq!(recorder.poll_timeout(), None);
        assert_eq!(recorder.counts(), ArrivalCounts { sent: 3, arrived: 2 });
        recorder.on_packet(ms(60), 0);
        take(&mut recorder, ms(131));
        assert_eq!(recorder.counts(), ArrivalCounts { sent: 3, arrived: 3 }, "late, not lost");
    }

    #[test]
    fn a_packet_overtaken_by_its_feedback_is_reported_after_all() {
        let mut recorder = ArrivalRecorder::new(ArrivalConfig::default());
        recorder.on_packet(ms(1), 10);
        recorder.on_packet(ms(2), 12);
        take(&mut recorder, ms(60));
        recorder.on_packet(ms(61), 11);
        assert_eq!(take(&mut recorder, ms(160)), [(11, Some(ms(61))), (12, Some(ms(2)))]);
        recorder.on_packet(ms(161), 11);
        assert_eq!(recorder.poll_timeout(), None, "a duplicate is no news");
    }

    #[test]
    fn feedback_begins_where_the_last_ended() {
        let mut recorder = ArrivalRecorder::new(ArrivalConfig::default());
        recorder.on_packet(ms(1), 65_533);
        assert_eq!(take(&mut recorder, ms(60)), [(65_533, Some(ms(1)))], "nothing is known of what came before it");
        recorder.on_packet(ms(61), 1);
        let lost = [65_534, 65_535, 0].map(|seq| (seq, None));
        assert_eq!(take(&mut recorder, ms(160)), [&lost[..], &[(1, Some(ms(61)))]].concat());
        recorder.on_packet(ms(161), 2);
        assert_eq!(take(&mut recorder, ms(260)), [(2, Some(ms(161)))]);
        assert_eq!(recorder.counts(), ArrivalCounts { sent: 6, arrived: 3 });
    }

    #[test]
    fn what_comes_late_is_reported_with_the_gap_after_it() {
        let mut recorder = ArrivalRecorder::new(ArrivalConfig::default());
        recorder.on_packet(ms(1), 10);
        recorder.on_packet(ms(2), 12);
        take(&mut recorder, ms(60));
        recorder.on_packet(ms(61), 15);
        recorder.on_packet(ms(62), 11);
        let expected = [(11, Some(ms(62))), (12, Some(ms(2))), (13, None), (14, None), (15, Some(ms(61)))];
        assert_eq!(take(&mut recorder, ms(160)), expected);
        recorder.on_packet(ms(161), 13);
        let expected = [(13, Some(ms(161))), (14, None), (15, Some(ms(61)))];
        assert_eq!(take(&mut recorder, ms(260)), expected);
    }

    #[test]
    fn a_gap_longer_than_one_feedback_holds_is_told_by_several() {
        let mut recorder = ArrivalRecorder::new(ArrivalConfig::default());
        recorder.on_packet(ms(1), 65_000);
        take(&mut recorder, ms(60));
        let newest = 65_000u16.wrapping_add(1_700);
        recorder.on_packet(ms(61), newest);
        let mut told = Vec::new();
        recorder.report(ms(160), |base_seq, arrivals| {
            let mut out = Vec::new();
            let feedback = TwccFeedback { sender: Ssrc(1), media: Ssrc(2), base_seq, fb_count: 0, arrivals };
            let covered = write_twcc(&mut out, &feedback);
            let Some(Ok(RtcpView::Twcc(view))) = rtcp::compound(&out).next() else { panic!("it is no feedback") };
            told.extend(view.packets().map(|(seq, delta)| (seq, delta.is_some())));
            covered
        });
        let expected: Vec<_> = (1..=1_700).map(|n| (65_000u16.wrapping_add(n), n == 1_700)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn much_is_reported_sooner_and_in_parts() {
        let mut recorder = ArrivalRecorder::new(ArrivalConfig::default());
        recorder.on_packet(ms(0), 0);
        take(&mut recorder, ms(50));
        (1..=1_000).for_each(|seq| recorder.on_packet(ms(51), seq));
        let mut parts = Vec::new();
        recorder.report(ms(100), |base, arrivals| {
            parts.push((base, arrivals.len()));
            arrivals.len().min(400)
        });
        assert_eq!(parts, [(1, 1_000), (401, 600), (801, 200)]);
        assert_eq!(recorder.poll_timeout(), None);
    }

    /// How far apart reports are, in ms, on packets each `apart(n)` ms.
    fn intervals(count: u64, apart: impl Fn(u64) -> u64) -> Vec<(u64, u64)> {
        let mut recorder = ArrivalRecorder::new(ArrivalConfig::default());
        let (mut now, mut last, mut intervals) = (0, 0, Vec::new());
        for seq in 0..count {
            let at = now + apart(seq);
            while now < at {
                now += 1;
                if recorder.poll_timeout().is_some_and(|due| due <= ms(now)) {
                    take(&mut recorder, ms(now));
                    intervals.push((now, now - last));
                    last = now;
                }
            }
            recorder.on_packet(ms(now), seq as u16);
        }
        intervals
    }

    #[test]
    fn a_sender_that_ramps_up_is_answered_more_often() {
        // 100 packets per second for 10 s, then 300.
        let all = intervals(4_000, |seq| if seq < 1_000 { 10 } else { 3 });
        let mean = |from: u64, to: u64| {
            let of: Vec<_> = all.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, apart)| *apart).collect();
            of.iter().sum::<u64>() / of.len() as u64
        };
        assert_eq!((mean(500, 1_500), mean(6_000, 10_000)), (30, 100));
        assert_eq!(mean(10_500, 11_500), 30);
        assert!((50..70).contains(&mean(17_000, 19_000)), "20 packets take 60 ms");
        assert!(all.iter().skip(1).all(|(_, apart)| (30..=101).contains(apart)));
    }

    #[test]
    fn frames_far_apart_are_no_ramp() {
        // 5 frames per second, of 20 packets each.
        let all = intervals(2_000, |seq| if seq % 20 == 0 { 200 } else { 0 });
        let late: Vec<_> = all.iter().filter(|(at, _)| *at > 8_000).collect();
        assert!(late.iter().all(|(_, apart)| *apart >= 50), "{late:?}");
    }

    #[test]
    fn a_jump_begins_anew() {
        let mut recorder = ArrivalRecorder::new(ArrivalConfig::default());
        recorder.on_packet(ms(0), 0);
        recorder.on_packet(ms(1), 20_000);
        assert_eq!(take(&mut recorder, ms(100)), [(20_000, Some(ms(1)))]);
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_reports_are_consecutive(seqs in prop::collection::vec(any::<u16>(), 1..500)) {
            let config = ArrivalConfig { window: 64, ..ArrivalConfig::default() };
            let mut recorder = ArrivalRecorder::new(config);
            let mut now = ms(0);
            for seq in seqs {
                recorder.on_packet(now, seq);
                now += Duration::from_millis(7);
                prop_assert!(recorder.slots.len() <= 64);
                recorder.report(now, |_, arrivals| {
                    assert!(arrivals.last().unwrap().is_some());
                    arrivals.len().min(9)
                });
            }
        }
    }
}
