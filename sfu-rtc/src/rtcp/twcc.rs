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

use super::{TRANSPORT_FEEDBACK, feedback_ssrcs, put_ssrc, put_u16, put_u32, u16_at, u32_at, write_packet};
use crate::ids::Ssrc;
use crate::time::{Duration, Instant};
use arrayvec::ArrayVec;

/// Unit of the deltas.
const TICK: Duration = Duration::from_micros(250);

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

/// Most statuses that one packet may report: a run-length chunk's worth, several seconds of the fastest stream.
/// A few bytes can claim 65,535, and each one costs its reader a step.
const MAX_READ: u16 = 8_191;

/// Transport-wide feedback, read without allocating; work is bounded by the packet's size, not by the counts it claims.
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
    pub(super) const FORMAT: u8 = FORMAT;

    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (sender, media) = feedback_ssrcs(body)?;
        let (base_seq, count) = (u16_at(body, 8)?, u16_at(body, 10)?);
        let time = u32_at(body, 12)?;
        if count > MAX_READ {
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

/// What one feedback packet reports.
#[derive(Clone, Copy, Debug)]
pub struct TwccFeedback<'a> {
    /// Who reports.
    pub sender: Ssrc,
    /// A source of the transport that is reported on.
    pub media: Ssrc,
    /// Transport-wide number of the first arrival.
    pub base_seq: u16,
    /// Number of this feedback.
    pub fb_count: u8,
    /// When each packet from `base_seq` on arrived; `None` for those that did not.
    pub arrivals: &'a [Option<Instant>],
}

/// Most statuses in one packet: with two bytes for each delta it stays within a datagram of 1,200 bytes.
const MAX_WRITTEN: usize = 500;
/// Longest run of a run-length chunk: 13 bits.
const MAX_RUN: usize = 0x1fff;

/// Appends feedback. Returns how many of the arrivals it covers: all, unless they are more than fit a datagram or
/// lie further apart than a delta can tell (8 s); the rest belongs into the next feedback. Trailing packets that have
/// not arrived are covered too. Writes nothing, and covers nothing, without a single arrival.
pub fn write_twcc(out: &mut Vec<u8>, feedback: &TwccFeedback<'_>) -> usize {
    let Some(first) = feedback.arrivals.iter().flatten().next() else { return 0 };
    let reference = ticks(*first) / TICKS_PER_REFERENCE;
    let mut symbols = ArrayVec::<Symbol, MAX_WRITTEN>::new();
    let reported = feedback.arrivals.iter().take(MAX_WRITTEN);
    symbols.extend(Deltas::new(reported, reference).map_while(|delta| delta).map(|delta| delta.symbol()));
    let covered = symbols.len();
    write_packet(out, FORMAT, TRANSPORT_FEEDBACK, |out| {
        put_ssrc(out, feedback.sender);
        put_ssrc(out, feedback.media);
        put_u16(out, feedback.base_seq);
        put_u16(out, covered as u16); // at most MAX_WRITTEN
        let wrapped = (reference & 0x00ff_ffff) as u32;
        put_u32(out, (wrapped << 8) | u32::from(feedback.fb_count));
        write_chunks(out, &symbols);
        let deltas = Deltas::new(feedback.arrivals[..covered].iter(), reference);
        deltas.flatten().for_each(|delta| delta.write(out));
    });
    covered
}

fn ticks(at: Instant) -> u64 {
    at.as_nanos() / TICK.as_nanos() as u64
}

/// Time since the arrival before.
enum Delta {
    Missing,
    Small(u8),
    Large(i16),
}

impl Delta {
    fn symbol(&self) -> Symbol {
        match self {
            Self::Missing => Symbol::Missing,
            Self::Small(_) => Symbol::Small,
            Self::Large(_) => Symbol::Large,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Missing => {}
            Self::Small(ticks) => out.push(*ticks),
            Self::Large(ticks) => out.extend_from_slice(&ticks.to_be_bytes()),
        }
    }
}

/// The delta of each arrival; `None` for one that lies too far from the one before.
struct Deltas<I> {
    arrivals: I,
    previous: u64,
}

impl<'a, I: Iterator<Item = &'a Option<Instant>>> Deltas<I> {
    fn new(arrivals: I, reference: u64) -> Self {
        Self { arrivals, previous: reference * TICKS_PER_REFERENCE }
    }
}

impl<'a, I: Iterator<Item = &'a Option<Instant>>> Iterator for Deltas<I> {
    type Item = Option<Delta>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(arrival) = self.arrivals.next()? else { return Some(Some(Delta::Missing)) };
        let now = ticks(*arrival);
        let distance = i128::from(now) - i128::from(self.previous);
        self.previous = now;
        let small = u8::try_from(distance).map(Delta::Small);
        Some(small.or_else(|_| i16::try_from(distance).map(Delta::Large)).ok())
    }
}

/// Appends chunks for `symbols`: a run where one is at least as long as a vector would reach, else a vector.
fn write_chunks(out: &mut Vec<u8>, mut symbols: &[Symbol]) {
    while let Some(&symbol) = symbols.first() {
        let run = symbols.iter().take_while(|next| **next == symbol).count().min(MAX_RUN);
        let one_bit = !symbols.iter().take(14).any(|next| *next == Symbol::Large);
        let reach = if one_bit { 14 } else { 7 };
        if run >= reach.min(symbols.len()) {
            put_u16(out, ((symbol as u16) << 13) | run as u16);
            symbols = &symbols[run..];
            continue;
        }
        let covered = reach.min(symbols.len());
        let (mark, width) = if one_bit { (0x8000, 1) } else { (0xc000, 2) };
        let vector = symbols[..covered]
            .iter()
            .zip(1..)
            .fold(mark, |chunk, (symbol, place)| chunk | ((*symbol as u16) << (14 - width * place)));
        put_u16(out, vector);
        symbols = &symbols[covered..];
    }
}

#[cfg(test)]
mod tests;
