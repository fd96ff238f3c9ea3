//! Time as an argument: monotonic instants in nanoseconds, wall-clock time for sender reports, and a limit of rates.

use std::ops::{Add, AddAssign, Sub};
pub use std::time::Duration;

/// A point on a monotonic clock, in nanoseconds since a start that the caller chooses.
///
/// The sans-IO crates never read a clock; every entry point is handed one of these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Instant(u64);

impl Instant {
    /// The clock's start.
    pub const ZERO: Self = Self(0);
    /// A point that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The point `nanos` nanoseconds after the clock's start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The point `millis` milliseconds after the clock's start.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Microseconds since the clock's start.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// Milliseconds since the clock's start.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Time from `earlier` to `self`; zero where `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The last multiple of `grid` up to this: timers of many that are set so share one wake-up.
    pub const fn floor_to(self, grid: Duration) -> Self {
        let nanos = grid.as_nanos() as u64; // of what a timer waits
        Self(if nanos == 0 { self.0 } else { self.0 - self.0 % nanos })
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, rhs: Self) -> Duration {
        self.saturating_since(rhs)
    }
}

/// Seconds from the NTP epoch (1900) to the Unix epoch (1970); RFC 5905 section 6.
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;

/// A wall-clock time in the 64-bit NTP format (RFC 5905 section 6): 32 bits of seconds, 32 of fraction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// From the time since the Unix epoch.
    pub const fn from_unix(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs().wrapping_add(NTP_UNIX_OFFSET);
        let fraction = ((since_epoch.subsec_nanos() as u64) << 32) / 1_000_000_000;
        Self((seconds << 32) | fraction)
    }

    /// The middle 32 bits, as reception reports carry them (RFC 3550 section 6.4.1, LSR).
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// Ties the monotonic clock to the wall clock at one point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WallClock {
    at: Instant,
    unix: Duration,
}

impl WallClock {
    /// At monotonic time `at` the wall clock showed `unix` since the Unix epoch.
    pub const fn new(at: Instant, unix: Duration) -> Self {
        Self { at, unix }
    }

    /// Time since the Unix epoch at `now`.
    pub fn unix(&self, now: Instant) -> Duration {
        if now >= self.at { self.unix + (now - self.at) } else { self.unix.saturating_sub(self.at - now) }
    }

    /// NTP time at `now`.
    pub fn ntp(&self, now: Instant) -> NtpTime {
        NtpTime::from_unix(self.unix(now))
    }
}

/// Limits how fast something may go on average, and how much of it at once: the generic cell rate algorithm (ITU-T I.371
/// annex A). What is let through costs some time each, and no more than so much may be left to be paid.
#[derive(Clone, Copy, Default, Debug)]
pub struct Spacing {
    /// When all that was let through is paid for.
    paid: Instant,
}

impl Spacing {
    /// When the next is let through: at `now`, or when no more than `ahead` is left to be paid.
    pub fn next(&self, now: Instant, ahead: Duration) -> Instant {
        now.max(self.paid - ahead)
    }

    /// One is let through at `at` that costs so much time.
    pub fn count(&mut self, at: Instant, cost: Duration) {
        self.paid = self.paid.max(at) + cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_saturate() {
        let t = Instant::from_millis(5);
        assert_eq!(t - Instant::from_millis(8), Duration::ZERO);
        assert_eq!(t + Duration::MAX, Instant::NEVER);
        assert_eq!(t - Duration::from_secs(1), Instant::ZERO);
    }

    #[test]
    fn ntp_of_the_unix_epoch() {
        let ntp = NtpTime::from_unix(Duration::from_millis(500));
        assert_eq!(ntp.0, (NTP_UNIX_OFFSET << 32) | 0x8000_0000);
        assert_eq!(ntp.middle(), ((NTP_UNIX_OFFSET as u32) << 16) | 0x8000);
    }

    #[test]
    fn wall_clock_runs_with_the_monotonic_one() {
        let clock = WallClock::new(Instant::from_millis(1_000), Duration::from_secs(100));
        assert_eq!(clock.unix(Instant::from_millis(1_250)), Duration::from_millis(100_250));
        assert_eq!(clock.unix(Instant::from_millis(500)), Duration::from_millis(99_500));
    }
}
