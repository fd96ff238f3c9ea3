//! Continuity of all numbers, whatever comes.

use super::*;
use crate::test_support::packet;
use proptest::prelude::*;
use sfu_rtc::packet::Packet;
use std::collections::HashMap;

const VIDEO: Timing = Timing { clock_rate: 90_000, least_step: Duration::from_millis(1) };

fn started(first: u64, source: &Packet) -> Rewriter {
    let mut rewriter = Rewriter::new(SeqNo(first));
    rewriter.switch(source, None, VIDEO);
    rewriter
}

/// VP8 packet `n` of a source that sends one packet per frame, 30 a second.
fn frame(n: u64, id: u16) -> Packet {
    packet(n, (n * 3_000) as u32, |data| {
        data.arrival = Instant::from_millis(n * 33);
        data.frame.picture_id = Some(id & 0x7fff);
        data.frame.tl0_pic_idx = Some(id as u8);
    })
}

#[test]
fn what_is_left_out_leaves_no_gap_and_what_is_lost_does() {
    let mut rewriter = started(1_000, &frame(100, 7));
    let sent = |rewriter: &mut Rewriter, n| rewriter.forward(&frame(n, n as u16)).map(|sent| sent.seq.0);
    assert_eq!(sent(&mut rewriter, 100), Ok(1_000));
    rewriter.skip(SeqNo(101), None);
    rewriter.skip(SeqNo(102), None);
    assert_eq!(sent(&mut rewriter, 103), Ok(1_001));
    assert_eq!(sent(&mut rewriter, 105), Ok(1_003), "104 may still come");
    rewriter.skip(SeqNo(107), None);
    assert_eq!(sent(&mut rewriter, 108), Ok(1_005));
    assert_eq!(sent(&mut rewriter, 104), Ok(1_002));
    assert_eq!(sent(&mut rewriter, 106), Ok(1_004));
    assert_eq!(sent(&mut rewriter, 99), Err(DropReason::OutOfWindow), "older than the switch");
}

#[test]
fn what_a_newcomer_missed_is_shown_at_once_and_makes_nothing_late() {
    // 60 frames came over two seconds; the slot was empty, or had something else until 50 ms ago.
    for before in [None, Some(160 * 33 - 50), Some(160 * 33)] {
        let mut rewriter = Rewriter::new(SeqNo(1));
        if let Some(arrival) = before {
            let other = packet(7, 5_000_000, |data| data.arrival = Instant::from_millis(arrival));
            rewriter.switch(&other, None, VIDEO);
            rewriter.forward(&other).unwrap();
        }
        let (first, newest) = (frame(100, 1), frame(160, 61));
        rewriter.switch_to_past(&first, (newest.timestamp, newest.arrival), None, VIDEO);
        let times: Vec<u32> = (100..170).map(|n| rewriter.forward(&frame(n, n as u16)).unwrap().timestamp).collect();
        assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
        let missed = times[60] - times[0];
        assert_eq!(missed, 60 * 3_000 / 32, "about a millisecond each");
        assert!(times[60..].windows(2).all(|pair| pair[1] - pair[0] == 3_000), "as it is from then on");
        let newest_at = match before {
            None => 160 * 3_000,
            // All of them come after what was there.
            Some(arrival) => (5_000_000 + (160 * 33 - arrival as u32) * 90).max(5_000_000 + 90 + missed),
        };
        assert_eq!(times[60], newest_at, "shown when it came");
    }
}

#[test]
fn a_switch_continues_all_numbers() {
    let mut rewriter = started(10, &frame(500, 40));
    let last = rewriter.forward(&frame(500, 40)).unwrap();
    let other = packet(7, 99, |data| {
        data.arrival = Instant::from_millis(500 * 33 + 100);
        (data.frame.picture_id, data.frame.tl0_pic_idx) = (Some(0x7ffe), Some(200));
        data.frame.frame_number = Some(3);
    });
    rewriter.switch(&other, None, VIDEO);
    let first = rewriter.forward(&other).unwrap();
    assert_eq!(first.seq, last.seq.next());
    assert_eq!(first.timestamp, last.timestamp + 9_000, "100 ms later");
    assert_eq!((first.picture_id, first.tl0_pic_idx), (Some(41), Some(41)));
    let next = packet(8, 99 + 3_000, |data| data.frame.picture_id = Some(0x7fff));
    let next = rewriter.forward(&next).unwrap();
    assert_eq!((next.seq, next.picture_id, next.timestamp), (SeqNo(12), Some(42), first.timestamp + 3_000));
}

/// A frame of VP8 without temporal layers.
fn plain_frame(n: u64, id: u16) -> Packet {
    packet(n, (n * 3_000) as u32, |data| {
        data.arrival = Instant::from_millis(n * 33);
        data.frame.picture_id = Some(id & 0x7fff);
    })
}

#[test]
fn each_frame_without_layers_follows_the_one_before_where_that_is_named() {
    let mut rewriter = started(10, &plain_frame(0, 0x7ff0));
    assert_eq!(rewriter.forward(&plain_frame(0, 0x7ff0)).unwrap().tl0_pic_idx, None);
    assert!(!rewriter.has_base_frames());
    rewriter.name_base_frames();
    let mut named = |packets: &[Packet], switches: bool| {
        if switches {
            rewriter.switch(&packets[0], None, VIDEO);
        }
        packets.iter().map(|packet| rewriter.forward(packet).unwrap().tl0_pic_idx.unwrap()).collect::<Vec<_>>()
    };
    let plain: Vec<_> = (1..40).map(|n| plain_frame(n, 0x7ff0 + n as u16)).collect();
    let first = named(&plain, false);
    assert!(first.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{first:?}");
    let layered: Vec<_> = (500..505).map(|n| frame(n, n as u16)).collect();
    let again: Vec<_> = (700..705).map(|n| plain_frame(n, n as u16 & 0x7f)).collect();
    let all = [first, named(&layered, true), named(&again, true)].concat();
    assert!(all.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{all:?}");
    // One that is left out leaves no gap.
    rewriter.skip(SeqNo(705), Some(705 & 0x7f));
    let next = rewriter.forward(&plain_frame(706, 706 & 0x7f)).unwrap();
    assert_eq!(next.tl0_pic_idx, all.last().map(|last| last.wrapping_add(1)));
    assert!(rewriter.has_base_frames());
}

#[test]
fn frames_without_picture_ids_are_counted_where_they_are_named() {
    let described = |n: u64, number: u16, step: Option<u16>| {
        packet(n, (n * 3_000) as u32, |data| {
            data.arrival = Instant::from_millis(n * 33);
            (data.frame.frame_number, data.frame.reference) = (Some(number), step);
            data.frame.keyframe = step.is_none();
        })
    };
    let mut rewriter = started(10, &frame(0, 0x7ffd));
    rewriter.name_base_frames();
    let first = rewriter.forward(&frame(0, 0x7ffd)).unwrap();
    // Three layers have their frames in one row.
    let key = described(100, 7, None);
    rewriter.switch(&key, None, VIDEO);
    let mut sent = vec![first, rewriter.forward(&key).unwrap()];
    sent.extend((1..6).map(|n| rewriter.forward(&described(100 + n, 7 + 3 * n as u16, Some(3))).unwrap()));
    let ids: Vec<_> = sent.iter().map(|sent| sent.picture_id.unwrap()).collect();
    assert_eq!(ids, [0x7ffd, 0x7ffe, 0x7fff, 0, 1, 2, 3]);
    let bases: Vec<_> = sent.iter().map(|sent| sent.tl0_pic_idx.unwrap()).collect();
    assert!(bases.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{bases:?}");
}

#[test]
fn clocks_decide_over_arrival_but_time_never_stands_still() {
    let mut rewriter = started(0, &frame(10, 0));
    let last = rewriter.forward(&frame(10, 0)).unwrap();
    rewriter.switch(&frame(20, 0), Some(last.timestamp + 123), VIDEO);
    assert_eq!(rewriter.forward(&frame(20, 0)).unwrap().timestamp, last.timestamp + 123);
    rewriter.switch(&frame(40, 0), Some(last.timestamp + 100), VIDEO);
    assert_eq!(rewriter.forward(&frame(40, 0)).unwrap().timestamp, last.timestamp + 123 + 90, "1 ms at least");
}

#[test]
fn clocks_that_contradict_arrival_are_ignored() {
    for wrong in [-(1_i64 << 31), -3_600 * 90_000, -2 * 90_000, 2 * 90_000, 3_600 * 90_000, (1 << 31) - 1] {
        let mut rewriter = started(0, &frame(10, 0));
        let last = rewriter.forward(&frame(10, 0)).unwrap();
        let other = frame(110, 0);
        let by_arrival = last.timestamp + 100 * 33 * 90;
        rewriter.switch(&other, Some(by_arrival.wrapping_add(wrong as u32)), VIDEO);
        assert_eq!(rewriter.forward(&other).unwrap().timestamp, by_arrival, "wrong by {wrong}");
    }
}

#[test]
fn frames_left_out_leave_no_gap_in_picture_ids_and_lost_ones_do() {
    let mut rewriter = started(0, &frame(0, 5));
    let ids: Vec<_> = [(0, true), (1, false), (2, true), (3, false), (5, true), (4, true), (6, false), (7, true)]
        .into_iter()
        .filter_map(|(n, goes)| {
            let packet = frame(n, 5 + n as u16);
            if goes {
                return rewriter.forward(&packet).unwrap().picture_id;
            }
            rewriter.skip(packet.seq, packet.frame.picture_id);
            None
        })
        .collect();
    assert_eq!(ids, [5, 6, 8, 7, 9]);
}

#[test]
fn frames_of_many_packets_are_counted_once() {
    let mut rewriter = started(0, &frame(0, 5));
    rewriter.forward(&frame(0, 5)).unwrap();
    (1..4).for_each(|seq| rewriter.skip(SeqNo(seq), Some(6)));
    assert_eq!(rewriter.forward(&frame(4, 7)).unwrap().picture_id, Some(6));
    assert_eq!(rewriter.forward(&frame(5, 7)).unwrap().picture_id, Some(6));
}

#[test]
fn short_picture_ids_become_long_ones() {
    let mut rewriter = started(0, &frame(0, 100));
    let ids: Vec<_> =
        (0..60).map(|n| rewriter.forward(&frame(n, (100 + n as u16) % 128)).unwrap().picture_id).collect();
    assert_eq!(ids, (100..160).map(Some).collect::<Vec<_>>());
    assert_eq!(rewriter.forward(&frame(30, 2)).unwrap().picture_id, Some(130), "late");
}

#[test]
fn long_picture_ids_wrap() {
    let mut rewriter = started(0, &frame(0, 0x7ff0));
    for n in 0..40_u64 {
        let id = (0x7ff0 + n as u16) & 0x7fff;
        assert_eq!(rewriter.forward(&frame(n, id)).unwrap().picture_id, Some(id));
    }
}

#[test]
fn a_source_that_leaps_leaves_no_gap() {
    let mut rewriter = started(0, &frame(0, 0));
    rewriter.forward(&frame(0, 0)).unwrap();
    assert_eq!(rewriter.forward(&frame(20_000, 1)).unwrap().seq, SeqNo(1));
    assert_eq!(rewriter.forward(&frame(20_002, 3)).unwrap().seq, SeqNo(3));
}

#[test]
fn what_a_receiver_would_take_for_a_replay_is_not_sent() {
    let mut rewriter = started(0, &frame(0, 0));
    for seq in [0, REPLAY_WINDOW + 1] {
        rewriter.forward(&frame(seq, 0)).unwrap();
    }
    assert_eq!(rewriter.forward(&frame(1, 0)), Err(DropReason::OutOfWindow));
    assert_eq!(rewriter.forward(&frame(2, 0)).unwrap().seq, SeqNo(2));
}

#[test]
fn without_a_source_nothing_is_sent() {
    let mut rewriter = Rewriter::new(SeqNo(3));
    assert_eq!(rewriter.forward(&frame(0, 0)), Err(DropReason::AwaitingKeyframe));
    rewriter.switch(&frame(0, 0), None, VIDEO);
    rewriter.forward(&frame(0, 0)).unwrap();
    rewriter.stop();
    assert_eq!(rewriter.forward(&frame(1, 1)), Err(DropReason::AwaitingKeyframe));
    assert_eq!((rewriter.next_seq(), rewriter.timestamp_offset()), (SeqNo(4), None));
}

/// What happens to one packet of the source.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Forward,
    LeaveOut,
    /// It comes so many packets later.
    Late(usize),
    Lose,
    /// Another source follows, its numbers beginning elsewhere.
    Switch(u16),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Forward),
        4 => Just(Fate::LeaveOut),
        2 => (1_usize..30).prop_map(Fate::Late),
        2 => Just(Fate::Lose),
        1 => any::<u16>().prop_map(Fate::Switch),
    ]
}

proptest! {
    /// Whatever is lost, late, left out or switched: no number is used twice, order is kept, gaps are those of what
    /// was lost or is late, and timestamps and picture ids never go back with the order.
    #[test]
    fn numbers_are_continuous(first in any::<u16>(), source in any::<u32>(), fates in prop::collection::vec(fate(), 1..600)) {
        let mut rewriter = Rewriter::new(SeqNo(u64::from(first)));
        let mut seq = u64::from(source);
        let mut id = source as u16;
        let mut late: Vec<(usize, Packet)> = Vec::new();
        // By our number: source and its number, timestamp, picture id.
        let mut sent: HashMap<u64, (usize, u64, u32, u16)> = HashMap::new();
        let (mut sources, mut first_packet, mut missing) = (0, true, 0_u64);
        for (at, fate) in fates.into_iter().enumerate() {
            let mut due: Vec<Packet> = Vec::new();
            late.retain(|(when, packet)| { if *when <= at { due.push(Packet::clone(packet)); } *when > at });
            for packet in due {
                if let Ok(out) = rewriter.forward(&packet) {
                    prop_assert!(sent.insert(out.seq.0, (sources, packet.seq.0, out.timestamp, out.picture_id.unwrap())).is_none());
                    missing -= 1;
                }
            }
            if let Fate::Switch(by) = fate {
                seq += 5_000 + u64::from(by);
                id = id.wrapping_mul(31).wrapping_add(by);
                late.clear();
                (sources, first_packet) = (sources + 1, true);
                // What was missing of the old source stays so.
            }
            let packet = frame(seq, id);
            let goes = matches!(fate, Fate::Forward | Fate::Switch(_)) || first_packet;
            if first_packet {
                rewriter.switch(&packet, None, VIDEO);
                first_packet = false;
            }
            if goes {
                let out = rewriter.forward(&packet).unwrap();
                prop_assert!(sent.insert(out.seq.0, (sources, seq, out.timestamp, out.picture_id.unwrap())).is_none());
            } else {
                match fate {
                    Fate::LeaveOut => rewriter.skip(packet.seq, packet.frame.picture_id),
                    Fate::Late(by) => { late.push((at + by, packet)); missing += 1; }
                    _ => missing += 1,
                }
            }
            seq += 1;
            id = id.wrapping_add(1) & 0x7fff;
        }
        let mut order: Vec<_> = sent.into_iter().collect();
        order.sort_unstable();
        let span = order.last().unwrap().0 - order[0].0 + 1;
        prop_assert_eq!(order[0].0, u64::from(first));
        // Packets lost at the very end, or before a switch, leave no gap.
        prop_assert!(span - order.len() as u64 <= missing);
        for pair in order.windows(2) {
            let ((_, before), (_, after)) = (pair[0], pair[1]);
            prop_assert!((before.0, before.1) < (after.0, after.1));
            prop_assert!((after.2.wrapping_sub(before.2) as i32) > 0);
            let step = after.3.wrapping_sub(before.3) & 0x7fff;
            prop_assert!(step > 0 && step < 0x4000, "frame {} after {}", after.3, before.3);
        }
    }
}
