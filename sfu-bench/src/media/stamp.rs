//! The stamp in each payload.
//!
//! ```text
//! magic (4) | source (4) | sequence (4) | sent, nanoseconds (8)
//! ```

use std::time::Duration;

/// Tells a stamped payload from anything else.
const MAGIC: [u8; 4] = *b"sfub";

/// By which publisher, as which packet, and when a payload was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Which stream of which publisher.
    pub source: u32,
    /// Counts the packets of the stream.
    pub sequence: u32,
    /// When it was sent, on the generator's clock.
    pub sent: Duration,
}

impl Stamp {
    /// Bytes on the wire.
    pub const LEN: usize = 20;

    /// Appends the stamp.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend(MAGIC);
        out.extend(self.source.to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        let nanos = u64::try_from(self.sent.as_nanos()).unwrap_or(u64::MAX);
        out.extend(nanos.to_be_bytes());
    }

    /// Finds the stamp in a payload. Payload descriptors of differing length stand before it, so the first bytes are
    /// searched.
    pub fn find(payload: &[u8]) -> Option<Self> {
        /// Longest descriptor and frame header that we write, rewritten by a forwarder: 6 + 10 bytes, and some room.
        const SEARCH: usize = 24;
        let head = &payload[..payload.len().min(SEARCH + Self::LEN)];
        let at = head.windows(MAGIC.len()).position(|window| window == MAGIC)?;
        let fields: &[u8; Self::LEN] = head.get(at..at + Self::LEN)?.try_into().ok()?;
        let word = |i: usize| u32::from_be_bytes([fields[i], fields[i + 1], fields[i + 2], fields[i + 3]]);
        let nanos = (u64::from(word(12)) << 32) | u64::from(word(16));
        Some(Self { source: word(4), sequence: word(8), sent: Duration::from_nanos(nanos) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_found_behind_descriptors() {
        let stamp = Stamp { source: 7, sequence: u32::MAX, sent: Duration::new(3, 5) };
        for descriptor in [0, 1, 6, 16] {
            let mut payload = vec![0x90; descriptor];
            stamp.write(&mut payload);
            payload.extend([0; 100]);
            assert_eq!(Stamp::find(&payload), Some(stamp));
            assert_eq!(Stamp::find(&payload[..descriptor + Stamp::LEN - 1]), None);
        }
    }
}
