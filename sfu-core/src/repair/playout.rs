//! How long a subscriber is asked to keep video before it plays it.

use sfu_rtc::time::{Duration, Instant};

/// A shorter delay is asked for once it has sufficed for so long: each change is seen as motion that is too fast or too
/// slow.
const HOLD: Duration = Duration::from_secs(10);
/// What was asked for before the path was known is taken back so soon, if nothing is lost: some hundred packets have shown
/// by then what it is like.
const FIRST_HOLD: Duration = Duration::from_secs(3);
/// Delays are whole multiples of it, so that a round trip that varies changes nothing.
const STEP: Duration = Duration::from_millis(50);

/// Follows what plans want: up at once, down late.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct PlayoutHold {
    asked: Duration,
    /// When the delay in force was last wanted, and for how long it stays.
    wanted: Option<(Instant, Duration)>,
}

impl PlayoutHold {
    /// Whether something was asked for, if only no delay.
    pub(crate) fn has_begun(&self) -> bool {
        self.wanted.is_some()
    }

    /// What is asked for with the first packet, of a path that only needs `slack` if it loses something; `None` where it is
    /// not the first. A receiver whose delay rises later plays too slowly meanwhile, and freezes at each loss.
    pub(crate) fn begin(&mut self, now: Instant, slack: Duration) -> Option<Duration> {
        if self.has_begun() {
            return None;
        }
        (self.asked, self.wanted) = (rounded(slack), Some((now, FIRST_HOLD)));
        Some(self.asked)
    }

    /// What is asked for after a plan that wants `slack`.
    pub(crate) fn update(&mut self, now: Instant, slack: Duration) -> Duration {
        let slack = rounded(slack);
        if slack >= self.asked || self.wanted.is_none_or(|(wanted, hold)| now.saturating_since(wanted) >= hold) {
            (self.asked, self.wanted) = (slack, Some((now, HOLD)));
        }
        self.asked
    }
}

fn rounded(slack: Duration) -> Duration {
    let steps = slack.as_nanos().div_ceil(STEP.as_nanos());
    STEP * u32::try_from(steps).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_at_once_and_falls_after_a_while() {
        let mut delay = PlayoutHold::default();
        let mut ask =
            |seconds: u64, slack| delay.update(Instant::from_millis(seconds * 1_000), Duration::from_millis(slack));
        let millis = Duration::from_millis;
        assert_eq!(ask(0, 0), Duration::ZERO);
        assert_eq!((ask(1, 141), ask(2, 149)), (millis(150), millis(150)));
        assert_eq!(
            (ask(3, 0), ask(5, 180), ask(6, 120), ask(14, 120)),
            (millis(150), millis(200), millis(200), millis(200))
        );
        assert_eq!((ask(15, 120), ask(24, 0), ask(25, 0)), (millis(150), millis(150), Duration::ZERO));
    }

    #[test]
    fn what_is_asked_for_with_the_first_packet_goes_soon_where_nothing_is_lost() {
        let (at, millis) = (|ms: u64| Instant::from_millis(10_000 + ms), Duration::from_millis);
        let mut whole = PlayoutHold::default();
        assert_eq!((whole.begin(at(0), millis(305)), whole.begin(at(10), millis(305))), (Some(millis(350)), None));
        let asked = [200, 2_999, 3_000].map(|ms| whole.update(at(ms), Duration::ZERO));
        assert_eq!(asked, [millis(350), millis(350), Duration::ZERO]);
        let mut lossy = PlayoutHold::default();
        assert_eq!(lossy.begin(at(0), millis(305)), Some(millis(350)));
        assert_eq!(lossy.update(at(400), millis(330)), millis(350));
        assert_eq!(lossy.update(at(9_000), Duration::ZERO), millis(350), "it was wanted");
        assert_eq!(lossy.begin(at(9_000), Duration::ZERO), None);
    }
}
