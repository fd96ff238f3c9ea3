//! How long feedback may fail to come: of a path that stalls nothing else tells, and what is sent meanwhile stands as a
//! queue when it goes on.

use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// Times that are kept, and how far they are apart at least: they reach back for more than a second.
const KEPT: usize = 128;
const STEP: Duration = Duration::from_millis(10);
/// So many mean deviations of the response are chance, as in RFC 6298 section 2; and so much more is, which is one report
/// lost of those that come each 50 to 100 ms.
const DEVIATIONS: f64 = 4.0;
const SLACK: Duration = Duration::from_millis(160);
/// Feedback that has just come says enough for so long.
const LEAST: Duration = Duration::from_millis(50);

/// What was sent that no feedback told of.
#[derive(Clone, Debug)]
pub(super) struct Unanswered {
    /// Oldest first.
    sent: VecDeque<Instant>,
    /// From a packet's sending to the feedback on it, and how much that varies, in seconds.
    response: f64,
    deviation: f64,
    /// Time between feedback, in seconds.
    interval: f64,
}

impl Unanswered {
    /// Nothing was sent, and a response is taken to last `response` seconds.
    pub(super) fn new(response: f64) -> Self {
        Self { sent: VecDeque::new(), response, deviation: response / 4.0, interval: 0.1 }
    }

    /// From a packet's sending to the feedback on it, smoothed, in seconds.
    pub(super) fn response(&self) -> f64 {
        self.response
    }

    /// A packet leaves.
    pub(super) fn on_sent(&mut self, now: Instant) {
        if self.sent.back().is_some_and(|last| now.saturating_since(*last) < STEP) {
            return;
        }
        if self.sent.capacity() == 0 {
            self.sent.reserve_exact(KEPT);
        }
        if self.sent.len() == KEPT {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
    }

    /// Feedback came, `interval` seconds after that before, and told of the packets up to one that left at `newest`. When
    /// the next is overdue; `None` where nothing is under way.
    pub(super) fn on_feedback(&mut self, now: Instant, newest: Instant, interval: f64) -> Option<Instant> {
        let error = now.saturating_since(newest).as_secs_f64().min(5.0) - self.response;
        self.deviation += (error.abs() - self.deviation) / 8.0;
        self.response += error / 4.0;
        self.interval += (interval - self.interval) / 8.0;
        while self.sent.front().is_some_and(|at| *at <= newest) {
            self.sent.pop_front();
        }
        self.sent.front().map(|oldest| (*oldest + self.patience()).max(now + LEAST))
    }

    /// How long feedback on a packet may take.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.response + DEVIATIONS * self.deviation + self.interval) + SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets each 10 ms for two seconds, each answered by feedback each `interval` ms that takes `way` ms, and `jitter` ms
    /// more every other time. When the next is overdue, in ms behind the last.
    fn overdue(interval: u64, way: u64, jitter: u64) -> u64 {
        let mut unanswered = Unanswered::new(0.2);
        let (mut due, mut last) = (None, Instant::ZERO);
        for ms in (0..2_000).step_by(10) {
            let now = Instant::from_millis(1_000 + ms);
            unanswered.on_sent(now);
            if ms >= 500 && ms.is_multiple_of(interval) {
                let took = way + if (ms / interval).is_multiple_of(2) { jitter } else { 0 };
                due = unanswered.on_feedback(now, now - Duration::from_millis(took), interval as f64 / 1e3);
                last = now;
            }
        }
        (due.unwrap() - last).as_millis() as u64
    }

    #[test]
    fn a_stall_shows_soon_where_feedback_is_steady_and_later_where_it_is_not() {
        assert!((150..300).contains(&overdue(50, 40, 0)), "{}", overdue(50, 40, 0));
        assert!((150..300).contains(&overdue(50, 400, 0)), "what is far is not late: {}", overdue(50, 400, 0));
        assert!(overdue(250, 40, 0) >= 400, "{}", overdue(250, 40, 0));
        assert!(overdue(50, 40, 150) >= 350, "{}", overdue(50, 40, 150));
    }

    #[test]
    fn nothing_under_way_is_not_overdue() {
        let mut unanswered = Unanswered::new(0.2);
        (0..1_000).for_each(|n| unanswered.on_sent(Instant::from_millis(1_000 + 10 * n)));
        assert_eq!(unanswered.sent.len(), KEPT, "bounded");
        let now = Instant::from_millis(11_100);
        assert_eq!(unanswered.on_feedback(now, Instant::from_millis(11_000), 0.05), None);
    }
}
