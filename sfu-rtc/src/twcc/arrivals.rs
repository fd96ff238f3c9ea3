//! Arrival times by transport-wide sequence number, handed out as feedback every 50 to 100 ms.

use crate::ids::SeqNo;
use crate::prefetch::prefetch;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// When feedback is due, and what is remembered for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArrivalConfig {
    /// Feedback at a low rate: what libwebrtc's receivers begin with.
    pub max_interval: Duration,
    /// Feedback at a high rate; below 50 ms senders learn nothing more.
    pub min_interval: Duration,
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
            soon_after: 20,
            window: 2_048,
        }
    }
}

/// Records arrivals and tells when and what to report.
#[derive(Debug)]
pub struct ArrivalRecorder {
    config: ArrivalConfig,
    /// Arrivals of the numbers from `first` on.
    slots: VecDeque<Option<Instant>>,
    first: SeqNo,
    /// Lowest number whose arrival was not reported.
    report_from: SeqNo,
    unreported: usize,
    last_report: Option<Instant>,
    /// Arrival of the oldest unreported packet.
    waiting_since: Instant,
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
            unreported: 0,
            last_report: None,
            waiting_since: Instant::ZERO,
            scratch: Vec::new(),
        }
    }

    /// Fetches the place of the next arrival.
    pub fn prefetch(&self) {
        if let Some(newest) = self.slots.back() {
            prefetch(newest);
        }
    }

    /// Notes that the packet with the transport-wide number `wire` arrived.
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
        let interval =
            if self.unreported >= self.config.soon_after { self.config.min_interval } else { self.config.max_interval };
        // The first feedback of all goes out soon: a sender probes at its start and waits for it.
        Some(self.last_report.map_or(self.waiting_since + self.config.min_interval, |last| last + interval))
    }

    /// If feedback is due, hands what is to be reported to `write`, which tells how much of it one packet covered and
    /// gets the rest in its next call: the number of the first packet, which has arrived, and consecutive arrivals.
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
        while let Some(holes) = self.scratch[at..].iter().position(Option::is_some) {
            at += holes;
            let base = SeqNo(self.report_from.0 + at as u64).wire();
            // Whoever covers nothing has no room; then this round is lost, as if on the way.
            let covered = write(base, &self.scratch[at..]);
            at = if covered == 0 { self.scratch.len() } else { (at + covered).min(self.scratch.len()) };
        }
        self.report_from = SeqNo(self.report_from.0 + self.scratch.len() as u64);
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
        (self.first, self.report_from, self.unreported) = (seq, seq, 0);
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
        assert_eq!(recorder.poll_timeout(), Some(ms(51)));
        assert!(take(&mut recorder, ms(50)).is_empty());
        assert_eq!(take(&mut recorder, ms(51)), [(65_535, Some(ms(1))), (0, None), (1, Some(ms(2)))]);
        assert_eq!(recorder.poll_timeout(), None);
        recorder.on_packet(ms(60), 2);
        assert_eq!(recorder.poll_timeout(), Some(ms(151)));
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
    fn much_is_reported_sooner_and_in_parts() {
        let mut recorder = ArrivalRecorder::new(ArrivalConfig::default());
        recorder.on_packet(ms(0), 0);
        take(&mut recorder, ms(50));
        (1..=1_000).for_each(|seq| recorder.on_packet(ms(51), seq));
        assert_eq!(recorder.poll_timeout(), Some(ms(100)));
        let mut parts = Vec::new();
        recorder.report(ms(100), |base, arrivals| {
            parts.push((base, arrivals.len()));
            arrivals.len().min(400)
        });
        assert_eq!(parts, [(1, 1_000), (401, 600), (801, 200)]);
        assert_eq!(recorder.poll_timeout(), None);
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
                    assert!(arrivals.first().unwrap().is_some() && arrivals.last().unwrap().is_some());
                    arrivals.len().min(9)
                });
            }
        }
    }
}
