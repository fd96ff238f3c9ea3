//! What a simulated sender burns into every payload, so that a receiver knows what it got.

/// Where a packet came from and what it is a part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Who sent it.
    pub source: u32,
    /// Simulcast layer.
    pub layer: u8,
    /// Temporal layer.
    pub temporal: u8,
    /// Whether its frame is a keyframe.
    pub key: bool,
    /// Number of the frame (of the packet, for sound).
    pub frame: u32,
    /// Which packet of the frame.
    pub index: u8,
    /// How many packets the frame has.
    pub count: u8,
    /// Simulated time of its capture.
    pub captured_ms: u64,
}

impl Stamp {
    /// Bytes of a stamp.
    pub const LEN: usize = 22;
    /// Tells a stamp from whatever else a payload may end with.
    const MAGIC: u16 = 0x5afe;

    /// Appends it to a payload.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.source.to_be_bytes());
        out.extend_from_slice(&[self.layer, self.temporal | (u8::from(self.key) << 7)]);
        out.extend_from_slice(&self.frame.to_be_bytes());
        out.extend_from_slice(&[self.index, self.count]);
        out.extend_from_slice(&self.captured_ms.to_be_bytes());
        out.extend_from_slice(&Self::MAGIC.to_be_bytes());
    }

    /// Reads it from the end of a payload.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let bytes = payload.last_chunk::<{ Self::LEN }>()?;
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let stamp = Self {
            source: word(0),
            layer: bytes[4],
            temporal: bytes[5] & 0x7f,
            key: bytes[5] & 0x80 != 0,
            frame: word(6),
            index: bytes[10],
            count: bytes[11],
            captured_ms: (u64::from(word(12)) << 32) | u64::from(word(16)),
        };
        (bytes[20..] == Self::MAGIC.to_be_bytes()).then_some(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read() {
        let stamp = Stamp {
            source: 7,
            layer: 2,
            temporal: 1,
            key: true,
            frame: 70_000,
            index: 3,
            count: 4,
            captured_ms: 1 << 40,
        };
        let mut payload = vec![1, 2, 3];
        stamp.write(&mut payload);
        assert_eq!(payload.len(), 3 + Stamp::LEN);
        assert_eq!(Stamp::read(&payload), Some(stamp));
        payload.push(0);
        assert_eq!(Stamp::read(&payload), None);
    }
}
