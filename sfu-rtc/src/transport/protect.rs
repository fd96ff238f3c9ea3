//! Parity for what a section sends (Reed-Solomon or FlexFEC-03): which packets are protected together, and when their parity leaves.
//!
//! A packet is protected as it is written for the peer, before it is sealed. What changes as it leaves, send time and
//! transport-wide number, counts as zero: libwebrtc's receiver zeroes both before it computes
//! (`RtpPacket::ZeroMutableExtensions`), since its sender computes parity before it writes them.

use super::Transport;
use super::send::{PayloadEdit, QueuedPacket, Repeat, RtpOut, size_of};
use crate::fec::{PROTECTION_GROUPS, ProtectedGroups, Protection, Scheme};
use crate::ids::{SeqNo, Ssrc};
use crate::media::{FecStream, MediaSection};
use crate::pacer::PacketClass;
use crate::packet::PacketPool;
use crate::rtp::extension::ExtensionKind;

/// Header extensions that are written as a packet leaves, and so protected as zero.
pub(super) const MUTABLE: [ExtensionKind; 2] = [ExtensionKind::TransportCc, ExtensionKind::AbsSendTime];
/// Parity packets of one transport that wait in the pacer; of more, the newest are not sent.
const MAX_WAITING: usize = 192;

/// Protects what one section sends.
#[derive(Debug)]
pub(super) struct Protector {
    stream: FecStream,
    groups: ProtectedGroups,
    /// The number that the next parity packet gets.
    seq: SeqNo,
}

impl Protector {
    /// For what `section` sends. The number goes on where `before` was, if that had the same source.
    fn new(section: &MediaSection, before: Option<&Self>) -> Option<Self> {
        let (stream, media) = (section.local_fec?, section.local_ssrcs?.media);
        // In the lower half, as RFC 3711 section 3.3.1 wants it for the rollover counter.
        let first = SeqNo(u64::from(stream.ssrc.0 & 0x7fff));
        let mutable = MUTABLE.iter().filter_map(|kind| section.extensions.id(*kind)).collect();
        Some(Self {
            stream,
            groups: ProtectedGroups::new(stream.scheme, media, mutable),
            seq: before.filter(|before| before.stream.ssrc == stream.ssrc).map_or(first, |before| before.seq),
        })
    }

    /// A section was negotiated anew: makes what protects it. The source of parity that it had before and has no more.
    pub(super) fn update(protector: &mut Option<Box<Self>>, section: &MediaSection) -> Option<Ssrc> {
        let fresh = Self::new(section, protector.as_deref());
        let after = fresh.as_ref().map(|fresh| fresh.stream.ssrc);
        let before = protector.as_ref().map(|before| before.stream.ssrc);
        if protector.as_ref().zip(fresh.as_ref()).is_none_or(|(old, new)| !old.is_for(new)) {
            *protector = fresh.map(Box::new);
        }
        before.filter(|before| after != Some(*before))
    }

    /// The number of a parity packet that leaves now.
    pub(super) fn next_seq(&mut self) -> SeqNo {
        let seq = self.seq;
        self.seq = seq.next();
        seq
    }

    fn is_for(&self, other: &Self) -> bool {
        self.stream == other.stream && self.groups.is_like(&other.groups)
    }

    /// Whether packets of `group` are protected now.
    pub(super) fn protects(&self, group: Option<u8>) -> bool {
        self.groups.protects(group)
    }

    /// A packet of media leaves. Whether parity is ready after it.
    pub(super) fn on_media(&mut self, packet: &[u8], out: &RtpOut) -> bool {
        self.groups.on_media(packet, (out.timestamp, out.marker), out.group)
    }
}

/// What parity is put together in. It takes no memory before the first.
#[derive(Debug)]
pub(super) struct ParityBuffer {
    payload: Vec<u8>,
    pool: PacketPool,
}

impl Default for ParityBuffer {
    fn default() -> Self {
        Self { payload: Vec::new(), pool: PacketPool::new(MAX_WAITING) }
    }
}

impl Transport {
    /// Protects what a section sends from now on, by group ([`RtpOut::group`]), where the peer takes parity for it.
    pub fn protect(&mut self, section: usize, groups: &[Protection; PROTECTION_GROUPS]) {
        if let Some(protector) = self.senders.get_mut(section).and_then(|sender| sender.protector.as_mut()) {
            protector.groups.protect(groups);
        }
    }

    /// Queues the parity that `section` has ready.
    pub(super) fn queue_parity(&mut self, section: usize, timestamp: u32) {
        let Self { senders, parity, pacer, .. } = self;
        let Some(protector) = senders.get_mut(section).and_then(|sender| sender.protector.as_mut()) else { return };
        while let Some(info) = protector.groups.poll_parity(&mut parity.payload) {
            let len = parity.payload.len();
            let Some(packet) = parity.pool.take(|data| data.set_bytes(&parity.payload, 0..len)) else { continue };
            let out = RtpOut {
                section,
                ssrc: protector.stream.ssrc,
                payload_type: protector.stream.payload_type,
                // Numbered as it leaves.
                seq: SeqNo(0),
                timestamp,
                // In our own format it says that the block has no more (`docs/fec-payload-format.md` section 2).
                marker: info.last && protector.stream.scheme == Scheme::ReedSolomon,
                edit: PayloadEdit::default(),
                frame_number: None,
                padding: 0,
                class: PacketClass::Fec,
                repeat: Repeat::Never,
                group: None,
            };
            // Where there is no room, the path has more urgent needs than parity.
            let _ = pacer.push(PacketClass::Fec, size_of(&packet, &out), QueuedPacket { packet, out });
        }
    }
}
