//! Reads bits, most significant first, and the variable-length numbers of H.264, H.265 and AV1.

/// A position in a bit string. Every read past its end is `None`.
#[derive(Clone, Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    /// At the first bit of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// One bit.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        self.bits(1).map(|bit| bit != 0)
    }

    /// `count` bits, at most 32.
    pub(crate) fn bits(&mut self, count: u32) -> Option<u32> {
        let end = self.at + count as usize;
        if count > 32 || end > self.bytes.len() * 8 {
            return None;
        }
        let mut value = 0u64;
        for byte in &self.bytes[self.at / 8..end.div_ceil(8)] {
            value = (value << 8) | u64::from(*byte);
        }
        let unread = end.next_multiple_of(8) - end;
        self.at = end;
        Some(((value >> unread) & ((1 << count) - 1)) as u32)
    }

    /// `count` bits that fit a byte.
    pub(crate) fn byte(&mut self, count: u32) -> Option<u8> {
        self.bits(count)?.try_into().ok()
    }

    /// Passes over `count` bits.
    pub(crate) fn skip(&mut self, count: usize) -> Option<()> {
        let end = self.at.checked_add(count)?;
        (end <= self.bytes.len() * 8).then(|| self.at = end)
    }

    /// A number below `limit`, as ns(n) of the AV1 specification, section 4.10.7.
    pub(crate) fn below(&mut self, limit: u32) -> Option<u32> {
        let width = u32::BITS - limit.leading_zeros();
        let short = 1u32.checked_shl(width)?.checked_sub(limit)?;
        let value = self.bits(width.checked_sub(1)?)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + self.bits(1)?)
    }

    /// An unsigned Exp-Golomb number, ue(v) of H.264 section 9.1.
    pub(crate) fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1u32 << zeros) - 1 + self.bits(zeros)?)
    }

    /// A signed Exp-Golomb number, se(v) of H.264 section 9.1.1.
    pub(crate) fn signed_exp_golomb(&mut self) -> Option<i32> {
        let code = i64::from(self.exp_golomb()?);
        let magnitude = (code + 1) / 2;
        i32::try_from(if code % 2 == 0 { -magnitude } else { magnitude }).ok()
    }
}

/// A little-endian base 128 number (AV1 specification section 4.10.5): its value, and how many bytes it takes.
pub(crate) fn leb128(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Writes what [`BitReader`] reads.
#[derive(Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    len: usize,
}

impl BitWriter {
    pub(crate) fn bits(&mut self, value: u32, count: u32) -> &mut Self {
        for place in (0..count).rev() {
            if self.len.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = ((u64::from(value) >> place) & 1) as u8;
            self.bytes[self.len / 8] |= bit << (7 - self.len % 8);
            self.len += 1;
        }
        self
    }

    pub(crate) fn flag(&mut self, value: bool) -> &mut Self {
        self.bits(u32::from(value), 1)
    }

    #[cfg(test)]
    pub(crate) fn below(&mut self, value: u32, limit: u32) -> &mut Self {
        let width = u32::BITS - limit.leading_zeros();
        let short = (1 << width) - limit;
        if value < short { self.bits(value, width - 1) } else { self.bits(value + short, width) }
    }

    #[cfg(test)]
    pub(crate) fn exp_golomb(&mut self, value: u32) -> &mut Self {
        let width = u32::BITS - (value + 1).leading_zeros();
        self.bits(0, width - 1).bits(value + 1, width)
    }

    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_across_bytes() {
        let mut bits = BitReader::new(&[0b1010_0110, 0xff, 0x00, 0x00, 0x01, 0x80]);
        assert_eq!(bits.flag(), Some(true));
        assert_eq!(bits.bits(5), Some(0b01001));
        assert_eq!(bits.bits(32), Some(0b1011_1111_1100_0000_0000_0000_0000_0000));
        assert_eq!(bits.bits(0), Some(0));
        assert_eq!(bits.skip(9), Some(()));
        assert_eq!(bits.bits(2), None, "one bit is left");
        assert_eq!(bits.bits(1), Some(0));
    }

    #[test]
    fn reads_exp_golomb() {
        // 1 | 010 | 011 | 00100 | 00101 | (1)
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1100_0000]);
        let codes: Vec<_> = std::iter::from_fn(|| bits.exp_golomb()).take(5).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4]);
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1100_0000]);
        let codes: Vec<_> = std::iter::from_fn(|| bits.signed_exp_golomb()).take(5).collect();
        assert_eq!(codes, [0, 1, -1, 2, -2]);
        assert_eq!(BitReader::new(&[0; 8]).exp_golomb(), None);
    }

    #[test]
    fn reads_numbers_below_a_limit() {
        // AV1 specification: of five, 0 to 2 take two bits, 3 and 4 take three.
        let mut bits = BitReader::new(&[0b0001_1011, 0b0111_0000]);
        let values: Vec<_> = std::iter::from_fn(|| bits.below(5)).take(5).collect();
        assert_eq!(values, [0, 1, 2, 3, 4]);
        assert_eq!(BitReader::new(&[]).below(1), Some(0));
    }

    #[test]
    fn reads_leb128() {
        assert_eq!(leb128(&[0x05, 0xff]), Some((5, 1)));
        assert_eq!(leb128(&[0xe5, 0x8e, 0x26]), Some((624_485, 3)));
        assert_eq!(leb128(&[0x80; 9]), None, "eight bytes are the most");
        assert_eq!(leb128(&[0x80]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            fields in proptest::collection::vec((any::<u32>(), 0..=32u32), 0..20), limit in 1..1_000u32, code in 0..100_000u32,
        ) {
            let kept = |value: u32, count: u32| (u64::from(value) & ((1 << count) - 1)) as u32;
            let mut writer = BitWriter::default();
            for (value, count) in &fields {
                writer.bits(kept(*value, *count), *count);
            }
            let bytes = writer.below(code % limit, limit).exp_golomb(code).finish();
            let mut reader = BitReader::new(&bytes);
            for (value, count) in fields {
                prop_assert_eq!(reader.bits(count), Some(kept(value, count)));
            }
            prop_assert_eq!(reader.below(limit), Some(code % limit));
            prop_assert_eq!(reader.exp_golomb(), Some(code));
        }

        #[test]
        fn arbitrary_reads_never_panic(bytes in any::<[u8; 12]>(), counts in proptest::collection::vec(0..40u32, 0..20)) {
            let mut bits = BitReader::new(&bytes);
            for count in counts {
                let _ = (bits.bits(count), bits.exp_golomb(), bits.below(count), bits.skip(count as usize));
            }
        }
    }
}
