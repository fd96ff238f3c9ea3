//! When a publisher is asked for a keyframe.
//!
//! A keyframe costs the publisher several frames' worth of bits, and every subscriber's path a burst, so wishes are
//! merged. The first goes out at once; wishes that come while one is out are met by the same keyframe; a request that
//! is not answered is repeated as long as someone needs it.

use sfu_rtc::time::{Duration, Instant};

/// Limits of keyframe requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyframeConfig {
    /// Shortest time between two requests to one source: an encoder at a few hundred kbit/s needs that long to get
    /// one keyframe through.
    pub source_interval: Duration,
    /// Longest time between two requests while a need is not met.
    pub max_retry_interval: Duration,
    /// After so many requests without an answer the source is taken not to answer.
    pub max_attempts: u32,
    /// A subscriber's wish is met by a keyframe that was sent to it less than one round trip and this ago.
    pub answer_slack: Duration,
    /// The round trip counts up to this much there, so that a stale measurement does not hide a real wish.
    pub max_answer_window: Duration,
    /// A subscriber has so many wishes ...
    pub receiver_wishes: usize,
    /// ... in this time: one whose path loses every keyframe must not spoil the picture of the others.
    pub receiver_window: Duration,
}

impl Default for KeyframeConfig {
    fn default() -> Self {
        Self {
            source_interval: Duration::from_millis(300),
            max_retry_interval: Duration::from_secs(1),
            max_attempts: 20,
            answer_slack: Duration::from_millis(10),
            max_answer_window: Duration::from_millis(200),
            receiver_wishes: 3,
            receiver_window: Duration::from_secs(10),
        }
    }
}

impl KeyframeConfig {
    /// How long after a keyframe went to a subscriber its wishes are taken to be from before it.
    pub(crate) fn answer_window(&self, rtt: Duration) -> Duration {
        (rtt + self.answer_slack).min(self.max_answer_window)
    }
}

/// Requests to one source.
#[derive(Debug)]
pub(crate) struct KeyframeRequester {
    wanted: bool,
    /// A subscriber asked for it, who may hear nothing else until it comes.
    wished: bool,
    sent_at: Option<Instant>,
    attempts: u32,
    /// When the next request goes out; [`Instant::NEVER`] where none does.
    due: Instant,
}

impl Default for KeyframeRequester {
    fn default() -> Self {
        Self { wanted: false, wished: false, sent_at: None, attempts: 0, due: Instant::NEVER }
    }
}

impl KeyframeRequester {
    /// Someone needs a keyframe.
    pub(crate) fn request(&mut self, now: Instant, config: &KeyframeConfig) {
        if self.wanted {
            return;
        }
        self.wanted = true;
        self.attempts = 0;
        self.due = self.sent_at.map_or(now, |sent| now.max(sent + config.source_interval));
    }

    /// A subscriber asks for a keyframe.
    pub(crate) fn wish(&mut self, now: Instant, config: &KeyframeConfig) {
        self.request(now, config);
        self.wished = true;
    }

    /// Whether a subscriber asked for the keyframe that is wanted.
    pub(crate) fn is_wished(&self) -> bool {
        self.wished
    }

    /// A keyframe began to arrive, or nobody needs one any more.
    pub(crate) fn met(&mut self) {
        (self.wanted, self.wished) = (false, false);
        self.due = Instant::NEVER;
    }

    /// Whether a request is to be sent now; counts it as sent.
    pub(crate) fn take_due(&mut self, now: Instant, rtt: Duration, config: &KeyframeConfig) -> bool {
        if now < self.due {
            return false;
        }
        if self.attempts >= config.max_attempts {
            self.met();
            return false;
        }
        // An answer takes a round trip and the encoder's next frame; waiting doubles, since a source that does not
        // answer may be short of bandwidth.
        let patience = (rtt * 2 + Duration::from_millis(100)).max(config.source_interval);
        let retry = (patience * (1 << self.attempts.min(4))).min(config.max_retry_interval);
        self.attempts += 1;
        self.sent_at = Some(now);
        self.due = now + retry.max(config.source_interval);
        true
    }

    /// When [`Self::take_due`] will have something to do; [`Instant::NEVER`] where nothing is wanted.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }
}

/// Most wishes that a [`ReceiverBudget`] can count.
const MAX_WISHES: usize = 8;

/// How many keyframes one subscriber may wish for.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ReceiverBudget {
    wishes: [Option<Instant>; MAX_WISHES],
    next: u8,
}

impl ReceiverBudget {
    /// Whether a wish is heard; counts it if so.
    pub(crate) fn admit(&mut self, now: Instant, config: &KeyframeConfig) -> bool {
        let allowed = config.receiver_wishes.clamp(1, MAX_WISHES);
        let place = usize::from(self.next) % allowed;
        let spent = self.wishes[place].is_some_and(|at| now - at < config.receiver_window);
        if !spent {
            self.wishes[place] = Some(now);
            self.next = self.next.wrapping_add(1) % allowed as u8;
        }
        !spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn the_first_wish_goes_out_at_once_and_others_join_it() {
        let config = KeyframeConfig::default();
        let mut requester = KeyframeRequester::default();
        requester.request(ms(1_000), &config);
        assert!(requester.take_due(ms(1_000), Duration::from_millis(50), &config));
        requester.request(ms(1_020), &config);
        assert!(!requester.take_due(ms(1_100), Duration::from_millis(50), &config));
        requester.met();
        assert_eq!(requester.due(), Instant::NEVER);
        requester.request(ms(1_150), &config);
        assert_eq!(requester.due(), ms(1_300), "one source is asked every 300 ms at most");
    }

    #[test]
    fn an_unmet_need_is_repeated_and_then_given_up() {
        let config = KeyframeConfig::default();
        let mut requester = KeyframeRequester::default();
        requester.request(ms(0), &config);
        let mut sent = Vec::new();
        for now in (0..60_000).map(ms) {
            if requester.take_due(now, Duration::from_millis(20), &config) {
                sent.push(now.as_millis());
            }
        }
        assert_eq!(sent[..4], [0, 300, 900, 1_900]);
        assert_eq!(sent.len(), config.max_attempts as usize);
    }

    proptest! {
        #[test]
        fn no_pattern_of_wishes_exceeds_the_bounds(
            steps in prop::collection::vec((0_u64..400, any::<bool>(), any::<bool>()), 1..400),
            rtt in 0_u64..2_000,
        ) {
            let config = KeyframeConfig::default();
            let (mut requester, mut budget) = (KeyframeRequester::default(), ReceiverBudget::default());
            let (mut now, mut last_sent) = (Instant::from_millis(1), None::<Instant>);
            let mut heard: Vec<Instant> = Vec::new();
            for (step, wish, keyframe) in steps {
                now += Duration::from_millis(step);
                if wish && budget.admit(now, &config) {
                    heard.push(now);
                    requester.request(now, &config);
                }
                if requester.take_due(now, Duration::from_millis(rtt), &config) {
                    prop_assert!(last_sent.is_none_or(|last| now - last >= config.source_interval));
                    last_sent = Some(now);
                }
                if keyframe {
                    requester.met();
                }
            }
            for wishes in heard.windows(config.receiver_wishes + 1) {
                prop_assert!(wishes[config.receiver_wishes] - wishes[0] >= config.receiver_window);
            }
        }
    }
}
