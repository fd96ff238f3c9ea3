//! Redundant sound (RFC 2198): each packet carries sound of packets before it once more.
//!
//! A loss is repaired as soon as a later packet comes. A copy that goes with the very next packet costs the receiver the
//! least delay, but is lost with the original where losses come in bursts; with `spacing`, copies go in packets that lie
//! further apart than most bursts are long.

use bytes::Bytes;
use sfu_rtc::codec::red::{self, Redundant};
use sfu_rtc::ids::PayloadType;
use std::collections::VecDeque;

/// Most copies of one packet.
pub const MAX_GENERATIONS: usize = 2;
/// Packets that are kept at most: an offset of 14 bits says 17 packets of 20 ms.
const CAPACITY: usize = 18;
/// Payloads up to this are nothing but an Opus frame's header: silence, which needs no copy.
const EMPTY: usize = 2;

/// How much older sound goes along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RedConfig {
    /// Copies of each packet, 0 to [`MAX_GENERATIONS`]; 0 is plain Opus.
    pub generations: usize,
    /// Packets from one copy to the next, at least 1. What would be more than 341 ms old is left out: RFC 2198 cannot say it.
    pub spacing: usize,
}

impl Default for RedConfig {
    fn default() -> Self {
        Self { generations: 0, spacing: 1 }
    }
}

/// The last packets of one stream.
#[derive(Debug)]
pub struct Redundancy {
    payload_type: PayloadType,
    /// Newest first, with timestamps.
    sent: VecDeque<(u32, Bytes)>,
}

impl Redundancy {
    /// For blocks of `payload_type`, which is that of Opus.
    pub fn new(payload_type: u8) -> Self {
        Self { payload_type: PayloadType(payload_type), sent: VecDeque::with_capacity(CAPACITY) }
    }

    /// Takes a packet that has been sent, in RED or not: later ones may carry it.
    pub fn remember(&mut self, payload: Bytes, timestamp: u32) {
        if self.sent.len() == CAPACITY {
            self.sent.pop_back();
        }
        self.sent.push_front((timestamp, payload));
    }

    /// The payload of RED for `payload` with what `config` adds to it.
    pub fn wrap(&self, payload: &Bytes, timestamp: u32, config: RedConfig) -> Bytes {
        let spacing = config.spacing.max(1);
        let mut blocks: [Option<Redundant<'_>>; MAX_GENERATIONS] = [None; MAX_GENERATIONS];
        let generations = config.generations.min(MAX_GENERATIONS);
        // Oldest first.
        for (block, generation) in blocks.iter_mut().zip((1..=generations).rev()) {
            let Some((before, data)) = self.sent.get(generation.saturating_mul(spacing) - 1) else { continue };
            if data.len() > EMPTY {
                let timestamp_offset = timestamp.wrapping_sub(*before);
                *block = Some(Redundant { payload_type: self.payload_type, timestamp_offset, data });
            }
        }
        let blocks: arrayvec::ArrayVec<_, MAX_GENERATIONS> = blocks.into_iter().flatten().collect();
        let mut out = Vec::new();
        red::write(&blocks, self.payload_type, payload, &mut out);
        Bytes::from(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu_rtc::codec::red::Red;

    /// Of packet `number`: its age in packets and content of each redundant block.
    fn carried(config: RedConfig, number: u32) -> Vec<(u32, u8)> {
        let mut redundancy = Redundancy::new(111);
        let mut last = Bytes::new();
        for packet in 0..=number {
            let payload = Bytes::from(vec![packet as u8; 20]);
            last = redundancy.wrap(&payload, packet * 960, config);
            redundancy.remember(payload, packet * 960);
        }
        let red = Red::parse(&last).unwrap();
        assert_eq!(last[red.primary], vec![number as u8; 20]);
        red.redundant.iter().map(|b| (u32::from(b.timestamp_offset) / 960, last[b.range.start])).collect()
    }

    #[test]
    fn copies_go_with_later_packets() {
        assert_eq!(carried(RedConfig::default(), 9), []);
        assert_eq!(carried(RedConfig { generations: 1, spacing: 1 }, 9), [(1, 8)]);
        assert_eq!(carried(RedConfig { generations: 2, spacing: 1 }, 9), [(2, 7), (1, 8)]);
        assert_eq!(carried(RedConfig { generations: 2, spacing: 4 }, 9), [(8, 1), (4, 5)]);
        assert_eq!(carried(RedConfig { generations: 2, spacing: 4 }, 5), [(4, 1)], "there are no more yet");
        assert_eq!(carried(RedConfig { generations: 2, spacing: 10 }, 40), [(10, 30)], "20 packets are too far");
        assert_eq!(carried(RedConfig { generations: 9, spacing: 0 }, 40), [(2, 38), (1, 39)], "kept within bounds");
    }

    #[test]
    fn silence_and_what_is_too_large_have_no_copy() {
        let config = RedConfig { generations: 1, spacing: 1 };
        let mut redundancy = Redundancy::new(111);
        for before in [vec![0xf8; 2], vec![1; 1024]] {
            redundancy.remember(Bytes::from(before), 0);
            let payload = redundancy.wrap(&Bytes::from_static(&[1, 2, 3]), 960, config);
            assert_eq!(payload[..], [111, 1, 2, 3]);
        }
    }
}
