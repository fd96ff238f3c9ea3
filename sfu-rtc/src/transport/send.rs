//! The way out: from a shared packet to a sealed datagram in the batch.
//!
//! Past the pacer or through its queue, then write the header, seal the payload behind it, and count.

use super::Transport;
use super::connect::Connection;
use super::red;
use super::section_sender::SectionSender;
use crate::drop_reason::DropReason;
use crate::ids::{PayloadType, SeqNo, Ssrc};
use crate::media::{Direction, MediaSection};
use crate::net::{NetworkPath, TransmitBatch};
use crate::pacer::PacketClass;
use crate::packet::Packet;
use crate::prefetch::prefetch;
use crate::rtp::extension::{ExtensionKind, MAX_PLAYOUT_DELAY, PlayoutDelay, abs_send_time, dependency_descriptor};
use crate::rtp::{HeaderWriter, RtpHeader, write_padding};
use crate::time::{Duration, Instant};
use crate::twcc::FramePacket;
use crate::units::DataSize;
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
    /// Extended sequence number on the subscriber's wire; where parity goes among the media, as if there were none. Each
    /// source has its own, and never twice the same. Retransmissions (RFC 4588) are numbered here as they leave, in one row
    /// with padding; their number here is that of what they repeat.
    pub seq: SeqNo,
    /// RTP timestamp on the subscriber's wire.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// How the payload's beginning differs.
    pub edit: PayloadEdit,
    /// Frame number of the dependency descriptor, where it has to be rewritten.
    pub frame_number: Option<u16>,
    /// Bytes of padding (RFC 3550 section 5.1), to make packets equal in length that leave as one run; none are written
    /// where the packet is protected.
    pub padding: u8,
    /// In which order it leaves.
    pub class: PacketClass,
    /// Whether it may be asked for again itself.
    pub repeat: Repeat,
    /// With which packets it is protected, where its section sends parity: one of the groups of
    /// [`Transport::protect`].
    pub group: Option<u8>,
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
    /// It is in the batch, and parity that it completed waits for its turn.
    Completed,
    /// It waits for its turn.
    Queued,
}

/// A packet in the pacer's queue.
#[derive(Clone, Debug)]
pub(super) struct QueuedPacket {
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

impl QueuedPacket {
    pub(super) fn size(&self) -> DataSize {
        size_of(&self.packet, &self.out)
    }
}

/// Media waits so long for its path to be proven: some round trips.
const MAX_HELD: Duration = Duration::from_secs(1);
/// Header, extensions and tag of a usual packet, for the pacer's account.
const OVERHEAD: usize = 12 + 20 + 16;
pub(super) fn size_of(packet: &Packet, out: &RtpOut) -> DataSize {
    let payload = out.edit.prefix.len() + packet.payload().len() + usize::from(out.padding);
    DataSize::from_bytes((OVERHEAD + payload) as u64)
}

/// Padding alone makes no packet that is large enough to measure by; with this in its header it is.
const BLANK_FILLING: usize = 32;

/// Longest dependency descriptor that is rewritten; one with a full template structure is below 100 bytes.
const MAX_DESCRIPTOR: usize = 255;

impl Transport {
    /// Asks the peer to keep video for at least `min` before it plays it, where it takes such requests (header extension
    /// playout-delay); from the next packet on, instead of what publishers ask for. Zero takes it back.
    pub fn set_playout_delay(&mut self, min: Duration) {
        // Once a receiver was told, silence would leave things as they are. A least delay of zero with a most that is
        // short would have libwebrtc play without any buffer.
        if min > Duration::ZERO || self.playout_delay.is_some() {
            self.playout_delay = Some(PlayoutDelay { min, max: MAX_PLAYOUT_DELAY }.to_bytes());
        }
    }

    /// Hands over a packet for the subscriber: into the batch where nothing holds it back, else to wait for
    /// [`Transport::poll_transmit`].
    pub fn send_rtp(
        &mut self,
        now: Instant,
        packet: &Packet,
        out: RtpOut,
        batch: &mut TransmitBatch,
    ) -> Result<Handover, DropReason> {
        let path = self.path().filter(|_| self.is_connected()).ok_or(DropReason::NotConnected)?;
        self.supersede(packet, &out)?;
        let size = size_of(packet, &out);
        if !self.connection.ice.may_send_media(size.as_bytes() as usize) || !self.pacer.pass(now, out.class, size) {
            return self.queue_rtp(now, packet, out);
        }
        let (before, waiting) = (batch.len(), self.pacer.len());
        self.leave(now, path, (packet, &out), batch)?;
        self.counters.bytes_out += (batch.len() - before) as u64;
        Ok(if self.pacer.len() == waiting { Handover::Sealed } else { Handover::Completed })
    }

    /// Fetches what [`Transport::send_rtp`] needs, except for what [`Transport::prefetch_keys`] does.
    pub fn prefetch(&self) {
        prefetch(&self.connection.keys);
        prefetch(self.connection.ice.selected_ref());
        prefetch(&self.pacer);
        prefetch(&self.path_state);
        prefetch(&self.counters);
        prefetch(&self.sections);
        prefetch(&self.senders);
    }

    /// Fetches the window of the source with which it sends in one section, once [`Transport::prefetch_keys`] is there.
    pub fn prefetch_window(&self, ssrc: Ssrc) {
        if let Some(keys) = &self.connection.keys {
            keys.sender.prefetch_window(ssrc);
        }
    }

    /// Fetches what is behind the pointers that [`Transport::prefetch`] has fetched, to send in one section.
    pub fn prefetch_keys(&self, section: usize) {
        if let Some(keys) = &self.connection.keys {
            keys.sender.prefetch();
        }
        if let (Some(section), Some(sender)) = (self.sections.get(section), self.senders.get(section)) {
            prefetch(section);
            prefetch(sender);
        }
    }

    /// Hands over a packet for the subscriber that waits for [`Transport::poll_transmit`] in any case.
    pub fn queue_rtp(&mut self, now: Instant, packet: &Packet, out: RtpOut) -> Result<Handover, DropReason> {
        if !self.is_connected() {
            return Err(DropReason::NotConnected);
        }
        self.supersede(packet, &out)?;
        let (class, size) = (out.class, size_of(packet, &out));
        if !self.connection.ice.may_send_media(size.as_bytes() as usize) && !self.may_wait_for_proof(now) {
            return Err(DropReason::UnprovenPath);
        }
        self.pacer.push(class, size, QueuedPacket { packet: Packet::clone(packet), out })?;
        Ok(Handover::Queued)
    }

    /// Whether a packet may wait for the peer to prove its path. Media that has done so for a moment is too old.
    fn may_wait_for_proof(&mut self, now: Instant) -> bool {
        if now.saturating_since(*self.held_since.get_or_insert(now)) <= MAX_HELD {
            return true;
        }
        (0..self.pacer.len()).for_each(|_| self.drop_packet(DropReason::UnprovenPath));
        self.pacer.clear();
        false
    }

    /// Whether what waits may not leave, whatever the pacer says: the peer has to prove its path first.
    pub(super) fn is_held(&self) -> bool {
        let next = self.pacer.next_size();
        next.is_some_and(|size| !self.connection.ice.may_send_media(size.as_bytes() as usize))
    }

    /// The number by which a packet of a section's media was handed over ([`RtpOut::seq`]) which is `seq` on the wire, as
    /// the peer names it; `None` where that is parity.
    pub fn number_of(&self, section: usize, seq: u16) -> Option<u16> {
        self.senders.get(section)?.of_media(seq)
    }

    pub(super) fn sender_of(&mut self, media: Ssrc) -> Option<&mut SectionSender> {
        let index = self.sections.iter().position(|s| s.local_ssrcs.is_some_and(|pair| pair.media == media))?;
        self.senders.get_mut(index)
    }

    pub(super) fn flush_media(&mut self, now: Instant, path: NetworkPath, batch: &mut TransmitBatch) {
        while !self.is_held()
            && let Some(waiting) = self.pacer.pop(now)
        {
            if let Err(reason) = self.leave(now, path, (&waiting.packet, &waiting.out), batch) {
                self.drop_packet(reason);
            }
        }
        self.held_since = self.held_since.filter(|_| self.is_held());
        self.send_probe(now, path, batch);
    }

    pub(super) fn flush_audio(&mut self, now: Instant, path: NetworkPath, batch: &mut TransmitBatch) {
        while !self.is_held()
            && let Some(waiting) = self.pacer.pop_audio(now)
        {
            if let Err(reason) = self.leave(now, path, (&waiting.packet, &waiting.out), batch) {
                self.drop_packet(reason);
            }
        }
    }

    /// A packet leaves, with the parity that it completes.
    fn leave(
        &mut self,
        now: Instant,
        path: NetworkPath,
        (packet, out): (&Packet, &RtpOut),
        batch: &mut TransmitBatch,
    ) -> Result<(), DropReason> {
        let completes = self.seal(now, path, (packet, out), batch)?;
        self.count(packet, out);
        if completes {
            self.pass_parity(now, path, out, batch);
        }
        Ok(())
    }

    /// Seals a packet into the batch. Whether parity is ready after it.
    pub(super) fn seal(
        &mut self,
        now: Instant,
        path: NetworkPath,
        (packet, out): (&Packet, &RtpOut),
        batch: &mut TransmitBatch,
    ) -> Result<bool, DropReason> {
        let Connection { ice, keys, .. } = &mut self.connection;
        let keys = keys.as_mut().ok_or(DropReason::NoKeys)?;
        if ice.is_limited() && !ice.may_send(&path, size_of(packet, out).as_bytes() as usize) {
            return Err(DropReason::UnprovenPath);
        }
        if out.repeat == Repeat::Again {
            let (sealed, transport_seq) = self.sealed.find(out.ssrc, out.seq).ok_or(DropReason::NotInHistory)?;
            batch.push(path, |buf| {
                buf.extend_from_slice(sealed);
                Ok(())
            })?;
            transport_seq.into_iter().for_each(|seq| self.path_state.on_repeated(seq));
            return Ok(false);
        }
        let section = self.sections.get(out.section).filter(|section| section.direction == Direction::Send);
        let section = section.ok_or(DropReason::UnknownStream)?;
        let sender = self.senders.get_mut(out.section).ok_or(DropReason::UnknownStream)?;
        let with_mid = sender.carries_mid(out.class);
        let is_rtx = section.local_ssrcs.is_some_and(|pair| pair.rtx == Some(out.ssrc));
        let (seq, repeated) = sender.number(out, is_rtx)?;
        let mut protector = sender.protector.as_deref_mut().filter(|_| !is_rtx && out.class != PacketClass::Fec);
        let transport_seq =
            section.extensions.id(ExtensionKind::TransportCc).map(|id| (id, self.path_state.next_seq()));
        // A receiver that undoes padding before it looks for parity has not the packet that was protected.
        let is_protected = protector.as_ref().is_some_and(|protector| protector.protects(out.group));
        let padding = if is_protected { 0 } else { out.padding };
        let in_red = protector.as_ref().and_then(|protector| protector.red()).filter(|_| is_protected);
        let (before, mut completes) = (batch.len(), false);
        let (history, limit, playout_delay) = (&mut self.sealed, self.config.max_sealed, self.playout_delay);
        batch.push(path, |buf| {
            let start = buf.len();
            let header = Header { now, section, packet, out, seq, padding, with_mid, transport_seq, playout_delay };
            let header_len = write_packet(buf, &header)?;
            if let (Some(repeated), Some(osn)) = (repeated, buf[start + header_len..].first_chunk_mut()) {
                *osn = repeated.wire().to_be_bytes();
            }
            completes = protector.as_mut().is_some_and(|protector| protector.on_media(&buf[start..], out));
            in_red.into_iter().for_each(|payload_type| red::put_in(buf, start, header_len, payload_type));
            keys.sender.seal_rtp(buf, start, header_len, seq)?;
            if out.repeat == Repeat::Kept {
                let name = (out.ssrc, out.seq, transport_seq.map(|(_, seq)| seq));
                history.keep(limit, name, &buf[start..]);
            }
            Ok(())
        })?;
        if transport_seq.is_some() {
            let size = DataSize::from_bytes((batch.len() - before) as u64);
            self.path_state.on_sent(now, size, self.probing.active());
            self.probing.on_sent(size, out.class);
            if let Some(frame) = frame_packet(packet, out) {
                self.path_state.name_last(frame);
            }
            if out.class == PacketClass::Video && self.path_state.probes() {
                self.probing.keep(now, packet, out, &self.sections);
            }
        }
        Ok(completes)
    }

    pub(super) fn count(&mut self, packet: &Packet, out: &RtpOut) {
        self.counters.rtp_out += 1;
        if out.class == PacketClass::Rtx {
            self.counters.rtx_out += 1;
        } else if out.class == PacketClass::Fec {
            self.counters.fec_out += 1;
            self.counters.fec_bytes_out += packet.payload().len() as u64;
            // Parity among the media is in what sender reports count.
            let sender = self.senders.get_mut(out.section).filter(|sender| sender.is_media(out.ssrc));
            sender.into_iter().for_each(|sender| sender.count(packet.payload().len()));
        } else if let Some(sender) = self.senders.get_mut(out.section) {
            let payload = packet.payload().len() + out.edit.prefix.len() - usize::from(out.edit.skip);
            sender.on_media(out.seq);
            sender.count(payload);
        }
    }
}

/// Which packet of which frame it is, where its publisher numbers its frames.
fn frame_packet(packet: &Packet, out: &RtpOut) -> Option<FramePacket> {
    let frame = packet.frame.frame_number.filter(|_| matches!(out.class, PacketClass::Video | PacketClass::Rtx))?;
    let section = u16::try_from(out.section).ok()?;
    Some(FramePacket { section, source: packet.ssrc, frame, seq: packet.seq.wire() })
}

/// All that the header of one packet depends on.
struct Header<'a> {
    now: Instant,
    section: &'a MediaSection,
    packet: &'a Packet,
    out: &'a RtpOut,
    seq: SeqNo,
    padding: u8,
    with_mid: bool,
    transport_seq: Option<(u8, u16)>,
    playout_delay: Option<[u8; 3]>,
}

/// Appends the packet in clear; the length of its header.
fn write_packet(buf: &mut Vec<u8>, header: &Header<'_>) -> Result<usize, DropReason> {
    let out = header.out;
    let rest = header.packet.payload().get(usize::from(out.edit.skip)..).ok_or(DropReason::PayloadMalformed)?;
    let header_len = header.write(buf);
    buf.extend_from_slice(&out.edit.prefix);
    buf.extend_from_slice(rest);
    write_padding(buf, header.padding);
    Ok(header_len)
}

impl Header<'_> {
    fn write(&self, buf: &mut Vec<u8>) -> usize {
        let out = self.out;
        let mut writer = HeaderWriter::new(
            buf,
            RtpHeader {
                payload_type: out.payload_type,
                seq: self.seq.wire(),
                timestamp: out.timestamp,
                ssrc: out.ssrc,
                marker: out.marker,
            },
        );
        if self.padding > 0 {
            writer.padded();
        }
        self.write_hop_by_hop(&mut writer);
        self.write_carried(&mut writer);
        if out.class == PacketClass::Padding && self.packet.payload().is_empty() {
            writer.fill(BLANK_FILLING);
        }
        writer.finish()
    }

    /// What we say ourselves.
    fn write_hop_by_hop(&self, writer: &mut HeaderWriter<'_>) {
        let ids = &self.section.extensions;
        if let Some((id, seq)) = self.transport_seq {
            writer.extension(id, &seq.to_be_bytes());
        }
        if let Some(id) = ids.id(ExtensionKind::AbsSendTime) {
            writer.extension(id, &abs_send_time(self.now));
        }
        if self.with_mid
            && let Some(id) = ids.id(ExtensionKind::Mid)
        {
            writer.extension(id, self.section.mid.as_str().as_bytes());
        }
    }

    /// What the publisher said.
    fn write_carried(&self, writer: &mut HeaderWriter<'_>) {
        let ids = &self.section.extensions;
        let packet = self.packet;
        let carried = &packet.extensions;
        if let (Some(id), Some(level)) = (ids.id(ExtensionKind::AudioLevel), carried.audio_level) {
            writer.extension(id, &[level]);
        }
        if let (Some(id), Some(orientation)) = (ids.id(ExtensionKind::VideoOrientation), carried.video_orientation) {
            writer.extension(id, &[orientation]);
        }
        // Who asks for more time for repair knows this path; the publisher does not.
        let playout_delay = self.playout_delay.or(carried.playout_delay);
        if let (Some(id), Some(delay)) = (ids.id(ExtensionKind::PlayoutDelay), playout_delay) {
            writer.extension(id, &delay);
        }
        if let (Some(id), Some(place)) = (ids.id(ExtensionKind::AbsCaptureTime), carried.abs_capture_time) {
            writer.extension(id, packet.part(place));
        }
        if let (Some(id), Some(place)) = (ids.id(ExtensionKind::DependencyDescriptor), carried.dependency_descriptor) {
            self.write_descriptor(writer, id, packet.part(place));
        }
    }

    fn write_descriptor(&self, writer: &mut HeaderWriter<'_>, id: u8, descriptor: &[u8]) {
        let Some(frame_number) = self.out.frame_number else {
            writer.extension(id, descriptor);
            return;
        };
        let mut rewritten = ArrayVec::<u8, MAX_DESCRIPTOR>::new();
        if rewritten.try_extend_from_slice(descriptor).is_ok() {
            dependency_descriptor::set_frame_number(&mut rewritten, frame_number);
            writer.extension(id, &rewritten);
        }
    }
}

/// The newest sealed packets of one transport, to be sent again as they are. It takes no memory before the first.
///
/// A peer without a format for retransmissions (RFC 4588) gets a lost packet again itself. To seal it anew would use its
/// SRTP index twice, with other bytes: the number of congestion control and the time of sending differ (RFC 7714 section
/// 8.1). So what was sealed is kept, and sent again without touching the keys.
#[derive(Default, Debug)]
pub(super) struct SealedHistory {
    /// Source, extended sequence number and transport-wide number of each.
    names: Vec<(Ssrc, SeqNo, Option<u16>)>,
    sealed: Vec<Vec<u8>>,
    /// Where the next goes, once there are as many as may be.
    next: usize,
}

impl SealedHistory {
    /// Keeps a packet in the place of the oldest, if there are `limit` already.
    pub(super) fn keep(&mut self, limit: usize, named: (Ssrc, SeqNo, Option<u16>), sealed: &[u8]) {
        if self.names.len() < limit {
            self.names.push(named);
            self.sealed.push(sealed.to_vec());
            return;
        }
        if let (Some(name), Some(place)) = (self.names.get_mut(self.next), self.sealed.get_mut(self.next)) {
            *name = named;
            place.clear();
            place.extend_from_slice(sealed);
            self.next = (self.next + 1) % limit.max(1);
        }
    }

    /// The packet as it was sealed, and its transport-wide number.
    pub(super) fn find(&self, ssrc: Ssrc, seq: SeqNo) -> Option<(&[u8], Option<u16>)> {
        let at = self.names.iter().position(|name| (name.0, name.1) == (ssrc, seq))?;
        self.sealed.get(at).map(|sealed| (sealed.as_slice(), self.names[at].2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let mut history = SealedHistory::default();
        for seq in 0..10 {
            history.keep(4, (Ssrc(1), SeqNo(seq), Some(seq as u16)), &[seq as u8; 3]);
        }
        for seq in 0..10 {
            let kept = (seq >= 6).then_some([seq as u8; 3]);
            let kept = kept.as_ref().map(|kept| (kept.as_slice(), Some(seq as u16)));
            assert_eq!(history.find(Ssrc(1), SeqNo(seq)), kept);
        }
        assert_eq!(history.find(Ssrc(2), SeqNo(9)), None);
        history.keep(0, (Ssrc(1), SeqNo(99), None), &[]);
    }
}
