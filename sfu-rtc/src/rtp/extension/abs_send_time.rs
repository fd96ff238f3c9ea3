//! Absolute send time: 24 bits, seconds with 18 bits of fraction, wrapping every 64 s.

use crate::time::{Duration, Instant};

/// When a packet was sent, on the sender's clock, in 1/2^18 s; wraps every 64 s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbsSendTime(pub u32);

/// Bits of a second's fraction.
const FRACTION_BITS: u32 = 18;
/// The 24 bits on the wire.
const MASK: u32 = 0x00ff_ffff;

impl AbsSendTime {
    /// Of the time `at`.
    pub fn from_instant(at: Instant) -> Self {
        let seconds = u128::from(at.as_nanos()) << FRACTION_BITS;
        Self((seconds / 1_000_000_000) as u32 & MASK) // what is cut off are whole turns of 64 s
    }

    /// From the extension's three bytes.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let [a, b, c] = *value.first_chunk::<3>()?;
        Some(Self(u32::from_be_bytes([0, a, b, c])))
    }

    /// As the extension's three bytes.
    pub fn to_bytes(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }

    /// Time from `earlier` to `self`, taking both to lie within 64 s.
    pub fn since(self, earlier: Self) -> Duration {
        let distance = u64::from(self.0.wrapping_sub(earlier.0) & MASK);
        Duration::from_nanos((distance * 1_000_000_000) >> FRACTION_BITS)
    }
}
