//! What is handed to a transport for sending: a shared packet and how it differs for this subscriber.

use crate::ids::{PayloadType, SeqNo, Ssrc};
use crate::pacer::PacketClass;
use crate::packet::Packet;
use arrayvec::ArrayVec;

/// A packet as one subscriber gets it. The payload stays shared until it is sealed.
#[derive(Clone, Debug)]
pub struct RtpOut {
    /// The packet as it was received.
    pub packet: Packet,
    /// Index of the section that carries it; it gives MID and extension ids.
    pub section: usize,
    /// Source on the subscriber's wire: that of retransmissions for [`PacketClass::Rtx`].
    pub ssrc: Ssrc,
    /// Payload type on the subscriber's wire.
    pub payload_type: PayloadType,
    /// Extended sequence number on the subscriber's wire. Each source has its own, and never twice the same.
    pub seq: SeqNo,
    /// RTP timestamp on the subscriber's wire.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// How the payload's beginning differs.
    pub edit: PayloadEdit,
    /// Frame number of the dependency descriptor, where it has to be rewritten.
    pub frame_number: Option<u16>,
    /// In which order it leaves.
    pub class: PacketClass,
}

impl RtpOut {
    /// Bytes in which packets of one stream differ: the payload, and extensions of varying length.
    pub(super) fn varying_len(&self) -> usize {
        let carried = &self.packet.extensions;
        let part = |place: Option<(u16, u16)>| place.map_or(0, |(_, len)| usize::from(len));
        let payload =
            (self.packet.payload().len() + self.edit.prefix.len()).saturating_sub(usize::from(self.edit.skip));
        payload + part(carried.dependency_descriptor) + part(carried.abs_capture_time)
    }
}

/// Replaces the first bytes of a payload: a rewritten payload descriptor, behind the original sequence number for
/// retransmissions.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct PayloadEdit {
    /// Written instead of what is skipped.
    pub prefix: ArrayVec<u8, 16>,
    /// How many bytes of the payload are left out at its beginning.
    pub skip: u8,
}
