//! One more attempt for a test that the machine had no time for, and the account of it.

use crate::machine::{Share, Watch};
use crate::scenario::results_folder;
use anyhow::Result;
use std::cell::RefCell;
use std::fs;
use std::os::unix::process::parent_id;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::SystemTime;

/// A server that keeps more of a processor busy with one call of browsers is at fault itself, whatever the machine does.
const MOST_SERVER: f64 = 0.5;
/// So many tests of a run may have been begun again: what happens more often is no accident.
const MOST_FLAKY: usize = 1;

thread_local! {
    /// Of the running attempt.
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Where the processors' time went in a span of the running attempt.
pub(crate) fn processors(span: (SystemTime, SystemTime)) -> Share {
    WATCH.with_borrow(|watch| watch.as_ref().map(|watch| watch.share(Some(span)))).unwrap_or_default()
}

/// Runs `test`. If it fails while the machine had no processor time to give, and it was not the server that took it, the
/// test is run once more. It is then flaky: `test-results/flaky` names it, and a second one in a run fails.
///
/// # Errors
/// What `test` gave at last; a panic goes on.
pub fn attempts(test: impl Fn() -> Result<()>) -> Result<()> {
    attempts_of(&Flaky::of_this_run()?, &test)
}

fn attempts_of(flaky: &Flaky, test: &impl Fn() -> Result<()>) -> Result<()> {
    let (outcome, share) = attempt(test);
    if matches!(outcome, Ok(Ok(()))) {
        return Ok(());
    }
    println!("{share}");
    let excused = share.is_full() && share.cores("sfu") < MOST_SERVER;
    if !excused || !flaky.admit()? {
        return outcome.unwrap_or_else(|panic| resume_unwind(panic));
    }
    println!("the machine had no time for the browsers; once more");
    let (outcome, share) = attempt(test);
    println!("{share}");
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

fn attempt(test: &impl Fn() -> Result<()>) -> (std::thread::Result<Result<()>>, Share) {
    WATCH.set(Some(Watch::start()));
    let outcome = catch_unwind(AssertUnwindSafe(test));
    let share = WATCH.take().map(|watch| watch.share(None)).unwrap_or_default();
    (outcome, share)
}

/// The tests of one run that were begun again: lines of a file that all test programs of the run share.
struct Flaky {
    file: PathBuf,
    /// Whoever started the test programs: one `cargo test` is one run.
    run: u32,
}

impl Flaky {
    fn of_this_run() -> Result<Self> {
        Ok(Self { file: results_folder()?.join("flaky"), run: parent_id() })
    }

    /// Whether one more test of the run may be flaky; it is noted. Scenarios take turns, so nobody writes meanwhile.
    fn admit(&self) -> Result<bool> {
        let mut noted = fs::read_to_string(&self.file).unwrap_or_default();
        let run = format!("{} ", self.run);
        if noted.lines().filter(|line| line.starts_with(&run)).count() >= MOST_FLAKY {
            println!("another test of this run was flaky already; see {}", self.file.display());
            return Ok(false);
        }
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        noted.push_str(&format!("{run}{test}\n"));
        fs::write(&self.file, noted)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn flaky(name: &str) -> Flaky {
        let flaky = Flaky { file: std::env::temp_dir().join(format!("{name}-{}", std::process::id())), run: 7 };
        let _ = fs::remove_file(&flaky.file);
        flaky
    }

    #[test]
    fn what_passes_runs_once() {
        let runs = Cell::new(0);
        let flaky = flaky("passes");
        attempts_of(&flaky, &|| {
            runs.set(runs.get() + 1);
            Ok(())
        })
        .unwrap();
        assert_eq!((runs.get(), flaky.file.exists()), (1, false));
    }

    #[test]
    fn what_always_fails_fails_after_two_runs_at_most() {
        let runs = Cell::new(0);
        let outcome = attempts_of(&flaky("fails"), &|| {
            runs.set(runs.get() + 1);
            anyhow::bail!("for the test")
        });
        assert!(outcome.is_err() && (1..=2).contains(&runs.get()));
    }

    #[test]
    fn a_run_has_one_flaky_test() {
        let flaky = flaky("one");
        fs::write(&flaky.file, "6 another_run\n").unwrap();
        assert!(flaky.admit().unwrap());
        assert!(!flaky.admit().unwrap());
        let noted = fs::read_to_string(&flaky.file).unwrap();
        assert!(noted.starts_with("6 another_run\n7 ") && noted.lines().count() == 2, "{noted}");
        assert!(Flaky { run: 8, ..flaky }.admit().unwrap(), "another run has its own");
    }
}
