//! Recovers lost packets of received video from parity (Reed-Solomon or FlexFEC-03), before the rest of the client can miss them.

use super::media::RS_FEC_PAYLOAD_TYPE;
use super::stage::{Passed, Stage, extension_id};
use interceptor::{Attribute, AttributedPacket, Packet, Slot, StreamInfo, TaggedPacket};
use rtc::shared::TransportContext;
use rtc::shared::marshal::{Marshal, Unmarshal};
use sfu_rtc::fec::{DecoderStats, FecReceiver, MAX_MUTABLE, MutableExtensions, Scheme};
use sfu_rtc::ids::Ssrc;
use sfu_rtc::packet::MAX_PACKET;
use sfu_rtc::rtp::extension::ExtensionKind;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Behind whatever reports what the path delivered: parity was delivered, what it recovers was not.
pub(super) const SLOT: Slot = Slot::Custom(13_500);
/// What is written into packets as they leave, and so protected as zero.
pub(super) const MUTABLE: [ExtensionKind; 2] = [ExtensionKind::TransportCc, ExtensionKind::AbsSendTime];

/// What came of parity so far, by SSRC of the received media stream.
#[derive(Clone, Default)]
pub(super) struct FecWatch(Arc<Mutex<HashMap<u32, DecoderStats>>>);

impl FecWatch {
    /// That of one stream; nothing where no parity is expected for it.
    pub(super) fn read(&self, ssrc: u32) -> DecoderStats {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&ssrc).copied().unwrap_or_default()
    }

    fn write(&self, ssrc: u32, stats: DecoderStats) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ssrc, stats);
    }
}

/// The interceptor. Parity ends here; what is recovered goes on as if it had come.
pub(super) struct FecInterceptor {
    watch: FecWatch,
    receiver: FecReceiver,
    /// Where a packet is written that came.
    wire: Vec<u8>,
    recovered: Vec<u8>,
}

impl FecInterceptor {
    pub(super) fn new(watch: FecWatch) -> Self {
        Self { watch, receiver: FecReceiver::default(), wire: vec![0; MAX_PACKET], recovered: Vec::new() }
    }

    /// Tells the decoders of a packet, as it was on the wire.
    fn take(&mut self, packet: &rtp::Packet) {
        // How long its padding was is not known any more, so it is not the packet that was protected.
        if packet.header.padding {
            return;
        }
        // One that is too long to be written is too long to be protected.
        if let Ok(len) = packet.marshal_to(&mut self.wire) {
            self.receiver.on_packet(&self.wire[..len]);
        }
    }

    fn pass_on_recovered(&mut self, now: Instant, transport: TransportContext, passed: &mut Passed) {
        while self.receiver.poll_recovered(&mut self.recovered).is_some() {
            let Ok(packet) = rtp::Packet::unmarshal(&mut self.recovered.as_slice()) else { continue };
            let message = AttributedPacket::new(Packet::Rtp(packet)).with(Attribute::RecoveredByFec);
            passed.read.push_back(TaggedPacket { now, transport, message });
        }
    }
}

impl Stage for FecInterceptor {
    fn read(&mut self, message: TaggedPacket, passed: &mut Passed) {
        let Packet::Rtp(packet) = &message.message.packet else {
            passed.read.push_back(message);
            return;
        };
        let ssrc = Ssrc(packet.header.ssrc);
        let protected = self.receiver.protected_by(ssrc);
        let Some(media) = protected.or_else(|| self.receiver.protects(ssrc).then_some(ssrc)) else {
            passed.read.push_back(message);
            return;
        };
        self.take(packet);
        let (now, transport) = (message.now, message.transport);
        if protected.is_none() {
            passed.read.push_back(message);
        }
        self.pass_on_recovered(now, transport, passed);
        if let Some(stats) = self.receiver.stats(media) {
            self.watch.write(media.0, stats);
        }
    }

    fn bind_remote(&mut self, info: &StreamInfo) {
        let (Some(parity), Some(payload_type)) = (info.ssrc_fec, info.payload_type_fec) else { return };
        let scheme = if payload_type == RS_FEC_PAYLOAD_TYPE { Scheme::ReedSolomon } else { Scheme::FlexFec03 };
        let ids = MUTABLE.into_iter().filter_map(|kind| extension_id(info, kind));
        let mutable: MutableExtensions = ids.take(MAX_MUTABLE).collect();
        if !self.receiver.add(scheme, Ssrc(info.ssrc), Ssrc(parity), mutable) {
            tracing::debug!(info.ssrc, parity, "parity is not used");
        }
    }

    fn unbind_remote(&mut self, info: &StreamInfo) {
        self.receiver.remove(Ssrc(info.ssrc));
    }
}

#[cfg(test)]
mod tests;
