//! A browser that gets no processor time says nothing about the server.

use anyhow::Result;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often a scenario may be begun.
const ATTEMPTS: usize = 3;
/// The probe sleeps so long ...
const NAP: Duration = Duration::from_millis(5);
/// ... and a wake-up that comes this much later was late: a frame at 15 per second lasts 66 ms, and takes several.
const LATE: Duration = Duration::from_millis(20);
/// With so many naps of a hundred late, browsers miss frames on their own.
const MOST_LATE_PERCENT: usize = 3;

/// A browser that stood still for so long shows a freeze, whatever it was sent: one begins 150 ms after the frame was due.
const LONG_PAUSE: Duration = Duration::from_millis(100);

thread_local! {
    /// Longest pause of a browser in the running attempt.
    static PAUSE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A browser saw itself kept from running for so long, at most, while its media were counted.
pub(crate) fn note_pause(browser: &str, pause: Duration) {
    println!("{browser} was kept waiting for {} ms at most", pause.as_millis());
    PAUSE.set(PAUSE.get().max(pause));
}

/// Runs `test`. If it fails while the machine had no processor time to give, it is run again: either a thread that only
/// wants to wake up in time saw it, or a browser itself. A failure on a machine with time to spare is one.
///
/// # Errors
/// What `test` gave at last; a panic goes on.
pub fn attempts(test: impl Fn() -> Result<()>) -> Result<()> {
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        PAUSE.set(Duration::ZERO);
        let probe = Probe::start();
        let outcome = catch_unwind(AssertUnwindSafe(&test));
        let late = probe.late_percent();
        let starved = late > MOST_LATE_PERCENT || PAUSE.get() >= LONG_PAUSE;
        if matches!(outcome, Ok(Ok(()))) || !starved || left == 0 {
            return outcome.unwrap_or_else(|panic| resume_unwind(panic));
        }
        println!("{late} % of naps ended late: the machine had no time for the browsers; once more");
    }
}

struct Probe {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<(usize, usize)>,
}

impl Probe {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut naps, mut late) = (0, 0);
            while !end.load(Ordering::Relaxed) {
                let begun = Instant::now();
                thread::sleep(NAP);
                naps += 1;
                late += usize::from(begun.elapsed() > NAP + LATE);
            }
            (naps, late)
        });
        Self { stop, thread }
    }

    fn late_percent(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let (naps, late) = self.thread.join().unwrap_or_default();
        late * 100 / naps.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_runs_once() {
        let runs = Cell::new(0);
        attempts(|| {
            runs.set(runs.get() + 1);
            Ok(())
        })
        .unwrap();
        assert_eq!(runs.get(), 1);
    }

    #[test]
    fn a_failure_is_no_verdict_where_a_browser_stood_still() {
        let runs = Cell::new(0);
        attempts(|| {
            runs.set(runs.get() + 1);
            if runs.get() < ATTEMPTS {
                note_pause("browser", LONG_PAUSE);
                anyhow::bail!("for the test");
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(runs.get(), ATTEMPTS);
    }

    #[test]
    fn what_always_fails_fails_after_a_bounded_number_of_runs() {
        let runs = Cell::new(0);
        let outcome = attempts(|| {
            runs.set(runs.get() + 1);
            anyhow::bail!("for the test")
        });
        assert!(outcome.is_err() && (1..=ATTEMPTS).contains(&runs.get()));
    }
}
