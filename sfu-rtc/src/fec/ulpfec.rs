//! Parity of RFC 5109 with one level, in RED (RFC 2198), as libwebrtc has it.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+                                                  RED: the last and only block
//! |0|  block PT   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  FEC header
//! |E|L|P|X|  CC   |M| PT recovery |            SN base            |
//! |                          TS recovery                          |
//! |        length recovery        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  level 0
//! |       protection length       |             mask              |
//! |                   mask, continued (if L = 1)                  |
//! |  recovery of what follows the timestamp                       |
//! ```
//! Parity has the SSRC and the sequence numbers of the media. Media goes in RED too, or its receiver does not tell its
//! decoder of it; protected is the packet without RED.

use super::protected::{Parity, Protected};
use super::symbol::Symbol;
use crate::ids::{PayloadType, Ssrc};

/// Sequence numbers that the longest mask names.
pub(super) const MASK_BITS: u16 = 48;
const SHORT_MASK_BITS: u16 = 16;
const LONG_MASK: u8 = 0x40;
/// P, X and CC.
const FLAGS: u8 = 0x3f;
/// RFC 5109 section 7.3: reserved.
const EXTENDED: u8 = 0x80;

pub(super) fn write(payload_type: PayloadType, parity: &Parity, symbol: &Symbol, out: &mut Vec<u8>) {
    let Some(stream) = parity.streams.first() else { return };
    let is_long = stream.bits() > SHORT_MASK_BITS;
    let head = symbol.head();
    out.push(payload_type.0 & 0x7f);
    out.extend_from_slice(&[head[0] | if is_long { LONG_MASK } else { 0 }, head[1]]);
    out.extend_from_slice(&stream.base.to_be_bytes());
    out.extend_from_slice(&head[4..8]);
    out.extend_from_slice(&head[2..4]);
    out.extend_from_slice(&(symbol.body().len() as u16).to_be_bytes());
    out.extend_from_slice(&stream.mask.to_be_bytes()[..if is_long { 6 } else { 2 }]);
    out.extend_from_slice(symbol.body());
}

/// Reads what stands behind the block's header of RED.
pub(super) fn read(ssrc: Ssrc, payload: &[u8], symbol: &mut Symbol) -> Option<Parity> {
    let (fixed, rest) = payload.split_first_chunk::<12>()?;
    let mask_len = if fixed[0] & LONG_MASK == 0 { 2 } else { 6 };
    let protected = usize::from(u16::from_be_bytes([fixed[10], fixed[11]]));
    let body = rest.get(mask_len..mask_len + protected)?;
    if fixed[0] & EXTENDED != 0 {
        return None;
    }
    let mut mask = [0; 16];
    mask[..mask_len].copy_from_slice(&rest[..mask_len]);
    let [flags, payload_type, high, low] = [fixed[0] & FLAGS, fixed[1], fixed[8], fixed[9]];
    symbol.set([0; 4], [flags, payload_type, high, low, fixed[4], fixed[5], fixed[6], fixed[7]], body)?;
    let base = u16::from_be_bytes([fixed[2], fixed[3]]);
    Some(Parity::xor(Protected { ssrc, base, mask: u128::from_be_bytes(mask) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: Ssrc = Ssrc(0x0013_2647);

    /// Headers of libwebrtc's own tests (`ulpfec_header_reader_writer_unittest.cc`), with a protection length that fits.
    const SHORT: [u8; 14] = [0x00, 0x12, 0xab, 0xcd, 0x12, 0x34, 0x56, 0x78, 0xab, 0xcd, 0, 4, 0x33, 0x44];
    const LONG: [u8; 18] =
        [0x40, 0x12, 0xab, 0xcd, 0x12, 0x34, 0x56, 0x78, 0xab, 0xcd, 0, 4, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88];

    #[test]
    fn reads_and_writes_what_libwebrtc_does() {
        for (header, mask) in [(&SHORT[..], 0x3344 << 112), (&LONG[..], 0x3344_5566_7788 << 80)] {
            let bytes = [header, &[7; 4]].concat();
            let mut symbol = Symbol::ZERO;
            let parity = read(SSRC, &bytes, &mut symbol).unwrap();
            assert_eq!(parity, Parity::xor(Protected { ssrc: SSRC, base: 0xabcd, mask }));
            assert_eq!(symbol.head(), [0x00, 0x12, 0xab, 0xcd, 0x12, 0x34, 0x56, 0x78]);
            assert_eq!(symbol.body(), [7; 4]);
            let mut out = Vec::new();
            write(PayloadType(117), &parity, &symbol, &mut out);
            assert_eq!(out, [&[117], &bytes[..]].concat());
            for len in 0..bytes.len() {
                assert_eq!(read(SSRC, &bytes[..len], &mut symbol), None, "cut at {len}");
            }
        }
    }
}
