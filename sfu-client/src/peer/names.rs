//! Which section and encoding the packets of simulcast belong to: MID (RFC 8843 section 15) and RID or, in retransmissions,
//! repaired RID (RFC 8852 section 3), since the sources of encodings are not announced.

use super::stage::{Passed, Stage, extension_id};
use bytes::Bytes;
use interceptor::{Packet, Slot, StreamInfo, TaggedPacket};
use rtc::shared::error::Error;
use sfu_rtc::rtp::extension::ExtensionKind;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Behind what makes retransmissions, before the pacer, which counts bytes.
pub(super) const SLOT: Slot = Slot::Custom(3_500);

/// What the packets of one source say.
#[derive(Clone, Debug)]
struct Name {
    mid: Bytes,
    rid: Bytes,
}

/// By SSRC of a media stream that is one of several encodings.
#[derive(Clone, Default)]
pub(super) struct EncodingNames(Arc<Mutex<HashMap<u32, Name>>>);

impl EncodingNames {
    /// The stream `ssrc` is the encoding `rid` of the section `mid`.
    pub(super) fn name(&self, ssrc: u32, mid: &str, rid: &str) {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let name = Name { mid: bytes(mid), rid: bytes(rid) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ssrc, name);
    }

    fn of(&self, ssrc: u32) -> Option<Name> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&ssrc).cloned()
    }
}

/// A source as it was negotiated.
#[derive(Clone, Copy)]
struct Source {
    /// SSRC of the media, also for retransmissions.
    media: u32,
    /// Ids of the header extensions for MID and for RID or repaired RID.
    mid: Option<u8>,
    rid: Option<u8>,
}

/// The interceptor: it names what leaves.
pub(super) struct EncodingNamer {
    names: EncodingNames,
    sources: HashMap<u32, Source>,
}

impl EncodingNamer {
    pub(super) fn new(names: EncodingNames) -> Self {
        Self { names, sources: HashMap::new() }
    }

    fn write_name(&self, packet: &mut rtp::Packet) -> Result<(), Error> {
        let Some(source) = self.sources.get(&packet.header.ssrc) else { return Ok(()) };
        let Some(name) = self.names.of(source.media) else { return Ok(()) };
        for (id, value) in [(source.mid, name.mid), (source.rid, name.rid)] {
            if let Some(id) = id {
                packet.header.set_extension(id, value)?;
            }
        }
        Ok(())
    }
}

impl Stage for EncodingNamer {
    fn write(&mut self, mut message: TaggedPacket, passed: &mut Passed) -> Result<(), Error> {
        if let Packet::Rtp(packet) = &mut message.message.packet {
            self.write_name(packet)?;
        }
        passed.write.push_back(message);
        Ok(())
    }

    fn bind_local(&mut self, info: &StreamInfo) {
        let id_of = |kind| extension_id(info, kind);
        let media = Source { media: info.ssrc, mid: id_of(ExtensionKind::Mid), rid: id_of(ExtensionKind::Rid) };
        self.sources.insert(info.ssrc, media);
        if let Some(rtx) = info.ssrc_rtx {
            self.sources.insert(rtx, Source { rid: id_of(ExtensionKind::RepairedRid), ..media });
        }
    }

    fn unbind_local(&mut self, info: &StreamInfo) {
        for ssrc in [Some(info.ssrc), info.ssrc_rtx].into_iter().flatten() {
            self.sources.remove(&ssrc);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use interceptor::{AttributedPacket, Interceptor, RTPHeaderExtension};
    use rtc::sansio::Protocol;
    use rtc::shared::TransportContext;
    use std::time::Instant;

    #[test]
    fn media_and_retransmissions_of_an_encoding_are_named_and_others_stay_as_they_are() {
        let kinds = [(1, ExtensionKind::Mid), (2, ExtensionKind::Rid), (3, ExtensionKind::RepairedRid)];
        let known = |(id, kind): (u16, ExtensionKind)| RTPHeaderExtension { id, uri: kind.uri().to_owned() };
        let names = EncodingNames::default();
        let mut namer = EncodingNamer::new(names.clone()).staged();
        for (ssrc, rtx) in [(10, 11), (20, 21)] {
            let rtp_header_extensions = kinds.map(known).to_vec();
            namer.bind_local_stream(&StreamInfo {
                ssrc,
                ssrc_rtx: Some(rtx),
                rtp_header_extensions,
                ..Default::default()
            });
        }
        names.name(10, "0", "h");
        let expected =
            [(10, [Some("0"), Some("h"), None]), (11, [Some("0"), None, Some("h")]), (20, [None; 3]), (21, [None; 3])];
        for (ssrc, values) in expected {
            let header = rtp::Header { version: 2, ssrc, ..Default::default() };
            let packet = Packet::Rtp(rtp::Packet { header, payload: Bytes::new() });
            let (now, transport) = (Instant::now(), TransportContext::default());
            namer.handle_write(TaggedPacket { now, transport, message: AttributedPacket::new(packet) }).unwrap();
            let Some(Packet::Rtp(left)) = namer.poll_write().map(|left| left.message.packet) else { panic!("{ssrc}") };
            let found = [1, 2, 3].map(|id| left.header.get_extension(id));
            assert_eq!(found, values.map(|value| value.map(|text| Bytes::copy_from_slice(text.as_bytes()))), "{ssrc}");
        }
    }
}
