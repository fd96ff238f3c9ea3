//! The buffer under loss, disorder, keyframes and late packets.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn packet(number: u16, timestamp: u32, marker: bool) -> rtp::Packet {
    let header = rtp::Header { sequence_number: number, timestamp, marker, payload_type: 102, ..Default::default() };
    rtp::Packet { header, payload: Bytes::copy_from_slice(&number.to_be_bytes()) }
}

/// Payloads of a frame as the numbers that [`packet`] wrote.
fn numbers(frame: &ReceivedFrame) -> Vec<u16> {
    frame.payloads.iter().map(|payload| u16::from_be_bytes([payload[0], payload[1]])).collect()
}

fn video() -> (JitterBuffer, Instant) {
    (JitterBuffer::new(JitterConfig::video()), Instant::now())
}

#[test]
fn frames_end_at_the_marker() {
    let (mut buffer, now) = video();
    buffer.push(now, packet(65_535, 1, false));
    assert!(buffer.pop(now).is_none());
    buffer.push(now, packet(0, 1, true));
    assert_eq!(numbers(&buffer.pop(now).unwrap()), [65_535, 0]);
    assert!(buffer.pop(now).is_none());
}

#[test]
fn frames_end_at_the_next_timestamp_too() {
    let (mut buffer, now) = video();
    for (number, timestamp) in [(1, 1), (2, 1), (3, 2)] {
        buffer.push(now, packet(number, timestamp, false));
    }
    assert_eq!(numbers(&buffer.pop(now).unwrap()), [1, 2]);
    assert!(buffer.pop(now).is_none());
}

#[test]
fn reordering_is_put_right_without_a_nack() {
    let (mut buffer, now) = video();
    for (number, marker) in [(2, true), (1, false), (4, true), (3, false)] {
        buffer.push(now, packet(number, u32::from(number.div_ceil(2)), marker));
    }
    assert!(buffer.nacks(now).is_empty());
    assert_eq!(numbers(&buffer.pop(now).unwrap()), [1, 2]);
    assert_eq!(numbers(&buffer.pop(now).unwrap()), [3, 4]);
    assert_eq!(buffer.counters().lost, 0);
}

#[test]
fn a_gap_is_asked_for_until_it_is_filled() {
    let (mut buffer, now) = video();
    buffer.push(now, packet(1, 1, true));
    buffer.push(now, packet(4, 2, true));
    assert!(buffer.pop(now).is_some());
    assert!(buffer.nacks(now).is_empty());
    assert_eq!(buffer.deadline(), Some(now + 5 * MS));
    assert_eq!(buffer.nacks(now + 5 * MS), [2, 3]);
    assert!(buffer.nacks(now + 20 * MS).is_empty());
    buffer.push(now + 30 * MS, packet(2, 2, false));
    assert_eq!(buffer.nacks(now + 60 * MS), [3]);
    buffer.push(now + 70 * MS, packet(3, 2, false));
    let frame = buffer.pop(now + 70 * MS).unwrap();
    assert_eq!((numbers(&frame), frame.completed), (vec![2, 3, 4], now + 70 * MS));
    assert_eq!((buffer.counters().recovered, buffer.counters().nacked), (2, 3));
    assert!(!buffer.ask_keyframe(now + 70 * MS));
    assert_eq!(buffer.deadline(), None);
}

#[test]
fn what_does_not_come_is_given_up_and_a_keyframe_asked_for() {
    let (mut buffer, now) = video();
    buffer.push(now, packet(1, 1, true));
    assert!(buffer.pop(now).is_some());
    buffer.push(now, packet(3, 3, true));
    let late = now + 500 * MS;
    assert_eq!(numbers(&buffer.pop(late).unwrap()), [3]);
    assert_eq!(buffer.counters().lost, 1);
    assert!(buffer.ask_keyframe(late));
    assert!(!buffer.ask_keyframe(late + 10 * MS));
    assert!(buffer.ask_keyframe(late + 600 * MS));
    buffer.decoder_has_keyframe();
    assert!(!buffer.ask_keyframe(late + 2000 * MS));
    buffer.push(late, packet(2, 2, true));
    assert_eq!(buffer.counters().discarded, 1);
}

#[test]
fn padding_between_frames_is_passed_over() {
    let (mut buffer, now) = video();
    let mut padding = packet(2, 1, false);
    padding.payload = Bytes::new();
    for packet in [packet(1, 1, true), padding, packet(3, 2, true)] {
        buffer.push(now, packet);
    }
    assert_eq!(numbers(&buffer.pop(now).unwrap()), [1]);
    assert_eq!(numbers(&buffer.pop(now).unwrap()), [3]);
}

#[test]
fn duplicates_are_discarded() {
    let (mut buffer, now) = video();
    for _ in 0..2 {
        buffer.push(now, packet(1, 1, true));
    }
    assert!(buffer.pop(now).is_some());
    buffer.push(now, packet(1, 1, true));
    assert_eq!(buffer.counters().discarded, 2);
}

#[test]
fn a_flood_and_a_restart_stay_bounded() {
    let (mut buffer, now) = video();
    buffer.push(now, packet(0, 1, true));
    assert!(buffer.pop(now).is_some());
    for number in 2..10_000u16 {
        buffer.push(now, packet(number, u32::from(number), true));
        assert!(buffer.packets.len() <= CAPACITY + 1);
    }
    buffer.push(now, packet(40_000, 1, true));
    assert!(buffer.missing.is_empty());
    assert_eq!(numbers(&buffer.pop(now).unwrap()), [40_000]);
}

#[test]
fn sound_goes_on_after_a_gap_and_says_what_is_missing() {
    let (mut buffer, now) = (JitterBuffer::new(JitterConfig::audio()), Instant::now());
    for number in [1, 2, 5] {
        buffer.push(now, packet(number, u32::from(number) * 960, false));
    }
    assert_eq!(numbers(&buffer.pop(now).unwrap()), [1]);
    assert_eq!(numbers(&buffer.pop(now).unwrap()), [2]);
    assert!(buffer.pop(now).is_none());
    assert!(buffer.nacks(now + 50 * MS).is_empty());
    let frame = buffer.pop(now + 60 * MS).unwrap();
    assert_eq!((numbers(&frame), frame.lost_before), (vec![5], 2));
    assert!(!buffer.ask_keyframe(now + 60 * MS));
}

proptest::proptest! {
    #[test]
    fn any_order_with_loss_hands_out_each_frame_once_in_order(
        events in proptest::collection::vec((0u16..200, 0u64..50), 1..400)
    ) {
        let (mut buffer, start) = video();
        let mut now = start;
        let mut last = None;
        for (number, wait) in events {
            now += MS * u32::try_from(wait).unwrap();
            buffer.push(now, packet(number, u32::from(number), true));
            while let Some(frame) = buffer.pop(now) {
                let number = numbers(&frame)[0];
                proptest::prop_assert!(last.is_none_or(|last| number > last));
                last = Some(number);
            }
            let _ = buffer.nacks(now);
        }
    }
}

#[test]
fn a_gap_that_is_too_long_to_ask_for_is_lost_at_once() {
    let (mut buffer, now) = video();
    buffer.push(now, packet(1, 1, true));
    assert_eq!(buffer.pop(now).unwrap().lost_before, 0);
    buffer.push(now, packet(4, 2, true));
    let after = 5 + MAX_MISSING as u16;
    buffer.push(now, packet(after, 3, true));
    let frame = buffer.pop(now).unwrap();
    assert_eq!((numbers(&frame), frame.lost_before), (vec![after], u64::from(after) - 3));
    assert_eq!(buffer.counters().lost, u64::from(after) - 3);
    assert!(buffer.nacks(now + 10 * MS).is_empty() && buffer.ask_keyframe(now));
}

#[test]
fn what_is_not_asked_for_is_given_up_soon() {
    let (mut buffer, now) = (JitterBuffer::new(JitterConfig::video_unasked()), Instant::now());
    buffer.push(now, packet(1, 1, true));
    assert!(buffer.pop(now).is_some());
    buffer.push(now, packet(3, 3, true));
    assert!(buffer.nacks(now + 50 * MS).is_empty() && buffer.pop(now + 50 * MS).is_none());
    assert_eq!(buffer.pop(now + 60 * MS).map(|frame| frame.lost_before), Some(1));
    assert_eq!(buffer.counters().nacked, 0);
}
