//! Beside somebody who keeps the queue full, such as a TCP flow: a window that grows and falls as CUBIC's does (RFC 9438),
//! sent over a response time, so that both get as much.

use crate::time::{Duration, Instant};

/// RFC 9438 section 5: how fast the window grows, in packets per second cubed.
const C: f64 = 0.4;
/// Section 4.6: what becomes of it at a loss.
const BETA: f64 = 0.7;
/// A packet of TCP's in bits: who counts in smaller ones gets less.
const PACKET: f64 = 1_460.0 * 8.0;

/// Losses are at most so far apart while somebody competes: CUBIC's window takes 4 s to grow again on 2 Mbit/s with 400 ms,
/// 6 s on 10 (RFC 9438 section 4.2).
const LONGEST_CYCLE: Duration = Duration::from_secs(20);

/// The window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Competition {
    /// In packets: before the last loss, and right behind it.
    most: f64,
    least: f64,
    /// When it fell.
    fell: Instant,
    /// Something was lost: somebody who fills a queue loses packets, and so do we.
    lost: bool,
    /// Since when all that bursts show is ours.
    pub(super) alone_since: Option<Instant>,
}

impl Competition {
    /// Begins at `rate` bits per second, each packet being answered after `response` seconds.
    pub(super) fn new(now: Instant, rate: f64, response: f64) -> Self {
        let window = rate * response / PACKET;
        Self { most: window, least: window, fell: now, lost: false, alone_since: None }
    }

    /// Something that left at `sent` is known to be lost, while we send at `rate`. What left before the window fell belongs
    /// to the loss for which it fell (RFC 6582 section 3.2), and so does what left until TCP would send again, whose
    /// window is less than what is on the way.
    pub(super) fn on_loss(&mut self, now: Instant, sent: Instant, rate: f64, response: f64) {
        if sent > self.fell + Duration::from_secs_f64(response * (1.0 - BETA)) {
            self.lost = true;
            self.most = rate * response / PACKET;
            (self.least, self.fell) = (self.most * BETA, now);
        }
    }

    /// The queue is gone: whether that is since its owner yields after a loss, and will be back. He loses something now and
    /// then, as we do.
    pub(super) fn will_go_on(&self, now: Instant) -> bool {
        self.lost && self.alone_since.is_none() && now.saturating_since(self.fell) < LONGEST_CYCLE
    }

    /// The rate that the window makes.
    pub(super) fn rate(&self, now: Instant, response: f64) -> f64 {
        let response = response.max(0.001);
        let passed = now.saturating_since(self.fell).min(Duration::from_secs(60)).as_secs_f64();
        let to_most = ((self.most - self.least) / C).cbrt();
        let cubic = C * (passed - to_most).powi(3) + self.most;
        // Section 4.3: no less than Reno's with that fall.
        let reno = self.least + 3.0 * (1.0 - BETA) / (1.0 + BETA) * passed / response;
        cubic.max(reno) * PACKET / response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: f64 = 0.4;

    #[test]
    fn after_a_loss_it_is_back_after_as_long_as_cubic_takes() {
        let start = Instant::from_millis(10_000);
        let at = |ms| start + Duration::from_millis(ms);
        let mut competition = Competition::new(start, 300_000.0, RESPONSE);
        competition.on_loss(at(1_000), at(600), 1_000_000.0, RESPONSE);
        let rate = |ms| competition.rate(at(ms), RESPONSE) / 1_000.0;
        assert!((rate(1_000) - 700.0).abs() < 1.0, "{}", rate(1_000));
        // 34 packets: (34 * 0.3 / 0.4)^(1/3) = 2.95 s.
        assert!(rate(3_500) < 1_000.0 && (rate(3_950) - 1_000.0).abs() < 1.0, "{}", rate(3_950));
        assert!(rate(8_000) > 1_300.0, "{}", rate(8_000));
        // The same window takes twice as long on a path twice as long.
        assert!((competition.rate(at(1_000), 2.0 * RESPONSE) - 350_000.0).abs() < 1_000.0);
    }

    #[test]
    fn what_left_before_a_fall_is_no_second_loss() {
        let start = Instant::from_millis(10_000);
        let at = |ms| start + Duration::from_millis(ms);
        let mut competition = Competition::new(start, 1_000_000.0, RESPONSE);
        // The last is told of a response time and more after the fall, as feedback comes now and then only.
        for (now, sent) in [(1_000, 600), (1_050, 650), (1_480, 990), (1_510, 1_110)] {
            competition.on_loss(at(now), at(sent), 1_000_000.0, RESPONSE);
        }
        assert!((competition.rate(at(1_000), RESPONSE) - 700_000.0).abs() < 1_000.0);
        competition.on_loss(at(1_530), at(1_130), 800_000.0, RESPONSE);
        assert!((competition.rate(at(1_530), RESPONSE) - 560_000.0).abs() < 1_000.0);
    }

    #[test]
    fn somebody_who_goes_on_loses_something_now_and_then() {
        let start = Instant::from_millis(10_000);
        let at = |ms| start + Duration::from_millis(ms);
        let mut competition = Competition::new(start, 1_000_000.0, RESPONSE);
        assert!(!competition.will_go_on(at(1_000)), "nothing was lost");
        competition.on_loss(at(1_500), at(1_100), 1_000_000.0, RESPONSE);
        assert!(competition.will_go_on(at(2_000)) && !competition.will_go_on(at(22_000)));
        competition.alone_since = Some(at(1_900));
        assert!(!competition.will_go_on(at(2_000)));
    }
}
