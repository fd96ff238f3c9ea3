//! How long a subscriber is asked to keep video before it plays it.

use sfu_rtc::time::{Duration, Instant};

/// A shorter delay is asked for once it has sufficed for so long: each change is seen as motion that is too fast or too
/// slow.
const HOLD: Duration = Duration::from_secs(10);
/// Delays are whole multiples of it, so that a round trip that varies changes nothing.
const STEP: Duration = Duration::from_millis(50);

/// Follows what plans want: up at once, down late.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct PlayoutHold {
    asked: Duration,
    /// When the delay in force was last wanted.
    wanted: Option<Instant>,
}

impl PlayoutHold {
    /// What is asked for after a plan that wants `slack`.
    pub(crate) fn update(&mut self, now: Instant, slack: Duration) -> Duration {
        let steps = slack.as_nanos().div_ceil(STEP.as_nanos());
        let slack = STEP * u32::try_from(steps).unwrap_or(u32::MAX);
        if slack >= self.asked || self.wanted.is_none_or(|wanted| now.saturating_since(wanted) >= HOLD) {
            (self.asked, self.wanted) = (slack, Some(now));
        }
        self.asked
    }
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
}
