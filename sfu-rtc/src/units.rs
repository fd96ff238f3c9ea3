//! Units as types, so that bits are never taken for bytes.

use crate::time::Duration;
use std::fmt;
use std::ops::{Add, AddAssign, Mul, Sub};

/// Bits per second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bitrate(u64);

impl Bitrate {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// No limit.
    pub const MAX: Self = Self(u64::MAX);

    /// From bits per second.
    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    /// From kilobits per second.
    pub const fn from_kbps(kbps: u64) -> Self {
        Self(kbps * 1_000)
    }

    /// In bits per second.
    pub const fn as_bps(self) -> u64 {
        self.0
    }

    /// In kilobits per second, for people.
    pub const fn as_kbps(self) -> u64 {
        self.0 / 1_000
    }

    /// What flows in `duration`.
    pub(crate) fn in_duration(self, duration: Duration) -> DataSize {
        let bits = u128::from(self.0) * duration.as_nanos() / 1_000_000_000;
        DataSize(u64::try_from(bits / 8).unwrap_or(u64::MAX))
    }

    /// How long `size` takes; [`Duration::MAX`] at a rate of zero.
    pub fn time_for(self, size: DataSize) -> Duration {
        if self.0 == 0 {
            return Duration::MAX;
        }
        let nanos = u128::from(size.0) * 8 * 1_000_000_000 / u128::from(self.0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Difference, never below zero.
    pub const fn saturating_sub(self, rhs: Self) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}

impl Add for Bitrate {
    type Output = Self;

    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign for Bitrate {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}

impl Mul<f64> for Bitrate {
    type Output = Self;

    fn mul(self, rhs: f64) -> Self {
        Self((self.0 as f64 * rhs) as u64)
    }
}

impl fmt::Debug for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            u64::MAX => write!(f, "unlimited"),
            bps if bps >= 1_000_000 => write!(f, "{:.2} Mbit/s", bps as f64 / 1e6),
            bps => write!(f, "{:.1} kbit/s", bps as f64 / 1e3),
        }
    }
}

/// Bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct DataSize(u64);

impl DataSize {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// In bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// The rate at which this much flows in `duration`; zero for no duration.
    pub fn per(self, duration: Duration) -> Bitrate {
        let nanos = duration.as_nanos();
        if nanos == 0 {
            return Bitrate::ZERO;
        }
        let bps = u128::from(self.0) * 8 * 1_000_000_000 / nanos;
        Bitrate(u64::try_from(bps).unwrap_or(u64::MAX))
    }
}

impl Add for DataSize {
    type Output = Self;

    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign for DataSize {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}

impl Sub for DataSize {
    type Output = Self;

    fn sub(self, rhs: Self) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_size_and_time_agree() {
        let rate = Bitrate::from_kbps(1_200);
        assert_eq!(rate.in_duration(Duration::from_millis(10)), DataSize::from_bytes(1_500));
        assert_eq!(rate.time_for(DataSize::from_bytes(1_500)), Duration::from_millis(10));
        assert_eq!(DataSize::from_bytes(1_500).per(Duration::from_millis(10)), rate);
        assert_eq!(Bitrate::ZERO.time_for(DataSize::from_bytes(1)), Duration::MAX);
    }

    #[test]
    fn people_can_read_rates() {
        assert_eq!(Bitrate::from_kbps(2_500).to_string(), "2.50 Mbit/s");
        assert_eq!(Bitrate::from_bps(32_400).to_string(), "32.4 kbit/s");
    }
}
