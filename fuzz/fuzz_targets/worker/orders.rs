//! The control plane's orders, in any sequence, also about what does not exist.

use crate::call::{Call, ROOM, ROOMS};
use crate::client::{credentials, sections, worker_of};
use sfu_core::command::{Command, EncoderTarget, EncodingTarget, LayerPreference, Quality, Role, Tile, VideoCaps};
use sfu_core::ids::{PublicationId, RoomId, TransportId, WorkerId};
use sfu_rtc::ids::{Mid, Rid};
use sfu_rtc::media::MediaKind;
use sfu_rtc::units::Bitrate;

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
            tile: (byte(4) & 0x80 != 0)
                .then(|| Tile { width: u16::from(byte(5)) << 4, height: u16::from(byte(6)) << 4 }),
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
            16 if byte(1) & 0x80 == 0 => {
                Command::CapPublication { publication, caps: caps([byte(2), byte(3), byte(4)]) }
            }
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
