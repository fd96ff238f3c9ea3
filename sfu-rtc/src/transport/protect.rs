//! Parity for what a section sends: which packets are protected together, and when their parity leaves. Reed-Solomon and
//! FlexFEC-03 have a source of their own, and wait in the pacer; ULPFEC has its place among the media, behind a whole frame.
//!
//! A packet is protected as it is written for the peer, before it is sealed. What changes as it leaves, send time and
//! transport-wide number, counts as zero: libwebrtc's receiver zeroes both before it computes
//! (`RtpPacket::ZeroMutableExtensions`), since its sender computes parity before it writes them.

use super::Transport;
use super::send::{PayloadEdit, QueuedPacket, Repeat, RtpOut};
use crate::fec::{PROTECTION_GROUPS, ProtectedGroups, Protection, Scheme};
use crate::ids::{PayloadType, SeqNo, Ssrc};
use crate::media::{FecStream, MediaSection};
use crate::net::{NetworkPath, TransmitBatch};
use crate::pacer::PacketClass;
use crate::packet::PacketPool;
use crate::rtp::extension::ExtensionKind;
use crate::time::Instant;

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
        let (stream, media) = (section.own_parity()?, section.local_ssrcs?.media);
        // In the lower half, as RFC 3711 section 3.3.1 wants it for the rollover counter.
        let first = SeqNo(u64::from(stream.ssrc.0 & 0x7fff));
        let mutable = MUTABLE.iter().filter_map(|kind| section.extensions.id(*kind)).collect();
        Some(Self {
            stream,
            groups: ProtectedGroups::new(stream.scheme, media, mutable),
            seq: before.filter(|before| before.stream.ssrc == stream.ssrc).map_or(first, |before| before.seq),
        })
    }

    /// A section was negotiated anew: makes what protects it. The source of parity beside the media that it had before and
    /// has no more.
    pub(super) fn update(protector: &mut Option<Box<Self>>, section: &MediaSection) -> Option<Ssrc> {
        let fresh = Self::new(section, protector.as_deref());
        let beside = |protector: &Self| protector.red().is_none().then_some(protector.stream.ssrc);
        let after = fresh.as_ref().and_then(beside);
        let before = protector.as_deref().and_then(beside);
        if protector.as_ref().zip(fresh.as_ref()).is_none_or(|(old, new)| !old.is_for(new)) {
            *protector = fresh.map(Box::new);
        }
        before.filter(|before| after != Some(*before))
    }

    /// The payload type of RED, in which both media and parity are where parity goes among the media.
    pub(super) fn red(&self) -> Option<PayloadType> {
        matches!(self.stream.scheme, Scheme::Ulpfec { .. }).then_some(self.stream.payload_type)
    }

    /// The number of a parity packet that leaves now, where parity has a source of its own.
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

    /// Parity is ready after a packet of `media` that left: queues it, or sends it at once where it goes among the media,
    /// but only behind a whole frame: a receiver could not put one together that it interrupts.
    pub(super) fn pass_parity(&mut self, now: Instant, path: NetworkPath, media: &RtpOut, batch: &mut TransmitBatch) {
        while let Some(queued) = self.next_parity(media) {
            let size = queued.size();
            if queued.out.ssrc != media.ssrc {
                // Where there is no room, the path has more urgent needs than parity.
                let _ = self.pacer.push(PacketClass::Fec, size, queued);
                continue;
            }
            self.pacer.charge(now, size);
            match self.seal(now, path, (&queued.packet, &queued.out), batch) {
                Ok(_) => self.count(&queued.packet, &queued.out),
                Err(reason) => self.drop_packet(reason),
            }
        }
    }

    fn next_parity(&mut self, media: &RtpOut) -> Option<QueuedPacket> {
        let Self { senders, parity, .. } = self;
        let sender = senders.get_mut(media.section)?;
        let ends_newest_frame = media.marker && sender.is_newest(media.seq);
        let protector = sender.protector.as_mut()?;
        let stream = protector.stream;
        if protector.red().is_some() && !ends_newest_frame {
            return None;
        }
        let (info, packet) = loop {
            let info = protector.groups.poll_parity(&mut parity.payload)?;
            let len = parity.payload.len();
            if let Some(packet) = parity.pool.take(|data| data.set_bytes(&parity.payload, 0..len)) {
                break (info, packet);
            }
        };
        let out = RtpOut {
            section: media.section,
            ssrc: stream.ssrc,
            payload_type: stream.payload_type,
            // Numbered as it leaves.
            seq: SeqNo(0),
            timestamp: media.timestamp,
            // In our own format it says that the block has no more (`docs/fec-payload-format.md` section 2).
            marker: info.last && stream.scheme == Scheme::ReedSolomon,
            edit: PayloadEdit::default(),
            frame_number: None,
            padding: 0,
            class: PacketClass::Fec,
            repeat: Repeat::Never,
            group: None,
        };
        Some(QueuedPacket { packet, out })
    }
}
