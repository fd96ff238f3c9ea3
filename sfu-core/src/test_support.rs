//! What several test modules need.

use crate::slab::{Key, Slab};
use sfu_rtc::codec::FrameFacts;
use sfu_rtc::ids::{Mid, PayloadType, Rid, SeqNo, Ssrc};
use sfu_rtc::media::{Codec, Direction, MediaKind, MediaSection, PayloadFormat, SsrcPair};
use sfu_rtc::packet::{Packet, PacketPool};
use sfu_rtc::rtp::extension::ExtensionMap;
use sfu_rtc::time::{Duration, Instant};

/// A section with one format: VP8 (96, RTX 97) or Opus (111).
pub(crate) fn section(mid: &str, kind: MediaKind, direction: Direction) -> MediaSection {
    let (payload_type, codec, clock_rate, rtx) = match kind {
        MediaKind::Audio => (111, Codec::Opus, 48_000, None),
        MediaKind::Video => (96, Codec::Vp8, 90_000, Some(PayloadType(97))),
    };
    let payload_type = PayloadType(payload_type);
    MediaSection {
        mid: Mid::new(mid).unwrap(),
        kind,
        direction,
        formats: vec![PayloadFormat { payload_type, codec, clock_rate, fmtp: String::new(), rtx }],
        extensions: ExtensionMap::default(),
        rids: Vec::new(),
        remote_ssrcs: Vec::new(),
        local_ssrcs: None,
        cname: "cname".to_owned(),
        rtx_time: Duration::from_millis(200),
        nack: true,
    }
}
