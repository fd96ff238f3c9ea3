//! Reads feedback without allocating; work is bounded by the packet's size, not by the counts it claims.

use super::{FORMAT, Symbol};
use crate::ids::Ssrc;
use crate::rtcp::wire::{feedback_ssrcs, u16_at, u32_at};

/// Most statuses that one packet may report: a run-length chunk's worth, several seconds of the fastest stream.
/// A few bytes can claim 65,535, and each one costs its reader a step.
const MAX_STATUSES: u16 = 8_191;

/// Transport-wide feedback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TwccView<'a> {
    /// Who reports.
    pub sender: Ssrc,
    /// A source of the transport that is reported on.
    pub media: Ssrc,
    /// Transport-wide number of the first packet reported.
    pub base_seq: u16,
    /// How many packets are reported, lost ones included.
    pub count: u16,
    /// Time that the first delta counts from, in units of 64 ms: 24 bits signed.
    pub reference_time: i32,
    /// Number of this feedback, to notice lost ones.
    pub fb_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TwccView<'a> {
    pub(in crate::rtcp) const FORMAT: u8 = FORMAT;

    pub(in crate::rtcp) fn parse(body: &'a [u8]) -> Option<Self> {
        let (sender, media) = feedback_ssrcs(body)?;
        let (base_seq, count) = (u16_at(body, 8)?, u16_at(body, 10)?);
        let time = u32_at(body, 12)?;
        if count > MAX_STATUSES {
            return None;
        }
        let (chunks_len, deltas_len) = measure(&body[16..], count)?;
        let (chunks, rest) = body[16..].split_at_checked(chunks_len)?;
        Some(Self {
            sender,
            media,
            base_seq,
            count,
            reference_time: time.cast_signed() >> 8, // sign-extends 24 bits
            fb_count: (time & 0xff) as u8,
            chunks,
            deltas: rest.get(..deltas_len)?,
        })
    }

    /// Every packet reported: its number and, where it was received, the time since the one received before it (or
    /// since the reference time) in ticks of 250 us.
    pub fn packets(&self) -> impl Iterator<Item = (u16, Option<i32>)> + use<'a> {
        let mut deltas = self.deltas;
        let first = self.base_seq;
        symbols(self.chunks).take(usize::from(self.count)).zip(0u16..).map(move |(symbol, index)| {
            let delta = match symbol {
                Symbol::Missing => None,
                Symbol::Small => take::<1>(&mut deltas).map(|[ticks]| i32::from(ticks)),
                Symbol::Large => take::<2>(&mut deltas).map(|ticks| i32::from(i16::from_be_bytes(ticks))),
            };
            (first.wrapping_add(index), delta)
        })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

/// Bytes that the chunks for `count` packets take, and their deltas. `None` where chunks are missing or malformed.
fn measure(bytes: &[u8], count: u16) -> Option<(usize, usize)> {
    let mut left = usize::from(count);
    let mut deltas = 0;
    let mut at = 0;
    while left > 0 {
        let chunk = Chunk(u16_at(bytes, at)?);
        at += 2;
        let covered = chunk.len().min(left);
        if covered == 0 {
            return None;
        }
        deltas += chunk.deltas_len(covered)?;
        left -= covered;
    }
    Some((at, deltas))
}

fn symbols(chunks: &[u8]) -> impl Iterator<Item = Symbol> + '_ {
    chunks
        .chunks_exact(2)
        .map(|bytes| Chunk(u16::from_be_bytes([bytes[0], bytes[1]])))
        .flat_map(|chunk| (0..chunk.len()).map_while(move |index| chunk.symbol(index)))
}

#[derive(Clone, Copy)]
struct Chunk(u16);

impl Chunk {
    fn is_vector(self) -> bool {
        self.0 & 0x8000 != 0
    }

    fn is_two_bit(self) -> bool {
        self.0 & 0x4000 != 0
    }

    /// How many packets it covers.
    fn len(self) -> usize {
        match (self.is_vector(), self.is_two_bit()) {
            (false, _) => usize::from(self.0 & 0x1fff),
            (true, false) => 14,
            (true, true) => 7,
        }
    }

    fn symbol(self, index: usize) -> Option<Symbol> {
        Symbol::from_bits(match (self.is_vector(), self.is_two_bit()) {
            (false, _) => (self.0 >> 13) & 3,
            (true, false) => (self.0 >> (13 - index)) & 1,
            (true, true) => (self.0 >> (12 - 2 * index)) & 3,
        })
    }

    /// Bytes of the deltas of its first `covered` packets; one step for a whole run.
    fn deltas_len(self, covered: usize) -> Option<usize> {
        if self.is_vector() {
            return (0..covered).map(|index| self.symbol(index).map(Symbol::delta_len)).sum();
        }
        Some(self.symbol(0)?.delta_len() * covered)
    }
}
