//! Absolute capture time: 8 bytes, or 16 with the offset between the capturer's clock and the sender's.
//!
//! ```text
//! |          capture time, NTP format (64 bits)                   |
//! |          clock offset, signed, 32.32 seconds (64 bits)        |   optional
//! ```

use crate::time::NtpTime;

/// When a frame was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbsCaptureTime {
    /// On the capturer's clock.
    pub captured: NtpTime,
    /// What to add to the sender's clock to have the capturer's, in 1/2^32 s.
    pub clock_offset: Option<i64>,
}

impl AbsCaptureTime {
    /// From the extension's 8 or 16 bytes.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (captured, rest) = value.split_first_chunk::<8>()?;
        Some(Self {
            captured: NtpTime(u64::from_be_bytes(*captured)),
            clock_offset: rest.first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes)),
        })
    }

    /// As the extension's bytes: 16, of which the last 8 count only with a clock offset, and how many count.
    pub fn to_bytes(self) -> ([u8; 16], usize) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.captured.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.clock_offset.unwrap_or_default().to_be_bytes());
        (bytes, if self.clock_offset.is_some() { 16 } else { 8 })
    }
}
