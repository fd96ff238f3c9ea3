//! How packets went to one subscriber, to be sent again the same way: a small record each. The packets themselves are
//! held once, by their stream (`receive_stream::packet_history`).

use super::rewriter::Rewritten;
use crate::layer_order::LayerIndex;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::prefetch::prefetch;
use sfu_rtc::time::{Duration, Instant};

/// Initial size of the ring: 100 ms of a stream of 2.5 Mbit/s, and a second of audio.
const FIRST_CAPACITY: usize = 64;

/// A burst, as a stream begins with, may be longer than the ring is: it is looked so many times per turn whether what would
/// be replaced is still needed.
const LOOKS_PER_TURN: usize = 8;

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
pub(crate) struct SentHistory {
    window: Duration,
    max_records: usize,
    /// By sequence number, modulo its length, which is a power of two.
    ring: Vec<SentRecord>,
}

impl SentHistory {
    /// Remembers what was sent over `window`, and never more than `max_records` (rounded to a power of two).
    pub(crate) fn new(window: Duration, max_records: usize) -> Self {
        let max_records = max_records.max(FIRST_CAPACITY).next_power_of_two();
        Self { window, max_records, ring: Vec::new() }
    }

    /// Remembers what was sent over `window` from now on.
    pub(crate) fn set_window(&mut self, window: Duration) {
        self.window = window;
    }

    /// A packet of stream `layer` was sent as `sent`.
    pub(crate) fn record(&mut self, now: Instant, layer: LayerIndex, in_seq: SeqNo, marker: bool, sent: &Rewritten) {
        let record = SentRecord::new(now, layer, in_seq, marker, sent);
        if self.ring.is_empty() {
            self.ring.resize(FIRST_CAPACITY, SentRecord::default());
        }
        // Looked at some times per turn of the ring, as reading a record that is about to be replaced would wait for
        // memory: the last of those that are replaced until the next time.
        let (place, part) = (self.place(sent.seq), self.ring.len() / LOOKS_PER_TURN);
        let is_time = place.is_multiple_of(part) && self.ring.len() < self.max_records;
        if is_time && self.is_recent(now, &self.ring[place + part - 1]) {
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

    /// The record of `seq` for sending again, unless it was sent within `interval`.
    pub(crate) fn find(&self, now: Instant, seq: SeqNo, interval: Duration) -> Result<SentRecord, DropReason> {
        if self.ring.is_empty() {
            return Err(DropReason::NotInHistory);
        }
        let record = self.ring[self.place(seq)];
        if record.flags & HELD == 0 || record.out_seq != seq.0 as u32 {
            return Err(DropReason::NotInHistory);
        }
        if u128::from((now.as_millis() as u32).wrapping_sub(record.sent_at)) < interval.as_millis() {
            return Err(DropReason::ResentTooRecently);
        }
        Ok(record)
    }

    /// What [`Self::find`] found is sent again now.
    pub(crate) fn resent(&mut self, now: Instant, seq: SeqNo) {
        let place = self.place(seq);
        self.ring[place].sent_at = now.as_millis() as u32;
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
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(1_000);

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn sent(seq: u64) -> Rewritten {
        Rewritten { seq: SeqNo(seq), timestamp: 5, picture_id: Some(6), tl0_pic_idx: None, frame_number: Some(7) }
    }

    #[test]
    fn a_packet_is_sent_again_once_per_interval() {
        let mut history = SentHistory::new(WINDOW, 1_024);
        history.record(ms(1_000), 2, SeqNo(77), true, &sent(70_000));
        let interval = Duration::from_millis(50);
        let take = |history: &mut SentHistory, at, seq| {
            let found = history.find(ms(at), SeqNo(seq), interval);
            found.inspect(|_| history.resent(ms(at), SeqNo(seq)))
        };
        assert_eq!(take(&mut history, 1_020, 70_000).unwrap_err(), DropReason::ResentTooRecently);
        let record = take(&mut history, 1_050, 70_000).unwrap();
        assert_eq!((record.layer, record.marker(), record.in_seq(SeqNo(90))), (2, true, SeqNo(77)));
        assert_eq!(record.rewritten(SeqNo(70_000)), sent(70_000));
        assert_eq!(take(&mut history, 1_060, 70_000).unwrap_err(), DropReason::ResentTooRecently);
        assert!(take(&mut history, 1_100, 70_000).is_ok());
        for other in [70_001, 69_999, 70_000 - 64, 70_000 + 64] {
            assert_eq!(take(&mut history, 2_000, other).unwrap_err(), DropReason::NotInHistory);
        }
        history.clear();
        assert_eq!(take(&mut history, 2_000, 70_000).unwrap_err(), DropReason::NotInHistory);
    }

    #[test]
    fn of_a_burst_all_is_remembered() {
        for first in [64, 70, 100, 127] {
            let mut history = SentHistory::new(WINDOW, 1_024);
            let seqs = first..first + 500;
            seqs.clone().for_each(|n| history.record(ms(1_000), 0, SeqNo(n), false, &sent(n)));
            let lost = seqs.filter(|n| history.find(ms(1_100), SeqNo(*n), Duration::from_millis(50)).is_err());
            assert_eq!(lost.count(), 0, "from {first}");
        }
    }

    #[test]
    fn records_grow_with_the_rate_up_to_the_limit() {
        let mut slow = SentHistory::new(WINDOW, 1_024);
        let mut fast = SentHistory::new(WINDOW, 1_024);
        for n in 0..5_000 {
            slow.record(ms(n * 20), 0, SeqNo(n), false, &sent(n));
            fast.record(ms(n), 0, SeqNo(n), false, &sent(n));
        }
        assert_eq!((slow.ring.len(), fast.ring.len()), (64, 1_024));
    }
}
