//! The pacer.

use divan::Bencher;
use divan::counter::ItemsCount;
use sfu_rtc::pacer::{Pacer, PacerConfig, PacketClass};
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::{Bitrate, DataSize};

/// What waits at once: a frame of each of four layers, with the audio of two and a retransmission.
const WAITING: usize = 27;

fn class(place: usize) -> PacketClass {
    match place {
        0 | 13 => PacketClass::Audio,
        7 => PacketClass::Rtx,
        _ => PacketClass::Video,
    }
}

/// With an estimate that lets all of it leave in one burst, and without.
#[divan::bench(args = [None, Some(1_000)], sample_size = 50, counters = [ItemsCount::new(WAITING)])]
fn push_and_pop(bencher: Bencher<'_, '_>, estimate: Option<u64>) {
    let mut pacer = Pacer::new(PacerConfig::default());
    pacer.set_estimate(Instant::ZERO, estimate.map(|mbps| Bitrate::from_kbps(1_000 * mbps)), false);
    let mut now = Instant::ZERO;
    bencher.bench_local(|| {
        now += Duration::from_millis(33);
        for place in 0..WAITING {
            pacer.push(class(place), DataSize::from_bytes(1_100), [place as u64; 16]).unwrap();
        }
        let mut left = 0;
        while pacer.pop(now).is_some() {
            left += 1;
        }
        assert_eq!(left, WAITING);
    });
}

/// The way past the queue that most packets take.
#[divan::bench]
fn pass(bencher: Bencher<'_, '_>) {
    let mut pacer = Pacer::<u64>::new(PacerConfig::default());
    bencher.bench_local(|| assert!(pacer.pass(Instant::ZERO, PacketClass::Video, DataSize::from_bytes(1_100))));
}
