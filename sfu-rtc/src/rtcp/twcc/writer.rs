//! Writes feedback from arrival times.

use super::{FORMAT, Symbol, TICKS_PER_REFERENCE, TWCC_TICK};
use crate::ids::Ssrc;
use crate::rtcp::wire::{TRANSPORT_FEEDBACK, put_ssrc, put_u16, put_u32, write_packet};
use crate::time::Instant;
use arrayvec::ArrayVec;

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
const MAX_STATUSES: usize = 500;
/// Longest run of a run-length chunk: 13 bits.
const MAX_RUN: usize = 0x1fff;

/// Appends feedback. Returns how many of the arrivals it covers: all, unless they are more than fit a datagram or
/// lie further apart than a delta can tell (8 s); the rest belongs into the next feedback. Trailing packets that have
/// not arrived are covered too. Writes nothing, and covers nothing, without a single arrival.
pub fn write_twcc(out: &mut Vec<u8>, feedback: &TwccFeedback<'_>) -> usize {
    let Some(first) = feedback.arrivals.iter().flatten().next() else { return 0 };
    let reference = ticks(*first) / TICKS_PER_REFERENCE;
    let mut symbols = ArrayVec::<Symbol, MAX_STATUSES>::new();
    let reported = feedback.arrivals.iter().take(MAX_STATUSES);
    symbols.extend(Deltas::new(reported, reference).map_while(|delta| delta).map(|delta| delta.symbol()));
    let covered = symbols.len();
    write_packet(out, FORMAT, TRANSPORT_FEEDBACK, |out| {
        put_ssrc(out, feedback.sender);
        put_ssrc(out, feedback.media);
        put_u16(out, feedback.base_seq);
        put_u16(out, covered as u16); // at most MAX_STATUSES
        let wrapped = (reference & 0x00ff_ffff) as u32;
        put_u32(out, (wrapped << 8) | u32::from(feedback.fb_count));
        write_chunks(out, &symbols);
        let deltas = Deltas::new(feedback.arrivals[..covered].iter(), reference);
        deltas.flatten().for_each(|delta| delta.write(out));
    });
    covered
}

fn ticks(at: Instant) -> u64 {
    at.as_nanos() / TWCC_TICK.as_nanos() as u64
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
