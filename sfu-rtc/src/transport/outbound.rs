//! What is handed to a transport for sending: a shared packet and how it differs for this subscriber.

use crate::ids::{PayloadType, SeqNo, Ssrc};
use crate::pacer::PacketClass;
use crate::packet::Packet;
use arrayvec::ArrayVec;

/// How one subscriber gets a packet. The packet itself is shared, and its payload copied only when it is sealed.
#[derive(Clone, Debug)]
pub struct RtpOut {
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
    /// Bytes of padding (RFC 3550 section 5.1), to make packets equal in length that leave as one run.
    pub padding: u8,
    /// In which order it leaves.
    pub class: PacketClass,
    /// Whether it may be asked for again itself.
    pub repeat: Repeat,
}

/// How a packet stands to being sent again under its own number, for a peer without retransmissions (RFC 4588).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Repeat {
    /// It never is.
    #[default]
    Never,
    /// It may be: it is kept as it was sealed.
    Kept,
    /// It is, exactly as it was sealed.
    Again,
}

/// What became of a packet that was handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handover {
    /// It is in the batch.
    Sealed,
    /// It waits for its turn.
    Queued,
}

/// A packet that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) packet: Packet,
    pub(super) out: RtpOut,
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
