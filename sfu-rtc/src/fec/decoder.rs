//! Recovers packets from parity.

use super::equation::{Equation, Outcome, Source, System};
use super::protected::Parity;
use super::symbol::Symbol;
use super::{MAX_STREAMS, MutableExtensions, Scheme, reed_solomon};
use crate::drop_reason::DropReason;
use crate::ids::{SeqNo, Ssrc};
use std::collections::VecDeque;

/// Packets of each stream that are kept: a parity packet spans at most 128, and comes behind them, reordered perhaps. They
/// take 400 kB per stream.
const HISTORY: u64 = 256;
/// How far ahead of a stream's newest packet a parity packet may reach: as far as its mask does, where all packets of a
/// window were lost.
const MAX_AHEAD: u64 = 128;
/// Recovered packets that wait for [`Decoder::poll_recovered`]: a window's.
const MAX_RECOVERED: usize = 128;

/// How a [`Decoder`] reads parity.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
    /// Code and payload format.
    pub scheme: Scheme,
    /// Header extensions that are protected as zero, and so are zero in a recovered packet.
    pub mutable_extensions: MutableExtensions,
}

/// What a decoder has seen.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DecoderStats {
    /// Parity packets that came (`fecPacketsReceived` of webrtc-stats).
    pub parity: u64,
    /// Bytes of their payloads (`fecBytesReceived`).
    pub bytes: u64,
    /// Parity packets that were of no use (`fecPacketsDiscarded`): nothing of what they protect was missing, or it is too
    /// far behind or ahead, or too much.
    pub discarded: u64,
    /// Packets recovered.
    pub recovered: u64,
    /// What parity said could not be true: malformed parity, parity for a stream that it is not for, packets that came out
    /// malformed, or contradictions. Not delivered.
    pub refused: u64,
}

/// Recovers packets of some streams from their parity. Bounded: what it holds does not depend on what it is given.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    streams: Vec<Stream>,
    system: System,
    recovered: VecDeque<Source>,
    /// Where a recovered packet is put together.
    packet: Vec<u8>,
    arrived: Symbol,
    stats: DecoderStats,
}

#[derive(Debug)]
struct Stream {
    ssrc: Ssrc,
    newest: Option<SeqNo>,
    /// By sequence number; each slot is made when it is first used.
    history: Vec<Option<Box<Known>>>,
}

/// A packet that came or was recovered.
#[derive(Debug)]
struct Known {
    seq: SeqNo,
    symbol: Symbol,
}

impl Decoder {
    /// A decoder for no stream yet.
    pub fn new(config: DecoderConfig) -> Self {
        Self {
            config,
            streams: Vec::new(),
            system: System::default(),
            recovered: VecDeque::new(),
            packet: Vec::new(),
            arrived: Symbol::ZERO,
            stats: DecoderStats::default(),
        }
    }

    /// Expects parity for the packets of `ssrc`. `false` where there are [`MAX_STREAMS`] others.
    pub fn add_stream(&mut self, ssrc: Ssrc) -> bool {
        if self.place(ssrc).is_none() {
            if self.streams.len() == MAX_STREAMS {
                return false;
            }
            let history = (0..HISTORY).map(|_| None).collect();
            self.streams.push(Stream { ssrc, newest: None, history });
        }
        true
    }

    /// What it has seen.
    pub fn stats(&self) -> DecoderStats {
        self.stats
    }

    /// An RTP packet of media came, or a retransmission of one.
    pub fn on_media(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        let has_check = self.config.scheme.has_check();
        let (ssrc, wire) = self.arrived.load(packet, &self.config.mutable_extensions, has_check)?;
        let place = self.place(ssrc).ok_or(DropReason::UnknownStream)?;
        let stream = &mut self.streams[place];
        // A round higher than it could be, so that there are numbers before the first.
        let seq = stream.newest.map_or(SeqNo((1 << 16) + u64::from(wire)), |newest| newest.extend(wire));
        if stream.is_past(seq) {
            return Err(DropReason::OutOfWindow);
        }
        if stream.known(seq).is_some() {
            return Err(DropReason::Duplicate);
        }
        stream.keep(seq, &self.arrived);
        self.stats.refused += self.system.substitute((place as u8, seq), &self.arrived);
        self.harvest();
        Ok(())
    }

    /// A parity packet came from `ssrc`, which with ULPFEC is that of the media; `payload` is that of RTP, or what stands
    /// behind the header of RED.
    pub fn on_parity(&mut self, ssrc: Ssrc, payload: &[u8]) -> Result<(), DropReason> {
        self.stats.parity += 1;
        self.stats.bytes += payload.len() as u64;
        self.forget_old();
        let result = self.take(ssrc, payload);
        match result {
            Ok(Outcome::Used) => self.harvest(),
            Ok(Outcome::Redundant) | Err(DropReason::OutOfWindow | DropReason::LimitReached) => {
                self.stats.discarded += 1
            }
            Ok(Outcome::Contradiction | Outcome::TooLarge) | Err(_) => self.stats.refused += 1,
        }
        result.map(|_| ())
    }

    fn take(&mut self, ssrc: Ssrc, payload: &[u8]) -> Result<Outcome, DropReason> {
        let mut equation = self.system.blank();
        let is_missing = self.read(&mut equation, ssrc, payload);
        if is_missing != Ok(true) {
            self.system.give_back(equation);
            return is_missing.map(|_| Outcome::Redundant);
        }
        match self.system.insert(equation) {
            Outcome::TooLarge => Err(DropReason::LimitReached),
            outcome => Ok(outcome),
        }
    }

    /// Writes the next recovered RTP packet to `out`, which is replaced; its stream.
    pub fn poll_recovered(&mut self, out: &mut Vec<u8>) -> Option<Ssrc> {
        while let Some((place, seq)) = self.recovered.pop_front() {
            let stream = &self.streams[usize::from(place)];
            // Another packet may have taken its place while nobody asked.
            let Some(known) = stream.known(seq) else { continue };
            known.write_packet(stream.ssrc, seq.wire(), self.config.scheme.has_check(), out)?;
            return Some(stream.ssrc);
        }
        None
    }

    fn place(&self, ssrc: Ssrc) -> Option<usize> {
        self.streams.iter().position(|stream| stream.ssrc == ssrc)
    }

    /// Makes an equation of a parity packet: terms of what is missing, what is known subtracted. Whether anything is
    /// missing; where nothing is, it costs no arithmetic.
    fn read(&self, equation: &mut Equation, ssrc: Ssrc, payload: &[u8]) -> Result<bool, DropReason> {
        let parity = self.config.scheme.read(ssrc, payload, &mut equation.symbol).ok_or(DropReason::FecMalformed)?;
        let mut is_missing = false;
        self.visit(&parity, |source, coefficient, known| {
            let is_new = known.is_none();
            is_missing |= is_new;
            if is_new && !equation.push(source, coefficient) { Err(DropReason::LimitReached) } else { Ok(()) }
        })?;
        if is_missing {
            let longest = equation.symbol.len();
            self.visit(&parity, |_, coefficient, known| {
                let Some(symbol) = known else { return Ok(()) };
                equation.symbol.add(symbol, coefficient);
                // It was cut, or protects only the beginnings of packets.
                if symbol.len() > longest { Err(DropReason::FecMalformed) } else { Ok(()) }
            })?;
        }
        Ok(is_missing)
    }

    /// Every packet that `parity` protects, its coefficient, and its symbol where it is known.
    fn visit<'a>(
        &'a self,
        parity: &Parity,
        mut each: impl FnMut(Source, u8, Option<&'a Symbol>) -> Result<(), DropReason>,
    ) -> Result<(), DropReason> {
        let count = parity.streams.len();
        for (order, protected) in parity.streams.iter().enumerate().filter(|(_, protected)| protected.mask != 0) {
            let place = self.place(protected.ssrc).ok_or(DropReason::UnknownStream)?;
            let stream = &self.streams[place];
            let newest = stream.newest.ok_or(DropReason::OutOfWindow)?;
            let base = newest.extend(protected.base);
            for offset in protected.offsets() {
                let seq = SeqNo(base.0 + u64::from(offset));
                let known = stream.known(seq);
                if known.is_none() && (seq.0 + HISTORY <= newest.0 || seq.0 > newest.0 + MAX_AHEAD) {
                    return Err(DropReason::OutOfWindow);
                }
                let column = reed_solomon::column(order, count, seq.wire());
                each((place as u8, seq), reed_solomon::coefficient(parity.row, column), known)?;
            }
        }
        Ok(())
    }

    /// Takes what the equations give.
    fn harvest(&mut self) {
        while let Some((source, mut equation)) = self.system.pop_solved() {
            self.accept(source, &mut equation.symbol);
            self.system.give_back(equation);
        }
    }

    fn accept(&mut self, ((place, seq), longest): (Source, u16), symbol: &mut Symbol) {
        let stream = &mut self.streams[usize::from(place)];
        if stream.is_past(seq) {
            self.stats.discarded += 1;
            return;
        }
        let has_check = self.config.scheme.has_check();
        let packet = symbol.write_packet(stream.ssrc, seq.wire(), has_check, &mut self.packet);
        if packet.is_none() || self.packet.len() > longest.into() {
            self.stats.refused += 1;
            return;
        }
        symbol.cut(self.packet.len());
        stream.keep(seq, symbol);
        self.stats.recovered += 1;
        if self.recovered.len() == MAX_RECOVERED {
            self.recovered.pop_front();
        }
        self.recovered.push_back((place, seq));
    }

    /// What is too far behind will not be missed any more, and would not be told from what comes next.
    fn forget_old(&mut self) {
        let streams = &self.streams;
        self.system.forget(|(place, seq)| streams[usize::from(place)].is_past(seq));
    }
}

impl Stream {
    fn known(&self, seq: SeqNo) -> Option<&Symbol> {
        let known = self.history[slot(seq)].as_ref()?;
        (known.seq == seq).then_some(&known.symbol)
    }

    /// Whether it is too far behind: its place is a newer packet's.
    fn is_past(&self, seq: SeqNo) -> bool {
        self.newest.is_some_and(|newest| seq.0 + HISTORY <= newest.0)
    }

    fn keep(&mut self, seq: SeqNo, symbol: &Symbol) {
        let known = self.history[slot(seq)].get_or_insert_with(|| Box::new(Known { seq, symbol: Symbol::ZERO }));
        known.seq = seq;
        known.symbol.clone_from(symbol);
        self.newest = self.newest.max(Some(seq));
    }
}

fn slot(seq: SeqNo) -> usize {
    (seq.0 % HISTORY) as usize
}
