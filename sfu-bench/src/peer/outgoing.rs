//! One RTP stream on its way out.

use super::description::OPUS;
use super::extension_id;
use crate::endpoint::Endpoint;
use sfu_rtc::ids::{PayloadType, SeqNo, Ssrc};
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::rtcp::{SenderInfo, write_sender_report};
use sfu_rtc::rtp::RtpHeader;
use sfu_rtc::rtp::extension::ExtensionKind;
use sfu_rtc::time::{Instant, NtpTime};

/// What differs from packet to packet.
#[derive(Clone, Copy)]
pub(super) struct PacketFacts {
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    /// Audio level (RFC 6464); without meaning for video.
    pub(super) level: u8,
}

/// The transport-wide sequence number of a peer (draft-holmer-rmcat-transport-wide-cc-extensions-01).
#[derive(Clone, Copy)]
pub(super) struct TransportSeq {
    id: Option<u8>,
    next: u16,
}

impl TransportSeq {
    /// `id` is that of the extension, where it was negotiated.
    pub(super) fn new(id: Option<u8>) -> Self {
        Self { id, next: 0 }
    }

    fn take(&mut self) -> [u8; 2] {
        self.next = self.next.wrapping_add(1);
        self.next.to_be_bytes()
    }
}

/// One RTP stream.
pub(super) struct Outgoing {
    pub(super) ssrc: Ssrc,
    payload_type: PayloadType,
    mid: String,
    rid: Option<&'static str>,
    next_seq: SeqNo,
    packets: u32,
    octets: u32,
    /// Timestamp of the last packet, and when it was sent.
    last: Option<(u32, Instant)>,
}

impl Outgoing {
    pub(super) fn new(ssrc: Ssrc, payload_type: u8, mid: usize, rid: Option<&'static str>) -> Self {
        Self {
            ssrc,
            payload_type: PayloadType(payload_type),
            mid: mid.to_string(),
            rid,
            next_seq: SeqNo(1_000),
            packets: 0,
            octets: 0,
            last: None,
        }
    }

    pub(super) fn send(
        &mut self,
        now: Instant,
        facts: PacketFacts,
        payload: &[u8],
        transport_seq: &mut TransportSeq,
        endpoint: &mut Endpoint,
        batch: &mut TransmitBatch,
    ) {
        let seq = self.next_seq;
        self.next_seq = seq.next();
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        self.last = Some((facts.timestamp, now));
        let header = RtpHeader {
            payload_type: self.payload_type,
            seq: seq.wire(),
            timestamp: facts.timestamp,
            ssrc: self.ssrc,
            marker: facts.marker,
        };
        let wide = transport_seq.take();
        let level = [facts.level];
        let mut extensions: [(u8, &[u8]); 3] = [(extension_id(ExtensionKind::Mid), self.mid.as_bytes()); 3];
        let mut count = 1;
        let mut add = |id, value| {
            extensions[count] = (id, value);
            count += 1;
        };
        if let Some(id) = transport_seq.id {
            add(id, &wide);
        }
        match self.rid {
            Some(rid) => add(extension_id(ExtensionKind::Rid), rid.as_bytes()),
            None if self.payload_type.0 == OPUS => add(extension_id(ExtensionKind::AudioLevel), &level),
            None => {}
        }
        endpoint.send_rtp(header, seq, &extensions[..count], payload, batch);
    }

    /// Appends a sender report (RFC 3550 section 6.4.1), if anything was sent.
    pub(super) fn report(&self, now: Instant, ntp: NtpTime, buf: &mut Vec<u8>) {
        let Some((timestamp, at)) = self.last else { return };
        let clock_rate = if self.payload_type.0 == OPUS { 48_000 } else { 90_000 };
        let since = (now - at).as_micros() as u64 * clock_rate / 1_000_000;
        let rtp = timestamp.wrapping_add(since as u32);
        let (packets, octets) = (self.packets, self.octets);
        write_sender_report(buf, &SenderInfo { ssrc: self.ssrc, ntp, rtp, packets, octets }, &[]);
    }
}
