//! The wall clock, as the burned-in overlay carries it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the Unix epoch by this machine's clock.
///
/// Glass-to-glass latency compares the sender's with the receiver's: on two machines it is as good as their
/// clocks agree.
pub fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
