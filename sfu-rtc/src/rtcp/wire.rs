//! What all RTCP packet types share: packet types, words in, words out.

use crate::ids::Ssrc;

pub(super) const SENDER_REPORT: u8 = 200;
pub(super) const RECEIVER_REPORT: u8 = 201;
pub(super) const SDES: u8 = 202;
pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
pub(super) const PAYLOAD_FEEDBACK: u8 = 206;

/// The 16 bits at `at`.
pub(super) fn u16_at(body: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?))
}

/// The 32 bits at `at`.
pub(super) fn u32_at(body: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?))
}

/// The 64 bits at `at`.
pub(super) fn u64_at(body: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(body.get(at..at + 8)?.try_into().ok()?))
}

/// The source at `at`.
pub(super) fn ssrc_at(body: &[u8], at: usize) -> Option<Ssrc> {
    u32_at(body, at).map(Ssrc)
}

/// The sender and the media source that every feedback packet begins with (RFC 4585 section 6.1).
pub(super) fn feedback_ssrcs(body: &[u8]) -> Option<(Ssrc, Ssrc)> {
    Some((ssrc_at(body, 0)?, ssrc_at(body, 4)?))
}

/// Appends one packet: the header, what `body` writes and, where that ends within a word, padding announced by the
/// P bit (RFC 3550 section 6.4.1).
pub(super) fn write_packet(out: &mut Vec<u8>, count: u8, packet_type: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[(2 << 6) | (count & 0x1f), packet_type, 0, 0]);
    body(out);
    let uneven = (out.len() - start) % 4;
    if uneven != 0 {
        out[start] |= 0x20;
        let padding = 4 - uneven as u8;
        out.resize(out.len() + usize::from(padding) - 1, 0);
        out.push(padding);
    }
    let words = (out.len() - start) / 4 - 1;
    // Every writer bounds what it writes far below this.
    let words = u16::try_from(words).unwrap_or(u16::MAX);
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

/// Appends a source.
pub(super) fn put_ssrc(out: &mut Vec<u8>, ssrc: Ssrc) {
    out.extend_from_slice(&ssrc.0.to_be_bytes());
}

/// Appends 16 bits.
pub(super) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends 32 bits.
pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}
