//! SRTP and SRTCP (RFC 3711) with AES-GCM (RFC 7714) and, as a fallback, AES-CM with HMAC-SHA1.
//!
//! One [`SrtpSender`] and one [`SrtpReceiver`] per transport. Neither allocates per packet, and the receiver keeps
//! nothing for a source until a packet of it has been authenticated.
//!
//! ```text
//! SRTP   | RTP header | encrypted payload          | tag                     |
//! SRTCP  | header, 8 bytes | encrypted rest | tag | E and index, 4 bytes     |   AES-GCM
//! SRTCP  | header, 8 bytes | encrypted rest | E and index, 4 bytes | tag     |   AES-CM
//! ```

mod cipher;
mod keys;
mod open;
mod replay;
mod seal;

pub use keys::{KeyingMaterial, MasterKey, SrtpProfile};
pub use open::{Opened, SrtpReceiver};
pub use replay::REPLAY_WINDOW;
pub use seal::SrtpSender;

/// Bytes of an RTCP packet that stay in clear: first word and SSRC of the sender (RFC 3711 section 3.4).
const RTCP_CLEAR: usize = 8;
/// E flag and SRTCP index.
const RTCP_INDEX: usize = 4;
/// The flag in that word which says that the packet is encrypted.
const RTCP_ENCRYPTED: u32 = 1 << 31;
/// Fixed part of an RTP header; no packet is shorter.
const RTP_HEADER: usize = 12;

/// Four bytes of `packet` in network order. The callers have checked the length.
fn word(packet: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&packet[at..at + 4]);
    u32::from_be_bytes(bytes)
}

/// Bytes of test vectors.
#[cfg(test)]
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[cfg(test)]
mod tests;
