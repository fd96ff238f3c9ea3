//! When a publisher is asked for a keyframe.
//!
//! A keyframe costs the publisher several frames' worth of bits, and every subscriber's path a burst. So one serves
//! all: who needs one while a request is out waits for the same answer. A request goes out at once, unless the source
//! was asked just before, or more often than it may be on average; one subscriber who asks again and again waits
//! longer, but no request of its is lost. What is not answered is repeated, ever more rarely, as long as someone needs
//! it.

use sfu_rtc::time::{Duration, Instant, Spacing};
use sfu_rtc::units::Bitrate;

/// Limits of keyframe requests.
#[derive(Clone, PartialEq, Debug)]
pub struct KeyframeConfig {
    /// Shortest time between two requests to one source: an encoder at a few hundred kbit/s needs that long to get
    /// one keyframe through.
    pub source_interval: Duration,
    /// Time between two requests to one source on average: others' servers allow one a second.
    pub source_average: Duration,
    /// Requests that may come at [`Self::source_interval`] before the average counts: several who join one after the
    /// other.
    pub source_burst: u32,
    /// Shortest time between two requests where fewer than half of those who watch need a keyframe.
    pub few_interval: Duration,
    /// Share of a source's bytes that keyframes may take there, from 0 to 1: a keyframe costs as much as ten other frames.
    /// Jitsi's bridge allows 0.15; over a few seconds that begin and end with a keyframe, this comes to as much.
    pub max_share: f64,
    /// Longest time that those few wait for the sake of that share.
    pub longest_wait: Duration,
    /// Longest time between two requests while a need is not met.
    pub max_retry_interval: Duration,
    /// Requests without an answer after which the source is taken not to answer.
    pub max_attempts: u32,
    /// Time between two requests to such a source.
    pub unanswered_interval: Duration,
    /// A subscriber's request is met by a keyframe whose last packet was sent to it less than one round trip and this
    /// ago.
    pub answer_slack: Duration,
    /// The round trip counts up to this much there, so that a stale measurement does not hide a real need.
    pub max_answer_window: Duration,
    /// A subscriber that is being sent what it lost is taken to need no other keyframe for so long after its stream began
    /// with one: two or three rounds of retransmission. Of many who join over lossy paths most lose a part of it.
    pub newcomer_repair: Duration,
    /// Time between two keyframes that are asked for because of the same subscriber's requests, on average: one whose
    /// path loses every keyframe must not spoil the video of the others.
    pub receiver_average: Duration,
    /// Requests that may come faster: a subscriber who lost something waits for no more than the publisher's answer.
    pub receiver_burst: u32,
}

impl Default for KeyframeConfig {
    fn default() -> Self {
        Self {
            source_interval: Duration::from_millis(300),
            source_average: Duration::from_secs(1),
            source_burst: 5,
            few_interval: Duration::from_millis(500),
            max_share: 0.12,
            longest_wait: Duration::from_millis(2_500),
            max_retry_interval: Duration::from_secs(1),
            max_attempts: 20,
            unanswered_interval: Duration::from_secs(10),
            answer_slack: Duration::from_millis(10),
            max_answer_window: Duration::from_millis(200),
            newcomer_repair: Duration::from_millis(400),
            receiver_average: Duration::from_secs(2),
            receiver_burst: 5,
        }
    }
}

impl KeyframeConfig {
    /// How long after a keyframe went to a subscriber its requests are taken to be from before it.
    pub(crate) fn answer_window(&self, rtt: Duration) -> Duration {
        (rtt + self.answer_slack).min(self.max_answer_window)
    }
}

/// Of events that are so far apart on average, how far those of a burst are ahead.
fn ahead(average: Duration, burst: u32) -> Duration {
    average * burst.saturating_sub(1)
}

/// Who needs a keyframe of a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// At least half of those who watch.
    Most,
    /// Fewer; for the sake of the others no sooner than this.
    Few(Instant),
}

/// Bytes of keyframes that were asked for, beyond the share that they may take of a stream.
#[derive(Default, Debug)]
pub(crate) struct KeyframeDebt(f64);

impl KeyframeDebt {
    /// A packet of so many bytes came.
    pub(crate) fn on_packet(&mut self, keyframe: bool, bytes: usize, config: &KeyframeConfig) {
        let allowed = config.max_share * bytes as f64;
        self.0 = (self.0 - allowed + if keyframe { bytes as f64 } else { 0.0 }).max(0.0);
    }

    /// How long it will take to be paid at this bitrate, at most as long as anybody waits for that.
    pub(crate) fn wait(&self, bitrate: Bitrate, config: &KeyframeConfig) -> Duration {
        let per_second = config.max_share * bitrate.as_bps() as f64 / 8.0;
        match self.0 {
            0.0 => Duration::ZERO,
            debt if debt < per_second * config.longest_wait.as_secs_f64() => Duration::from_secs_f64(debt / per_second),
            _ => config.longest_wait,
        }
    }
}

/// Requests to one source.
#[derive(Debug)]
pub(crate) struct KeyframeRequester {
    needed: bool,
    /// Only by fewer than half of those who watch ...
    by_few: bool,
    /// ... who wait until then at most for what keyframes may take.
    few_until: Instant,
    /// A subscriber requested it by PLI or FIR.
    requested: bool,
    /// Number of keyframes so far.
    epoch: u32,
    sent_at: Option<Instant>,
    sent: Spacing,
    /// Requests since the last keyframe.
    attempts: u32,
    /// The newest of them may be answered until then.
    patient_until: Instant,
    /// When the next request goes out; [`Instant::NEVER`] where none does.
    due: Instant,
}

impl Default for KeyframeRequester {
    fn default() -> Self {
        Self {
            needed: false,
            by_few: false,
            few_until: Instant::ZERO,
            requested: false,
            epoch: 1,
            sent_at: None,
            sent: Spacing::default(),
            attempts: 0,
            patient_until: Instant::ZERO,
            due: Instant::NEVER,
        }
    }
}

impl KeyframeRequester {
    /// Forwarders need a keyframe from `at` on. Whether a request goes out for that: not where one is out, or goes out
    /// before.
    pub(crate) fn need(&mut self, at: Instant, need: Need, config: &KeyframeConfig) -> bool {
        let (by_few, allowed) = match need {
            Need::Most => (false, at),
            Need::Few(allowed) => (true, at.max(allowed)),
        };
        let due = self.earliest(allowed, by_few, config).max(self.patient_until);
        let sooner = !self.needed || due < self.due;
        if sooner {
            self.due = due;
        }
        if !self.needed {
            self.few_until = at + config.longest_wait;
        }
        self.by_few = by_few && (self.by_few || !self.needed);
        self.needed = true;
        sooner
    }

    /// Like [`Self::need`] for a subscriber that sent PLI or FIR, and may not send it again.
    pub(crate) fn request(&mut self, at: Instant, need: Need, config: &KeyframeConfig) -> bool {
        self.requested = true;
        self.need(at, need, config)
    }

    /// When a request would go out that fewer than half of those who watch need.
    pub(crate) fn next_for_few(&self, allowed: Instant, config: &KeyframeConfig) -> Instant {
        self.earliest(allowed, true, config).max(self.patient_until)
    }

    /// Puts a request off that is due at `now`, where only few need it and no keyframe is allowed for `wait`.
    pub(crate) fn put_off(&mut self, now: Instant, wait: Duration) {
        if self.by_few && self.due <= now {
            self.due = (now + wait).min(self.few_until).max(self.due);
        }
    }

    /// Whether a request goes out now at the latest.
    pub(crate) fn is_due_by(&self, now: Instant) -> bool {
        self.due <= now
    }

    /// Whether the source was asked since the last keyframe.
    pub(crate) fn is_out(&self) -> bool {
        self.attempts > 0
    }

    /// Tells the time from one keyframe to the next from others.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether a subscriber requested the keyframe that is needed.
    pub(crate) fn is_requested(&self) -> bool {
        self.requested
    }

    /// A keyframe began to arrive.
    pub(crate) fn arrived(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.cancel();
        self.forget_attempts();
    }

    /// What the source did not answer so far says nothing any more.
    pub(crate) fn forget_attempts(&mut self) {
        (self.attempts, self.patient_until) = (0, Instant::ZERO);
    }

    /// None is needed any more. The state of the source is kept: asked, answering or not.
    pub(crate) fn cancel(&mut self) {
        (self.needed, self.by_few, self.requested) = (false, false, false);
        self.due = Instant::NEVER;
    }

    /// Whether a request is to be sent now; counts it as sent.
    pub(crate) fn take_due(&mut self, now: Instant, rtt: Duration, config: &KeyframeConfig) -> bool {
        if now < self.due {
            return false;
        }
        // An answer takes a round trip and the encoder's next frame; waiting doubles, since a source that does not
        // answer may be short of bandwidth.
        let patience = (rtt * 2 + Duration::from_millis(100)).max(self.interval(self.by_few, config));
        let mut retry = (patience * (1 << self.attempts.min(4))).min(config.max_retry_interval);
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts >= config.max_attempts {
            // Subscribers who asked will have asked again, or be gone.
            self.requested = false;
            retry = config.unanswered_interval;
        }
        self.sent_at = Some(now);
        self.sent.count(now, config.source_average);
        self.patient_until = now + retry;
        self.due = self.earliest(self.patient_until, self.by_few, config);
        true
    }

    /// When [`Self::take_due`] will have something to do; [`Instant::NEVER`] where nothing is wanted.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    fn earliest(&self, at: Instant, by_few: bool, config: &KeyframeConfig) -> Instant {
        let apart = self.sent_at.map_or(at, |sent| at.max(sent + self.interval(by_few, config)));
        self.sent.next(apart, ahead(config.source_average, config.source_burst))
    }

    fn interval(&self, by_few: bool, config: &KeyframeConfig) -> Duration {
        if by_few { config.few_interval.max(config.source_interval) } else { config.source_interval }
    }
}

/// How many keyframes one subscriber may ask for.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ReceiverBudget(Spacing);

impl ReceiverBudget {
    /// When a request of the subscriber counts: at once, or later where it asks too often.
    pub(crate) fn next(&self, now: Instant, config: &KeyframeConfig) -> Instant {
        self.0.next(now, ahead(config.receiver_average, config.receiver_burst))
    }

    /// A request goes out at `at` because of the subscriber.
    pub(crate) fn count(&mut self, at: Instant, config: &KeyframeConfig) {
        self.0.count(at, config.receiver_average);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RTT: Duration = Duration::from_millis(50);

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn the_first_need_goes_out_at_once_and_others_join_it() {
        let config = KeyframeConfig::default();
        let mut requester = KeyframeRequester::default();
        assert!(requester.need(ms(1_000), Need::Most, &config));
        assert!(requester.take_due(ms(1_000), RTT, &config));
        assert!(!requester.request(ms(1_020), Need::Most, &config), "one keyframe serves all");
        assert!(!requester.take_due(ms(1_100), RTT, &config));
        requester.arrived();
        assert_eq!(requester.due(), Instant::NEVER);
        assert!(requester.need(ms(1_150), Need::Most, &config));
        assert_eq!(requester.due(), ms(1_300), "one source is asked every 300 ms at most");
    }

    #[test]
    fn an_unmet_need_is_repeated_and_then_rarely() {
        let config = KeyframeConfig::default();
        let mut requester = KeyframeRequester::default();
        let mut sent = Vec::new();
        for now in (0..60_000).map(ms) {
            // A need is repeated while it lasts.
            if now.as_millis().is_multiple_of(100) {
                requester.need(now, Need::Most, &config);
            }
            if requester.take_due(now, Duration::from_millis(20), &config) {
                sent.push(now.as_millis());
            }
        }
        assert_eq!(sent[..4], [0, 300, 900, 1_900]);
        let (often, rarely) = sent.split_at(config.max_attempts as usize);
        assert!(often.windows(2).all(|pair| pair[1] - pair[0] <= 1_000));
        assert_eq!(rarely.len(), 4, "every 10 s: {rarely:?}");
        requester.cancel();
        requester.need(ms(60_000), Need::Most, &config);
        assert!(requester.due() > ms(61_000), "that it does not answer is not forgotten");
        requester.arrived();
        requester.need(ms(60_000), Need::Most, &config);
        assert_eq!(requester.due(), ms(60_000));
    }

    #[test]
    fn what_few_need_waits_for_the_share_of_keyframes_and_what_most_need_does_not() {
        let config = KeyframeConfig::default();
        let (mut debt, rate) = (KeyframeDebt::default(), Bitrate::from_kbps(480));
        assert_eq!(debt.wait(rate, &config), Duration::ZERO);
        debt.on_packet(true, 20_000, &config);
        let wait = debt.wait(rate, &config);
        assert_eq!(wait, Duration::from_secs_f64(17_600.0 / 7_200.0), "88 % of it at 12 % of 60,000 bytes per second");
        (0..147).for_each(|_| debt.on_packet(false, 1_000, &config));
        assert!(debt.wait(rate, &config) < Duration::from_millis(10));
        debt.on_packet(true, 1_000_000, &config);
        assert_eq!(debt.wait(rate, &config), config.longest_wait);
        assert_eq!(debt.wait(Bitrate::ZERO, &config), config.longest_wait);

        let mut requester = KeyframeRequester::default();
        assert!(requester.need(ms(1_000), Need::Few(ms(1_000)), &config));
        assert!(requester.take_due(ms(1_000), RTT, &config), "the first goes out at once");
        requester.arrived();
        assert!(requester.need(ms(1_100), Need::Few(ms(1_100)), &config));
        assert_eq!(requester.due(), ms(1_500), "two are 500 ms apart");
        requester.put_off(ms(1_500), Duration::from_millis(700));
        assert_eq!(requester.due(), ms(2_200), "it was not paid as soon as was thought");
        requester.put_off(ms(2_200), config.longest_wait);
        assert_eq!(requester.due(), ms(3_600), "nobody waits longer");
        assert!(requester.need(ms(2_300), Need::Most, &config));
        assert_eq!(requester.due(), ms(2_300));
        requester.put_off(ms(2_300), config.longest_wait);
        assert_eq!(requester.due(), ms(2_300));
    }

    #[test]
    fn a_need_that_comes_sooner_does_not_wait_for_one_that_is_put_off() {
        let config = KeyframeConfig::default();
        let mut requester = KeyframeRequester::default();
        assert!(requester.request(ms(5_000), Need::Most, &config));
        assert!(requester.request(ms(1_000), Need::Most, &config));
        assert!(!requester.request(ms(3_000), Need::Most, &config));
        assert_eq!(requester.due(), ms(1_000));
    }

    proptest! {
        #[test]
        fn no_pattern_of_needs_exceeds_the_bounds(
            steps in prop::collection::vec((0_u64..400, any::<bool>(), any::<bool>(), any::<bool>()), 1..400),
            rtt in 0_u64..2_000,
        ) {
            let config = KeyframeConfig::default();
            let (mut requester, mut budget) = (KeyframeRequester::default(), ReceiverBudget::default());
            let mut now = Instant::from_millis(100_000);
            let mut sent: Vec<Instant> = Vec::new();
            let mut counted: Vec<Instant> = Vec::new();
            for (step, asks, keyframe, few) in steps {
                now += Duration::from_millis(step);
                let at = budget.next(now, &config);
                if asks && requester.request(at, if few { Need::Few(now + config.few_interval) } else { Need::Most }, &config) {
                    budget.count(at, &config);
                    counted.push(at);
                }
                if requester.take_due(now, Duration::from_millis(rtt), &config) {
                    prop_assert!(sent.last().is_none_or(|last| now - *last >= config.source_interval));
                    sent.push(now);
                }
                if keyframe {
                    requester.arrived();
                }
                prop_assert!(!asks || requester.is_requested() || keyframe, "no request is lost");
            }
            for (times, average, burst) in [
                (sent, config.source_average, config.source_burst),
                (counted, config.receiver_average, config.receiver_burst),
            ] {
                for window in 1..times.len() as u32 {
                    for pair in times.windows(window as usize + 1) {
                        prop_assert!(pair[window as usize] - pair[0] >= average * (window + 1).saturating_sub(burst));
                    }
                }
            }
        }
    }
}
