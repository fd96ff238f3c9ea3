//! Packets shared by all who forward them, from a pool that stops allocating once it is warm.

use crate::codec::FrameFacts;
use crate::ids::{PayloadType, SeqNo, Ssrc};
use crate::media::Codec;
use crate::prefetch::prefetch;
use crate::time::Instant;
use std::ops::Range;
use std::sync::Arc;

/// Largest RTP packet kept, header included: one Ethernet payload.
pub const MAX_PACKET: usize = 1_500;

/// One received RTP packet after decryption, with what was parsed from it. Cheap to clone.
pub type Packet = Arc<PacketData>;

/// Content of a [`Packet`].
#[derive(Clone, Debug)]
pub struct PacketData {
    /// When it arrived.
    pub arrival: Instant,
    /// Source that it has on the wire of its sender (of the media stream, also if it came as RTX).
    pub ssrc: Ssrc,
    /// Payload type on the wire of its sender.
    pub payload_type: PayloadType,
    /// Codec of the payload.
    pub codec: Codec,
    /// Extended sequence number in the sender's stream.
    pub seq: SeqNo,
    /// RTP timestamp in the sender's stream.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// What the payload header or dependency descriptor says of the frame.
    pub frame: FrameFacts,
    /// Header extensions to carry on.
    pub extensions: CarriedExtensions,
    /// Whether it came as a retransmission or was recovered.
    pub repaired: bool,
    bytes: [u8; MAX_PACKET],
    payload: Range<u16>,
}

/// Values of the header extensions that travel from publisher to subscriber.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct CarriedExtensions {
    /// Client-to-mixer audio level (RFC 6464), the byte as it is.
    pub audio_level: Option<u8>,
    /// Video orientation (3GPP TS 26.114), the byte as it is.
    pub video_orientation: Option<u8>,
    /// Playout delay limits, the three bytes as they are.
    pub playout_delay: Option<[u8; 3]>,
    /// Absolute capture time: 8 or 16 bytes, where in the packet they stand.
    pub abs_capture_time: Option<(u16, u16)>,
    /// Dependency descriptor: where in the packet it stands.
    pub dependency_descriptor: Option<(u16, u16)>,
}

impl PacketData {
    fn empty() -> Self {
        Self {
            arrival: Instant::ZERO,
            ssrc: Ssrc(0),
            payload_type: PayloadType(0),
            codec: Codec::Opus,
            seq: SeqNo(0),
            timestamp: 0,
            marker: false,
            frame: FrameFacts::default(),
            extensions: CarriedExtensions::default(),
            repaired: false,
            bytes: [0; MAX_PACKET],
            payload: 0..0,
        }
    }

    /// Replaces the bytes by those of the decrypted packet `rtp`, whose payload is `payload` (padding and, for
    /// RTX, the original sequence number left out). `None`, and no change, where it does not fit.
    pub fn set_bytes(&mut self, rtp: &[u8], payload: Range<usize>) -> Option<()> {
        rtp.get(payload.clone())?;
        let range = u16::try_from(payload.start).ok()?..u16::try_from(payload.end).ok()?;
        self.bytes.get_mut(..rtp.len())?.copy_from_slice(rtp);
        self.payload = range;
        Some(())
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.payload.start)..usize::from(self.payload.end)]
    }

    /// Bytes in which the packets of one stream differ on the wire: payload, and extensions of varying length.
    pub fn varying_len(&self) -> usize {
        let part = |place: Option<(u16, u16)>| place.map_or(0, |(_, len)| usize::from(len));
        let carried = &self.extensions;
        self.payload().len() + part(carried.dependency_descriptor) + part(carried.abs_capture_time)
    }

    /// A part of the packet, such as a carried extension: (start, length). Empty where out of bounds.
    pub fn part(&self, (start, len): (u16, u16)) -> &[u8] {
        let start = usize::from(start);
        self.bytes.get(start..start + usize::from(len)).unwrap_or_default()
    }
}

/// Hands out packets and takes back those that nobody holds any more.
///
/// Packets are reused in the order they were handed out, so a packet that one history holds on to is passed
/// over, and the pool grows only while all of a full turn are held.
#[derive(Debug)]
pub struct PacketPool {
    ring: Vec<Packet>,
    next: usize,
    limit: usize,
}

/// How many held packets are passed over before the pool grows.
const MAX_PASSED_OVER: usize = 16;
/// A pool of fewer packets is not worth making smaller: 400 kB.
const SMALL: usize = 256;
/// Packets that are looked at to learn how many are held.
const SAMPLES: usize = 32;

impl PacketPool {
    /// A pool of at most `limit` packets.
    pub fn new(limit: usize) -> Self {
        Self { ring: Vec::new(), next: 0, limit }
    }

    /// A packet that `fill` writes. `None` where the pool is exhausted or `fill` gives up.
    pub fn take(&mut self, fill: impl FnOnce(&mut PacketData) -> Option<()>) -> Option<Packet> {
        let slot = self.free_slot()?;
        let data = Arc::get_mut(&mut self.ring[slot])?;
        data.extensions = CarriedExtensions::default();
        data.frame = FrameFacts::default();
        data.repaired = false;
        fill(data)?;
        Some(Arc::clone(&self.ring[slot]))
    }

    /// How many packets the pool has made.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether the pool has made none.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Gives up a quarter of the packets where most were not held for a whole turn, as after a burst: what remains is
    /// still more than is needed, and comes into the caches again sooner.
    fn trim(&mut self) {
        let step = self.ring.len() / SAMPLES;
        let is_free = |sample: &usize| Arc::strong_count(&self.ring[sample * step]) == 1;
        if self.ring.len() > SMALL && (0..SAMPLES).filter(is_free).count() > SAMPLES / 2 {
            self.ring.truncate(self.ring.len() * 3 / 4);
        }
    }

    fn free_slot(&mut self) -> Option<usize> {
        if self.next == 0 {
            self.trim();
        }
        let at_limit = self.ring.len() >= self.limit;
        let tries = if at_limit { self.ring.len() } else { self.ring.len().min(MAX_PASSED_OVER) };
        for _ in 0..tries {
            let slot = self.next;
            self.next = (slot + 1) % self.ring.len();
            if Arc::strong_count(&self.ring[slot]) == 1 {
                // The next has lain untouched for as long as a history holds it.
                prefetch(&*self.ring[self.next]);
                return Some(slot);
            }
        }
        if at_limit {
            return None;
        }
        self.ring.push(Arc::new(PacketData::empty()));
        Some(self.ring.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(byte: u8) -> impl FnOnce(&mut PacketData) -> Option<()> {
        move |data| data.set_bytes(&[byte; 20], 12..20)
    }

    #[test]
    fn packets_return_to_the_pool() {
        let mut pool = PacketPool::new(100);
        for i in 0..1_000 {
            let packet = pool.take(fill(i as u8)).unwrap();
            assert_eq!(packet.payload(), [i as u8; 8]);
        }
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn held_packets_stay_as_they_are_and_the_pool_is_bounded() {
        let mut pool = PacketPool::new(8);
        let held: Vec<_> = (0..8).map(|i| pool.take(fill(i)).unwrap()).collect();
        assert!(pool.take(fill(99)).is_none());
        assert!(held.iter().enumerate().all(|(i, p)| p.payload() == [i as u8; 8]));
        drop(held);
        assert!(pool.take(fill(99)).is_some());
    }

    #[test]
    fn what_a_burst_needed_is_given_up_and_what_is_held_is_kept() {
        let mut pool = PacketPool::new(10_000);
        drop((0..5_000).map(|_| pool.take(fill(1)).unwrap()).collect::<Vec<_>>());
        assert_eq!(pool.len(), 5_000);
        let mut held = std::collections::VecDeque::new();
        let mut sizes = Vec::new();
        for i in 0..100_000 {
            held.push_back((i as u8, pool.take(fill(i as u8)).unwrap()));
            if held.len() > 400 {
                held.pop_front();
            }
            sizes.push(pool.len());
        }
        assert!((401..=1_000).contains(&pool.len()), "{}", pool.len());
        assert!(sizes.is_sorted_by(|before, after| before >= after), "it does not swing");
        assert!(held.iter().all(|(byte, packet)| packet.payload() == [*byte; 8]));
    }

    #[test]
    fn a_packet_that_does_not_fit_is_refused() {
        let mut pool = PacketPool::new(8);
        assert!(pool.take(|data| data.set_bytes(&[0; MAX_PACKET + 1], 12..20)).is_none());
        assert!(pool.take(|data| data.set_bytes(&[0; 20], 12..21)).is_none());
    }
}
