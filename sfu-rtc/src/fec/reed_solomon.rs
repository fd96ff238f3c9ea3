//! Reed-Solomon parity of our own payload format: `docs/fec-payload-format.md` describes it as an RFC would.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Vers |   N   |0|     row     |        check recovery         |
//! |        check recovery         |flags recovery | M, PT recovery|
//! |        length recovery        |          TS recovery          |
//! |          TS recovery          |  then N times:
//! | SSRC (32) | SN base (16) | bytes of mask (8) | mask           |
//! |  recovery of what follows the timestamp                       |
//! ```
//!
//! The matrix is a Cauchy matrix with each column scaled so that row 0 is all ones: parity of row 0 is XOR. Every square
//! part of a Cauchy matrix is regular (Bloemer et al., "An XOR-Based Erasure-Resilient Coding Scheme", 1995), scaled or
//! not: as many parity packets as there are losses always suffice, from whichever rows. A packet's column comes from its
//! sequence number, so it is the same in all windows that a packet is in, and windows that overlap help each other.

use super::gf256::div;
use super::protected::{Parity, Protected};
use super::symbol::Symbol;
use super::{MAX_STREAMS, protected};
use crate::ids::Ssrc;
use arrayvec::ArrayVec;

/// Half of the field is for the columns, the other half for the rows.
const COLUMNS: u16 = 128;
/// Rows of the matrix.
pub(super) const ROWS: u8 = 128;
const VERSION: u8 = 1;
/// SSRC, base and length of the mask.
const STREAM_LEN: usize = 7;

/// Columns that each of so many streams has.
pub(super) fn columns_per_stream(streams: usize) -> u16 {
    COLUMNS / streams.max(1).next_power_of_two() as u16
}

/// Column of the packet `seq` of the stream at `place` of `streams`: 128 to 255, as an element of the field.
pub(super) fn column(place: usize, streams: usize, seq: u16) -> u8 {
    let each = columns_per_stream(streams);
    (place as u16 * each + (seq & (each - 1))) as u8 | 0x80
}

/// Coefficient in row `row` of what has this [`column`].
pub(super) fn coefficient(row: u8, column: u8) -> u8 {
    div(column, row ^ column)
}

pub(super) fn write(parity: &Parity, symbol: &Symbol, out: &mut Vec<u8>) {
    out.extend_from_slice(&[(VERSION << 4) | parity.streams.len() as u8, parity.row]);
    out.extend_from_slice(symbol.check());
    out.extend_from_slice(symbol.head());
    for stream in &parity.streams {
        let mask_len = usize::from(stream.bits().div_ceil(8));
        out.extend_from_slice(&stream.ssrc.0.to_be_bytes());
        out.extend_from_slice(&stream.base.to_be_bytes());
        out.push(mask_len as u8);
        out.extend_from_slice(&stream.mask.to_be_bytes()[..mask_len]);
    }
    out.extend_from_slice(symbol.body());
}

pub(super) fn read(payload: &[u8], symbol: &mut Symbol) -> Option<Parity> {
    let (&[first, row], rest) = payload.split_first_chunk()?;
    let (&check, rest) = rest.split_first_chunk()?;
    let (&head, mut rest) = rest.split_first_chunk()?;
    let count = usize::from(first & 0x0f);
    if first >> 4 != VERSION || row >= ROWS || !(1..=MAX_STREAMS).contains(&count) {
        return None;
    }
    let mut streams = ArrayVec::<Protected, MAX_STREAMS>::new();
    for _ in 0..count {
        let (stream, after) = read_stream(rest)?;
        let again = streams.iter().any(|other| other.ssrc == stream.ssrc);
        if again || stream.bits() > columns_per_stream(count) {
            return None;
        }
        streams.push(stream);
        rest = after;
    }
    symbol.set(check, head, rest)?;
    Some(Parity { row, streams })
}

fn read_stream(bytes: &[u8]) -> Option<(Protected, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<STREAM_LEN>()?;
    let mask_len = usize::from(head[6]);
    let mut mask = [0; (protected::BITS / 8) as usize];
    mask.get_mut(..mask_len)?.copy_from_slice(rest.get(..mask_len)?);
    let ssrc = Ssrc(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
    let base = u16::from_be_bytes([head[4], head[5]]);
    Some((Protected { ssrc, base, mask: u128::from_be_bytes(mask) }, &rest[mask_len..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_0_is_xor_and_all_other_coefficients_of_a_column_differ() {
        for seq in 0..COLUMNS {
            let column = column(0, 1, seq);
            assert_eq!(coefficient(0, column), 1);
            let mut of_column: Vec<_> = (0..ROWS).map(|row| coefficient(row, column)).collect();
            of_column.sort_unstable();
            of_column.dedup();
            assert_eq!(of_column.len(), usize::from(ROWS));
            assert_ne!(of_column[0], 0);
        }
    }

    #[test]
    fn streams_share_the_columns() {
        assert_eq!([1, 2, 3, 4, 5, 8].map(columns_per_stream), [128, 64, 32, 32, 16, 16]);
        let mut columns: Vec<_> =
            (0..8).flat_map(|place| (1_000..1_016).map(move |seq| column(place, 8, seq))).collect();
        columns.sort_unstable();
        columns.dedup();
        assert_eq!(columns.len(), 128);
    }

    #[test]
    fn bytes_are_as_documented() {
        let mut symbol = Symbol::ZERO;
        symbol.set([1, 2, 3, 4], [0x10, 0x60, 0, 2, 5, 6, 7, 8], &[0xaa, 0xbb]).unwrap();
        let mut streams = ArrayVec::new();
        streams.push(Protected { ssrc: Ssrc(0x1122_3344), base: 0xfffe, mask: 0xa08 << 116 });
        streams.push(Protected::none(Ssrc(0x5566_7788)));
        let parity = Parity { row: 9, streams };
        let mut out = Vec::new();
        write(&parity, &symbol, &mut out);
        let expected = [
            &[0x12, 9, 1, 2, 3, 4, 0x10, 0x60, 0, 2, 5, 6, 7, 8][..],
            &[0x11, 0x22, 0x33, 0x44, 0xff, 0xfe, 2, 0xa0, 0x80],
            &[0x55, 0x66, 0x77, 0x88, 0, 0, 0],
            &[0xaa, 0xbb],
        ];
        assert_eq!(out, expected.concat());
        let mut read_symbol = Symbol::ZERO;
        assert_eq!(read(&out, &mut read_symbol), Some(parity));
        assert_eq!((read_symbol.head(), read_symbol.body()), (symbol.head(), symbol.body()));
        for len in 0..out.len() - 2 {
            assert_eq!(read(&out[..len], &mut read_symbol), None, "cut at {len}");
        }
    }

    #[test]
    fn refuses_contradictions() {
        let sound = [0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 7, 1, 0x80, 9];
        let with = |at: usize, byte: u8| {
            let mut bytes = sound;
            bytes[at] = byte;
            read(&bytes, &mut Symbol::ZERO.clone()).is_some()
        };
        assert!(with(0, 0x11));
        assert!(!with(0, 0x01), "version");
        assert!(!with(0, 0x10), "no stream");
        assert!(!with(0, 0x19), "nine streams");
        assert!(!with(1, 0x80), "a row outside the matrix");
        assert!(!with(20, 17), "a mask that is too long");
        let twice = [&[0x12][..], &sound[1..22], &sound[14..22]].concat();
        assert!(read(&twice, &mut Symbol::ZERO.clone()).is_none(), "a stream twice");
        let wide = [&[0x12][..], &sound[1..20], &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0x80], &[0, 0, 0, 2, 0, 0, 0]].concat();
        assert!(read(&wide, &mut Symbol::ZERO.clone()).is_none(), "packets of one stream in columns of another");
    }
}
