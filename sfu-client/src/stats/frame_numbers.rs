//! The numbers that a publisher burns into its pictures: what of them is missing, repeated or out of order.

use crate::overlay::Overlay;

/// The burned-in frame numbers seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrameNumbers {
    /// Publisher and number of the last one.
    last: Option<(u32, u32)>,
    /// Pictures whose overlay was read.
    pub read: u64,
    /// Numbers that were left out.
    pub missing: u64,
    /// Times that numbers were left out.
    pub gaps: u64,
    /// Numbers that came again or went back.
    pub repeated: u64,
    /// Times that another publisher's pictures came.
    pub switches: u64,
}

impl FrameNumbers {
    /// The number of the last picture.
    pub fn last(&self) -> Option<u32> {
        self.last.map(|(_, number)| number)
    }

    pub(super) fn observe(&mut self, overlay: &Overlay) {
        self.read += 1;
        let (source, number) = (overlay.source(), overlay.frame);
        match self.last.replace((source, number)) {
            Some((before, _)) if before != source => self.switches += 1,
            Some((_, before)) if number <= before => self.repeated += 1,
            Some((_, before)) if number > before + 1 => {
                self.missing += u64::from(number - before - 1);
                self.gaps += 1;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn frame_numbers_tell_gaps_repeats_and_switches() {
        let mut numbers = FrameNumbers::default();
        for (source, number) in [(1, 5), (1, 6), (1, 9), (1, 9), (2, 3), (2, 4)] {
            numbers.observe(&Overlay::new(source, number, Duration::ZERO));
        }
        assert_eq!((numbers.missing, numbers.gaps, numbers.repeated, numbers.switches), (2, 1, 1, 1));
        assert_eq!((numbers.read, numbers.last()), (6, Some(4)));
    }
}
