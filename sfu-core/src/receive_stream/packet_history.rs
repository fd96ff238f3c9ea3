//! What was received of one stream over the last while, to be sent again, to begin with, or to be relayed.

use sfu_rtc::ids::SeqNo;
use sfu_rtc::packet::Packet;
use sfu_rtc::prefetch::prefetch;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::DataSize;

/// Initial size of the ring: 100 ms of a stream of 2.5 Mbit/s, and a second of audio.
const FIRST_CAPACITY: usize = 64;

/// The packets of one received stream over the last while, by sequence number.
#[derive(Debug)]
pub(crate) struct PacketHistory {
    window: Duration,
    /// A longer one, and until when.
    longer: (Duration, Instant),
    max_packets: usize,
    /// By sequence number, modulo its length, which is a power of two.
    ring: Vec<Option<Held>>,
    /// All packets held lie in `oldest..next`.
    oldest: u64,
    next: u64,
}

/// A packet with its arrival, so that what is not old enough to go need not be looked at: its memory has left the
/// caches long ago. Without a packet, a number that has none.
#[derive(Clone, Debug)]
struct Held {
    arrival: Instant,
    seq: u64,
    packet: Option<Packet>,
}

impl PacketHistory {
    /// Keeps packets for `window`, and never more than `max_packets` (rounded to a power of two).
    pub(crate) fn new(window: Duration, max_packets: usize) -> Self {
        let max_packets = max_packets.max(FIRST_CAPACITY).next_power_of_two();
        Self { window, longer: (window, Instant::ZERO), max_packets, ring: Vec::new(), oldest: 0, next: 0 }
    }

    /// Keeps packets for `window` until a time, where that is longer.
    pub(crate) fn keep_longer(&mut self, now: Instant, window: Duration, until: Instant) {
        if window >= self.longer.0 || now >= self.longer.1 {
            self.longer = (window, until);
        }
    }

    /// Keeps `packet`, and drops those that are older than the window.
    pub(crate) fn insert(&mut self, packet: &Packet) {
        self.keep(Held { arrival: packet.arrival, seq: packet.seq.0, packet: Some(Packet::clone(packet)) });
    }

    /// Keeps in mind that nothing of the stream has this number, such as padding.
    pub(crate) fn insert_empty(&mut self, now: Instant, seq: SeqNo) {
        self.keep(Held { arrival: now, seq: seq.0, packet: None });
    }

    fn keep(&mut self, held: Held) {
        let seq = held.seq;
        self.expire(held.arrival);
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
        self.ring[place] = Some(held);
        self.next = self.next.max(seq + 1);
    }

    /// Fetches where the packet is named that [`Self::insert`] looks at first.
    pub(crate) fn prefetch_place(&self) {
        if !self.ring.is_empty() {
            prefetch(&self.ring[self.place(self.oldest)]);
        }
    }

    /// Fetches the head of that packet, where its references are counted, once its place is there.
    pub(crate) fn prefetch_oldest(&self) {
        if !self.ring.is_empty()
            && let Some(oldest) = &self.ring[self.place(self.oldest)]
            && let Some(packet) = &oldest.packet
        {
            prefetch(&packet.arrival);
        }
    }

    /// The packet with this sequence number of the received stream.
    pub(crate) fn get(&self, seq: SeqNo) -> Option<&Packet> {
        self.held(seq)?.packet.as_ref()
    }

    /// Whether the packet with this number is held, or it is known that there is none.
    pub(crate) fn knows(&self, seq: SeqNo) -> bool {
        self.held(seq).is_some()
    }

    fn held(&self, seq: SeqNo) -> Option<&Held> {
        if seq.0 < self.oldest || seq.0 >= self.next {
            return None;
        }
        self.ring[self.place(seq.0)].as_ref().filter(|held| held.seq == seq.0)
    }

    /// What is held from this sequence number on takes.
    pub(crate) fn size_from(&self, seq: SeqNo) -> DataSize {
        let held = (seq.0.max(self.oldest)..self.next).filter_map(|seq| self.get(SeqNo(seq)));
        DataSize::from_bytes(held.map(|packet| packet.payload().len() as u64).sum())
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
        let window = if now < self.longer.1 { self.longer.0.max(self.window) } else { self.window };
        while self.oldest < self.next {
            let place = self.place(self.oldest);
            if self.ring[place].as_ref().is_some_and(|held| now - held.arrival <= window) {
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
        for held in self.ring.drain(..).flatten() {
            let place = (held.seq as usize) & (capacity - 1);
            ring[place] = Some(held);
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
    fn packets_are_held_longer_for_who_asks_late_while_that_is_said() {
        let (mut history, ms) = (PacketHistory::new(WINDOW, 1_024), Duration::from_millis);
        for n in 0..1_000 {
            let now = Instant::from_millis(n * 10);
            if n % 100 == 0 && n <= 600 {
                history.keep_longer(now, ms(3_000), now + ms(2_000));
                history.keep_longer(now, ms(1_500), now + ms(2_000));
            }
            history.insert(&at(n, n * 10));
            let held = (0..=n).filter(|n| history.get(SeqNo(*n)).is_some()).count() as u64;
            let window = if n < 800 { 300 } else { 100 };
            assert_eq!(held, (n + 1).min(window + 1), "at {n}");
        }
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
            steps in prop::collection::vec((-40_i64..90, 0_u64..60, prop::bool::weighted(0.2)), 1..300),
            limit in 1_usize..300,
        ) {
            let mut history = PacketHistory::new(WINDOW, limit);
            let (mut seq, mut now) = (10_000_u64, 0);
            for (step, wait, is_empty) in steps {
                seq = seq.saturating_add_signed(step);
                now += wait;
                match is_empty {
                    true => history.insert_empty(Instant::from_millis(now), SeqNo(seq)),
                    false => history.insert(&at(seq, now)),
                }
                let held: Vec<_> = history.ring.iter().flatten().collect();
                prop_assert!(held.len() <= limit.max(FIRST_CAPACITY).next_power_of_two());
                for Held { seq, packet, .. } in held {
                    prop_assert!(history.knows(SeqNo(*seq)));
                    let put = packet.as_ref().map(|packet| packet.seq);
                    prop_assert_eq!(history.get(SeqNo(*seq)).map(|found| found.seq), put);
                    prop_assert!(put.is_none_or(|put| put.0 == *seq));
                }
            }
        }
    }
}
