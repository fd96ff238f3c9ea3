//! The packets of one stream of sound that wait to be played, by extended timestamp.

use super::MS;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// A timestamp that is further from the newest may belong to another stream, or be garbage.
const LARGEST_JUMP: i64 = 5_000 * MS;
/// Two packets of another stream lie no further apart.
const NEIGHBOUR: u32 = 1_000 * MS as u32;
/// Timestamps that are remembered, to tell first copies from later ones: 5 s of packets of 20 ms.
const REMEMBERED: usize = 256;
/// Where extended timestamps begin: older ones have room below.
const START: i64 = 1 << 40;

/// A packet with its circumstances.
#[derive(Debug)]
pub(super) struct Stored {
    /// When it came.
    pub(super) arrival: i64,
    /// Samples that it lasts.
    pub(super) duration: i64,
    /// It is a copy: the packet itself had not come before.
    pub(super) redundant: bool,
    pub(super) payload: Bytes,
}

/// What a timestamp on the wire means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extended {
    /// Of the stream so far.
    Known(i64),
    /// Of another stream.
    Anew(i64),
    /// Perhaps of another stream: the next packet tells.
    Doubtful,
}

/// The packets.
pub(super) struct Packets {
    waiting: BTreeMap<i64, Stored>,
    capacity: usize,
    newest: Option<i64>,
    /// A timestamp far from the newest.
    doubtful: Option<u32>,
    /// Timestamps that came, oldest first.
    seen: VecDeque<i64>,
}

impl Packets {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            capacity: capacity.max(1),
            newest: None,
            doubtful: None,
            seen: VecDeque::with_capacity(REMEMBERED),
        }
    }

    /// Extends the timestamp of a packet that has come.
    pub(super) fn extend(&mut self, wire: u32) -> Extended {
        let Some(newest) = self.newest else {
            let first = START + i64::from(wire);
            self.newest = Some(first);
            return Extended::Known(first);
        };
        let change = i64::from(wire.wrapping_sub(newest as u32).cast_signed());
        if change.abs() <= LARGEST_JUMP {
            self.doubtful = None;
            self.newest = Some(newest.max(newest + change));
            return Extended::Known(newest + change);
        }
        match self.doubtful.replace(wire) {
            // A copy of the same packet is no witness.
            Some(before) if before != wire && before.wrapping_sub(wire).cast_signed().unsigned_abs() <= NEIGHBOUR => {
                let first = START + i64::from(wire);
                self.doubtful = None;
                self.newest = Some(first);
                Extended::Anew(first)
            }
            _ => Extended::Doubtful,
        }
    }

    /// Whether sound of this timestamp comes for the first time; it is known from here on.
    pub(super) fn is_new(&mut self, timestamp: i64) -> bool {
        if self.has_seen(timestamp) {
            return false;
        }
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(timestamp);
        true
    }

    /// Whether sound of this timestamp has come.
    pub(super) fn has_seen(&self, timestamp: i64) -> bool {
        self.seen.iter().rev().any(|seen| *seen == timestamp)
    }

    /// Holds a packet; beyond the capacity the oldest goes.
    pub(super) fn insert(&mut self, timestamp: i64, packet: Stored) {
        self.waiting.insert(timestamp, packet);
        if self.waiting.len() > self.capacity {
            self.waiting.pop_first();
        }
    }

    pub(super) fn first(&self) -> Option<(i64, &Stored)> {
        self.waiting.first_key_value().map(|(timestamp, packet)| (*timestamp, packet))
    }

    pub(super) fn take_first(&mut self) -> Option<(i64, Stored)> {
        self.waiting.pop_first()
    }

    /// Drops what lies before `timestamp`; how many packets that were no copies.
    pub(super) fn drop_before(&mut self, timestamp: i64) -> u64 {
        let mut dropped = 0;
        while self.first().is_some_and(|(first, _)| first < timestamp) {
            dropped += self.take_first().map_or(0, |(_, packet)| u64::from(!packet.redundant));
        }
        dropped
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets what came, but not where timestamps are.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_go_on_over_the_wrap_in_any_order() {
        let mut packets = Packets::new(10);
        let Extended::Known(first) = packets.extend(u32::MAX - 959) else { panic!("the first is known") };
        assert_eq!(packets.extend(960), Extended::Known(first + 1_920));
        assert_eq!(packets.extend(0), Extended::Known(first + 960));
        assert_eq!(packets.extend(u32::MAX - 959), Extended::Known(first));
    }

    #[test]
    fn one_stray_timestamp_changes_nothing_and_two_in_a_row_are_a_stream() {
        let mut packets = Packets::new(10);
        let Extended::Known(first) = packets.extend(5_000) else { panic!("the first is known") };
        assert_eq!(packets.extend(2_000_000_000), Extended::Doubtful);
        assert_eq!(packets.extend(2_000_000_000), Extended::Doubtful, "the same packet again");
        assert_eq!(packets.extend(5_960), Extended::Known(first + 960));
        assert_eq!(packets.extend(2_000_000_960), Extended::Doubtful);
        assert_eq!(packets.extend(3_000_000_000), Extended::Doubtful);
        assert!(matches!(packets.extend(3_000_000_960), Extended::Anew(_)));
        assert!(matches!(packets.extend(3_000_001_920), Extended::Known(_)));
    }

    #[test]
    fn only_the_first_copy_is_new() {
        let mut packets = Packets::new(10);
        assert!(packets.is_new(960) && packets.is_new(0) && !packets.is_new(960) && packets.has_seen(0));
    }
}
