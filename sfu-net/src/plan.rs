//! Which entries of a batch leave as one message.
//!
//! A message's segments are of equal size but for the last, which may be shorter (UDP_SEGMENT). What a subscriber gets of
//! several sources stands apart in the batch, one source after the other; the kernel gathers it from there. So the
//! packets of sound that meet become one run, and one of them follows the run of a picture. Packets of one source never
//! change their order: a receiver that gets a number before its turn asks for those that it takes for lost.

use arrayvec::ArrayVec;
use sfu_rtc::ids::Ssrc;
use sfu_rtc::net::{DatagramKind, MAX_SEGMENTS, MAX_TRAIN, NetworkPath, Protocol, Transmit, TransmitBatch};
use sfu_rtc::rtp::SealedHeader;
use std::net::IpAddr;
use std::ops::Range;

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
    fn link(&mut self, index: u32, batch: &TransmitBatch) -> bool {
        let entry = &batch.transmits()[index as usize];
        let len = self.len + entry.range.len();
        let datagrams = self.datagrams + entry.datagrams();
        if self.pieces.is_full() || len > MAX_TRAIN || datagrams > MAX_SEGMENTS {
            return false;
        }
        let same_size = self.segment_size == entry.segment_size;
        if self.open && (same_size || !entry.is_run() && entry.segment_size < self.segment_size) {
            self.pieces.push(index);
            self.open = same_size && is_even(entry);
        } else if self.segment_size < entry.segment_size && is_even(entry) && self.may_follow(entry, batch) {
            self.pieces.insert(0, index);
            self.segment_size = entry.segment_size;
            self.open = false;
        } else {
            return false;
        }
        (self.len, self.datagrams) = (len, datagrams);
        true
    }

    /// Whether it is a single packet of a source that the entry holds nothing of.
    fn may_follow(&self, entry: &Transmit, batch: &TransmitBatch) -> bool {
        let own = &batch.transmits()[self.pieces[0] as usize];
        let source = |range: Range<usize>| ssrc(batch.datagram(range));
        let Some(single) = source(own.range.clone()).filter(|_| !self.is_run()) else { return false };
        entry.segments().all(|range| source(range).is_some_and(|other| other != single))
    }
}

/// The source of an RTP packet (RFC 3550 section 5.1), which SRTP leaves readable; `None` for what is none.
fn ssrc(datagram: &[u8]) -> Option<Ssrc> {
    if DatagramKind::of(datagram) != Some(DatagramKind::Rtp) {
        return None;
    }
    SealedHeader::parse(datagram).ok().map(|header| header.ssrc)
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
    pub(crate) fn make(&mut self, batch: &TransmitBatch, gso: bool) {
        let entries = batch.transmits();
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
            if newest.is_some_and(|newest| self.messages[newest as usize].link(index, batch)) {
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

    /// What becomes of packets of (port, source, size), pushed in this order: which stand in each message.
    fn plan(packets: &[(u16, u8, usize)]) -> Vec<Vec<usize>> {
        let mut batch = TransmitBatch::default();
        for (index, &(port, source, size)) in packets.iter().enumerate() {
            let remote = SocketAddr::from(([127, 0, 0, 1], port));
            let path = NetworkPath { remote, local: remote.ip(), protocol: Protocol::Udp };
            let [high, low] = (index as u16).to_be_bytes();
            let header = [0x80, 96, high, low, 0, 0, 0, 0, 0, 0, 0, source];
            let write = |out: &mut Vec<u8>| -> Result<(), ()> {
                let end = out.len() + size;
                out.extend(header);
                out.resize(end, 0);
                Ok(())
            };
            batch.push(path, write).unwrap();
        }
        let mut plan = Plan::default();
        plan.make(&batch, true);
        let index = |range: Range<usize>| {
            usize::from(u16::from_be_bytes([batch.datagram(range.clone())[2], batch.datagram(range)[3]]))
        };
        let indices = |message: &Message| {
            let entries = message.pieces.iter().map(|&piece| &batch.transmits()[piece as usize]);
            entries.flat_map(Transmit::segments).map(index).collect::<Vec<_>>()
        };
        let planned: Vec<_> = plan.messages().iter().map(indices).collect();
        assert!(plan.messages().iter().zip(&planned).all(|(message, indices)| message.datagrams == indices.len()));
        plan.make(&batch, false);
        assert_eq!(plan.messages().len(), batch.transmits().len());
        planned
    }

    #[test]
    fn sound_of_several_sources_is_one_run_and_follows_a_picture() {
        assert_eq!(plan(&[(1, 1, 120), (2, 1, 120), (1, 2, 120), (2, 2, 118)]), [[0, 2], [1, 3]]);
        assert_eq!(plan(&[(1, 1, 120), (1, 9, 1_050), (1, 9, 1_050)]), [[1, 2, 0]], "the shorter goes last");
        assert_eq!(plan(&[(1, 9, 1_050), (1, 9, 1_050), (2, 1, 120), (1, 1, 120)]), [vec![0, 1, 3], vec![2]]);
    }

    #[test]
    fn nothing_follows_a_shorter_segment() {
        assert_eq!(plan(&[(1, 9, 1_050), (1, 9, 950), (1, 1, 120)]), [vec![0, 1], vec![2]]);
        assert_eq!(plan(&[(1, 1, 120), (1, 2, 118), (1, 3, 118)]), [vec![0, 1], vec![2]]);
        assert_eq!(plan(&[(1, 1, 120), (1, 2, 120), (1, 9, 1_050), (1, 9, 1_050)]), [[0, 1], [2, 3]]);
        assert_eq!(plan(&[(1, 1, 120), (1, 9, 1_050), (1, 9, 950)]), [vec![0], vec![1, 2]]);
        let run_apart = [(1, 9, 1_050), (1, 9, 1_050), (2, 1, 120), (1, 1, 120), (1, 2, 120)];
        assert_eq!(plan(&run_apart), [vec![0, 1], vec![2], vec![3, 4]]);
    }

    #[test]
    fn a_picture_does_not_overtake_the_last_of_its_source() {
        assert_eq!(plan(&[(1, 9, 900), (1, 9, 1_050)]), [[0], [1]]);
    }

    #[test]
    fn what_is_no_rtp_is_not_overtaken() {
        assert_eq!(ssrc(&[0x80, 200, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2]), None, "RTCP");
        assert_eq!(ssrc(&[20, 254, 253, 0, 1, 0, 0, 0, 0, 0, 1, 0, 40]), None, "DTLS");
        assert_eq!(ssrc(&[0x80, 96, 0, 1]), None, "cut short");
        let with_extensions = [0x90, 0xe0, 0, 6, 0, 0, 0, 1, 1, 2, 3, 4, 0xbe, 0xde, 0, 0];
        assert_eq!(ssrc(&with_extensions), Some(Ssrc(0x0102_0304)));
    }

    #[test]
    fn the_kernels_limits_hold() {
        let many: Vec<_> = (0..4_000).map(|n| ((n / 8) % 3, 1, 1_000)).collect();
        let planned = plan(&many);
        assert!(planned.iter().all(|indices| indices.len() <= MAX_SEGMENTS && indices.len() * 1_000 <= MAX_TRAIN));
        assert_eq!(planned.iter().map(Vec::len).sum::<usize>(), many.len());
        assert!(planned.len() < 100, "{}", planned.len());
    }

    proptest! {
        #[test]
        fn packets_of_one_source_keep_their_order(
            packets in prop::collection::vec((0u16..3, 0u8..3, 12usize..16), 1..60),
        ) {
            let order = plan(&packets).concat();
            prop_assert_eq!(order.len(), packets.len());
            let of = |index: &usize| (packets[*index].0, packets[*index].1);
            for stream in 0..9 {
                let stream = (stream / 3, (stream % 3) as u8);
                prop_assert!(order.iter().filter(|index| of(index) == stream).is_sorted(), "{:?}", order);
            }
        }
    }
}
