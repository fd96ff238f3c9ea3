//! What is kept to send packets again: one copy of each packet per publication, one small record per subscriber.

use crate::layer_selector::LayerIndex;
use crate::rewriter::Rewritten;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::packet::Packet;
use sfu_rtc::prefetch::prefetch;
use sfu_rtc::time::{Duration, Instant};

/// Rings begin with so many places: 100 ms of a stream of 2.5 Mbit/s, and a second of audio.
const FIRST_CAPACITY: usize = 64;

/// The packets of one received stream over the last while, by sequence number.
#[derive(Debug)]
pub(crate) struct PacketHistory {
    window: Duration,
    max_packets: usize,
    /// By sequence number, modulo its length, which is a power of two.
    ring: Vec<Option<Packet>>,
    /// All packets held lie in `oldest..next`.
    oldest: u64,
    next: u64,
}

impl PacketHistory {
    /// Keeps packets for `window`, and never more than `max_packets` (rounded to a power of two).
    pub(crate) fn new(window: Duration, max_packets: usize) -> Self {
        let max_packets = max_packets.max(FIRST_CAPACITY).next_power_of_two();
        Self { window, max_packets, ring: Vec::new(), oldest: 0, next: 0 }
    }

    /// Keeps `packet`, and lets go those that are older than the window.
    pub(crate) fn insert(&mut self, packet: &Packet) {
        let seq = packet.seq.0;
        self.expire(packet.arrival);
        if self.oldest == self.next || seq.saturating_sub(self.next) >= self.max_packets as u64 {
            self.clear();
            (self.oldest, self.next) = (seq, seq);
        }
        if seq < self.oldest {
            if (self.next - seq) > self.ring.len() as u64 {
                return;
            }
            self.oldest = seq;
        }
        self.make_room(seq.max(self.next.saturating_sub(1)));
        let place = self.place(seq);
        self.ring[place] = Some(Packet::clone(packet));
        self.next = self.next.max(seq + 1);
    }

    /// Fetches the packet that [`Self::insert`] looks at first.
    pub(crate) fn prefetch_oldest(&self) {
        if let Some(Some(oldest)) = self.ring.get(self.oldest as usize & self.ring.len().wrapping_sub(1)) {
            prefetch(&oldest.arrival);
        }
    }

    /// The packet with this sequence number of the received stream.
    pub(crate) fn get(&self, seq: SeqNo) -> Option<&Packet> {
        if seq.0 < self.oldest || seq.0 >= self.next {
            return None;
        }
        self.ring[self.place(seq.0)].as_ref().filter(|packet| packet.seq == seq)
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.oldest == self.next
    }

    /// Lets go of all packets.
    pub(crate) fn clear(&mut self) {
        self.ring.iter_mut().for_each(|place| *place = None);
        self.oldest = self.next;
    }

    fn place(&self, seq: u64) -> usize {
        (seq as usize) & (self.ring.len() - 1)
    }

    /// Lets go of packets that are older than the window.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.oldest < self.next {
            let place = self.place(self.oldest);
            if self.ring[place].as_ref().is_some_and(|packet| now - packet.arrival <= self.window) {
                break;
            }
            self.ring[place] = None;
            self.oldest += 1;
        }
    }

    /// Makes the ring large enough for `oldest..=newest`, or gives up the oldest where it may not grow.
    fn make_room(&mut self, newest: u64) {
        let needed = usize::try_from(newest - self.oldest + 1).unwrap_or(usize::MAX);
        if needed > self.ring.len() {
            let capacity = needed.min(self.max_packets).next_power_of_two().max(FIRST_CAPACITY);
            if capacity > self.ring.len() {
                self.grow(capacity);
            }
        }
        while newest - self.oldest >= self.ring.len() as u64 {
            let place = self.place(self.oldest);
            self.ring[place] = None;
            self.oldest += 1;
        }
    }

    fn grow(&mut self, capacity: usize) {
        let mut ring = vec![None; capacity];
        for packet in self.ring.drain(..).flatten() {
            let place = (packet.seq.0 as usize) & (capacity - 1);
            ring[place] = Some(packet);
        }
        self.ring = ring;
    }
}

/// How one packet went to one subscriber.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct SentRecord {
    /// Low bits of our sequence number; shows whether the place still holds it.
    out_seq: u32,
    /// Low bits of the received stream's sequence number.
    in_seq: u32,
    /// Our timestamp.
    pub(crate) timestamp: u32,
    /// Milliseconds of the clock when it was last sent.
    sent_at: u32,
    pub(crate) picture_id: u16,
    pub(crate) frame_number: u16,
    pub(crate) tl0_pic_idx: u8,
    pub(crate) layer: LayerIndex,
    flags: u8,
}

const HELD: u8 = 1;
const MARKER: u8 = 2;
const HAS_PICTURE_ID: u8 = 4;
const HAS_TL0: u8 = 8;
const HAS_FRAME_NUMBER: u8 = 16;

impl SentRecord {
    /// The record of a packet that became `sent`.
    fn new(now: Instant, layer: LayerIndex, in_seq: SeqNo, marker: bool, sent: &Rewritten) -> Self {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        Self {
            out_seq: sent.seq.0 as u32,
            in_seq: in_seq.0 as u32,
            timestamp: sent.timestamp,
            sent_at: now.as_millis() as u32,
            picture_id: sent.picture_id.unwrap_or(0),
            frame_number: sent.frame_number.unwrap_or(0),
            tl0_pic_idx: sent.tl0_pic_idx.unwrap_or(0),
            layer,
            flags: HELD
                | flag(marker, MARKER)
                | flag(sent.picture_id.is_some(), HAS_PICTURE_ID)
                | flag(sent.tl0_pic_idx.is_some(), HAS_TL0)
                | flag(sent.frame_number.is_some(), HAS_FRAME_NUMBER),
        }
    }

    pub(crate) fn marker(&self) -> bool {
        self.flags & MARKER != 0
    }

    /// What the packet had become.
    pub(crate) fn rewritten(&self, seq: SeqNo) -> Rewritten {
        Rewritten {
            seq,
            timestamp: self.timestamp,
            picture_id: (self.flags & HAS_PICTURE_ID != 0).then_some(self.picture_id),
            tl0_pic_idx: (self.flags & HAS_TL0 != 0).then_some(self.tl0_pic_idx),
            frame_number: (self.flags & HAS_FRAME_NUMBER != 0).then_some(self.frame_number),
        }
    }

    /// The received sequence number, given one of the same stream that is near.
    pub(crate) fn in_seq(&self, near: SeqNo) -> SeqNo {
        let distance = self.in_seq.wrapping_sub(near.0 as u32) as i32;
        SeqNo(near.0.wrapping_add_signed(i64::from(distance)))
    }
}

/// Records of what one slot sent, by our sequence number.
#[derive(Debug)]
pub(crate) struct RtxHistory {
    window: Duration,
    max_records: usize,
    /// By sequence number, modulo its length, which is a power of two.
    ring: Vec<SentRecord>,
}

impl RtxHistory {
    /// Remembers what was sent over `window`, and never more than `max_records` (rounded to a power of two).
    pub(crate) fn new(window: Duration, max_records: usize) -> Self {
        let max_records = max_records.max(FIRST_CAPACITY).next_power_of_two();
        Self { window, max_records, ring: Vec::new() }
    }

    /// A packet of stream `layer` was sent as `sent`.
    pub(crate) fn record(&mut self, now: Instant, layer: LayerIndex, in_seq: SeqNo, marker: bool, sent: &Rewritten) {
        let record = SentRecord::new(now, layer, in_seq, marker, sent);
        if self.ring.is_empty() {
            self.ring.resize(FIRST_CAPACITY, SentRecord::default());
        }
        // Looked at once per turn of the ring, since reading a record that is about to be replaced would wait for memory.
        let begins_turn = self.place(sent.seq) == 0;
        if begins_turn && self.ring.len() < self.max_records && self.is_recent(now, &self.ring[0]) {
            self.grow();
        }
        let place = self.place(sent.seq);
        self.ring[place] = record;
    }

    /// Fetches the places of the next few records.
    pub(crate) fn prefetch(&self, next: SeqNo) {
        if !self.ring.is_empty() {
            let place = self.place(next);
            prefetch(&self.ring[place..self.ring.len().min(place + 4)]);
        }
    }

    /// The record of `seq` for sending again, which is then not sent again for `interval`.
    pub(crate) fn take(&mut self, now: Instant, seq: SeqNo, interval: Duration) -> Result<SentRecord, DropReason> {
        if self.ring.is_empty() {
            return Err(DropReason::NotInHistory);
        }
        let place = self.place(seq);
        let record = &mut self.ring[place];
        if record.flags & HELD == 0 || record.out_seq != seq.0 as u32 {
            return Err(DropReason::NotInHistory);
        }
        let now = now.as_millis() as u32;
        if u128::from(now.wrapping_sub(record.sent_at)) < interval.as_millis() {
            return Err(DropReason::ResentTooRecently);
        }
        record.sent_at = now;
        Ok(*record)
    }

    /// Forgets everything, since the source that the records name is gone.
    pub(crate) fn clear(&mut self) {
        self.ring.fill(SentRecord::default());
    }

    fn is_recent(&self, now: Instant, record: &SentRecord) -> bool {
        let age = (now.as_millis() as u32).wrapping_sub(record.sent_at);
        record.flags & HELD != 0 && u128::from(age) <= self.window.as_millis()
    }

    fn place(&self, seq: SeqNo) -> usize {
        (seq.0 as usize) & (self.ring.len() - 1)
    }

    fn grow(&mut self) {
        let capacity = self.ring.len() * 2;
        let mut ring = vec![SentRecord::default(); capacity];
        for record in self.ring.drain(..).filter(|record| record.flags & HELD != 0) {
            ring[(record.out_seq as usize) & (capacity - 1)] = record;
        }
        self.ring = ring;
    }
}

#[cfg(test)]
mod tests;
