//! Arrival times by transport-wide sequence number, handed out as feedback every 50 to 100 ms.

use crate::ids::SeqNo;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// When feedback is due, and how much one holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArrivalConfig {
    /// Feedback at a low rate: what libwebrtc's receivers begin with.
    pub max_interval: Duration,
    /// Feedback at a high rate; below 50 ms senders learn nothing more.
    pub min_interval: Duration,
    /// So many arrivals call for feedback before `max_interval` is over.
    pub soon_after: usize,
    /// Most arrivals in one feedback: two bytes each and a status keep it below 1,200 bytes.
    pub max_arrivals: usize,
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
            max_arrivals: 400,
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

    /// Writes to `out` what is to be reported now, as consecutive numbers with their arrivals, the first and the last
    /// of them arrived. Returns false, with `out` empty, where nothing is due. Call until then.
    pub fn take_due(&mut self, now: Instant, out: &mut Vec<(u16, Option<Instant>)>) -> bool {
        out.clear();
        if self.poll_timeout().is_none_or(|due| now < due) && !self.is_behind() {
            return false;
        }
        let skip = usize::try_from(self.report_from.0 - self.first.0).unwrap_or(usize::MAX);
        let mut arrivals = 0;
        for (seq, slot) in (self.report_from.0..).zip(self.slots.iter().skip(skip)) {
            if arrivals == self.config.max_arrivals {
                break;
            }
            arrivals += usize::from(slot.is_some());
            out.push((SeqNo(seq).wire(), *slot));
        }
        while out.last().is_some_and(|(_, arrival)| arrival.is_none()) {
            out.pop();
        }
        self.report_from = SeqNo(self.report_from.0 + out.len() as u64);
        self.unreported = self.slots.iter().skip(skip + out.len()).flatten().count();
        if self.unreported == 0 {
            self.last_report = Some(now);
        }
        self.trim();
        !out.is_empty()
    }

    /// Whether more waits than one feedback holds.
    fn is_behind(&self) -> bool {
        self.unreported > self.config.max_arrivals
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
        recorder.take_due(now, &mut out);
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
        let mut out = Vec::new();
        while recorder.take_due(ms(100), &mut out) {
            parts.push(out.len());
        }
        assert_eq!(parts, [400, 400, 200]);
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
            let mut out = Vec::new();
            for seq in seqs {
                recorder.on_packet(now, seq);
                now += Duration::from_millis(7);
                prop_assert!(recorder.slots.len() <= 64);
                while recorder.take_due(now, &mut out) {
                    prop_assert!(out.first().unwrap().1.is_some() && out.last().unwrap().1.is_some());
                    prop_assert!(out.windows(2).all(|w| w[0].0.wrapping_add(1) == w[1].0));
                }
            }
        }
    }
}
