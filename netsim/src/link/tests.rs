//! Laws of a link: nothing appears or vanishes, order and capacity hold, runs repeat.

use super::*;
use crate::config::Rate;
use crate::trace::Trace;
use proptest::prelude::*;
use std::sync::Arc;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Packets numbered in their first four bytes.
fn packet(number: u32, len: usize) -> Vec<u8> {
    let mut packet = number.to_be_bytes().to_vec();
    packet.resize(len.max(4), 0);
    packet
}

fn number(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[..4].try_into().unwrap())
}

/// Sends packets at their times and polls whenever the link asks for it, until nothing is left.
fn run(config: LinkConfig, seed: u64, packets: &[(Duration, usize)]) -> (Vec<(Duration, Vec<u8>)>, LinkStats) {
    let mut link = Link::new(config, seed);
    let mut arrived = Vec::new();
    let mut pending = packets.iter().zip(0..).peekable();
    loop {
        let next_send = pending.peek().map(|((at, _), _)| *at);
        match (next_send, link.next_timeout()) {
            (Some(send), timeout) if timeout.is_none_or(|timeout| send <= timeout) => {
                let ((at, len), number) = pending.next().unwrap();
                link.send(*at, packet(number, *len));
            }
            (_, Some(timeout)) => arrived.extend(std::iter::from_fn(|| link.poll(timeout)).map(|p| (timeout, p))),
            (_, None) => break,
        }
        let stats = link.stats();
        let out = stats.delivered + stats.lost + stats.dropped + link.queued() as u64;
        assert_eq!(stats.sent + stats.duplicated, out, "nothing appears or vanishes");
    }
    (arrived, link.stats())
}

fn at_once(count: usize, len: usize) -> Vec<(Duration, usize)> {
    vec![(Duration::ZERO, len); count]
}

#[test]
fn an_open_link_only_delays() {
    let (arrived, stats) = run(LinkConfig::delayed(ms(20)), 1, &[(ms(0), 100), (ms(5), 200)]);
    let times: Vec<_> = arrived.iter().map(|(at, packet)| (*at, packet.len())).collect();
    assert_eq!(times, [(ms(20), 100), (ms(25), 200)]);
    assert_eq!((stats.bytes_sent, stats.bytes_delivered), (300, 300));
}

#[test]
fn what_waits_tells_how_long_the_next_will_wait() {
    let config = LinkConfig { rate: Some(Rate::from_kbps(1_000)), delay: ms(10), ..LinkConfig::default() };
    let mut link = Link::new(config, 1);
    assert_eq!(link.queue_delay(ms(0)), ms(0));
    (0..2).for_each(|number| link.send(ms(0), packet(number, 125)));
    assert_eq!([0, 1, 3].map(|at| link.queue_delay(ms(at))), [ms(2), ms(1), ms(0)]);
    link.set_config(ms(1), LinkConfig { rate: Some(Rate::from_bps(0)), ..LinkConfig::default() });
    assert_eq!(link.queue_delay(ms(1)), Duration::MAX - ms(1));
}

#[test]
fn a_rate_spaces_packets() {
    let config = LinkConfig { rate: Some(Rate::from_kbps(1_000)), delay: ms(10), ..LinkConfig::default() };
    let (arrived, _) = run(config, 1, &at_once(3, 1_250));
    assert_eq!(arrived.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [ms(20), ms(30), ms(40)]);
}

#[test]
fn a_full_queue_drops_what_comes_last() {
    let rate = Some(Rate::from_kbps(1_000));
    let bytes = LinkConfig { rate, queue: QueueLimit::Bytes(2_500), ..LinkConfig::default() };
    let time = LinkConfig { rate, queue: QueueLimit::Time(ms(15)), ..LinkConfig::default() };
    for config in [bytes, time] {
        let (arrived, stats) = run(config, 1, &at_once(5, 1_250));
        assert_eq!(arrived.iter().map(|(_, p)| number(p)).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(stats.dropped, 3);
    }
}

#[test]
fn a_queue_of_zero_time_holds_only_what_passes() {
    let config =
        LinkConfig { rate: Some(Rate::from_kbps(1_000)), queue: QueueLimit::Time(ms(0)), ..LinkConfig::default() };
    let (arrived, _) = run(config, 1, &[(ms(0), 1_250), (ms(9), 1_250), (ms(10), 1_250)]);
    assert_eq!(arrived.len(), 2);
}

#[test]
fn a_trace_lets_1500_bytes_pass_at_each_opportunity() {
    let trace = Some(Arc::new(Trace::parse("10\n20\n20\n50\n").unwrap()));
    let config = LinkConfig { trace, ..LinkConfig::default() };
    let (arrived, _) = run(config.clone(), 1, &at_once(5, 1_000));
    let times: Vec<_> = arrived.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [ms(10), ms(20), ms(20), ms(20), ms(50)], "a packet may pass in two pieces");
    let (arrived, _) = run(config.clone(), 1, &at_once(3, 500));
    assert!(arrived.iter().all(|(at, _)| *at == ms(10)), "small ones share one");
    let (arrived, _) = run(config.clone(), 1, &[(ms(0), 1_500), (ms(20), 1_500), (ms(51), 1_500)]);
    assert_eq!(arrived.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [ms(10), ms(20), ms(60)], "unused ones are gone");
    let limited = LinkConfig { queue: QueueLimit::Time(ms(20)), ..config };
    assert_eq!(run(limited, 1, &at_once(9, 1_500)).1.dropped, 5, "the wait is known from the trace");
}

#[test]
fn a_change_of_rate_takes_what_waits_along() {
    let mut link = Link::new(LinkConfig { rate: Some(Rate::from_kbps(1_000)), ..LinkConfig::default() }, 1);
    link.send(ms(0), packet(0, 1_250));
    link.send(ms(0), packet(1, 1_250));
    link.set_config(ms(5), LinkConfig { rate: Some(Rate::from_kbps(500)), ..LinkConfig::default() });
    assert_eq!(link.next_timeout(), Some(ms(15)), "half had passed, the rest takes twice as long");
    assert!(link.poll(ms(15)).is_some());
    link.set_config(ms(16), LinkConfig { rate: Some(Rate::from_bps(0)), ..LinkConfig::default() });
    assert_eq!(link.next_timeout(), None, "an outage");
    link.set_config(ms(500), LinkConfig::default());
    assert_eq!(link.poll(ms(500)).as_deref().map(number), Some(1));
}

#[test]
fn losses_come_as_often_as_asked_and_in_bursts() {
    let packets = at_once(20_000, 10);
    let lost = |loss| run(LinkConfig { loss, ..LinkConfig::default() }, 3, &packets);
    let (_, stats) = lost(Loss::Random(0.1));
    assert!((1_800..2_200).contains(&stats.lost), "{}", stats.lost);
    let (arrived, stats) = lost(Loss::bursts(0.1, 8.0));
    assert!((1_500..2_500).contains(&stats.lost), "{}", stats.lost);
    let gaps = arrived.windows(2).filter(|pair| number(&pair[1].1) != number(&pair[0].1) + 1).count() as u64;
    let mean = stats.lost / gaps;
    assert!((6..=10).contains(&mean), "{mean}");
    assert_eq!(lost(Loss::Random(1.0)).1.delivered, 0);
}

#[test]
fn damage_copies_and_reordering() {
    let packets: Vec<_> = (0..1_000).map(|i| (ms(i), 100)).collect();
    let (arrived, stats) = run(LinkConfig { corrupt: 0.5, ..LinkConfig::default() }, 5, &packets);
    let changed = arrived.iter().enumerate().filter(|(i, (_, p))| *p != packet(*i as u32, 100)).count();
    assert_eq!(changed as u64, stats.corrupted);
    let (arrived, stats) = run(LinkConfig { duplicate: 0.25, ..LinkConfig::default() }, 5, &packets);
    assert_eq!(arrived.len() as u64, 1_000 + stats.duplicated);
    assert!((200..300).contains(&stats.duplicated));
    let late = LinkConfig { reorder: 0.1, reorder_delay: ms(5), ..LinkConfig::default() };
    let (arrived, stats) = run(late, 5, &packets);
    let overtaken = arrived.windows(2).filter(|pair| number(&pair[1].1) < number(&pair[0].1)).count() as u64;
    assert!(overtaken > 0 && overtaken <= stats.reordered);
}

fn any_config() -> impl Strategy<Value = LinkConfig> {
    let trace = Trace::parse("3\n3\n4\n9\n30\n").unwrap();
    let rate = prop_oneof![Just(None), (50u64..5_000).prop_map(|kbps| Some(Rate::from_kbps(kbps)))];
    let queue = prop_oneof![
        Just(QueueLimit::None),
        (0usize..20_000).prop_map(QueueLimit::Bytes),
        (0u64..200).prop_map(|millis| QueueLimit::Time(ms(millis))),
    ];
    let loss = prop_oneof![
        Just(Loss::None),
        (0.0..1.0).prop_map(Loss::Random),
        (0.0..0.9, 1.0..20.0).prop_map(|(rate, length)| Loss::bursts(rate, length)),
    ];
    let times = (0u64..100, 0u64..50, 0u64..50);
    let accidents = (0.0..0.5, 0.0..0.5, 0.0..0.5);
    (rate, any::<bool>(), queue, loss, times, accidents).prop_map(
        move |(rate, traced, queue, loss, times, accidents)| LinkConfig {
            rate,
            trace: traced.then(|| Arc::new(trace.clone())),
            queue,
            loss,
            delay: ms(times.0),
            jitter: ms(times.1),
            reorder_delay: ms(times.2),
            reorder: accidents.0,
            duplicate: accidents.1,
            corrupt: accidents.2,
        },
    )
}

fn any_packets() -> impl Strategy<Value = Vec<(Duration, usize)>> {
    prop::collection::vec((0u64..20_000, 4usize..2_000), 1..120).prop_map(|mut packets| {
        packets.sort_unstable();
        packets.into_iter().map(|(micros, len)| (Duration::from_micros(micros), len)).collect()
    })
}

proptest! {
    #[test]
    fn everything_is_accounted_for_and_repeats(config in any_config(), packets in any_packets(), seed: u64) {
        let (arrived, stats) = run(config.clone(), seed, &packets);
        prop_assert_eq!(stats.sent, packets.len() as u64);
        prop_assert_eq!(stats.sent + stats.duplicated, stats.delivered + stats.lost + stats.dropped);
        prop_assert_eq!(stats.delivered, arrived.len() as u64);
        prop_assert_eq!(run(config, seed, &packets), (arrived, stats));
    }

    #[test]
    fn without_reordering_first_in_is_first_out(config in any_config(), packets in any_packets(), seed: u64) {
        let config = LinkConfig { reorder: 0.0, corrupt: 0.0, ..config };
        let (arrived, _) = run(config.clone(), seed, &packets);
        prop_assert!(arrived.windows(2).all(|pair| number(&pair[0].1) <= number(&pair[1].1)));
        for (at, packet) in &arrived {
            let sent = packets[number(packet) as usize].0;
            prop_assert!(*at >= sent + config.delay);
        }
    }

    #[test]
    fn the_rate_is_never_exceeded(kbps in 50u64..5_000, packets in any_packets(), queue in 0usize..50_000) {
        let rate = Rate::from_kbps(kbps);
        let config = LinkConfig { rate: Some(rate), queue: QueueLimit::Bytes(queue), ..LinkConfig::default() };
        let (arrived, _) = run(config, 1, &packets);
        // Between the arrivals of any two packets no more passes than the rate allows.
        for (i, (start, _)) in arrived.iter().enumerate() {
            let mut bytes = 0;
            for (end, packet) in &arrived[i + 1..] {
                bytes += packet.len();
                prop_assert!(rate.bits_in(*end - *start) + 1 >= bits(bytes));
            }
        }
    }

    #[test]
    fn how_often_it_is_polled_does_not_matter(config in any_config(), packets in any_packets(), seed: u64) {
        let mut link = Link::new(config.clone(), seed);
        for ((at, len), i) in packets.iter().zip(0..) {
            link.send(*at, packet(i, *len));
        }
        let late = Duration::from_secs(1_000_000);
        let all: Vec<_> = std::iter::from_fn(|| link.poll(late)).collect();
        let arrived: Vec<_> = run(config, seed, &packets).0.into_iter().map(|(_, packet)| packet).collect();
        prop_assert_eq!(all, arrived);
    }
}
