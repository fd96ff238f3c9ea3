//! Which entries of a batch leave as one message.
//!
//! A message's segments are of equal size but for the last, which may be shorter (UDP_SEGMENT). What a subscriber gets of
//! several sources stands apart in the batch, one source after the other; the kernel gathers it from there. So the
//! packets of sound that meet become one run, and one of them follows the run of a picture. Datagrams for one path never
//! change their order: a receiver that gets a number before its turn asks for those that it takes for lost.

use arrayvec::ArrayVec;
use sfu_rtc::net::{MAX_SEGMENTS, MAX_TRAIN, NetworkPath, Protocol, Transmit};
use std::net::IpAddr;

/// Most entries in one message: those of a small room's sources.
pub(crate) const MAX_PIECES: usize = 8;
/// How many places of the table are looked at. Addresses that were chosen to collide find none, and go unlinked.
const PROBES: usize = 4;

/// One message: entries of a batch, by index.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) pieces: ArrayVec<u32, MAX_PIECES>,
    pub(crate) segment_size: usize,
    pub(crate) datagrams: usize,
    len: usize,
    /// All segments are of full size, so that another may follow.
    open: bool,
}

impl Message {
    fn of(index: u32, entry: &Transmit) -> Self {
        Self {
            pieces: ArrayVec::from_iter([index]),
            segment_size: entry.segment_size,
            datagrams: entry.datagrams(),
            len: entry.range.len(),
            open: is_even(entry),
        }
    }

    /// Whether it holds more than one datagram.
    pub(crate) fn is_run(&self) -> bool {
        self.datagrams > 1
    }

    /// Takes in an entry for the same path, if the two fit together.
    fn link(&mut self, index: u32, entry: &Transmit) -> bool {
        let len = self.len + entry.range.len();
        let datagrams = self.datagrams + entry.datagrams();
        if self.pieces.is_full() || len > MAX_TRAIN || datagrams > MAX_SEGMENTS {
            return false;
        }
        let same_size = self.segment_size == entry.segment_size;
        if self.open && (same_size || !entry.is_run() && entry.segment_size < self.segment_size) {
            self.pieces.push(index);
            self.open = same_size && is_even(entry);
        } else {
            return false;
        }
        (self.len, self.datagrams) = (len, datagrams);
        true
    }
}

/// Whether all datagrams of an entry are of the same size.
fn is_even(entry: &Transmit) -> bool {
    entry.range.len().is_multiple_of(entry.segment_size)
}

/// The messages of one batch; reused from batch to batch.
#[derive(Default, Debug)]
pub(crate) struct Plan {
    messages: Vec<Message>,
    /// The newest message for a path, at a place that its address gives.
    table: Vec<Option<u32>>,
}

impl Plan {
    pub(crate) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Plans the UDP entries of a batch; without `gso` each is for itself.
    pub(crate) fn make(&mut self, entries: &[Transmit], gso: bool) {
        self.messages.clear();
        self.table.clear();
        self.table.resize((entries.len() * 2).next_power_of_two(), None);
        for (index, entry) in (0..).zip(entries) {
            if entry.path.protocol != Protocol::Udp {
                continue;
            }
            if !gso {
                self.messages.push(Message::of(index, entry));
                continue;
            }
            let (newest, place) = self.find(entries, &entry.path);
            if newest.is_some_and(|newest| self.messages[newest as usize].link(index, entry)) {
                continue;
            }
            if let Some(place) = place {
                self.table[place] = Some(self.messages.len() as u32);
            }
            self.messages.push(Message::of(index, entry));
        }
    }

    /// The newest message for a path, and the table's place for it.
    fn find(&self, entries: &[Transmit], path: &NetworkPath) -> (Option<u32>, Option<usize>) {
        let mask = self.table.len() - 1;
        for probe in 0..PROBES {
            let place = (hash(path) + probe) & mask;
            let Some(message) = self.table[place] else { return (None, Some(place)) };
            let first = self.messages[message as usize].pieces[0];
            if entries[first as usize].path == *path {
                return (Some(message), Some(place));
            }
        }
        (None, None)
    }
}

/// Spreads addresses that differ in their last bytes, or in their port.
fn hash(path: &NetworkPath) -> usize {
    let address = match path.remote.ip() {
        IpAddr::V4(ip) => ip.to_bits(),
        IpAddr::V6(ip) => (ip.to_bits() ^ (ip.to_bits() >> 64)) as u32,
    };
    let mixed = (u64::from(address) << 16 | u64::from(path.remote.port())).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::SocketAddr;

    /// What becomes of entries of (port, segment size, bytes): the entries of each message.
    fn plan(entries: &[(u16, usize, usize)]) -> Vec<Vec<u32>> {
        let entry = |&(port, segment_size, len): &(u16, usize, usize)| {
            let remote = SocketAddr::from(([127, 0, 0, 1], port));
            let path = NetworkPath { remote, local: remote.ip(), protocol: Protocol::Udp };
            Transmit { path, range: 0..len, segment_size }
        };
        let entries: Vec<_> = entries.iter().map(entry).collect();
        let mut plan = Plan::default();
        plan.make(&entries, true);
        let linked = plan.messages().iter().map(|message| message.pieces.to_vec()).collect();
        plan.make(&entries, false);
        assert_eq!(plan.messages().len(), entries.len());
        linked
    }

    #[test]
    fn sound_of_several_sources_is_one_run_and_follows_a_picture() {
        assert_eq!(plan(&[(1, 120, 120), (2, 120, 120), (1, 120, 120), (2, 118, 118)]), [[0, 2], [1, 3]]);
        assert_eq!(plan(&[(1, 1_050, 2_100), (1, 120, 120)]), [[0, 1]]);
    }

    #[test]
    fn nothing_follows_a_shorter_segment() {
        assert_eq!(plan(&[(1, 1_050, 2_000), (1, 120, 120)]), [[0], [1]]);
        assert_eq!(plan(&[(1, 120, 120), (1, 118, 118), (1, 118, 118)]), [vec![0, 1], vec![2]]);
        assert_eq!(plan(&[(1, 120, 240), (1, 1_050, 2_100)]), [[0], [1]]);
        assert_eq!(plan(&[(1, 1_050, 2_100), (1, 120, 240)]), [[0], [1]]);
        assert_eq!(plan(&[(1, 120, 120), (1, 1_050, 1_050)]), [[0], [1]]);
    }

    #[test]
    fn the_kernels_limits_hold_and_all_entries_are_there() {
        let many: Vec<_> = (0..500).map(|n| (n % 3, 1_000, 8_000)).collect();
        let planned = plan(&many);
        assert!(planned.iter().all(|pieces| pieces.len() * 8 <= MAX_SEGMENTS && pieces.len() * 8_000 <= MAX_TRAIN));
        let mut all: Vec<_> = planned.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..500));
        assert!(planned.len() < 100, "{}", planned.len());
    }

    proptest! {
        #[test]
        fn datagrams_for_one_path_keep_their_order(
            entries in prop::collection::vec((0u16..3, 1usize..4, 1usize..5), 1..60),
        ) {
            let entries: Vec<_> = entries.into_iter().map(|(port, size, len)| (port, size, size.min(len) + len)).collect();
            let planned = plan(&entries).concat();
            for port in 0..3 {
                let order: Vec<_> = planned.iter().filter(|index| entries[**index as usize].0 == port).collect();
                prop_assert!(order.is_sorted(), "{order:?}");
            }
        }
    }
}
