//! Tests of transport-wide feedback.

use super::*;
use crate::ids::Ssrc;
use crate::rtcp::{RtcpView, compound};
use crate::time::Instant;
use proptest::collection::vec;
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Option<TwccView<'_>> {
    match compound(bytes).next()? {
        Ok(RtcpView::Twcc(view)) => Some(view),
        _ => None,
    }
}

fn write(base_seq: u16, arrivals: &[Option<Instant>]) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let feedback = TwccFeedback { sender: Ssrc(1), media: Ssrc(2), base_seq, fb_count: 9, arrivals };
    let covered = write_twcc(&mut out, &feedback);
    (out, covered)
}

/// Arrival of each packet in ticks, as a reader reconstructs it.
fn arrivals(view: &TwccView<'_>) -> Vec<Option<i64>> {
    let mut at = i64::from(view.reference_time) * 256;
    let packets = view.packets().map(|(_, delta)| {
        delta.map(|delta| {
            at += i64::from(delta);
            at
        })
    });
    packets.collect()
}

/// Feedback as in the draft's layout: base 0x0099, three statuses, reference time 0x40a4b6, number 0x17.
fn header(count: u16, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0x00, 0x99];
    bytes.extend_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(&[0x40, 0xa4, 0xb6, 0x17]);
    bytes.extend_from_slice(rest);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes[3] = (bytes.len() / 4 - 1) as u8;
    bytes
}

#[test]
fn reads_a_run_of_small_deltas() {
    let bytes = header(1, &[0x20, 0x01, 0x94]);
    let view = read(&bytes).unwrap();
    assert_eq!((view.base_seq, view.count, view.fb_count), (0x99, 1, 0x17));
    assert_eq!(view.reference_time, 0x40_a4b6);
    assert_eq!(view.packets().collect::<Vec<_>>(), [(0x99, Some(0x94))]);
}

#[test]
fn reads_vectors_and_large_deltas() {
    // Two-bit vector: small, missing, large, missing, small, missing, missing; then a run of two missing.
    let bytes = header(9, &[0xd2, 0x10, 0x00, 0x02, 0x05, 0xff, 0xfe, 0x06]);
    let deltas: Vec<_> = read(&bytes).unwrap().packets().map(|(_, delta)| delta).collect();
    assert_eq!(deltas, [Some(5), None, Some(-2), None, Some(6), None, None, None, None]);
    // One-bit vector: the last of ten statuses is received, what follows belongs to nothing.
    let bytes = header(10, &[0x80, 0x1f, 0x07]);
    let received: Vec<_> = read(&bytes).unwrap().packets().filter(|(_, delta)| delta.is_some()).collect();
    assert_eq!(received, [(0x99 + 9, Some(7))]);
}

#[test]
fn a_negative_reference_time_keeps_its_sign() {
    let mut bytes = header(1, &[0x20, 0x01, 0x94]);
    bytes[16..19].copy_from_slice(&[0xff, 0xff, 0xfe]);
    assert_eq!(read(&bytes).unwrap().reference_time, -2);
}

#[test]
fn hostile_counts_are_refused() {
    assert!(read(&header(u16::MAX, &[0x1f, 0xff, 0x1f, 0xff, 0x1f, 0xff, 0x1f, 0xff, 0x1f, 0xff])).is_none());
    assert!(read(&header(5, &[0x00, 0x00, 0x00, 0x00])).is_none(), "an empty run covers nothing");
    assert!(read(&header(5, &[0x20, 0x05, 1, 2])).is_none(), "deltas are missing");
    assert!(read(&header(5, &[0x60, 0x05, 1, 2, 3, 4, 5])).is_none(), "symbol 3 is reserved");
    assert!(read(&header(15, &[0x80, 0x00])).is_none(), "chunks are missing");
    assert!(read(&header(8_191, &[0x1f, 0xff])).is_some());
}

#[test]
fn writes_short_feedback_shortly() {
    let at = |millis| Some(Instant::from_millis(millis));
    let (bytes, covered) = write(7, &[at(640), at(641), None, at(640)]);
    assert_eq!(covered, 4);
    let expected = [
        0xaf, 205, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 0, 4, 0, 0, 10, 9, // reference time 10 x 64 ms
        0xd4, 0x80, 0, 4, 0xff, 0xfc, 0, 2, // small, small, missing, large; two bytes of padding
    ];
    assert_eq!(bytes, expected);
}

#[test]
fn steady_arrivals_take_one_run() {
    let arrivals: Vec<_> = (0..100).map(|i| Some(Instant::from_millis(5 * i))).collect();
    let (bytes, covered) = write(0, &arrivals);
    assert_eq!(covered, 100);
    assert_eq!(bytes[20..22], [0x20, 100]);
    assert_eq!(bytes.len(), (22usize + 100).next_multiple_of(4));
}

#[test]
fn what_no_delta_can_tell_is_left_for_the_next_feedback() {
    let arrivals = [Some(Instant::from_millis(0)), None, Some(Instant::from_millis(9_000))];
    let (bytes, covered) = write(0, &arrivals);
    assert_eq!(covered, 2);
    assert_eq!(read(&bytes).unwrap().count, 2);
    assert_eq!(write(2, &arrivals[2..]).1, 1);
}

#[test]
fn nothing_arrived_means_no_feedback() {
    let (bytes, covered) = write(0, &[None; 30]);
    assert_eq!((bytes.len(), covered), (0, 0));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        base_seq: u16, start in 0..4_000_000_000u64,
        gaps in vec(prop_oneof![
            3 => Just(None), 10 => (0..60_000i64).prop_map(Some), 2 => (-900_000..900_000i64).prop_map(Some),
        ], 1..700),
    ) {
        let mut micros = start as i64;
        let arrivals_in: Vec<_> = gaps.iter().map(|gap| gap.map(|gap| {
            micros = (micros + gap).max(0);
            Instant::from_nanos(micros as u64 * 1_000)
        })).collect();
        let (bytes, covered) = write(base_seq, &arrivals_in);
        prop_assert_eq!(covered == 0, arrivals_in.iter().flatten().next().is_none());
        prop_assert!(covered == 0 || covered == arrivals_in.len().min(500));
        prop_assert!(bytes.len() <= 1_200);
        if covered > 0 {
            let view = read(&bytes).unwrap();
            prop_assert_eq!(usize::from(view.count), covered);
            let seqs: Vec<u16> = view.packets().map(|(seq, _)| seq).collect();
            prop_assert!(seqs.iter().zip(0u16..).all(|(seq, i)| *seq == base_seq.wrapping_add(i)));
            let expected: Vec<_> =
                arrivals_in[..covered].iter().map(|at| at.map(|at| at.as_micros() as i64 / 250)).collect();
            // The reference time wraps after 12 days; the times here lie within.
            prop_assert_eq!(arrivals(&view), expected);
        }
    }
}
