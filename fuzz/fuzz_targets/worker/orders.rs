//! The control plane's orders, in any sequence, also about what does not exist.

use crate::call::{Call, ROOM, ROOMS};
use crate::client::{credentials, worker_of};
use sfu_core::command::{Command, EncoderTarget, EncodingTarget, LayerPreference, Quality, Role, Tile, VideoCaps};
use sfu_core::ids::{PublicationId, RoomId, TransportId, WorkerId};
use sfu_rtc::ids::{Mid, PayloadType, Rid, Ssrc};
use sfu_rtc::media::{Codec, Direction, MediaKind, MediaSection, PayloadFormat, SsrcPair};
use sfu_rtc::rtp::extension::{ExtensionKind, ExtensionMap};
use sfu_rtc::time::Duration;
use sfu_rtc::units::Bitrate;

pub(crate) const MID_ID: u8 = 1;
pub(crate) const RID_ID: u8 = 2;
pub(crate) const TRANSPORT_CC_ID: u8 = 3;

/// Two sections that a client publishes on, and two slots; `shape` varies them.
pub(crate) fn sections(id: u64, shape: u8) -> Vec<MediaSection> {
    let base = 0x9000_0000 + 16 * id as u32;
    let mut sections = vec![
        section("0", MediaKind::Audio, Direction::Receive, base),
        section("1", MediaKind::Video, Direction::Receive, base + 2),
        section("2", MediaKind::Audio, Direction::Send, base + 4),
        section("3", MediaKind::Video, Direction::Send, base + 6),
    ];
    if shape & 1 == 0 {
        sections[1].rids = ["q", "f"].into_iter().filter_map(Rid::new).collect();
    }
    if shape & 2 != 0 {
        sections[3].direction = Direction::Inactive;
    }
    if shape & 4 != 0 {
        sections.truncate(2);
    }
    if shape & 8 != 0 {
        sections.push(section("4", MediaKind::Video, Direction::Send, base + 8));
    }
    if shape & 16 != 0 {
        sections.swap(0, 1);
    }
    sections
}

fn section(mid: &str, kind: MediaKind, direction: Direction, ssrc: u32) -> MediaSection {
    let mut extensions = ExtensionMap::default();
    for (id, kind) in (1..).zip([
        ExtensionKind::Mid,
        ExtensionKind::Rid,
        ExtensionKind::TransportCc,
        ExtensionKind::RepairedRid,
        ExtensionKind::AudioLevel,
        ExtensionKind::DependencyDescriptor,
        ExtensionKind::AbsCaptureTime,
        ExtensionKind::PlayoutDelay,
        ExtensionKind::VideoOrientation,
    ]) {
        extensions.set(kind, id);
    }
    let codecs: &[Codec] = match kind {
        MediaKind::Audio => &[Codec::Opus, Codec::OpusRed],
        MediaKind::Video => &[Codec::Vp8, Codec::Vp9, Codec::H264, Codec::H265, Codec::Av1],
    };
    let first = if kind == MediaKind::Audio { 96 } else { 98 };
    let formats = (first..).zip(codecs).map(|(payload_type, codec)| PayloadFormat {
        payload_type: PayloadType(payload_type),
        codec: *codec,
        clock_rate: if kind == MediaKind::Audio { 48_000 } else { 90_000 },
        fmtp: String::new(),
        rtx: (kind == MediaKind::Video).then_some(PayloadType(payload_type + 5)),
    });
    let pair = SsrcPair { media: Ssrc(ssrc), rtx: (kind == MediaKind::Video).then_some(Ssrc(ssrc + 1)) };
    MediaSection {
        mid: Mid::new(mid).expect("a mid"),
        kind,
        direction,
        formats: std::sync::Arc::new(formats.collect()),
        extensions,
        rids: Vec::new(),
        remote_ssrcs: Vec::new(),
        local_ssrcs: (direction == Direction::Send).then_some(pair),
        local_fec: None,
        reduced_rtcp: true,
        remb: true,
        rtx_time: Duration::from_millis(200),
        nack: true,
    }
}

impl Call {
    /// One order: which, about whom, and its details. It goes to the worker of the transport, or to the other one.
    pub(crate) fn order(&mut self, who: usize, bytes: &[u8]) {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let transport = TransportId(who as u64 % 3);
        let publication = PublicationId(u64::from(byte(1) % 6));
        let mid = Mid::new(["0", "1", "2", "3", "4", "x"][usize::from(byte(2)) % 6]).expect("a mid");
        let preference = LayerPreference {
            quality: [Quality::Low, Quality::Medium, Quality::High][usize::from(byte(3)) % 3],
            paused: byte(3) & 0x80 != 0,
            tile: (byte(4) & 0x80 != 0).then(|| Tile { width: u16::from(byte(5)) << 4, height: u16::from(byte(6)) << 4 }),
            role: [Role::Other, Role::Pinned, Role::Screen][usize::from(byte(3) >> 3) % 3],
            priority: byte(4) >> 1 & 1,
        };
        let worker = worker_of(transport) ^ usize::from(byte(4) & 1);
        let command = match byte(0) % 18 {
            0 => Command::OpenRoom { room: RoomId(u64::from(byte(1)) % ROOMS) },
            1 if byte(1) == 0 => Command::CloseRoom { room: ROOM },
            2 => Command::UpdateSections { transport, sections: sections(transport.0, byte(1)) },
            3 => {
                let (local, remote) = (credentials(&format!("new-{}", byte(1))), credentials("renewed"));
                if let Some(client) = self.clients.get_mut(transport.0 as usize) {
                    (client.remote, client.local) = (local.clone(), remote.clone());
                }
                Command::RestartIce { transport, local, remote }
            }
            4 if byte(1) == 0 => Command::RemoveTransport { transport },
            5 => Command::Publish { publication, transport, mid },
            6 => Command::Unpublish { publication },
            7 => Command::SetMuted { publication, muted: byte(2) & 1 != 0 },
            8 => {
                let source = (byte(3) & 0x40 == 0).then_some(publication);
                Command::AssignSlot { transport, mid, source, preference }
            }
            9 => Command::SetPreference { transport, mid, preference },
            10 => Command::RequestKeyframe { publication },
            11 => Command::RelayTo { publication, destination: WorkerId(u16::from(byte(2) % 3)) },
            12 => Command::StopRelay { publication, destination: WorkerId(u16::from(byte(2) % 3)) },
            13 => Command::OpenRelay {
                room: ROOM,
                publication,
                origin: WorkerId(u16::from(byte(2) % 3)),
                sender: TransportId(publication.0 / 2),
                kind: if byte(3) & 1 == 0 { MediaKind::Video } else { MediaKind::Audio },
                rids: ["q", "f"].into_iter().take(usize::from(byte(3) >> 1) % 3).filter_map(Rid::new).collect(),
            },
            14 => {
                self.workers.busy = byte(1) & 1 == 0;
                return;
            }
            15 if byte(1) & 1 == 0 => {
                let bitrate = (byte(2) > 0).then(|| Bitrate::from_bps(u64::from(byte(2)) << (byte(3) % 56)));
                Command::LimitSender { transport, bitrate }
            }
            16 if byte(1) & 0x80 == 0 => Command::CapPublication { publication, caps: caps([byte(2), byte(3), byte(4)]) },
            16 => Command::CapSubscriber { transport, caps: caps([byte(2), byte(3), byte(4)]) },
            17 => {
                let layers = bytes.get(2..).unwrap_or_default().chunks_exact(3).take(3).map(|asked| EncodingTarget {
                    rid: [None, Rid::new("q"), Rid::new("f")][usize::from(asked[0]) % 3],
                    bitrate: bound(asked[1]).map(Bitrate::from_bps),
                    attainable: Bitrate::from_bps(bound(asked[2]).unwrap_or_default()),
                });
                Command::SetEncoderTarget { publication, target: Box::new(EncoderTarget { layers: layers.collect() }) }
            }
            _ => Command::Stats { token: 7 },
        };
        self.command(worker, command);
    }
}

/// Bits per second, from nothing to more than there can be; or no bound.
fn bound(byte: u8) -> Option<u64> {
    (byte < 0xf0).then(|| u64::from(byte & 0xf) << (4 * (byte >> 4)))
}

fn caps([bitrate, framerate, height]: [u8; 3]) -> VideoCaps {
    VideoCaps {
        bitrate: bound(bitrate).map(Bitrate::from_bps),
        framerate: (framerate < 0xf0).then_some(framerate),
        height: (height < 0xf0).then(|| u16::from(height) << 3),
    }
}
