//! Limits of the playout delay: two numbers of 12 bits in units of 10 ms.
//!
//! ```text
//! |       minimum (12)    |       maximum (12)    |
//! ```

use crate::time::Duration;

/// How long a receiver may hold a frame before it shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlayoutDelay {
    /// At least.
    pub min: Duration,
    /// At most.
    pub max: Duration,
}

/// Unit on the wire in milliseconds.
const UNIT_MS: u64 = 10;
/// Largest value of 12 bits.
const MAX_UNITS: u128 = 0xfff;

impl PlayoutDelay {
    /// From the extension's three bytes.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let [a, b, c] = value.first_chunk::<3>()?.map(u64::from);
        let delay = |units| Duration::from_millis(units * UNIT_MS);
        Some(Self { min: delay((a << 4) | (b >> 4)), max: delay(((b & 0x0f) << 8) | c) })
    }

    /// As the extension's three bytes, rounded down to 10 ms and cut to 40.95 s.
    pub fn to_bytes(self) -> [u8; 3] {
        let units = |delay: Duration| (delay.as_millis() / u128::from(UNIT_MS)).min(MAX_UNITS) as u32;
        let [_, a, b, c] = ((units(self.min) << 12) | units(self.max)).to_be_bytes();
        [a, b, c]
    }
}
