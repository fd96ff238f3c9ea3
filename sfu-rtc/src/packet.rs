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
/// Packets are reused in the order they were handed out, so that the next is one that was given back long ago; one that a
/// history holds on to is passed over. Where many in a row are held, as those of a burst, the turn goes on elsewhere,
/// and the pool grows only where they are held there too.
#[derive(Debug)]
pub struct PacketPool {
    ring: Vec<Packet>,
    next: usize,
    limit: usize,
}

/// How many held packets are passed over before others are looked at elsewhere.
const MAX_PASSED_OVER: usize = 16;
/// Growth by this share of the packets leaves room for the next swing of the load.
const GROWTH: usize = 16;
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
        let slot = self.next_free().or_else(|| self.grow())?;
        self.next = (slot + 1) % self.ring.len();
        // The next has lain untouched for as long as a history holds it.
        prefetch(&*self.ring[self.next]);
        Some(slot)
    }

    /// One that nobody holds: of those whose turn it is, else of samples of all; at the limit of all.
    fn next_free(&self) -> Option<usize> {
        let (len, next) = (self.ring.len(), self.next);
        let in_turn = if len < self.limit { len.min(MAX_PASSED_OVER) } else { len };
        let samples = if len > in_turn { 1..SAMPLES } else { 0..0 };
        let elsewhere = samples.map(|n| n * len / SAMPLES);
        let mut places = (0..in_turn).chain(elsewhere).map(|ahead| (next + ahead) % len);
        places.find(|slot| Arc::strong_count(&self.ring[*slot]) == 1)
    }

    /// The first of some more.
    fn grow(&mut self) -> Option<usize> {
        let len = self.ring.len();
        let more = (len / GROWTH).max(1).min(self.limit - len);
        self.ring.extend((0..more).map(|_| Arc::new(PacketData::empty())));
        (more > 0).then_some(len)
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
        assert!((5_000..5_400).contains(&pool.len()), "{}", pool.len());
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
    fn a_burst_that_is_held_does_not_make_the_pool_grow_while_there_is_room_elsewhere() {
        let mut pool = PacketPool::new(10_000);
        drop((0..1_000).map(|_| pool.take(fill(1)).unwrap()).collect::<Vec<_>>());
        let warm = pool.len();
        // Most of the packets are held for good, in a row.
        let held: Vec<_> = (0..warm * 3 / 5).map(|_| pool.take(fill(2)).unwrap()).collect();
        for _ in 0..10 * warm {
            pool.take(fill(3)).unwrap();
        }
        assert!(pool.len() <= warm, "{} instead of {warm}", pool.len());
        assert!(held.iter().all(|packet| packet.payload() == [2; 8]));
    }

    #[test]
    fn a_packet_that_does_not_fit_is_refused() {
        let mut pool = PacketPool::new(8);
        assert!(pool.take(|data| data.set_bytes(&[0; MAX_PACKET + 1], 12..20)).is_none());
        assert!(pool.take(|data| data.set_bytes(&[0; 20], 12..21)).is_none());
    }
}
