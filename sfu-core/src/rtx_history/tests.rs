//! What is held for sending again, for how long and how often.

use super::*;
use crate::test_support::packet;
use proptest::prelude::*;

const WINDOW: Duration = Duration::from_millis(1_000);

fn ms(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn at(seq: u64, ms: u64) -> Packet {
    packet(seq, 0, |data| data.arrival = Instant::from_millis(ms))
}

fn sent(seq: u64) -> Rewritten {
    Rewritten { seq: SeqNo(seq), timestamp: 5, picture_id: Some(6), tl0_pic_idx: None, frame_number: Some(7) }
}

#[test]
fn packets_are_held_for_the_window() {
    let mut history = PacketHistory::new(WINDOW, 1_024);
    for n in 0..3_000 {
        history.insert(&at(n, n * 5));
    }
    assert!(history.get(SeqNo(2_999)).is_some());
    assert!(history.get(SeqNo(2_800)).is_some());
    assert!(history.get(SeqNo(2_790)).is_none());
    assert!(history.ring.len() <= 256, "no more places than the window needs");
}

#[test]
fn the_number_of_packets_is_bounded() {
    let mut history = PacketHistory::new(WINDOW, 100);
    for n in 0..1_000 {
        history.insert(&at(n, 0));
    }
    assert_eq!((0..1_000).filter(|n| history.get(SeqNo(*n)).is_some()).count(), 128);
    history.insert(&at(1_000_000, 0));
    assert_eq!((0..1_000).filter(|n| history.get(SeqNo(*n)).is_some()).count(), 0);
    assert!(history.get(SeqNo(1_000_000)).is_some());
}

#[test]
fn late_packets_find_their_place() {
    let mut history = PacketHistory::new(WINDOW, 1_024);
    for n in [100, 103, 99, 101, 90, 102] {
        history.insert(&at(n, 1));
    }
    let held: Vec<_> = (80..110).filter(|n| history.get(SeqNo(*n)).is_some()).collect();
    assert_eq!(held, [90, 99, 100, 101, 102, 103]);
}

#[test]
fn a_packet_is_sent_again_once_per_interval() {
    let mut history = RtxHistory::new(WINDOW, 1_024);
    history.record(ms(1_000), 2, SeqNo(77), true, &sent(70_000));
    let interval = Duration::from_millis(50);
    let take = |history: &mut RtxHistory, at, seq| history.take(ms(at), SeqNo(seq), interval);
    assert_eq!(take(&mut history, 1_020, 70_000).unwrap_err(), DropReason::ResentTooRecently);
    let record = take(&mut history, 1_050, 70_000).unwrap();
    assert_eq!((record.layer, record.marker(), record.in_seq(SeqNo(90))), (2, true, SeqNo(77)));
    assert_eq!(record.rewritten(SeqNo(70_000)), sent(70_000));
    assert_eq!(take(&mut history, 1_060, 70_000).unwrap_err(), DropReason::ResentTooRecently);
    assert!(take(&mut history, 1_100, 70_000).is_ok());
    for other in [70_001, 69_999, 70_000 - 64, 70_000 + 64] {
        assert_eq!(take(&mut history, 2_000, other).unwrap_err(), DropReason::NotInHistory);
    }
    history.clear();
    assert_eq!(take(&mut history, 2_000, 70_000).unwrap_err(), DropReason::NotInHistory);
}

#[test]
fn records_grow_with_the_rate_up_to_the_limit() {
    let mut slow = RtxHistory::new(WINDOW, 1_024);
    let mut fast = RtxHistory::new(WINDOW, 1_024);
    for n in 0..5_000 {
        slow.record(ms(n * 20), 0, SeqNo(n), false, &sent(n));
        fast.record(ms(n), 0, SeqNo(n), false, &sent(n));
    }
    assert_eq!((slow.ring.len(), fast.ring.len()), (64, 1_024));
}

proptest! {
    #[test]
    fn what_is_found_is_what_was_put(
        steps in prop::collection::vec((-40_i64..90, 0_u64..60), 1..300),
        limit in 1_usize..300,
    ) {
        let mut history = PacketHistory::new(WINDOW, limit);
        let (mut seq, mut now) = (10_000_u64, 0);
        for (step, wait) in steps {
            seq = seq.saturating_add_signed(step);
            now += wait;
            history.insert(&at(seq, now));
            let held: Vec<_> = history.ring.iter().flatten().collect();
            prop_assert!(held.len() <= limit.max(FIRST_CAPACITY).next_power_of_two());
            for packet in held {
                prop_assert_eq!(history.get(packet.seq).map(|found| found.seq), Some(packet.seq));
            }
        }
    }
}
