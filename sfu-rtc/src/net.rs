//! What a datagram is, where it comes from or goes to, and the batch in which datagrams leave.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};

/// First bytes of RTP and RTCP (RFC 7983 section 7).
pub const MEDIA_FIRST_BYTES: RangeInclusive<u8> = 128..=191;
/// Second bytes of RTCP, its packet types, where RTP has marker bit and payload type (RFC 5761 section 4).
const RTCP_SECOND_BYTES: RangeInclusive<u8> = 192..=223;

/// Which protocol a datagram belongs to, of those that share a transport (RFC 7983 section 7, RFC 5761 section 4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DatagramKind {
    /// STUN.
    Stun,
    /// DTLS.
    Dtls,
    /// RTP, sealed or not.
    Rtp,
    /// RTCP, sealed or not.
    Rtcp,
}

impl DatagramKind {
    /// By the first two bytes; `None` where it is none of these.
    pub fn of(datagram: &[u8]) -> Option<Self> {
        match datagram.first()? {
            0..=3 => Some(Self::Stun),
            20..=63 => Some(Self::Dtls),
            first if MEDIA_FIRST_BYTES.contains(first) => {
                let is_rtcp = datagram.get(1).is_some_and(|second| RTCP_SECOND_BYTES.contains(second));
                Some(if is_rtcp { Self::Rtcp } else { Self::Rtp })
            }
            _ => None,
        }
    }

    /// Whether `datagram` is RTP.
    pub fn is_rtp(datagram: &[u8]) -> bool {
        Self::of(datagram) == Some(Self::Rtp)
    }

    /// Whether it is RTP or RTCP.
    pub fn is_media(self) -> bool {
        matches!(self, Self::Rtp | Self::Rtcp)
    }
}

/// Transport protocol below ICE.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// UDP on the worker's port.
    Udp,
    /// ICE-TCP (RFC 6544), framed by RFC 4571; the number names the connection.
    Tcp(u32),
}

/// Whom an address counts for: an IPv4 address, or an IPv6 network of 64 bits, since one host has a whole one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Neighbourhood(IpAddr);

impl Neighbourhood {
    /// Whom `ip` counts for.
    pub fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
        })
    }
}

/// One way between us and a remote address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NetworkPath {
    /// The peer's address.
    pub remote: SocketAddr,
    /// Our address to which the peer sent, so that answers leave from it. Unspecified where not known.
    pub local: IpAddr,
    /// Protocol, and for TCP the connection.
    pub protocol: Protocol,
}

/// One or more datagrams of equal size (the last may be shorter) for one path: one GSO send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where they go.
    pub path: NetworkPath,
    /// Their bytes in the batch's buffer.
    pub range: Range<usize>,
    /// Size of each datagram; equals the range's length for a single one.
    pub segment_size: usize,
}

impl Transmit {
    /// Whether it holds more than one datagram.
    pub fn is_run(&self) -> bool {
        self.range.len() > self.segment_size
    }

    /// How many datagrams it holds.
    pub fn datagrams(&self) -> usize {
        self.range.len().div_ceil(self.segment_size.max(1))
    }

    /// Where in the batch's buffer each datagram stands.
    pub fn segments(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let end = self.range.end;
        let size = self.segment_size.max(1);
        self.range.clone().step_by(size).map(move |start| start..(start + size).min(end))
    }
}

/// Most datagrams in one GSO send; the kernel's limit is 64 (UDP_MAX_SEGMENTS) in older releases.
pub const MAX_SEGMENTS: usize = 64;
/// Most bytes in one GSO send: one UDP length field, less headers.
pub const MAX_TRAIN: usize = 65_000;

/// Datagrams that are ready to leave, in one contiguous buffer that the caller owns and reuses.
#[derive(Default, Debug)]
pub struct TransmitBatch {
    buf: Vec<u8>,
    transmits: Vec<Transmit>,
    datagrams: usize,
    /// Whether the last entry can still take a segment.
    open: bool,
}

impl TransmitBatch {
    /// An empty batch with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buf: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Forgets all entries, keeps the memory.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.transmits.clear();
        self.datagrams = 0;
        self.open = false;
    }

    /// Appends one datagram, written by `write` at the end of the buffer. If `write` returns `None`,
    /// whatever it wrote is taken back. Datagrams of equal size for the same path that follow one another
    /// become one entry.
    pub fn push<E>(&mut self, path: NetworkPath, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        // What a panic left behind half written is no part of any entry.
        let start = self.transmits.last().map_or(0, |last| last.range.end);
        self.buf.truncate(start);
        if let Err(error) = write(&mut self.buf) {
            self.buf.truncate(start);
            return Err(error);
        }
        let len = self.buf.len() - start;
        if len == 0 {
            return Ok(());
        }
        self.datagrams += 1;
        if self.open
            && let Some(last) = self.transmits.last_mut()
            && last.path == path
            && len <= last.segment_size
            && last.range.len() + len <= MAX_TRAIN
            && last.range.len() / last.segment_size < MAX_SEGMENTS
        {
            last.range.end += len;
            self.open = len == last.segment_size;
            return Ok(());
        }
        self.transmits.push(Transmit { path, range: start..start + len, segment_size: len });
        self.open = path.protocol == Protocol::Udp;
        Ok(())
    }

    /// What is ready, in order.
    pub fn transmits(&self) -> &[Transmit] {
        &self.transmits
    }

    /// The bytes of one entry.
    pub fn bytes(&self, transmit: &Transmit) -> &[u8] {
        &self.buf[transmit.range.clone()]
    }

    /// The bytes of one datagram, of which [`Transmit::segments`] tells where it stands.
    pub fn datagram(&self, range: Range<usize>) -> &[u8] {
        &self.buf[range]
    }

    /// How many datagrams are in the batch.
    pub fn datagrams(&self) -> usize {
        self.datagrams
    }

    /// How many bytes are in the batch.
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether nothing is in the batch.
    pub fn is_empty(&self) -> bool {
        self.transmits.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn datagrams_are_told_apart_by_their_first_bytes() {
        let kinds = |bytes: RangeInclusive<u8>, kind| bytes.clone().all(|first| DatagramKind::of(&[first]) == kind);
        assert!(kinds(0..=3, Some(DatagramKind::Stun)) && kinds(4..=19, None));
        assert!(kinds(20..=63, Some(DatagramKind::Dtls)) && kinds(64..=127, None));
        assert!(kinds(128..=191, Some(DatagramKind::Rtp)) && kinds(192..=255, None));
        for second in 0..=255 {
            let expected = if (192..=223).contains(&second) { DatagramKind::Rtcp } else { DatagramKind::Rtp };
            assert_eq!(DatagramKind::of(&[0x80, second]), Some(expected), "{second}");
        }
        assert_eq!(DatagramKind::of(&[]), None);
    }

    fn path(port: u16) -> NetworkPath {
        NetworkPath {
            remote: SocketAddr::from(([127, 0, 0, 1], port)),
            local: IpAddr::from([127, 0, 0, 1]),
            protocol: Protocol::Udp,
        }
    }

    fn push(batch: &mut TransmitBatch, port: u16, len: usize) {
        batch
            .push(path(port), |buf| {
                buf.resize(buf.len() + len, 7);
                Ok::<_, Infallible>(())
            })
            .unwrap();
    }

    #[test]
    fn equal_sizes_for_one_path_become_one_entry() {
        let mut batch = TransmitBatch::default();
        for len in [1_000, 1_000, 400, 1_000] {
            push(&mut batch, 1, len);
        }
        push(&mut batch, 2, 1_000);
        let lens: Vec<_> = batch.transmits().iter().map(|t| (t.range.len(), t.segment_size)).collect();
        assert_eq!(lens, [(2_400, 1_000), (1_000, 1_000), (1_000, 1_000)]);
        assert_eq!(batch.datagrams(), 5);
    }

    #[test]
    fn an_entry_never_grows_past_the_kernels_limits() {
        let mut batch = TransmitBatch::default();
        for _ in 0..200 {
            push(&mut batch, 1, 100);
        }
        assert!(batch.transmits().iter().all(|t| t.range.len() / t.segment_size <= MAX_SEGMENTS));
        assert_eq!(batch.transmits().iter().map(|t| t.range.len()).sum::<usize>(), 20_000);
    }

    #[test]
    fn a_write_that_panics_leaves_nothing() {
        let mut batch = TransmitBatch::default();
        push(&mut batch, 1, 100);
        let torn = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            batch.push(path(1), |buf| -> Result<(), Infallible> {
                buf.extend_from_slice(&[1; 50]);
                panic!("for the test")
            })
        }));
        assert!(torn.is_err());
        push(&mut batch, 1, 100);
        let [transmit] = batch.transmits() else { panic!("one entry") };
        assert_eq!(batch.bytes(transmit), [7; 200]);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let mut batch = TransmitBatch::default();
        let failed = batch.push(path(1), |buf| {
            buf.push(1);
            Err(())
        });
        assert_eq!((failed, batch.len(), batch.is_empty()), (Err(()), 0, true));
    }
}
