//! Sequence numbers without their wrap.

/// Extends 16-bit sequence numbers (RFC 3550 section 5.1) to 64 bits, tolerating reordering of up to half the circle.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct SequenceExtender {
    highest: Option<u64>,
}

impl SequenceExtender {
    /// The extended number of `number`. The first one lies a whole circle above zero, so that older ones have room.
    pub(super) fn extend(&mut self, number: u16) -> u64 {
        let Some(highest) = self.highest else {
            let first = (1 << 16) + u64::from(number);
            self.highest = Some(first);
            return first;
        };
        let step = number.wrapping_sub(highest as u16).cast_signed();
        let extended = highest.saturating_add_signed(i64::from(step));
        self.highest = Some(highest.max(extended));
        extended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_and_reorders() {
        let mut extender = SequenceExtender::default();
        assert_eq!(extender.extend(65_534), 131_070);
        assert_eq!(extender.extend(1), 131_073);
        assert_eq!(extender.extend(65_535), 131_071);
        assert_eq!(extender.extend(2), 131_074);
    }
}
