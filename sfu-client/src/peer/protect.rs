//! Parity beside the video that we send (`docs/fec-payload-format.md`), as much of it as we are told to.

use super::fec::MUTABLE;
use super::stage::{Passed, Stage, extension_id};
use interceptor::{AttributedPacket, Packet, Slot, StreamInfo, TaggedPacket};
use rtc::shared::error::Error;
use rtc::shared::marshal::Marshal;
use sfu_rtc::codec::frame_class::{CLASSES, FrameClass, FrameClassifier};
use sfu_rtc::codec::frame_facts;
use sfu_rtc::fec::{ProtectedGroups, Protection, Scheme};
use sfu_rtc::ids::Ssrc;
use sfu_rtc::media::Codec;
use sfu_rtc::packet::MAX_PACKET;
use sfu_rtc::rtp::extension::ExtensionKind;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Before whatever numbers or keeps packets that leave: parity is numbered as they are, and is not sent again.
pub(super) const SLOT: Slot = Slot::FecEncoder;

/// How the frames of a sent stream are protected.
#[derive(Default)]
pub struct ParityControl(Mutex<Wanted>);

#[derive(Clone, Copy, Default)]
struct Wanted {
    /// The far side takes parity.
    is_taken: bool,
    classes: [Protection; CLASSES],
    sent: u64,
}

impl ParityControl {
    /// Whether the far side takes parity for it.
    pub fn is_taken(&self) -> bool {
        self.read().is_taken
    }

    /// Parity packets sent.
    pub fn sent(&self) -> u64 {
        self.read().sent
    }

    /// Protects blocks that begin from now on, by class of frame.
    pub fn protect(&self, classes: [Protection; CLASSES]) {
        self.change(|wanted| wanted.classes = classes);
    }

    fn read(&self) -> Wanted {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// By SSRC of the sent stream.
#[derive(Clone, Default)]
pub(super) struct ParityControls(Arc<Mutex<HashMap<u32, Arc<ParityControl>>>>);

impl ParityControls {
    /// That of one stream.
    pub(super) fn of(&self, ssrc: u32) -> Arc<ParityControl> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(ssrc).or_default().clone()
    }
}

/// The interceptor: it adds parity behind the video that leaves.
pub(super) struct ParitySender {
    controls: ParityControls,
    streams: HashMap<u32, Stream>,
    /// Where a packet is written that leaves, and the payload of its parity.
    wire: Vec<u8>,
    payload: Vec<u8>,
}

/// A stream for which parity was negotiated.
struct Stream {
    control: Arc<ParityControl>,
    ssrc: u32,
    payload_type: u8,
    seq: u16,
    groups: ProtectedGroups,
    classifier: FrameClassifier,
    /// Header extension that is written when a packet leaves: parity is made with its value as zero, and its place.
    transport_cc: Option<u8>,
}

impl ParitySender {
    pub(super) fn new(controls: ParityControls) -> Self {
        Self { controls, streams: HashMap::new(), wire: vec![0; MAX_PACKET], payload: Vec::new() }
    }
}

impl Stream {
    /// Whether parity is ready after `packet`, which is written to `wire`.
    fn protect(&mut self, packet: &mut rtp::Packet, wire: &mut [u8]) -> bool {
        self.groups.protect(&self.control.read().classes);
        if let Some(id) = self.transport_cc {
            // In its place already, so that it is where it will be on the wire.
            let _ = packet.header.set_extension(id, bytes::Bytes::from_static(&[0; 2]));
        }
        let (timestamp, marker) = (packet.header.timestamp, packet.header.marker);
        let facts = frame_facts(Codec::H264, &packet.payload, marker, None).unwrap_or_default();
        let class: FrameClass = self.classifier.classify(&facts, timestamp);
        let Ok(len) = packet.marshal_to(wire) else { return false };
        self.groups.on_media(&wire[..len], (timestamp, marker), Some(class.index() as u8))
    }

    fn next_parity(&mut self, timestamp: u32, payload: &mut Vec<u8>) -> Option<rtp::Packet> {
        let info = self.groups.poll_parity(payload)?;
        let header = rtp::Header {
            version: 2,
            marker: info.last,
            payload_type: self.payload_type,
            sequence_number: self.seq,
            timestamp,
            ssrc: self.ssrc,
            ..Default::default()
        };
        self.seq = self.seq.wrapping_add(1);
        self.control.change(|wanted| wanted.sent += 1);
        Some(rtp::Packet { header, payload: bytes::Bytes::copy_from_slice(payload) })
    }
}

impl Stage for ParitySender {
    fn write(&mut self, mut message: TaggedPacket, passed: &mut Passed) -> Result<(), Error> {
        let Self { streams, wire, payload, .. } = self;
        let (now, transport) = (message.now, message.transport);
        let mut ready = None;
        if let Packet::Rtp(packet) = &mut message.message.packet
            && let Some(stream) = streams.get_mut(&packet.header.ssrc)
        {
            let timestamp = packet.header.timestamp;
            ready = stream.protect(packet, wire).then_some((stream, timestamp));
        }
        passed.write.push_back(message);
        if let Some((stream, timestamp)) = ready {
            while let Some(parity) = stream.next_parity(timestamp, payload) {
                let message = AttributedPacket::new(Packet::Rtp(parity));
                passed.write.push_back(TaggedPacket { now, transport, message });
            }
        }
        Ok(())
    }

    fn bind_local(&mut self, info: &StreamInfo) {
        let (Some(parity), Some(payload_type)) = (info.ssrc_fec, info.payload_type_fec) else { return };
        let id_of = |kind| extension_id(info, kind);
        let control = self.controls.of(info.ssrc);
        control.change(|wanted| wanted.is_taken = true);
        let mutable = MUTABLE.into_iter().filter_map(id_of).collect();
        let stream = Stream {
            control,
            ssrc: parity,
            payload_type,
            // In the lower half, as RFC 3711 section 3.3.1 wants it for the rollover counter.
            seq: (parity & 0x7fff) as u16,
            groups: ProtectedGroups::new(Scheme::ReedSolomon, Ssrc(info.ssrc), mutable),
            classifier: FrameClassifier::default(),
            transport_cc: id_of(ExtensionKind::TransportCc),
        };
        self.streams.insert(info.ssrc, stream);
    }

    fn unbind_local(&mut self, info: &StreamInfo) {
        if self.streams.remove(&info.ssrc).is_some() {
            self.controls.of(info.ssrc).change(|wanted| wanted.is_taken = false);
        }
    }
}

#[cfg(test)]
mod tests;
