//! Pre-encoded media: payloads that a forwarder takes for real ones, each with a stamp by which the receiver knows
//! when and as what it was sent.

mod stamp;
pub mod video;

pub use stamp::Stamp;
pub use video::{PacketInfo, VideoCodec, VideoSource};

/// Opus payload: a TOC byte (RFC 6716 section 3.1: 20 ms, mono, CELT full band), then the stamp, then filling.
pub fn opus_payload(stamp: Stamp, size: usize, out: &mut Vec<u8>) {
    const TOC: u8 = 0xf8;
    out.push(TOC);
    stamp.write(out);
    let filled = out.len();
    out.resize(filled.max(size), 0x55);
}
