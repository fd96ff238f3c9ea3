//! Client-to-mixer audio level (RFC 6464): one byte, V (voice activity) and the level in -dBov.
//!
//! ```text
//! |V|   level     |   0 is the loudest, 127 silence
//! ```

/// Loudness of a packet's audio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AudioLevel {
    /// Whether the encoder believes that somebody speaks.
    pub voice: bool,
    /// Level below overload in dB: 0 the loudest, 127 silence.
    pub below_overload: u8,
}

impl AudioLevel {
    /// From the extension's first byte; the two-byte form may pad it.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let byte = *value.first()?;
        Some(Self { voice: byte & 0x80 != 0, below_overload: byte & 0x7f })
    }

    /// As the extension's byte.
    pub const fn to_byte(self) -> u8 {
        ((self.voice as u8) << 7) | (self.below_overload & 0x7f)
    }
}
