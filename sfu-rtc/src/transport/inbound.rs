//! What a transport hands up: authenticated, decrypted, routed to its stream, retransmissions undone.

use crate::codec::FrameFacts;
use crate::drop_reason::DropReason;
use crate::ids::{PayloadType, Rid, SeqNo, Ssrc};
use crate::media::Codec;
use crate::packet::{CarriedExtensions, PacketData};
use crate::rtcp::{self, RtcpView};
use crate::time::Instant;
use std::ops::Range;

/// What a datagram held.
#[derive(Clone, PartialEq, Debug)]
pub enum Received<'a> {
    /// Media.
    Rtp(ReceivedRtp<'a>),
    /// Media beyond what the peer may send: dropped, and not to be asked for again.
    OverLimit(ReceivedRtp<'a>),
    /// Reports and feedback. Those on congestion were heeded already.
    Rtcp(RtcpCompound<'a>),
    /// Something that the transport dealt with by itself.
    Nothing,
    /// Nothing of use.
    Dropped(DropReason),
}

/// One authentic datagram of RTCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtcpCompound<'a>(&'a [u8]);

impl<'a> RtcpCompound<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Its packets; the malformed ones as errors.
    pub fn packets(&self) -> impl Iterator<Item = Result<RtcpView<'a>, DropReason>> + use<'a> {
        rtcp::compound(self.0)
    }
}

/// One received RTP packet.
///
/// A retransmission (RFC 4588) looks like the packet that it repeats, but for `rtx`.
#[derive(Clone, PartialEq, Debug)]
pub struct ReceivedRtp<'a> {
    /// The decrypted packet as it came, header and padding included.
    pub packet: &'a [u8],
    /// Where in it the payload stands: padding and, for retransmissions, the original sequence number left out.
    /// Empty where the packet is only padding.
    pub payload: Range<usize>,
    /// When it arrived.
    pub arrival: Instant,
    /// Index of its section.
    pub section: usize,
    /// Its stream within the section; `None` without simulcast.
    pub rid: Option<Rid>,
    /// Source of the media stream.
    pub ssrc: Ssrc,
    /// Extended sequence number in the media stream.
    pub seq: SeqNo,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// Payload type of the media.
    pub payload_type: PayloadType,
    /// Its codec.
    pub codec: Codec,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Header extensions to carry on.
    pub extensions: CarriedExtensions,
    /// Where it came from if it is a retransmission.
    pub rtx: Option<RtxOrigin>,
}

/// The retransmission that carried a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtxOrigin {
    /// Its own source.
    pub ssrc: Ssrc,
    /// Its own extended sequence number.
    pub seq: SeqNo,
}

impl ReceivedRtp<'_> {
    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.packet.get(self.payload.clone()).unwrap_or_default()
    }

    /// The dependency descriptor, if it carries one.
    pub fn dependency_descriptor(&self) -> Option<&[u8]> {
        let (start, len) = self.extensions.dependency_descriptor?;
        let start = usize::from(start);
        self.packet.get(start..start + usize::from(len))
    }

    /// Writes it into a packet of the pool, with what was learned of its frame. `None` where it is too large.
    pub fn fill(&self, frame: FrameFacts, data: &mut PacketData) -> Option<()> {
        data.set_bytes(self.packet, self.payload.clone())?;
        data.arrival = self.arrival;
        data.ssrc = self.ssrc;
        data.payload_type = self.payload_type;
        data.codec = self.codec;
        data.seq = self.seq;
        data.timestamp = self.timestamp;
        data.marker = self.marker;
        data.frame = frame;
        data.extensions = self.extensions.clone();
        data.repaired = self.rtx.is_some();
        Some(())
    }
}
