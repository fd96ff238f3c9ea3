//! Forward error correction: parity packets from which a receiver computes packets that were lost.
//!
//! | scheme | with whom | how | file |
//! |---|---|---|---|
//! | Reed-Solomon over GF(256) | our own client, both ways | on an SSRC of its own, over several streams at once: any `m` lost packets come back from any `m` parity packets of their window | `reed_solomon`, `docs/fec-payload-format.md` |
//! | FlexFEC-03 | to Chromium, and from who offers it | on an SSRC of its own, one media stream: XOR over what a mask names | `flexfec03` |
//! | ULPFEC in RED | from browsers, and to who takes no other (VP8, VP9) | inside the media stream, XOR over what a mask names | `ulpfec` |
//!
//! The transport sends (`transport/protect.rs`) and reads (`transport/recovery.rs`) all three; our own client sends
//! Reed-Solomon by [`ProtectedGroups`], and it and the model of a receiver in `sfu-bench` read it and FlexFEC-03 by
//! [`FecReceiver`].
//!
//! They differ in their headers and in the coefficients of their sums. The rest is common:
//!
//! - `symbol`: a packet as a vector of bytes that can be added and multiplied.
//! - `gf256`: the arithmetic.
//! - [`Encoder`]: `add` every packet as it is sent, `end_frame` after the last of a frame, then drain `poll_parity`.
//! - [`Decoder`]: `on_media` for every packet that came, `on_parity` for every parity packet, then drain
//!   `poll_recovered`. Every parity packet is a linear equation over what is lost, whatever its scheme.
//!
//! Packets are whole RTP packets in clear. What a sender writes into header extensions only when a packet leaves (send
//! time, transport-wide number) is protected as zero: both sides name those extensions in their configuration, as
//! libwebrtc does.

mod decoder;
mod encoder;
mod equation;
mod flexfec03;
mod gf256;
mod groups;
mod protected;
mod receiver;
mod reed_solomon;
mod symbol;
mod ulpfec;

pub use decoder::{Decoder, DecoderConfig, DecoderStats};
pub use encoder::{Encoder, EncoderConfig, ParityInfo, Window};
pub use groups::{PROTECTION_GROUPS, ProtectedGroups, Protection};
pub use receiver::{FecReceiver, MAX_PROTECTED};

use crate::ids::{PayloadType, Ssrc};
use arrayvec::ArrayVec;
use protected::Parity;
use symbol::Symbol;

/// Most streams that one Reed-Solomon window protects: with eight, each has 16 of the 128 columns, which is three packets
/// per frame over five frames.
pub const MAX_STREAMS: usize = 8;
/// Most parity packets per window, and most that a decoder holds: as many as libwebrtc holds. With them a decoder takes
/// 190 kB, and the longest step (an equation that meets all others) by estimate some tens of microseconds.
pub const MAX_PARITY: usize = 48;
/// Most header extensions that are protected as zero: libwebrtc knows four that change when a packet leaves.
pub const MAX_MUTABLE: usize = 4;

/// Ids of the header extensions that are protected as zero, since they are written when a packet leaves: send time,
/// transmission time offset, transport-wide sequence number (both versions).
pub type MutableExtensions = ArrayVec<u8, MAX_MUTABLE>;

/// Which code, and how its packets look.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// Reed-Solomon, in our own payload format.
    ReedSolomon,
    /// XOR in the payload format of draft-ietf-payload-flexible-fec-scheme-03.
    FlexFec03,
    /// XOR in the payload format of RFC 5109, in RED.
    Ulpfec {
        /// Payload type of the parity inside RED.
        payload_type: PayloadType,
    },
}

impl Scheme {
    /// How many sequence numbers of one stream a parity packet can name, where `streams` are protected together.
    pub fn span(self, streams: usize) -> u16 {
        match self {
            Self::ReedSolomon => reed_solomon::columns_per_stream(streams),
            Self::FlexFec03 => flexfec03::MASK_BITS,
            Self::Ulpfec { .. } => ulpfec::MASK_BITS,
        }
    }

    /// How many streams can be protected together.
    fn max_streams(self) -> usize {
        if self == Self::ReedSolomon { MAX_STREAMS } else { 1 }
    }

    /// Whether its symbols carry a check of the packet.
    fn has_check(self) -> bool {
        self == Self::ReedSolomon
    }

    /// Appends the payload of a parity packet.
    fn write(self, parity: &Parity, symbol: &Symbol, out: &mut Vec<u8>) {
        match self {
            Self::ReedSolomon => reed_solomon::write(parity, symbol, out),
            Self::FlexFec03 => flexfec03::write(parity, symbol, out),
            Self::Ulpfec { payload_type } => ulpfec::write(payload_type, parity, symbol, out),
        }
    }

    /// Reads the payload of a parity packet that came from `ssrc`. `None` where it is malformed.
    fn read(self, ssrc: Ssrc, payload: &[u8], symbol: &mut Symbol) -> Option<Parity> {
        match self {
            Self::ReedSolomon => reed_solomon::read(payload, symbol),
            Self::FlexFec03 => flexfec03::read(payload, symbol),
            Self::Ulpfec { .. } => ulpfec::read(ssrc, payload, symbol),
        }
    }
}

#[cfg(test)]
mod tests;
