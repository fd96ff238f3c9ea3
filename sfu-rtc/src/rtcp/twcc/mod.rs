//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1):
//! packet type 205, format 15.
//!
//! ```text
//! |                        SSRC of sender                         |
//! |                        SSRC of media                          |
//! |      base sequence number     |      packet status count      |
//! |                 reference time                | fb pkt. count |
//! |          packet chunk         |         packet chunk          |  2 bytes each
//! |         packet chunk          |  recv delta   |  recv delta   |  1 or 2 bytes each
//! ```
//! Run-length chunk: 0, symbol (2 bits), length (13). Status vector: 1, 0, 14 symbols of one bit; or 1, 1, 7 symbols
//! of two bits. Symbols: 0 not received, 1 small delta (8 bits unsigned), 2 large delta (16 bits signed). Reference
//! time is in 64 ms, deltas in 250 us, each from the packet received before, the first from the reference time.

mod view;
mod writer;

use crate::time::Duration;
pub use view::TwccView;
pub use writer::{TwccFeedback, write_twcc};

/// Unit of the deltas.
pub const TWCC_TICK: Duration = Duration::from_micros(250);

/// Unit of the reference time in ticks: 64 ms.
const TICKS_PER_REFERENCE: u64 = 256;

const FORMAT: u8 = 15;

/// A packet's status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Symbol {
    Missing = 0,
    Small = 1,
    Large = 2,
}

impl Symbol {
    fn from_bits(bits: u16) -> Option<Self> {
        match bits {
            0 => Some(Self::Missing),
            1 => Some(Self::Small),
            2 => Some(Self::Large),
            _ => None,
        }
    }

    /// Bytes of its delta.
    const fn delta_len(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests;
