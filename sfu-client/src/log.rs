//! Where log lines go: to standard error; while the dashboard is on the terminal, into memory until it is gone.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that are held; of more the oldest go.
const MOST: usize = 64 << 10;

static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);

fn held() -> MutexGuard<'static, Option<Vec<u8>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on lines are held.
pub(crate) fn hold() {
    held().get_or_insert_default();
}

/// Writes what was held, and holds no more.
pub(crate) fn release() {
    if let Some(lines) = held().take() {
        // Standard error that has gone away is no reason to panic.
        let _ = io::stderr().write_all(&lines);
    }
}

/// The last line held; empty where there is none.
pub(crate) fn last_line() -> String {
    let held = held();
    let lines = held.as_deref().unwrap_or_default();
    let last = lines.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(last).into_owned()
}

/// The writer that `tracing` gets.
#[derive(Clone, Copy)]
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = held();
        let Some(lines) = held.as_mut() else { return io::stderr().write(bytes) };
        lines.extend_from_slice(bytes);
        let excess = lines.len().saturating_sub(MOST);
        lines.drain(..excess);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for LogWriter {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_held_until_the_screen_is_free() {
        hold();
        for n in 0..100_000 {
            writeln!(LogWriter, "line {n}").unwrap();
        }
        assert_eq!(last_line(), "line 99999");
        assert!(held().as_ref().unwrap().len() <= MOST);
        *held() = None;
        assert_eq!(last_line(), "");
    }
}
