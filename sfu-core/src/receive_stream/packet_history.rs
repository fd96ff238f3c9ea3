//! What was received of one stream over the last while, to be sent again, to begin with, or to be relayed.

use sfu_rtc::ids::SeqNo;
use sfu_rtc::packet::Packet;
use sfu_rtc::prefetch::prefetch;
use sfu_rtc::time::{Duration, Instant};

/// Initial size of the ring: 100 ms of a stream of 2.5 Mbit/s, and a second of audio.
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

    /// Keeps `packet`, and drops those that are older than the window.
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

    /// Fetches where the packet is named that [`Self::insert`] looks at first.
    pub(crate) fn prefetch_place(&self) {
        if !self.ring.is_empty() {
            prefetch(&self.ring[self.place(self.oldest)]);
        }
    }

    /// Fetches that packet, once its place is there.
    pub(crate) fn prefetch_oldest(&self) {
        if !self.ring.is_empty()
            && let Some(oldest) = &self.ring[self.place(self.oldest)]
        {
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

    /// Drops one packet.
    pub(crate) fn remove(&mut self, seq: SeqNo) {
        if self.get(seq).is_some() {
            let place = self.place(seq.0);
            self.ring[place] = None;
        }
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.oldest == self.next
    }

    /// Drops all packets.
    pub(crate) fn clear(&mut self) {
        self.ring.iter_mut().for_each(|place| *place = None);
        self.oldest = self.next;
    }

    fn place(&self, seq: u64) -> usize {
        (seq as usize) & (self.ring.len() - 1)
    }

    /// Drops packets that are older than the window.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::packet;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_millis(1_000);

    fn at(seq: u64, ms: u64) -> Packet {
        packet(seq, 0, |data| data.arrival = Instant::from_millis(ms))
    }

    #[test]
    fn packets_are_held_for_the_window() {
        let mut history = PacketHistory::new(WINDOW, 1_024);
        for n in 0..3_000 {
            history.insert(&at(n, n * 5));
        }
        assert!(history.get(SeqNo(2_999)).is_some());
        assert!(history.get(SeqNo(2_800)).is_some());
        assert!(history.get(SeqNo(2_790)).is_none());
        assert!(history.ring.len() <= 256, "no more places than the window needs");
    }

    #[test]
    fn the_number_of_packets_is_bounded() {
        let mut history = PacketHistory::new(WINDOW, 100);
        for n in 0..1_000 {
            history.insert(&at(n, 0));
        }
        assert_eq!((0..1_000).filter(|n| history.get(SeqNo(*n)).is_some()).count(), 128);
        history.insert(&at(1_000_000, 0));
        assert_eq!((0..1_000).filter(|n| history.get(SeqNo(*n)).is_some()).count(), 0);
        assert!(history.get(SeqNo(1_000_000)).is_some());
    }

    #[test]
    fn late_packets_find_their_place() {
        let mut history = PacketHistory::new(WINDOW, 1_024);
        for n in [100, 103, 99, 101, 90, 102] {
            history.insert(&at(n, 1));
        }
        let held: Vec<_> = (80..110).filter(|n| history.get(SeqNo(*n)).is_some()).collect();
        assert_eq!(held, [90, 99, 100, 101, 102, 103]);
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_was_put(
            steps in prop::collection::vec((-40_i64..90, 0_u64..60), 1..300),
            limit in 1_usize..300,
        ) {
            let mut history = PacketHistory::new(WINDOW, limit);
            let (mut seq, mut now) = (10_000_u64, 0);
            for (step, wait) in steps {
                seq = seq.saturating_add_signed(step);
                now += wait;
                history.insert(&at(seq, now));
                let held: Vec<_> = history.ring.iter().flatten().collect();
                prop_assert!(held.len() <= limit.max(FIRST_CAPACITY).next_power_of_two());
                for packet in held {
                    prop_assert_eq!(history.get(packet.seq).map(|found| found.seq), Some(packet.seq));
                }
            }
        }
    }
}
