//! What is acknowledged, refused and asked for, whatever senders and subscribers say.

use super::*;
use crate::test_support;
use proptest::prelude::*;

const RTT: Duration = Duration::from_millis(50);

fn ms(ms: u64) -> Instant {
    Instant::from_millis(1_000 + ms)
}

/// A sender, its subscribers, and what they were told. Each frame has two packets.
struct Conference {
    references: References,
    subscribers: Vec<Option<Holding>>,
    now: u64,
}

impl Conference {
    fn new(subscribers: usize) -> Self {
        let mut conference = Self {
            references: References::default(),
            subscribers: (0..subscribers).map(|_| Some(Holding::default())).collect(),
            now: 0,
        };
        conference.sent(65_500, None);
        assert!(conference.references.mark(ms(0), 65_500, 65_500));
        conference
    }

    fn sent(&mut self, frame: u16, back: Option<u16>) {
        self.now += 33;
        for part in 0..2 {
            let packet = test_support::packet(1_000 + 2 * u64::from(frame) + part, 1, |data| {
                data.frame.frame_number = Some(frame);
                data.frame.reference = back;
                data.frame.keyframe = back.is_none();
                (data.frame.start_of_frame, data.frame.end_of_frame) = (part == 0, part == 1);
            });
            self.references.on_packet(ms(self.now), &packet);
        }
    }

    fn told(&mut self, subscriber: usize, frame: u16, arrived: [bool; 2]) {
        let Some(holding) = &mut self.subscribers[subscriber] else { return };
        for (part, arrived) in arrived.into_iter().enumerate() {
            let seq = (1_000 + 2 * u64::from(frame) + part as u64) as u16;
            let view = View { references: &self.references, now: ms(self.now), patience: Duration::from_millis(400) };
            holding.on_told(view, (frame, seq), arrived);
        }
    }

    fn all_told(&mut self, frame: u16) {
        (0..self.subscribers.len()).for_each(|subscriber| self.told(subscriber, frame, [true; 2]));
    }

    fn judge(&mut self) -> Option<ReferenceNews> {
        let subscribers =
            self.subscribers.iter().map(|holding| Subscriber { holding: holding.as_ref(), patience: Duration::ZERO });
        let news = self.references.judge((ms(self.now), RTT), subscribers, true);
        if news.is_some_and(|news| news.acknowledged.is_some()) {
            let acknowledged = self.references.acknowledged();
            self.subscribers.iter_mut().flatten().for_each(|holding| holding.hold(acknowledged));
        }
        news
    }
}

fn acknowledged(frame: u16) -> Option<ReferenceNews> {
    Some(ReferenceNews { acknowledged: Some(frame), ..ReferenceNews::default() })
}

fn refused(frame: u16) -> Option<ReferenceNews> {
    Some(ReferenceNews { refused: Some(frame), ..ReferenceNews::default() })
}

const RECOVER: Option<ReferenceNews> = Some(ReferenceNews { acknowledged: None, refused: None, recover: true });

#[test]
fn a_frame_is_acknowledged_once_the_last_has_it() {
    let mut conference = Conference::new(3);
    conference.told(0, 65_500, [true; 2]);
    conference.told(1, 65_500, [true; 2]);
    assert_eq!(conference.judge(), None);
    conference.told(2, 65_500, [true, false]);
    conference.now += 10;
    assert_eq!(conference.judge(), refused(65_500), "somebody has lost the keyframe");
    let mut conference = Conference::new(3);
    conference.all_told(65_500);
    assert_eq!((conference.judge(), conference.judge()), (acknowledged(65_500), None));
    // Over the wrap of frame numbers; the second is marked with the frame after it.
    for frame in 65_501..=65_537_u32 {
        conference.sent(frame as u16, Some(1));
        conference.all_told(frame as u16);
    }
    assert!(conference.references.mark(ms(2_000), 0, 1));
    assert_eq!(conference.judge(), acknowledged(0));
}

#[test]
fn each_that_is_refused_is_told() {
    let mut conference = Conference::new(1);
    conference.all_told(65_500);
    conference.judge();
    for frame in [65_501, 65_502] {
        conference.sent(frame, Some(1));
        conference.told(0, frame, [false; 2]);
        assert!(conference.references.mark(ms(10), frame, frame));
    }
    let told: Vec<_> = std::iter::from_fn(|| conference.judge()).filter_map(|news| news.refused).collect();
    assert_eq!(told, [65_501, 65_502]);
}

#[test]
fn what_a_frame_refers_to_counts() {
    let mut conference = Conference::new(2);
    conference.all_told(65_500);
    conference.judge();
    conference.sent(65_501, Some(1));
    conference.told(0, 65_501, [true; 2]);
    conference.told(1, 65_501, [false, true]);
    assert_eq!(conference.judge(), RECOVER);
    assert_eq!(conference.judge(), None, "it has been asked");
    conference.sent(65_502, Some(1));
    conference.all_told(65_502);
    assert!(conference.references.mark(ms(100), 65_502, 65_502));
    assert_eq!(conference.judge(), refused(65_502), "one cannot decode it, though all of it came");
    conference.sent(65_503, Some(3));
    assert_eq!(conference.judge(), None, "nothing is told of the frame that recovers");
    conference.all_told(65_503);
    conference.sent(65_504, Some(1));
    conference.all_told(65_504);
    assert!(conference.references.mark(ms(150), 65_503, 65_504));
    assert_eq!(conference.judge(), acknowledged(65_503), "it refers to what all have");
}

#[test]
fn a_lost_recovery_is_asked_for_again() {
    let mut conference = Conference::new(2);
    conference.all_told(65_500);
    conference.judge();
    conference.sent(65_501, Some(1));
    conference.told(1, 65_501, [false; 2]);
    assert_eq!(conference.judge(), RECOVER);
    conference.sent(65_502, Some(2));
    conference.told(0, 65_502, [true; 2]);
    assert_eq!(conference.judge(), None);
    conference.told(1, 65_502, [true, false]);
    assert_eq!(conference.judge(), RECOVER);
    conference.told(1, 65_502, [true; 2]);
    conference.now += 5_000;
    assert_eq!(conference.judge(), None, "the packet was late only");
}

#[test]
fn what_comes_again_too_late_is_lost() {
    for (after, is_held) in [(300, true), (500, false)] {
        let mut conference = Conference::new(1);
        conference.told(0, 65_500, [true, false]);
        conference.now += after;
        conference.told(0, 65_500, [true, true]);
        let news = if is_held { acknowledged(65_500) } else { refused(65_500) };
        assert_eq!(conference.judge(), news, "{after} ms");
    }
}

#[test]
fn who_says_nothing_holds_nothing() {
    let mut conference = Conference::new(2);
    conference.subscribers[1] = None;
    conference.all_told(65_500);
    assert_eq!(conference.judge(), None);
    conference.now += 2_000;
    assert_eq!(conference.judge(), refused(65_500));
    let holdings = conference.subscribers.iter().map(|holding| holding.as_ref()?.has());
    assert!(!conference.references.can_recover(holdings, true));
    // With others behind another worker, nothing is known either.
    let mut conference = Conference::new(1);
    conference.all_told(65_500);
    let holding = conference.subscribers[0].take().unwrap();
    let subscriber = || [Subscriber { holding: Some(&holding), patience: Duration::ZERO }].into_iter();
    assert_eq!(conference.references.judge((ms(50), RTT), subscriber(), false), None);
    assert_eq!(conference.references.judge((ms(50), RTT), subscriber(), true), acknowledged(65_500));
}

#[test]
fn a_sender_that_keeps_nothing_is_told_nothing() {
    let mut conference = Conference::new(1);
    conference.references.enabled = false;
    conference.all_told(65_500);
    assert_eq!(conference.judge(), None);
}

#[test]
fn marks_of_what_was_never_sent_are_refused() {
    let mut conference = Conference::new(1);
    conference.all_told(65_500);
    conference.judge();
    let mut mark = |frame, by| conference.references.mark(ms(10), frame, by);
    assert!(!mark(65_000, 65_000) && !mark(30_000, 30_000) && !mark(100, 100), "old, far, far ahead");
    assert!(!mark(65_510, 65_509) && !mark(65_501, 40), "before itself, long after");
    assert!(!mark(65_500, 65_500), "that is known");
    assert!(mark(65_510, 65_511) && !mark(65_505, 65_505), "out of order");
    for frame in 65_511..65_530 {
        mark(frame, frame);
    }
    assert_eq!(conference.references.candidates.len(), MAX_CANDIDATES);
    conference.now += 10_000;
    let told: Vec<_> = std::iter::from_fn(|| conference.judge()).collect();
    assert!(told.iter().all(|news| news.refused.is_some() && news.acknowledged.is_none()));
    assert_eq!((told.len(), conference.references.candidates.len()), (MAX_CANDIDATES, 0));
}

#[test]
fn who_asks_again_and_again_gets_a_keyframe() {
    let mut conference = Conference::new(1);
    conference.all_told(65_500);
    conference.judge();
    let asks = |conference: &mut Conference, at| {
        let Conference { references, subscribers, .. } = conference;
        subscribers[0].as_mut().unwrap().on_keyframe_request(references, ms(at))
    };
    for at in [100, 110, 300] {
        assert!(asks(&mut conference, at));
    }
    assert!(!asks(&mut conference, 500), "the third has no reason that we know");
    for at in [700, 900] {
        assert!(asks(&mut conference, at), "it begins anew");
    }
    // Where something was lost, a frame that recovers is the answer, however often.
    for (frame, at) in [(65_501, 1_100), (65_502, 1_300), (65_503, 1_500), (65_504, 1_700)] {
        conference.sent(frame, Some(1));
        conference.told(0, frame, [true, false]);
        assert!(asks(&mut conference, at));
    }
}

#[test]
fn the_packets_of_a_frame_are_bounded() {
    let mut references = References::default();
    let mut holding = Holding::default();
    for seq in 0..200 {
        let packet = test_support::packet(1_000 + seq, 1, |data| {
            (data.frame.frame_number, data.frame.keyframe) = (Some(7), true);
            (data.frame.start_of_frame, data.frame.end_of_frame) = (seq == 0, seq == 199);
        });
        references.on_packet(ms(0), &packet);
    }
    references.mark(ms(0), 7, 7);
    let view = View { references: &references, now: ms(0), patience: Duration::ZERO };
    (0..200).for_each(|seq| holding.on_told(view, (7, 1_000 + seq), true));
    let subscriber = [Subscriber { holding: Some(&holding), patience: Duration::ZERO }];
    assert_eq!(
        references.judge((ms(10), RTT), subscriber.into_iter(), true),
        None,
        "so large a frame is held by nobody"
    );
}

proptest! {
    /// Whatever is sent, marked and told: only what was told to have come whole, back to a keyframe or what all hold, is
    /// acknowledged, and nothing panics.
    #[test]
    fn nothing_is_acknowledged_that_somebody_has_lost(
        steps in prop::collection::vec((0_u8..6, any::<u16>(), any::<u16>(), any::<bool>()), 1..300),
    ) {
        let mut conference = Conference::new(2);
        // Of subscriber 1, each frame whose number divides by three is lost, in whole or in part.
        let is_lost = |frame: u16| frame.is_multiple_of(3);
        let mut next = 65_500_u16;
        for (kind, a, b, flag) in steps {
            let near = next.wrapping_sub(a % 20);
            match kind {
                0 | 1 => {
                    next = next.wrapping_add(1);
                    conference.sent(next, (kind == 0 || !flag).then_some(1 + b % 9));
                }
                2 => conference.told(0, near, [true; 2]),
                3 => conference.told(1, near, [!is_lost(near), true]),
                4 => drop(conference.references.mark(ms(conference.now), near, near.wrapping_add(b % 3))),
                _ => {
                    conference.references.mark(ms(conference.now), a, b);
                    conference.told(usize::from(flag), a, [true, false]);
                }
            }
            conference.now += u64::from(b % 50);
            if let Some(frame) = conference.judge().and_then(|news| news.acknowledged) {
                prop_assert!(!is_lost(frame), "{frame}");
            }
        }
    }
}

/// Each of many subscribers tells something of all frames, and each time all of them would be looked at.
#[test]
fn what_many_hold_is_looked_at_no_more_often_than_that_costs() {
    let looked_at_each = |subscribers: usize| {
        let mut conference = Conference::new(subscribers);
        let (mut looked_at, feedbacks) = (0, 20 * subscribers as u64);
        for feedback in 0..feedbacks {
            let now = Instant::from_nanos(ms(0).as_nanos() + feedback * 1_000_000_000 / feedbacks);
            let subscribers = conference.subscribers.iter().map(|holding| {
                looked_at += 1;
                Subscriber { holding: holding.as_ref(), patience: Duration::ZERO }
            });
            conference.references.judge((now, RTT), subscribers, true);
        }
        looked_at / subscribers
    };
    assert_eq!(looked_at_each(3), 60, "among few each feedback counts at once");
    assert!((200..=420).contains(&looked_at_each(20)), "as good as at once");
    assert!((20..=30).contains(&looked_at_each(200)), "of 4,000");
}

#[test]
fn what_is_told_between_two_looks_waits_for_the_next() {
    let mut conference = Conference::new(40);
    conference.told(0, 65_500, [true; 2]);
    assert_eq!((conference.judge(), conference.references.due()), (None, Instant::NEVER));
    conference.all_told(65_500);
    assert_eq!(conference.judge(), None);
    let due = conference.references.due();
    assert!(due > ms(conference.now) && due <= ms(conference.now + 5));
    conference.now += 5;
    assert_eq!((conference.judge(), conference.references.due()), (acknowledged(65_500), Instant::NEVER));
}
