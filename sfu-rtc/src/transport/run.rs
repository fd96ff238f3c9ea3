//! Packets of one frame are made equal in length, so that they leave as one run (UDP_SEGMENT).
//!
//! A run takes datagrams of one size, of which only the last may be shorter. Packetizers cut a frame into packets that
//! differ by a byte, the longer ones last, which would end the run in its middle: a byte of padding (RFC 3550 section
//! 5.1) costs less than a message of its own.

use super::RtpOut;
use crate::net::MAX_SEGMENTS;

/// A run that is being sent: what its packets are padded to.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct EqualRun {
    length: usize,
    left: usize,
}

impl EqualRun {
    /// How many bytes of padding `out` gets, behind which `waiting` will be sent; at most `limit`.
    pub(super) fn padding<'a>(&mut self, out: &RtpOut, waiting: impl Iterator<Item = &'a RtpOut>, limit: u8) -> u8 {
        let length = out.varying_len();
        if self.left == 0 {
            *self = Self::ahead(length, waiting.map(RtpOut::varying_len), usize::from(limit));
        }
        self.left -= 1;
        // The last of a run may be shorter.
        if self.left == 0 {
            return 0;
        }
        u8::try_from(self.length.saturating_sub(length)).map_or(0, |padding| padding.min(limit))
    }

    /// The packets that can be sent as one run with the first, and the length of the longest.
    fn ahead(first: usize, following: impl Iterator<Item = usize>, limit: usize) -> Self {
        let (mut shortest, mut longest, mut left) = (first, first, 1);
        for length in following.take(MAX_SEGMENTS - 1) {
            let (low, high) = (shortest.min(length), longest.max(length));
            if high - low > limit {
                break;
            }
            (shortest, longest, left) = (low, high, left + 1);
        }
        Self { length: longest, left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_as_packetizers_cut_it_becomes_one_run() {
        let run = EqualRun::ahead(1_050, [1_050, 1_051, 1_051].into_iter(), 16);
        assert_eq!((run.length, run.left), (1_051, 4));
    }

    #[test]
    fn a_packet_of_another_size_ends_the_run() {
        let run = EqualRun::ahead(1_050, [1_052, 400, 1_050].into_iter(), 16);
        assert_eq!((run.length, run.left), (1_052, 2));
        let none = EqualRun::ahead(1_050, [1_051].into_iter(), 0);
        assert_eq!((none.length, none.left), (1_050, 1));
    }
}
