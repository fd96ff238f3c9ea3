//! Adds packets to the sums of open windows, and hands out parity when a window is complete.
//!
//! Each packet is worked on once per parity packet that protects it, while it is in the cache; none is kept. So a window's
//! parity packets are settled when it begins.

use super::protected::{Parity, Protected};
use super::symbol::Symbol;
use super::{MAX_PARITY, MAX_STREAMS, MutableExtensions, Scheme, flexfec03, reed_solomon};
use crate::drop_reason::DropReason;
use crate::ids::Ssrc;
use arrayvec::ArrayVec;
use std::collections::VecDeque;

/// Longest window, in frames: at 30 frames per second it delays a repair by 170 ms, and lossy episodes of real networks
/// are shorter.
const MAX_FRAMES: u8 = 5;
/// Complete windows that wait for [`Encoder::poll_parity`]; of more, the oldest is given up.
const MAX_READY: usize = 8;

/// What a parity packet protects, in frames: 1 to 5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// So many frames, then the next so many.
    Block(u8),
    /// At the end of every frame, the last so many.
    Sliding(u8),
}

impl Window {
    fn frames(self) -> u8 {
        match self {
            Self::Block(frames) | Self::Sliding(frames) => frames.clamp(1, MAX_FRAMES),
        }
    }
}

/// How an [`Encoder`] protects.
#[derive(Clone, Debug)]
pub struct EncoderConfig {
    /// Code and payload format.
    pub scheme: Scheme,
    /// What a parity packet protects.
    pub window: Window,
    /// The streams that are protected together: up to [`MAX_STREAMS`] with Reed-Solomon, else one; further ones are left
    /// out.
    pub streams: ArrayVec<Ssrc, MAX_STREAMS>,
    /// Header extensions that are protected as zero.
    pub mutable_extensions: MutableExtensions,
}

/// A parity packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParityInfo {
    /// Whether it is the last of its window, which our own payload format says by the marker bit.
    pub last: bool,
}

/// Makes parity packets of the packets of some streams.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    /// Parity packets of windows that begin from now on.
    parity: usize,
    /// Row of a sliding window's next parity packet.
    next_row: u8,
    /// Whether the frame has begun: a packet of it was added.
    in_frame: bool,
    source: Symbol,
    /// The last number of each stream.
    newest: ArrayVec<Option<u16>, MAX_STREAMS>,
    /// Windows that still take packets; the first one ends first.
    open: VecDeque<Open>,
    ready: VecDeque<Open>,
    /// Given back, to be used again.
    spare: Vec<Open>,
}

impl Encoder {
    /// An encoder that makes no parity until [`set_parity`](Self::set_parity).
    pub fn new(mut config: EncoderConfig) -> Self {
        config.streams.truncate(config.scheme.max_streams());
        Self {
            newest: config.streams.iter().map(|_| None).collect(),
            config,
            parity: 0,
            next_row: 1,
            in_frame: false,
            source: Symbol::ZERO,
            open: VecDeque::new(),
            ready: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// How many parity packets, at most [`MAX_PARITY`], the windows have that begin from now on: with a sliding window of
    /// `n` frames those that end in `n` frames.
    pub fn set_parity(&mut self, packets: usize) {
        self.parity = packets.min(MAX_PARITY);
    }

    /// Protects an RTP packet as it is sent. `OutOfWindow` for one whose number is not ahead of its stream's, such as a
    /// retransmission, which is not protected.
    ///
    /// A window that cannot name a further packet is complete, and another begins in its place.
    pub fn add(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        let scheme = self.config.scheme;
        let (ssrc, seq) = self.source.load(packet, &self.config.mutable_extensions, scheme.has_check())?;
        let place = self.config.streams.iter().position(|&stream| stream == ssrc).ok_or(DropReason::UnknownStream)?;
        let newest = &mut self.newest[place];
        if newest.is_some_and(|newest| !is_ahead(seq, newest)) {
            return Err(DropReason::OutOfWindow);
        }
        *newest = Some(seq);
        if !std::mem::replace(&mut self.in_frame, true) {
            self.begin_windows();
        }
        let span = scheme.span(self.config.streams.len());
        for at in 0..self.open.len() {
            if !self.open[at].streams[place].has_room(seq, span) {
                let fresh = self.window(self.open[at].frames_left);
                let full = std::mem::replace(&mut self.open[at], fresh);
                self.complete(full);
            }
            self.open[at].add(&self.source, scheme, place, seq);
        }
        Ok(())
    }

    /// The last packet of a frame was added: windows that end here are complete.
    pub fn end_frame(&mut self) {
        if !std::mem::take(&mut self.in_frame) {
            return;
        }
        self.open.iter_mut().for_each(|window| window.frames_left -= 1);
        while let Some(window) = self.open.pop_front_if(|window| window.frames_left == 0) {
            self.complete(window);
        }
    }

    /// Completes the windows that are open, however few frames they have.
    pub fn end_window(&mut self) {
        self.in_frame = false;
        while let Some(window) = self.open.pop_front() {
            self.complete(window);
        }
    }

    /// Whether [`Encoder::poll_parity`] has a packet.
    pub fn has_parity(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Writes the payload of the next parity packet to `out`, which is replaced. Of ULPFEC it begins with the header of
    /// RED.
    pub fn poll_parity(&mut self, out: &mut Vec<u8>) -> Option<ParityInfo> {
        let window = self.ready.front_mut()?;
        out.clear();
        let last = window.write_next(self.config.scheme, out);
        if last {
            self.spare.extend(self.ready.pop_front());
        }
        Some(ParityInfo { last })
    }

    /// A sliding window begins with each frame. At the start, when none is open, so do those that end earlier.
    fn begin_windows(&mut self) {
        let frames = self.config.window.frames();
        let starts = match self.config.window {
            Window::Sliding(_) if self.open.is_empty() => 1..=frames,
            Window::Sliding(_) => frames..=frames,
            Window::Block(_) if self.open.is_empty() => frames..=frames,
            Window::Block(_) => return,
        };
        for frames_left in starts {
            let window = self.window(frames_left);
            self.open.push_back(window);
        }
    }

    /// An empty window.
    fn window(&mut self, frames_left: u8) -> Open {
        let mut window = self.spare.pop().unwrap_or_default();
        let first_row = match self.config.window {
            Window::Block(_) => 0,
            Window::Sliding(_) => self.next_row,
        };
        window.reset(frames_left, &self.config.streams, (0..self.parity).map(|count| row_after(first_row, count)));
        self.next_row = row_after(self.next_row, self.parity);
        window
    }

    fn complete(&mut self, window: Open) {
        if window.next_sum().is_none() {
            self.spare.push(window);
            return;
        }
        if self.ready.len() == MAX_READY {
            self.spare.extend(self.ready.pop_front());
        }
        self.ready.push_back(window);
    }
}

/// Whether a stream's packet `seq` comes in order behind `newest`.
pub(super) fn is_ahead(seq: u16, newest: u16) -> bool {
    seq.wrapping_sub(newest).wrapping_sub(1) <= u16::MAX / 2
}

/// The row that lies `count` behind `row`. From any but row 0 it goes in turns over all but row 0: blocks begin with row
/// 0, which is the cheapest; windows that overlap need rows of their own, since two sums in the same row may be the same.
fn row_after(row: u8, count: usize) -> u8 {
    let turns = usize::from(reed_solomon::ROWS) - 1;
    match usize::from(row) + count {
        sum if sum > turns => (sum - turns) as u8,
        sum => sum as u8,
    }
}

/// A window that takes packets, or whose parity is being handed out.
#[derive(Debug, Default)]
struct Open {
    frames_left: u8,
    streams: ArrayVec<Protected, MAX_STREAMS>,
    /// Packets so far.
    packets: usize,
    sums: Vec<Sum>,
    /// How many of `sums` are this window's; the others are kept for a later one.
    rows: usize,
    /// The next sum to hand out.
    next: usize,
}

/// A parity packet in the making.
#[derive(Debug)]
struct Sum {
    row: u8,
    symbol: Symbol,
    /// The packets in it, as bits behind the window's base. Only schemes with one stream write it.
    mask: u128,
}

impl Open {
    fn reset(&mut self, frames_left: u8, streams: &[Ssrc], rows: impl ExactSizeIterator<Item = u8>) {
        self.frames_left = frames_left;
        self.streams = streams.iter().map(|&ssrc| Protected::none(ssrc)).collect();
        self.packets = 0;
        self.rows = rows.len();
        self.next = 0;
        for (at, row) in rows.enumerate() {
            if at == self.sums.len() {
                self.sums.push(Sum { row, symbol: Symbol::ZERO, mask: 0 });
            }
            let sum = &mut self.sums[at];
            (sum.row, sum.mask) = (row, 0);
            sum.symbol.clear();
        }
    }

    fn add(&mut self, source: &Symbol, scheme: Scheme, place: usize, seq: u16) {
        let before = self.streams[place].mask;
        self.streams[place].insert(seq);
        let bit = self.streams[place].mask ^ before;
        let column = reed_solomon::column(place, self.streams.len(), seq);
        for (at, sum) in self.sums[..self.rows].iter_mut().enumerate() {
            let factor = match scheme {
                Scheme::ReedSolomon => reed_solomon::coefficient(sum.row, column),
                Scheme::FlexFec03 | Scheme::Ulpfec { .. } => u8::from(flexfec03::covers(self.packets, at, self.rows)),
            };
            if factor != 0 {
                sum.symbol.add(source, factor);
                sum.mask |= bit;
            }
        }
        self.packets += 1;
    }

    /// The next sum that holds packets.
    fn next_sum(&self) -> Option<usize> {
        (self.next..self.rows).find(|&at| self.sums[at].mask != 0)
    }

    /// Appends the payload of the next parity packet, if there is one. Whether it was the last.
    fn write_next(&mut self, scheme: Scheme, out: &mut Vec<u8>) -> bool {
        if let Some(at) = self.next_sum() {
            let sum = &self.sums[at];
            let parity = match scheme {
                Scheme::ReedSolomon => Parity { row: sum.row, streams: self.streams.clone() },
                Scheme::FlexFec03 | Scheme::Ulpfec { .. } => Parity::xor(self.streams[0].only(sum.mask)),
            };
            scheme.write(&parity, &sum.symbol, out);
            self.next = at + 1;
        }
        self.next_sum().is_none()
    }
}
