//! Parity for what a section sends (FlexFEC-03): which packets are protected together, and when their parity leaves.
//!
//! A packet is protected as it is written for the peer, before it is sealed. What changes as it leaves, send time and
//! transport-wide number, counts as zero: libwebrtc's receiver zeroes both before it computes
//! (`RtpPacket::ZeroMutableExtensions`), since its sender computes parity before it writes them.

use super::Transport;
use super::send::{PayloadEdit, QueuedPacket, Repeat, RtpOut, size_of};
use crate::fec::{self, Encoder, EncoderConfig, MutableExtensions, Scheme};
use crate::ids::{SeqNo, Ssrc};
use crate::media::{FecStream, MediaSection};
use crate::pacer::PacketClass;
use crate::packet::PacketPool;
use crate::rtp::extension::ExtensionKind;
use arrayvec::ArrayVec;

/// Groups of packets that a section protects apart from each other.
pub const PROTECTION_GROUPS: usize = 4;
/// Parity packets of one transport that wait in the pacer; of more, the newest are not sent.
const MAX_WAITING: usize = 192;

/// How much parity a group gets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Protection {
    /// Parity packets per block; none for no protection.
    pub parity: u8,
    /// A block ends with the frame by which so many frames, of whatever group, were sent since it began: at least one.
    pub frames: u8,
}

/// Protects what one section sends.
#[derive(Debug)]
pub(super) struct Protector {
    stream: FecStream,
    media: Ssrc,
    mutable: MutableExtensions,
    /// The number that the next parity packet gets.
    seq: SeqNo,
    /// Each is made when it is first needed.
    groups: [Option<Box<Group>>; PROTECTION_GROUPS],
    /// The frame that is being sent.
    frame: Option<u32>,
}

#[derive(Debug)]
struct Group {
    encoder: Encoder,
    wanted: Protection,
    /// Frames since the block began; `None` while there is none.
    frames: Option<u8>,
}

impl Protector {
    /// For what `section` sends. The number goes on where `before` was, if that had the same source.
    fn new(section: &MediaSection, before: Option<&Self>) -> Option<Self> {
        let (stream, media) = (section.local_fec?, section.local_ssrcs?.media);
        let mutable = [ExtensionKind::TransportCc, ExtensionKind::AbsSendTime];
        // In the lower half, as RFC 3711 section 3.3.1 wants it for the rollover counter.
        let first = SeqNo(u64::from(stream.ssrc.0 & 0x7fff));
        Some(Self {
            stream,
            media,
            mutable: mutable.iter().filter_map(|kind| section.extensions.id(*kind)).collect(),
            seq: before.filter(|before| before.stream.ssrc == stream.ssrc).map_or(first, |before| before.seq),
            groups: Default::default(),
            frame: None,
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
        (self.stream, self.media, &self.mutable) == (other.stream, other.media, &other.mutable)
    }

    fn protect(&mut self, wanted: &[Protection; PROTECTION_GROUPS]) {
        for (group, wanted) in self.groups.iter_mut().zip(wanted) {
            match group {
                Some(group) => group.set(*wanted),
                None if wanted.parity == 0 => {}
                None => {
                    let config = EncoderConfig {
                        scheme: Scheme::FlexFec03,
                        // Blocks are ended here, since frames of other groups count too.
                        window: fec::Window::Block(u8::MAX),
                        streams: ArrayVec::from_iter([self.media]),
                        mutable_extensions: self.mutable.clone(),
                    };
                    let mut fresh = Group { encoder: Encoder::new(config), wanted: *wanted, frames: None };
                    fresh.set(*wanted);
                    *group = Some(Box::new(fresh));
                }
            }
        }
    }

    /// Whether packets of `group` are protected now.
    pub(super) fn protects(&self, group: Option<u8>) -> bool {
        let group = group.and_then(|group| self.groups.get(usize::from(group))?.as_ref());
        group.is_some_and(|group| group.is_active())
    }

    /// A packet of media leaves. Whether parity is ready after it.
    pub(super) fn on_media(&mut self, packet: &[u8], out: &RtpOut) -> bool {
        if self.frame.is_some_and(|frame| frame != out.timestamp) {
            self.end_frame();
        }
        self.frame = Some(out.timestamp);
        let group = out.group.and_then(|group| self.groups.get_mut(usize::from(group))?.as_mut());
        if let Some(group) = group.filter(|group| group.is_active())
            // One that comes late, behind those that followed it, is not protected.
            && group.encoder.add(packet).is_ok()
        {
            group.frames.get_or_insert(0);
        }
        if out.marker {
            self.end_frame();
        }
        self.groups.iter().flatten().any(|group| group.encoder.has_parity())
    }

    fn end_frame(&mut self) {
        self.frame = None;
        for group in self.groups.iter_mut().flatten() {
            let Some(frames) = &mut group.frames else { continue };
            *frames += 1;
            if *frames >= group.wanted.frames {
                group.frames = None;
                group.encoder.end_window();
            }
        }
    }

    /// Writes the payload of the next parity packet.
    fn poll_parity(&mut self, out: &mut Vec<u8>) -> bool {
        self.groups.iter_mut().flatten().any(|group| group.encoder.poll_parity(out).is_some())
    }
}

impl Group {
    fn set(&mut self, wanted: Protection) {
        self.wanted = wanted;
        self.encoder.set_parity(wanted.parity.into());
    }

    /// Whether its packets are protected, or a block that was begun goes on.
    fn is_active(&self) -> bool {
        self.wanted.parity > 0 || self.frames.is_some()
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
            protector.protect(groups);
        }
    }

    /// Queues the parity that `section` has ready.
    pub(super) fn queue_parity(&mut self, section: usize, timestamp: u32) {
        let Self { senders, parity, pacer, .. } = self;
        let Some(protector) = senders.get_mut(section).and_then(|sender| sender.protector.as_mut()) else { return };
        while protector.poll_parity(&mut parity.payload) {
            let len = parity.payload.len();
            let Some(packet) = parity.pool.take(|data| data.set_bytes(&parity.payload, 0..len)) else { continue };
            let out = RtpOut {
                section,
                ssrc: protector.stream.ssrc,
                payload_type: protector.stream.payload_type,
                // Numbered as it leaves.
                seq: SeqNo(0),
                timestamp,
                marker: false,
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
