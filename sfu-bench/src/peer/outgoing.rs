//! One RTP stream on its way out.

use super::description::{OPUS, VIDEO_RTX, rtx_of};
use super::extension_id;
use super::parity::ParityOut;
use crate::endpoint::Endpoint;
use sfu_rtc::ids::{PayloadType, SeqNo, Ssrc};
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::rtcp::{SenderInfo, write_sender_report};
use sfu_rtc::rtp::RtpHeader;
use sfu_rtc::rtp::extension::ExtensionKind;
use sfu_rtc::time::{Instant, NtpTime};
use std::collections::VecDeque;

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

    pub(super) fn id(self) -> Option<u8> {
        self.id
    }

    fn take(&mut self) -> [u8; 2] {
        self.next = self.next.wrapping_add(1);
        self.next.to_be_bytes()
    }
}

/// Packets that are kept for those who ask again: a second of 1.5 Mbit/s video.
const HISTORY: usize = 256;

/// What is kept for those who ask again (RFC 4588).
struct History {
    packets: VecDeque<(SeqNo, PacketFacts, Vec<u8>)>,
    next_seq: SeqNo,
    /// What was asked for and not sent again yet.
    wanted: Vec<u16>,
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
    history: Option<History>,
    pub(super) parity: Option<ParityOut>,
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
            history: None,
            parity: None,
        }
    }

    /// Keeps packets for those who ask again.
    pub(super) fn keep_history(&mut self) {
        self.history = Some(History { packets: VecDeque::new(), next_seq: SeqNo(1_000), wanted: Vec::new() });
    }

    /// Somebody asks again.
    pub(super) fn want(&mut self, seqs: impl Iterator<Item = u16>) {
        if let Some(history) = &mut self.history {
            let room = HISTORY - history.wanted.len().min(HISTORY);
            history.wanted.extend(seqs.take(room));
        }
    }

    /// Whether something is to be sent again.
    pub(super) fn has_wanted(&self) -> bool {
        self.history.as_ref().is_some_and(|history| !history.wanted.is_empty())
    }

    /// Sends again what was asked for and is still there.
    pub(super) fn resend(
        &mut self,
        transport_seq: &mut TransportSeq,
        endpoint: &mut Endpoint,
        batch: &mut TransmitBatch,
    ) {
        let Some(mut history) = self.history.take() else { return };
        for wanted in history.wanted.drain(..) {
            let Some((_, facts, payload)) = history.packets.iter().find(|(seq, ..)| seq.wire() == wanted) else {
                continue;
            };
            let repair = [&wanted.to_be_bytes()[..], payload].concat();
            self.write(history.next_seq, true, *facts, &repair, transport_seq, endpoint, batch);
            history.next_seq = history.next_seq.next();
        }
        self.history = Some(history);
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
        self.write(seq, false, facts, payload, transport_seq, endpoint, batch);
        if let Some(history) = &mut self.history {
            if history.packets.len() == HISTORY {
                history.packets.pop_front();
            }
            history.packets.push_back((seq, facts, payload.to_vec()));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a packet, and where it goes")]
    fn write(
        &mut self,
        seq: SeqNo,
        again: bool,
        facts: PacketFacts,
        payload: &[u8],
        transport_seq: &mut TransportSeq,
        endpoint: &mut Endpoint,
        batch: &mut TransmitBatch,
    ) {
        let header = RtpHeader {
            payload_type: if again { PayloadType(VIDEO_RTX) } else { self.payload_type },
            seq: seq.wire(),
            timestamp: facts.timestamp,
            ssrc: if again { rtx_of(self.ssrc) } else { self.ssrc },
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
        let rid = if again { ExtensionKind::RepairedRid } else { ExtensionKind::Rid };
        match self.rid {
            Some(name) => add(extension_id(rid), name.as_bytes()),
            None if self.payload_type.0 == OPUS => add(extension_id(ExtensionKind::AudioLevel), &level),
            None => {}
        }
        endpoint.send_rtp(header, seq, &extensions[..count], payload, batch);
        let Some(parity) = self.parity.as_mut().filter(|_| !again) else { return };
        parity.on_media(header, &extensions[..count], payload);
        while let Some((header, seq, payload)) = parity.next(facts.timestamp) {
            let wide = transport_seq.take();
            let mid = (extension_id(ExtensionKind::Mid), self.mid.as_bytes());
            let extensions = [mid, (transport_seq.id.unwrap_or_default(), &wide[..])];
            let count = 1 + usize::from(transport_seq.id.is_some());
            endpoint.send_rtp(header, seq, &extensions[..count], payload, batch);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_bounded_and_without_a_history_unheard() {
        let mut stream = Outgoing::new(Ssrc(1), 96, 0, None);
        stream.want(0..5);
        assert!(!stream.has_wanted());
        stream.keep_history();
        stream.want(0..5_000);
        stream.want(0..5_000);
        assert_eq!(stream.history.as_ref().unwrap().wanted.len(), HISTORY);
    }
}
