//! Simulated time for str0m, which takes the standard library's instants.

use sfu_rtc::time::{Duration, Instant};

/// Ties simulated time to an arbitrary point of the real clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock(std::time::Instant);

impl Default for Clock {
    fn default() -> Self {
        Self(std::time::Instant::now())
    }
}

impl Clock {
    /// As the standard library's instant.
    pub fn to_std(self, at: Instant) -> std::time::Instant {
        self.0 + Duration::from_nanos(at.as_nanos())
    }

    /// From the standard library's instant.
    pub fn from_std(self, at: std::time::Instant) -> Instant {
        let nanos = at.saturating_duration_since(self.0).as_nanos();
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
