//! Sections, and packets as browsers send them.

use super::ReceivedPacket;
use sfu_rtc::ids::{PayloadType, Rid, Ssrc};
use sfu_rtc::media::{Codec, Direction, MediaKind, MediaSection, PayloadFormat, SsrcPair};
use sfu_rtc::rtp::extension::{ExtensionKind, ExtensionMap};
use sfu_rtc::time::Duration;
use std::sync::Arc;

pub(crate) const VP8: PayloadType = PayloadType(96);
pub(crate) const VP8_RTX: PayloadType = PayloadType(97);
pub(crate) const OPUS: PayloadType = PayloadType(111);
pub(crate) const H264: PayloadType = PayloadType(102);
pub(crate) const VP9: PayloadType = PayloadType(98);
pub(crate) const RED: PayloadType = PayloadType(63);

/// Ids of the header extensions on every section.
pub(crate) const MEDIA_EXTENSIONS: [(ExtensionKind, u8); 5] = [
    (ExtensionKind::AudioLevel, 1),
    (ExtensionKind::TransportCc, 3),
    (ExtensionKind::Mid, 4),
    (ExtensionKind::Rid, 5),
    (ExtensionKind::RepairedRid, 6),
];

/// A packet of a client.
#[derive(Clone, Debug)]
pub(crate) struct Rtp {
    pub(crate) ssrc: Ssrc,
    pub(crate) payload_type: PayloadType,
    pub(crate) seq: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Vec<u8>,
    pub(crate) extensions: Vec<(ExtensionKind, Vec<u8>)>,
}

impl Rtp {
    pub(crate) fn with(mut self, kind: ExtensionKind, value: &[u8]) -> Self {
        self.extensions.push((kind, value.to_vec()));
        self
    }

    /// The packet sent again (RFC 4588) as number `seq` of `ssrc`.
    pub(crate) fn again(&self, ssrc: Ssrc, seq: u64) -> Self {
        let mut payload = (self.seq as u16).to_be_bytes().to_vec();
        payload.extend_from_slice(&self.payload);
        Self { ssrc, seq, payload_type: VP8_RTX, payload, ..self.clone() }
    }
}

fn format(payload_type: PayloadType, codec: Codec, clock_rate: u32, rtx: Option<PayloadType>) -> PayloadFormat {
    PayloadFormat { payload_type, codec, clock_rate, fmtp: String::new(), rtx }
}

fn section(mid: &str, kind: MediaKind, direction: Direction) -> MediaSection {
    let mut extensions = ExtensionMap::default();
    for (kind, id) in MEDIA_EXTENSIONS {
        assert!(extensions.set(kind, id));
    }
    MediaSection {
        mid: super::mid(mid),
        kind,
        direction,
        formats: Arc::new(match kind {
            MediaKind::Audio => vec![format(OPUS, Codec::Opus, 48_000, None)],
            MediaKind::Video => vec![format(VP8, Codec::Vp8, 90_000, Some(VP8_RTX))],
        }),
        extensions,
        rids: Vec::new(),
        remote_ssrcs: Vec::new(),
        local_ssrcs: None,
        local_fec: None,
        remote_fec: None,
        red: None,
        reduced_rtcp: true,
        remb: true,
        rtx_time: Duration::from_millis(200),
        nack: kind == MediaKind::Video,
    }
}

/// A section on which the client sends.
pub(crate) fn published(mid: &str, kind: MediaKind) -> MediaSection {
    section(mid, kind, Direction::Receive)
}

/// One on which it sends simulcast, lowest first.
pub(crate) fn simulcast(mid: &str, rids: &[&str]) -> MediaSection {
    MediaSection { rids: rids.iter().map(|rid| Rid::new(rid).unwrap()).collect(), ..published(mid, MediaKind::Video) }
}

/// A slot that sends with `ssrc` (and `ssrc + 1` for retransmissions).
pub(crate) fn slot(mid: &str, kind: MediaKind, ssrc: u32) -> MediaSection {
    let rtx = (kind == MediaKind::Video).then_some(Ssrc(ssrc + 1));
    MediaSection { local_ssrcs: Some(SsrcPair { media: Ssrc(ssrc), rtx }), ..section(mid, kind, Direction::Send) }
}

/// Redundant audio is understood, too.
pub(crate) fn with_red(mut section: MediaSection) -> MediaSection {
    Arc::make_mut(&mut section.formats).insert(0, format(RED, Codec::OpusRed, 48_000, None));
    section
}

/// H.264 is understood, too.
pub(crate) fn with_h264(mut section: MediaSection) -> MediaSection {
    Arc::make_mut(&mut section.formats).push(format(H264, Codec::H264, 90_000, None));
    section
}

/// A source of VP8, one packet a frame unless told otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Vp8Source {
    pub(crate) mid: String,
    pub(crate) rid: Option<String>,
    pub(crate) ssrc: Ssrc,
    pub(crate) seq: u64,
    pub(crate) timestamp: u32,
    pub(crate) picture_id: u16,
    pub tl0_pic_idx: u8,
}

impl Vp8Source {
    pub(crate) fn new(mid: &str, ssrc: u32) -> Self {
        Self {
            mid: mid.to_owned(),
            rid: None,
            ssrc: Ssrc(ssrc),
            seq: u64::from(ssrc) * 1_000,
            timestamp: ssrc.wrapping_mul(0x1234_5678),
            picture_id: ssrc as u16 & 0x7fff,
            tl0_pic_idx: ssrc as u8,
        }
    }

    pub(crate) fn layer(mid: &str, rid: &str, ssrc: u32) -> Self {
        Self { rid: Some(rid.to_owned()), ..Self::new(mid, ssrc) }
    }

    /// The next frame, 33.3 ms after the last, as one packet.
    pub(crate) fn frame(&mut self, key: bool) -> Rtp {
        self.packets(key, 1).remove(0)
    }

    /// The next frame as several packets.
    pub(crate) fn packets(&mut self, key: bool, count: usize) -> Vec<Rtp> {
        self.timestamp = self.timestamp.wrapping_add(3_000);
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.tl0_pic_idx = self.tl0_pic_idx.wrapping_add(1);
        (0..count).map(|n| self.packet(key, n == 0, n + 1 == count)).collect()
    }

    fn packet(&mut self, key: bool, first: bool, last: bool) -> Rtp {
        self.seq += 1;
        // RFC 7741 section 4.2: extended, start of partition, then I, L and T, 15 bits of picture id.
        let mut payload = vec![if first { 0x90 } else { 0x80 }, 0xe0, 0x80 | (self.picture_id >> 8) as u8];
        payload.extend_from_slice(&[self.picture_id as u8, self.tl0_pic_idx, 0]);
        if first && key {
            // RFC 6386 section 9.1: frame tag, start code, 640x360.
            payload.extend_from_slice(&[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
        } else {
            payload.extend_from_slice(&[0x11; 10]);
        }
        payload.extend_from_slice(&[0xab; 980]);
        let mut rtp = Rtp {
            ssrc: self.ssrc,
            payload_type: VP8,
            seq: self.seq,
            timestamp: self.timestamp,
            marker: last,
            payload,
            extensions: vec![(ExtensionKind::Mid, self.mid.as_bytes().to_vec())],
        };
        if let Some(rid) = &self.rid {
            rtp = rtp.with(ExtensionKind::Rid, rid.as_bytes());
        }
        rtp
    }
}

/// A source of VP9 with two spatial layers of 320x180 and 640x360: one packet of the lower a picture, and three of the
/// upper.
#[derive(Clone, Debug)]
pub(crate) struct Vp9Source {
    vp8: Vp8Source,
}

impl Vp9Source {
    pub(crate) fn new(mid: &str, ssrc: u32) -> Self {
        Self { vp8: Vp8Source::new(mid, ssrc) }
    }

    /// The next picture.
    pub(crate) fn picture(&mut self, key: bool) -> Vec<Rtp> {
        let mut packets = self.vp8.packets(false, 4);
        let picture_id = self.vp8.picture_id;
        for (n, packet) in packets.iter_mut().enumerate() {
            let (spatial, begins, ends) = (u8::from(n > 0), n < 2, n == 0 || n == 3);
            let structure = key && n == 0;
            // RFC 9628 section 4.2: I, P, L, B, E, V; a picture id of 15 bits; the layer; TL0PICIDX.
            let flag = |set: bool, flag: u8| if set { flag } else { 0 };
            let flags = 0xa0 | flag(!key, 0x40) | flag(begins, 8) | flag(ends, 4) | flag(structure, 2);
            let id = (0x8000 | picture_id).to_be_bytes();
            let mut payload = vec![flags, id[0], id[1], spatial << 1 | flag(n > 0, 1), self.vp8.tl0_pic_idx];
            if structure {
                payload.push(0x30); // two layers with their sizes
                for side in [320_u16, 180, 640, 360] {
                    payload.extend_from_slice(&side.to_be_bytes());
                }
            }
            payload.extend_from_slice(&[0xab; 980]);
            (packet.payload, packet.payload_type) = (payload, VP9);
        }
        packets
    }
}

/// VP9 instead of VP8.
pub(crate) fn as_vp9(section: MediaSection) -> MediaSection {
    MediaSection { formats: Arc::new(vec![format(VP9, Codec::Vp9, 90_000, None)]), ..section }
}

/// Picture id and TL0PICIDX of a packet that [`Vp8Source`] made, after rewriting.
pub(crate) fn vp8_ids(payload: &[u8]) -> (u16, u8) {
    (u16::from_be_bytes([payload[2] & 0x7f, payload[3]]), payload[4])
}

/// A source of Opus, 20 ms a packet.
#[derive(Clone, Debug)]
pub(crate) struct OpusSource {
    pub(crate) mid: String,
    pub(crate) ssrc: Ssrc,
    pub(crate) seq: u64,
    pub(crate) timestamp: u32,
}

impl OpusSource {
    pub(crate) fn new(mid: &str, ssrc: u32) -> Self {
        Self { mid: mid.to_owned(), ssrc: Ssrc(ssrc), seq: u64::from(ssrc) * 7, timestamp: ssrc.wrapping_mul(77_777) }
    }

    pub(crate) fn packet(&mut self, level: u8) -> Rtp {
        self.seq += 1;
        self.timestamp = self.timestamp.wrapping_add(960);
        Rtp {
            ssrc: self.ssrc,
            payload_type: OPUS,
            seq: self.seq,
            timestamp: self.timestamp,
            marker: false,
            payload: vec![0xfc; 80],
            extensions: vec![
                (ExtensionKind::Mid, self.mid.as_bytes().to_vec()),
                (ExtensionKind::AudioLevel, vec![0x80 | level]),
            ],
        }
    }
}

/// Numbers, times and picture ids go on without a gap.
pub(crate) fn assert_continuous(packets: &[ReceivedPacket]) {
    for pair in packets.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.next());
        assert!((pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32) >= 0);
        let (before, after) = (vp8_ids(&pair[0].payload), vp8_ids(&pair[1].payload));
        let new_frame = u16::from(pair[0].marker);
        assert_eq!(after.0, (before.0 + new_frame) & 0x7fff);
        assert_eq!(after.1, before.1.wrapping_add(new_frame as u8));
    }
}
