//! Parity beside video that a peer sends (`docs/fec-payload-format.md`), as our own client does.

use super::description::{RS_FEC, parity_of};
use sfu_rtc::codec::frame_class::FrameClassifier;
use sfu_rtc::codec::frame_facts;
use sfu_rtc::fec::{PROTECTION_GROUPS, ProtectedGroups, Protection, Scheme};
use sfu_rtc::ids::{PayloadType, SeqNo, Ssrc};
use sfu_rtc::media::Codec;
use sfu_rtc::rtp::{HeaderWriter, RtpHeader};

/// The parity of one stream of VP8.
pub(super) struct ParityOut {
    ssrc: Ssrc,
    groups: ProtectedGroups,
    classifier: FrameClassifier,
    next_seq: SeqNo,
    packet: Vec<u8>,
    payload: Vec<u8>,
}

impl ParityOut {
    /// For `media`, in whose packets `transport_cc` is the id of the transport-wide sequence number.
    pub(super) fn new(media: Ssrc, transport_cc: Option<u8>) -> Self {
        Self {
            ssrc: parity_of(media),
            groups: ProtectedGroups::new(Scheme::ReedSolomon, media, transport_cc.into_iter().collect()),
            classifier: FrameClassifier::default(),
            next_seq: SeqNo(1_000),
            packet: Vec::new(),
            payload: Vec::new(),
        }
    }

    pub(super) fn protect(&mut self, classes: &[Protection; PROTECTION_GROUPS]) {
        self.groups.protect(classes);
    }

    /// A packet of media leaves.
    pub(super) fn on_media(&mut self, header: RtpHeader, extensions: &[(u8, &[u8])], payload: &[u8]) {
        self.packet.clear();
        let mut writer = HeaderWriter::new(&mut self.packet, header);
        for (id, value) in extensions {
            writer.extension(*id, value);
        }
        writer.finish();
        self.packet.extend_from_slice(payload);
        let facts = frame_facts(Codec::Vp8, payload, header.marker, None).unwrap_or_default();
        let class = self.classifier.classify(&facts, header.timestamp);
        self.groups.on_media(&self.packet, (header.timestamp, header.marker), Some(class.index() as u8));
    }

    /// The next parity packet: its header, number and payload.
    pub(super) fn next(&mut self, timestamp: u32) -> Option<(RtpHeader, SeqNo, &[u8])> {
        let info = self.groups.poll_parity(&mut self.payload)?;
        let seq = self.next_seq;
        self.next_seq = seq.next();
        let payload_type = PayloadType(RS_FEC);
        let header = RtpHeader { payload_type, seq: seq.wire(), timestamp, ssrc: self.ssrc, marker: info.last };
        Some((header, seq, &self.payload))
    }
}
