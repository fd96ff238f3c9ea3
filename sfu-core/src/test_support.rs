//! What several test modules need.

use crate::ids::PublicationId;
use sfu_rtc::ids::{Mid, PayloadType, SeqNo, Ssrc};
use sfu_rtc::media::{Codec, Direction, MediaKind, MediaSection, PayloadFormat};
use sfu_rtc::packet::{Packet, PacketData, PacketPool};
use sfu_rtc::rtp::extension::ExtensionMap;
use sfu_rtc::time::{Duration, Instant};
use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    /// The publication whose next fan-out panics.
    pub(crate) static PANICS: Cell<Option<PublicationId>> = const { Cell::new(None) };
}

/// For tests of what is left after a panic.
pub(crate) fn panic_on_demand(publication: PublicationId) {
    if PANICS.get() == Some(publication) {
        PANICS.set(None);
        panic!("for the test");
    }
}

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
        formats: Arc::new(vec![PayloadFormat { payload_type, codec, clock_rate, fmtp: String::new(), rtx }]),
        extensions: ExtensionMap::default(),
        rids: Vec::new(),
        remote_ssrcs: Vec::new(),
        local_ssrcs: None,
        local_fec: None,
        remote_fec: None,
        red: None,
        reduced_rtcp: true,
        remb: true,
        rtx_time: Duration::from_millis(200),
        nack: true,
    }
}

/// A packet of VP8 in one frame of its own, unless `adapt` says otherwise.
pub(crate) fn packet(seq: u64, timestamp: u32, adapt: impl FnOnce(&mut PacketData)) -> Packet {
    let packet = PacketPool::new(1).take(|data| {
        data.arrival = Instant::ZERO;
        data.ssrc = Ssrc(1);
        data.payload_type = PayloadType(96);
        data.codec = Codec::Vp8;
        data.seq = SeqNo(seq);
        data.timestamp = timestamp;
        data.marker = true;
        (data.frame.start_of_frame, data.frame.end_of_frame) = (true, true);
        adapt(data);
        data.set_bytes(&[0; 40], 12..40)
    });
    packet.unwrap()
}
