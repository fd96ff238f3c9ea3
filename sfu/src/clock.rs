//! The process's one clock: monotonic time as the sans-IO crates take it.

use sfu_rtc::time::{Duration, Instant, WallClock};
use std::time::SystemTime;

/// Time zero lies this far before the start, so that "some seconds ago" exists from the beginning.
const HEAD_START: Duration = Duration::from_secs(3_600);

/// Reads monotonic time. Copies share their zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    /// Now.
    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO + HEAD_START + self.start.elapsed()
    }

    /// Ties this clock to the wall clock as it is now.
    pub(crate) fn wall(&self) -> WallClock {
        WallClock::new(self.now(), unix_time())
    }
}

/// Time since the Unix epoch; zero where the machine's clock lies before it.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
