//! What a link does to what passes it.

use crate::trace::{Trace, nanos};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One direction of a path. The default lets everything pass at once.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LinkConfig {
    /// Capacity; `None` for no bottleneck.
    pub rate: Option<Rate>,
    /// Recorded capacity, in the place of `rate`.
    pub trace: Option<Arc<Trace>>,
    /// What may wait for the bottleneck; what exceeds it is dropped (drop-tail).
    pub queue: QueueLimit,
    /// Time from the bottleneck to the other end.
    pub delay: Duration,
    /// Up to this much is added to the delay, evenly. It never changes the order.
    pub jitter: Duration,
    /// What is lost after the bottleneck.
    pub loss: Loss,
    /// Probability that a packet is held back by `reorder_delay`, so that later ones overtake it.
    pub reorder: f64,
    /// How long a packet is held back.
    pub reorder_delay: Duration,
    /// Probability that a packet arrives twice.
    pub duplicate: f64,
    /// Probability that one byte of a packet is changed.
    pub corrupt: f64,
}

impl LinkConfig {
    /// Everything arrives, later.
    pub fn delayed(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// Checks that every probability is one.
    pub fn check(&self) -> Result<(), BadConfig> {
        let mut probabilities =
            vec![("reorder", self.reorder), ("duplicate", self.duplicate), ("corrupt", self.corrupt)];
        match self.loss {
            Loss::None => {}
            Loss::Random(p) => probabilities.push(("loss", p)),
            Loss::GilbertElliott { enter_bad, leave_bad, loss_in_good, loss_in_bad } => probabilities.extend([
                ("enter_bad", enter_bad),
                ("leave_bad", leave_bad),
                ("loss_in_good", loss_in_good),
                ("loss_in_bad", loss_in_bad),
            ]),
        }
        match probabilities.into_iter().find(|(_, p)| !(0.0..=1.0).contains(p)) {
            Some((name, value)) => Err(BadConfig { name, value }),
            None => Ok(()),
        }
    }
}

/// A probability that is none.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BadConfig {
    /// Which.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, which is no probability", self.name, self.value)
    }
}

impl std::error::Error for BadConfig {}

/// Bits per second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rate(u64);

impl Rate {
    /// From bits per second.
    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    /// From kilobits per second.
    pub const fn from_kbps(kbps: u64) -> Self {
        Self(kbps.saturating_mul(1_000))
    }

    /// In bits per second.
    pub const fn as_bps(self) -> u64 {
        self.0
    }

    /// How long `bits` take, rounded up; for ever at a rate of zero.
    pub(crate) fn time_for(self, bits: u64) -> Duration {
        match self.0 {
            0 if bits > 0 => Duration::MAX,
            rate => nanos((u128::from(bits) * 1_000_000_000).div_ceil(u128::from(rate.max(1)))),
        }
    }

    /// How many bits pass in `time`, rounded down.
    pub(crate) fn bits_in(self, time: Duration) -> u64 {
        u64::try_from(u128::from(self.0) * time.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
    }
}

/// How much may wait for the bottleneck.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum QueueLimit {
    /// Any amount.
    #[default]
    None,
    /// So many bytes, with the packet that is passing.
    Bytes(usize),
    /// What the bottleneck lets pass in so much time.
    Time(Duration),
}

/// What is lost.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Loss {
    /// Nothing.
    #[default]
    None,
    /// Each packet with this probability.
    Random(f64),
    /// In bursts: a chain of two states, of which one loses more (Gilbert and Elliott).
    GilbertElliott {
        /// Probability per packet to go from the good state to the bad one.
        enter_bad: f64,
        /// Probability per packet to go back.
        leave_bad: f64,
        /// Probability of loss in the good state.
        loss_in_good: f64,
        /// Probability of loss in the bad state.
        loss_in_bad: f64,
    },
}

impl Loss {
    /// Bursts of `mean_length` packets on average, which make up the fraction `rate` of all.
    pub fn bursts(rate: f64, mean_length: f64) -> Self {
        let leave_bad = 1.0 / mean_length.max(1.0);
        let enter_bad = if rate < 1.0 { (leave_bad * rate / (1.0 - rate)).min(1.0) } else { 1.0 };
        Self::GilbertElliott { enter_bad, leave_bad, loss_in_good: 0.0, loss_in_bad: 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_times_agree() {
        let rate = Rate::from_kbps(1_200);
        assert_eq!(rate.time_for(12_000), Duration::from_millis(10));
        assert_eq!(rate.bits_in(Duration::from_millis(10)), 12_000);
        assert_eq!((Rate::from_bps(0).time_for(1), Rate::from_bps(0).time_for(0)), (Duration::MAX, Duration::ZERO));
        assert_eq!(Rate::from_bps(3).time_for(1), Duration::from_nanos(333_333_334), "rounded up");
    }

    #[test]
    fn probabilities_are_checked() {
        assert!(LinkConfig::default().check().is_ok());
        let bad = LinkConfig { loss: Loss::Random(1.5), ..LinkConfig::default() };
        assert_eq!(bad.check().unwrap_err().to_string(), "loss is 1.5, which is no probability");
        assert!(LinkConfig { corrupt: f64::NAN, ..LinkConfig::default() }.check().is_err());
        assert!(LinkConfig { loss: Loss::bursts(0.05, 8.0), ..LinkConfig::default() }.check().is_ok());
    }
}
