//! Many conferences, one per seed, on all cores.

use crate::conference::{self, Outcome};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What came of many conferences.
#[derive(Clone, Default, Debug)]
pub struct Summary {
    /// How many were played.
    pub conferences: u64,
    /// Seeds that failed, each with what must not be.
    pub failures: Vec<(u64, Vec<String>)>,
    /// Of these, those that were spread over two workers.
    pub spread: u64,
    /// RTP packets that servers sent.
    pub packets: u64,
    /// RTP packets that a worker took from another.
    pub relayed: u64,
    /// Packets of pictures that were to arrive.
    pub video_expected: u64,
    /// Of these, those that never did.
    pub video_lost: u64,
}

/// Plays the conferences of the seeds from `first` on, on so many threads; tells `progress` of each.
pub fn play(first: u64, count: u64, threads: usize, progress: impl Fn(u64, &Outcome) + Sync) -> Summary {
    let next = AtomicU64::new(first);
    let summary = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first.saturating_add(count) {
                        return;
                    }
                    let outcome = play_one(seed);
                    progress(seed, &outcome);
                    summary.lock().expect("no thread panics while it holds this").add(seed, outcome);
                }
            });
        }
    });
    let mut summary = summary.into_inner().expect("no thread panics while it holds this");
    summary.failures.sort_by_key(|(seed, _)| *seed);
    summary
}

/// Plays one conference; a panic is a failure like any other.
pub fn play_one(seed: u64) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| conference::run(seed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Outcome { faults: vec![format!("panic: {text}")], ..Outcome::default() }
    })
}

impl Summary {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.conferences += 1;
        self.spread += u64::from(outcome.workers > 1);
        self.packets += outcome.packets;
        self.relayed += outcome.relayed;
        self.video_expected += outcome.video_expected;
        self.video_lost += outcome.lost_up + outcome.lost_down;
        if !outcome.faults.is_empty() {
            self.failures.push((seed, outcome.faults));
        }
    }

    /// The failures in words, with how to see each again.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for (seed, faults) in &self.failures {
            text.push_str(&format!("seed {seed} failed; again: cargo run -p sfu-sim -- --first {seed} --seeds 1\n"));
            for fault in faults.iter().take(8) {
                text.push_str(&format!("    {fault}\n"));
            }
        }
        text
    }
}
