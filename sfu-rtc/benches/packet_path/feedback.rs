//! Transport-wide feedback and NACK.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use sfu_rtc::ids::{SeqNo, Ssrc};
use sfu_rtc::nack::{NackConfig, NackGenerator};
use sfu_rtc::rtcp::{RtcpView, TwccFeedback, compound, write_nack, write_twcc};
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::twcc::{ArrivalConfig, ArrivalRecorder};

/// Packets between two feedbacks, 100 ms apart: 8 Mbit/s.
const PACKETS: u64 = 100;
const SPACING: Duration = Duration::from_millis(1);
/// One in so many is lost.
const LOSS: u64 = 20;

/// The last of a round is lost early enough to be more than reordering at its end.
fn is_lost(seq: u64) -> bool {
    seq % LOSS == LOSS / 4
}

/// The next [`PACKETS`] arrivals, then the feedback on them.
fn twcc_round(recorder: &mut ArrivalRecorder, now: &mut Instant, seq: &mut u64, out: &mut Vec<u8>) {
    for _ in 0..PACKETS {
        *now += SPACING;
        *seq += 1;
        if !is_lost(*seq) {
            recorder.on_packet(*now, *seq as u16);
        }
    }
    out.clear();
    recorder.report(*now, |base_seq, arrivals| {
        write_twcc(out, &TwccFeedback { sender: Ssrc(1), media: Ssrc(2), base_seq, fb_count: 0, arrivals })
    });
    assert!(!out.is_empty());
}

fn recorder() -> ArrivalRecorder {
    ArrivalRecorder::new(ArrivalConfig::default())
}

#[divan::bench(sample_size = 50, counters = [ItemsCount::new(PACKETS)])]
fn twcc_note_arrivals_and_build(bencher: Bencher<'_, '_>) {
    let (mut recorder, mut now, mut seq, mut out) = (recorder(), Instant::ZERO, 0, Vec::with_capacity(1_500));
    bencher.bench_local(|| twcc_round(&mut recorder, &mut now, &mut seq, &mut out));
}

#[divan::bench(sample_size = 50, counters = [ItemsCount::new(PACKETS)])]
fn twcc_parse(bencher: Bencher<'_, '_>) {
    let (mut now, mut seq, mut out) = (Instant::ZERO, 0, Vec::new());
    twcc_round(&mut recorder(), &mut now, &mut seq, &mut out);
    bencher.bench_local(|| {
        let Some(Ok(RtcpView::Twcc(twcc))) = compound(black_box(&out)).next() else { panic!("no feedback") };
        let received = twcc.packets().filter(|(_, delta)| delta.is_some()).count() as u64;
        assert_eq!(received, PACKETS - PACKETS / LOSS);
    });
}

#[divan::bench(sample_size = 50, counters = [ItemsCount::new(PACKETS)])]
fn nack_follow_and_write(bencher: Bencher<'_, '_>) {
    let mut generator = NackGenerator::new(NackConfig::default());
    let (mut now, mut seq, mut due, mut out) = (Instant::ZERO, 0, Vec::new(), Vec::with_capacity(1_500));
    bencher.bench_local(|| {
        for _ in 0..PACKETS {
            now += SPACING;
            seq += 1;
            if !is_lost(seq) {
                generator.on_packet(now, SeqNo(seq));
            }
        }
        due.clear();
        generator.take_due(now, Duration::from_millis(50), &mut due);
        assert_eq!(due.len() as u64, PACKETS / LOSS);
        out.clear();
        assert_eq!(write_nack(&mut out, Ssrc(1), Ssrc(2), &due), due.len());
        due.iter().for_each(|missing| {
            generator.on_packet(now, SeqNo(seq).extend(*missing));
        });
    });
}
