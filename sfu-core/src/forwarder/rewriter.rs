//! Makes one continuous stream of what a slot carries, whatever sources and layers it comes from.
//!
//! Sequence numbers keep the gaps of packets that were lost on the way to us, since those may still be repaired, and
//! close the gaps of packets that were left out on purpose. Timestamps, picture ids, TL0PICIDX and frame numbers go on
//! over a switch of the source. VP8 picture ids close the gaps of frames left out, since a receiver waits for what
//! is missing between two ids; those of VP9 and the frame numbers of the dependency descriptor keep theirs, since
//! their frames name what they refer to by difference.
//!
//! A stream that begins in the past, with what is held since a keyframe, is shown as fast as it comes: the frames that
//! its subscriber missed have timestamps closely before that of the newest. Else a receiver would play them as they were
//! captured, and stay late by their age.

mod counted_pictures;

use arrayvec::ArrayVec;
use counted_pictures::CountedPictures;
use sfu_rtc::codec::{vp8, vp9};
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::media::Codec;
use sfu_rtc::packet::{Packet, PacketData};
use sfu_rtc::reception::MAX_DROPOUT;
use sfu_rtc::srtp::REPLAY_WINDOW;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::transport::PayloadEdit;
use std::collections::VecDeque;

/// How many earlier mappings are kept for packets that come late. Each lasts from one run of packets left out to the
/// next, so with a temporal layer left out at 30 frames/s this covers two seconds.
const MAX_EPOCHS: usize = 64;

/// A switch follows the clocks of the sources where they agree with the times of arrival that far: layers of one source
/// differ by the jitter of their ways and by how long an encoder holds a frame, and wrong sender reports by anything.
const MAX_MISALIGNMENT: Duration = Duration::from_secs(1);

/// What a subscriber missed is shown so many times as fast: frames are a millisecond apart then, still more than the least
/// that timestamps tell apart.
const CATCH_UP_SPEED: u32 = 32;

/// What changes in a packet on its way to one subscriber.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rewritten {
    pub(crate) seq: SeqNo,
    pub(crate) timestamp: u32,
    pub(crate) picture_id: Option<u16>,
    pub(crate) tl0_pic_idx: Option<u8>,
    pub(crate) frame_number: Option<u16>,
}

impl Rewritten {
    /// The payload descriptor with the numbers that it has on the slot.
    pub(crate) fn edit(&self, packet: &Packet) -> PayloadEdit {
        let same = self.picture_id == packet.frame.picture_id && self.tl0_pic_idx == packet.frame.tl0_pic_idx;
        let mut prefix = ArrayVec::new();
        let Some(picture_id) = self.picture_id.filter(|_| !same) else { return PayloadEdit::default() };
        let skip = match packet.codec {
            Codec::Vp8 => vp8::patch(packet.payload(), picture_id, self.tl0_pic_idx, &mut prefix),
            Codec::Vp9 => vp9::patch(packet.payload(), picture_id, self.tl0_pic_idx.unwrap_or(0), &mut prefix),
            _ => 0,
        };
        PayloadEdit { prefix, skip }
    }
}

/// Numbers of one outgoing stream.
#[derive(Debug)]
pub(crate) struct Rewriter {
    /// Follows the highest number sent.
    next_seq: SeqNo,
    /// The newest packet sent; `None` before the first.
    last: Option<Last>,
    source: Option<Source>,
    /// VP8 without temporal layers is numbered as a base layer.
    names_base_frames: bool,
}

/// Of the newest packet sent.
#[derive(Clone, Copy, Debug)]
struct Last {
    timestamp: u32,
    arrival: Instant,
    picture_id: u16,
    tl0_pic_idx: u8,
    /// Whether it had one.
    has_base: bool,
    frame_number: u16,
}

/// How a source's numbers map to ours.
#[derive(Debug)]
struct Source {
    /// Follows the highest number seen, sent or left out.
    expected: SeqNo,
    timestamp_offset: u32,
    /// What is older than this is what its subscriber missed.
    missed_until: Option<u32>,
    tl0_offset: u8,
    frame_offset: u16,
    pictures: PictureIds,
    /// The mapping that the next packet in order has.
    epoch: Epoch,
    /// Earlier mappings, for packets that come late; newest last.
    earlier: VecDeque<Epoch>,
}

/// From a number of the source on: what is added to sequence numbers and picture ids.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    from: SeqNo,
    seq_offset: u64,
    picture_offset: u16,
}

/// Timing of a stream: how a switch continues its timestamps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// RTP clock in Hz.
    pub(crate) clock_rate: u32,
    /// The least that timestamps advance at a switch, so that frames of two sources never share one.
    pub(crate) least_step: Duration,
}

impl Timing {
    fn ticks(&self, time: Duration) -> u32 {
        let ticks = u128::from(self.clock_rate) * time.as_nanos() / 1_000_000_000;
        (ticks % (1 << 32)) as u32
    }
}

impl Rewriter {
    /// A stream that begins with `first`.
    pub(crate) fn new(first: SeqNo) -> Self {
        Self { next_seq: first, last: None, source: None, names_base_frames: false }
    }

    /// From now on frames of VP8 without temporal layers are numbered as the base layer's (TL0PICIDX), so that what a frame
    /// refers to is known though numbers between frames are missing: libwebrtc goes by these otherwise.
    pub(crate) fn name_base_frames(&mut self) {
        self.names_base_frames = true;
    }

    /// Whether parity may go among packets like this one: its frame says by itself what it refers to.
    pub(crate) fn may_have_parity(&self, sent: &Rewritten) -> bool {
        !self.names_base_frames || sent.tl0_pic_idx.is_some()
    }

    /// Whether the newest frame says by itself what it refers to.
    pub(crate) fn has_base_frames(&self) -> bool {
        self.last.is_some_and(|last| last.has_base)
    }

    /// From `packet` on, this source is carried. `aligned` is the timestamp that the packet would have in our stream
    /// by the clocks of the sources, where those are known; else the time of arrival decides.
    pub(crate) fn switch(&mut self, packet: &PacketData, aligned: Option<u32>, timing: Timing) {
        self.switch_to_past(packet, (packet.timestamp, packet.arrival), aligned, timing);
    }

    /// The same, where all that followed the packet goes out at once: up to the frame that has the timestamp `newest` and
    /// came then, for which `aligned` is.
    pub(crate) fn switch_to_past(
        &mut self,
        packet: &PacketData,
        newest: (u32, Instant),
        aligned: Option<u32>,
        timing: Timing,
    ) {
        let missed = newest.0.wrapping_sub(packet.timestamp);
        let timestamp = self.timestamp_at_switch(newest, aligned, timing, missed / CATCH_UP_SPEED);
        let mut earlier = self.source.take().map(|source| source.earlier).unwrap_or_default();
        earlier.clear();
        let mut pictures = PictureIds::default();
        let (mut picture_offset, mut tl0_offset, mut frame_offset) = (0, 0, 0);
        if let Some(last) = self.last {
            let next = |last: u16, now: Option<u16>| now.map_or(0, |now| last.wrapping_add(1).wrapping_sub(now));
            let picture = pictures.of(packet, self.names_base_frames);
            picture_offset = next(last.picture_id, picture);
            frame_offset = next(last.frame_number, packet.frame.frame_number);
            let base = base_frame(packet, picture.map(|id| id.wrapping_add(picture_offset)), self.names_base_frames);
            tl0_offset = base.map_or(0, |id| last.tl0_pic_idx.wrapping_add(1).wrapping_sub(id));
        }
        let seq_offset = self.next_seq.0.wrapping_sub(packet.seq.0);
        self.source = Some(Source {
            expected: packet.seq,
            timestamp_offset: timestamp.wrapping_sub(newest.0),
            missed_until: (missed > 0).then_some(newest.0),
            tl0_offset,
            frame_offset,
            pictures,
            epoch: Epoch { from: packet.seq, seq_offset, picture_offset },
            earlier,
        });
    }

    /// No source is carried until the next switch.
    pub(crate) fn stop(&mut self) {
        self.source = None;
        if let Some(last) = &mut self.last {
            last.has_base = false;
        }
    }

    /// Numbers of a packet that is sent. Refused where it is older than the switch to its source, than what is
    /// remembered, or than what a receiver takes (RFC 3711 section 3.3.2).
    pub(crate) fn forward(&mut self, packet: &PacketData) -> Result<Rewritten, DropReason> {
        let next_seq = self.next_seq;
        let source = self.source.as_mut().ok_or(DropReason::AwaitingKeyframe)?;
        source.restart_after_a_leap(packet.seq, next_seq);
        let epoch = source.epoch(packet.seq).ok_or(DropReason::OutOfWindow)?;
        let seq = SeqNo(packet.seq.0.wrapping_add(epoch.seq_offset));
        if next_seq.0.saturating_sub(seq.0) > REPLAY_WINDOW {
            return Err(DropReason::OutOfWindow);
        }
        let picture = source.pictures.of(packet, self.names_base_frames);
        // Among frames with numbers, one without would have a receiver forget what it knows of them.
        if self.names_base_frames && picture.is_none() && CountedPictures::counts(packet) {
            return Err(DropReason::OutOfWindow);
        }
        let picture_id = picture.map(|id| id.wrapping_add(epoch.picture_offset) & 0x7fff);
        let base = base_frame(packet, picture_id, self.names_base_frames);
        let rewritten = Rewritten {
            seq,
            timestamp: source.hasten(packet.timestamp).wrapping_add(source.timestamp_offset),
            picture_id,
            tl0_pic_idx: base.map(|id| id.wrapping_add(source.tl0_offset)),
            frame_number: packet.frame.frame_number.map(|number| number.wrapping_add(source.frame_offset)),
        };
        if packet.seq >= source.expected {
            source.expected = packet.seq.next();
            source.pictures.newest_forwarded = picture.or(source.pictures.newest_forwarded);
        }
        // A late packet, too, may be newer than all that were sent, if those after it were left out.
        if rewritten.seq >= self.next_seq {
            self.next_seq = rewritten.seq.next();
            self.remember(packet, &rewritten);
        }
        Ok(rewritten)
    }

    /// A packet of the source is left out on purpose: the next takes its number. `picture` is its VP8 picture id, if
    /// it has one.
    pub(crate) fn skip(&mut self, seq: SeqNo, picture: Option<u16>) {
        let next_seq = self.next_seq;
        let Some(source) = &mut self.source else { return };
        source.restart_after_a_leap(seq, next_seq);
        if seq < source.expected {
            return;
        }
        let Epoch { from, seq_offset, mut picture_offset } = source.epoch;
        if picture.is_some_and(|id| source.pictures.leaves_out(id)) {
            picture_offset = picture_offset.wrapping_sub(1);
        }
        source.expected = seq.next();
        let next = Epoch { from: seq.next(), seq_offset: seq_offset.wrapping_sub(1), picture_offset };
        let before = std::mem::replace(&mut source.epoch, next);
        // A mapping that no packet used is not kept, but for the first: nothing before it belongs to this source.
        if from != seq || source.earlier.is_empty() {
            if source.earlier.len() == MAX_EPOCHS {
                source.earlier.pop_front();
            }
            source.earlier.push_back(before);
        }
    }

    /// What is added to the source's timestamps. `None` while no source is carried.
    pub(crate) fn timestamp_offset(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.timestamp_offset)
    }

    /// Number of the next packet.
    pub(crate) fn next_seq(&self) -> SeqNo {
        self.next_seq
    }

    /// The timestamp of the newest packet, which others precede by up to `missed`.
    fn timestamp_at_switch(
        &self,
        (timestamp, arrival): (u32, Instant),
        aligned: Option<u32>,
        timing: Timing,
        missed: u32,
    ) -> u32 {
        let Some(last) = self.last else { return aligned.unwrap_or(timestamp) };
        let by_arrival = last.timestamp.wrapping_add(timing.ticks(arrival - last.arrival));
        let misalignment = |aligned: u32| (aligned.wrapping_sub(by_arrival) as i32).unsigned_abs();
        let aligned = aligned.filter(|aligned| misalignment(*aligned) <= timing.ticks(MAX_MISALIGNMENT));
        let wanted = aligned.unwrap_or(by_arrival);
        let least = last.timestamp.wrapping_add(timing.ticks(timing.least_step)).wrapping_add(missed);
        if wanted.wrapping_sub(least) as i32 >= 0 { wanted } else { least }
    }

    fn remember(&mut self, packet: &PacketData, sent: &Rewritten) {
        let before = self.last;
        let last = self.last.get_or_insert(Last {
            timestamp: sent.timestamp,
            arrival: packet.arrival,
            picture_id: 0,
            tl0_pic_idx: 0,
            has_base: false,
            frame_number: 0,
        });
        if before.is_none_or(|before| sent.timestamp.wrapping_sub(before.timestamp) as i32 > 0) {
            last.timestamp = sent.timestamp;
            last.arrival = packet.arrival;
        }
        last.picture_id = sent.picture_id.unwrap_or(last.picture_id);
        last.tl0_pic_idx = sent.tl0_pic_idx.unwrap_or(last.tl0_pic_idx);
        last.has_base = sent.tl0_pic_idx.is_some();
        last.frame_number = sent.frame_number.unwrap_or(last.frame_number);
    }
}

/// The index of the base-layer frame that a packet names; or else, where such are named, one of its own that counts as
/// `picture_id` does.
fn base_frame(packet: &PacketData, picture_id: Option<u16>, names: bool) -> Option<u8> {
    let named = || picture_id.filter(|_| names && packet.codec == Codec::Vp8).map(|id| id as u8); // modulo 256
    packet.frame.tl0_pic_idx.or_else(named)
}

impl Source {
    /// The timestamp of a packet, moved towards the newest where its subscriber missed it.
    fn hasten(&mut self, timestamp: u32) -> u32 {
        let Some(newest) = self.missed_until else { return timestamp };
        let missed = newest.wrapping_sub(timestamp);
        if missed as i32 <= 0 {
            self.missed_until = None;
            return timestamp;
        }
        newest.wrapping_sub(missed / CATCH_UP_SPEED)
    }

    /// The mapping in force for `seq`.
    fn epoch(&self, seq: SeqNo) -> Option<Epoch> {
        if self.epoch.from <= seq {
            return Some(self.epoch);
        }
        self.earlier.iter().rev().find(|epoch| epoch.from <= seq).copied()
    }

    /// A source whose numbers leap has restarted; ours go on without a gap.
    fn restart_after_a_leap(&mut self, seq: SeqNo, next_seq: SeqNo) {
        if seq.0.saturating_sub(self.expected.0) < MAX_DROPOUT {
            return;
        }
        self.earlier.clear();
        self.epoch = Epoch { from: seq, seq_offset: next_seq.0.wrapping_sub(seq.0), ..self.epoch };
        self.expected = seq;
    }
}

/// Picture ids of a source, extended to 16 bits whether they have 7 bits or 15 on the wire.
#[derive(Default, Debug)]
struct PictureIds {
    /// On the wire, and extended.
    last: Option<(u16, u16)>,
    /// An id of more than 7 bits was seen.
    wide: bool,
    newest_forwarded: Option<u16>,
    newest_left_out: Option<u16>,
    /// Where the source names none.
    counted: CountedPictures,
}

impl PictureIds {
    /// The extended picture id of a packet; where it has none, and such are to be named, one that is counted.
    fn of(&mut self, packet: &PacketData, names: bool) -> Option<u16> {
        match packet.frame.picture_id {
            Some(id) => Some(self.extend(id)),
            None if names => self.counted.of(packet),
            None => None,
        }
    }

    fn extend(&mut self, id: u16) -> u16 {
        self.wide |= id >= 0x80;
        let Some((last_wire, last)) = self.last else {
            self.last = Some((id, id));
            return id;
        };
        // The difference with its sign, in as many bits as ids have.
        let unused_bits = if self.wide { 1 } else { 9 };
        let step = (id.wrapping_sub(last_wire) << unused_bits) as i16 >> unused_bits;
        let extended = last.wrapping_add_signed(step);
        if step > 0 {
            self.last = Some((id, extended));
        }
        extended
    }

    /// Whether leaving out a packet of frame `id` leaves out a frame that was not counted yet.
    fn leaves_out(&mut self, id: u16) -> bool {
        let id = self.extend(id);
        let newer = |than: Option<u16>| than.is_none_or(|than| id.wrapping_sub(than) as i16 > 0);
        let counts = newer(self.newest_forwarded) && newer(self.newest_left_out);
        if counts {
            self.newest_left_out = Some(id);
        }
        counts
    }
}

#[cfg(test)]
mod tests;
