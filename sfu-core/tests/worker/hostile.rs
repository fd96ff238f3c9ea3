//! Authenticated peers that send nonsense, and orders in any order: nothing panics, nothing grows without bound.

use crate::support::media::*;
use crate::support::{ROOM, ReceivedPacket, World, id, mid};
use proptest::prelude::*;
use sfu_core::command::{Command, LayerPreference, Quality};
use sfu_core::config::WorkerConfig;
use sfu_core::ids::PublicationId;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::{PayloadType, Ssrc};
use sfu_rtc::media::MediaKind::*;
use sfu_rtc::media::{Codec, Direction, MediaSection};
use sfu_rtc::rtp::extension::ExtensionKind;

const CLIENTS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Pass(u16),
    /// Media as it should be, but its numbers leap.
    Media {
        client: usize,
        layer: usize,
        key: bool,
        leap: u16,
    },
    /// Any payload at all.
    Nonsense {
        client: usize,
        ssrc: u32,
        payload_type: u8,
        seq: u16,
        mid: bool,
        payload: Vec<u8>,
    },
    Rtcp {
        client: usize,
        packet_type: u8,
        count: u8,
        body: Vec<u8>,
    },
    /// Not even authentic.
    Noise {
        client: usize,
        bytes: Vec<u8>,
    },
    Assign {
        client: usize,
        slot: usize,
        source: Option<u64>,
    },
    Prefer {
        client: usize,
        slot: usize,
        quality: u8,
        paused: bool,
    },
    Publish {
        client: usize,
        publication: u64,
        section: usize,
    },
    Unpublish(u64),
    Mute(u64, bool),
    Sections {
        client: usize,
        without: usize,
    },
    /// A section stops, goes on and carries what it carried or something else.
    Toggle {
        client: usize,
        slot: usize,
        source: u64,
    },
    Remove(usize),
    Join,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS + 2;
    let bytes = prop::collection::vec(any::<u8>(), 0..120);
    prop_oneof![
        6 => (0_u16..400).prop_map(Step::Pass),
        20 => (client.clone(), 0_usize..3, any::<bool>(), prop_oneof![9 => Just(0), 1 => any::<u16>()])
            .prop_map(|(client, layer, key, leap)| Step::Media { client, layer, key, leap }),
        6 => (client.clone(), 0_u32..40, any::<u8>(), any::<u16>(), any::<bool>(), bytes.clone()).prop_map(
            |(client, ssrc, payload_type, seq, mid, payload)| {
                let payload_type = [96, 97, 111, payload_type & 0x7f][usize::from(payload_type >> 6)];
                Step::Nonsense { client, ssrc, payload_type, seq, mid, payload }
            }),
        6 => (client.clone(), 200_u8..208, 0_u8..32, bytes.clone())
            .prop_map(|(client, packet_type, count, body)| Step::Rtcp { client, packet_type, count, body }),
        2 => (client.clone(), bytes).prop_map(|(client, bytes)| Step::Noise { client, bytes }),
        4 => (client.clone(), 0_usize..3, prop::option::of(0_u64..6))
            .prop_map(|(client, slot, source)| Step::Assign { client, slot, source }),
        3 => (client.clone(), 0_usize..3, 0_u8..3, any::<bool>())
            .prop_map(|(client, slot, quality, paused)| Step::Prefer { client, slot, quality, paused }),
        3 => (client.clone(), 0_u64..6, 0_usize..2)
            .prop_map(|(client, publication, section)| Step::Publish { client, publication, section }),
        1 => (0_u64..6).prop_map(Step::Unpublish),
        2 => (0_u64..6, any::<bool>()).prop_map(|(publication, muted)| Step::Mute(publication, muted)),
        1 => (client.clone(), 0_usize..8).prop_map(|(client, without)| Step::Sections { client, without }),
        3 => (client.clone(), 0_usize..3, 0_u64..3)
            .prop_map(|(client, slot, source)| Step::Toggle { client, slot, source }),
        1 => client.prop_map(Step::Remove),
        1 => Just(Step::Join),
    ]
}

fn sections() -> Vec<MediaSection> {
    vec![
        published("0", Audio),
        simulcast("1", &["q", "h", "f"]),
        slot("2", Video, 0x7000),
        slot("3", Video, 0x7100),
        slot("4", Audio, 0x7200),
    ]
}

const SLOTS: [&str; 3] = ["2", "3", "4"];

struct Attack {
    world: World,
    layers: Vec<Vec<Vp8Source>>,
}

impl Attack {
    fn new() -> Self {
        let mut world = World::with(WorkerConfig { max_packets: 4_096, max_transports: 4, ..WorkerConfig::default() });
        let layers = (0..CLIENTS + 2).map(|_| {
            ["q", "h", "f"].iter().zip([10, 20, 30]).map(|(rid, ssrc)| Vp8Source::layer("1", rid, ssrc)).collect()
        });
        let layers = layers.collect();
        for client in 0..CLIENTS {
            world.join(sections());
            let publication = PublicationId(client as u64);
            world.command(Command::Publish { publication, transport: id(client), mid: mid("1") });
        }
        Self { world, layers }
    }

    fn is_there(&self, client: usize) -> bool {
        self.world.clients.get(client).is_some_and(|client| client.is_connected() && !client.closed)
    }

    fn take(&mut self, step: Step) {
        let world = &mut self.world;
        match step {
            Step::Pass(millis) => world.pass(u64::from(millis)),
            Step::Assign { client, slot, source } => world.assign(client, SLOTS[slot], source.map(PublicationId)),
            Step::Prefer { client, slot, quality, paused } => {
                let quality = [Quality::Low, Quality::Medium, Quality::High][usize::from(quality)];
                let preference = LayerPreference { quality, paused, ..LayerPreference::default() };
                world.command(Command::SetPreference { transport: id(client), mid: mid(SLOTS[slot]), preference });
            }
            Step::Publish { client, publication, section } => {
                let (publication, mid) = (PublicationId(publication), mid(["0", "1"][section]));
                world.command(Command::Publish { publication, transport: id(client), mid });
            }
            Step::Unpublish(publication) => {
                world.command(Command::Unpublish { publication: PublicationId(publication) });
            }
            Step::Mute(publication, muted) => {
                world.command(Command::SetMuted { publication: PublicationId(publication), muted });
            }
            Step::Sections { client, without } => {
                let mut sections = sections();
                if let Some(section) = sections.get_mut(without) {
                    section.direction = Direction::Inactive;
                }
                world.command(Command::UpdateSections { transport: id(client), sections });
            }
            Step::Toggle { client, slot, source } => {
                let stopped = sections().into_iter().map(|section| match section.mid == mid(SLOTS[slot]) {
                    true => MediaSection { direction: Direction::Inactive, ..section },
                    false => section,
                });
                world.command(Command::UpdateSections { transport: id(client), sections: stopped.collect() });
                world.command(Command::UpdateSections { transport: id(client), sections: sections() });
                world.assign(client, SLOTS[slot], Some(PublicationId(source)));
                self.send(Step::Media { client: source as usize, layer: 0, key: true, leap: 0 });
            }
            Step::Remove(client) => world.command(Command::RemoveTransport { transport: id(client) }),
            Step::Join if world.clients.len() < CLIENTS + 2 => {
                world.announce(ROOM, sections());
            }
            Step::Join => {}
            other => self.send(other),
        }
        self.world.drain();
    }

    fn send(&mut self, step: Step) {
        match step {
            Step::Noise { client, bytes } if client < self.world.clients.len() => self.world.give(client, bytes),
            Step::Media { client, layer, key, leap } if self.is_there(client) => {
                let source = &mut self.layers[client][layer];
                source.seq += u64::from(leap);
                source.timestamp = source.timestamp.wrapping_add(u32::from(leap) << 9);
                for packet in source.packets(key, 2) {
                    self.world.send(client, &packet);
                }
            }
            Step::Nonsense { client, ssrc, payload_type, seq, mid, payload } if self.is_there(client) => {
                let packet = Rtp {
                    ssrc: Ssrc(ssrc),
                    payload_type: PayloadType(payload_type),
                    seq: u64::from(seq),
                    timestamp: u32::from(seq) << 16,
                    marker: seq % 3 == 0,
                    payload,
                    extensions: vec![(ExtensionKind::Mid, if mid { b"1".to_vec() } else { b"0".to_vec() })],
                };
                self.world.send(client, &packet.with(ExtensionKind::Rid, b"h"));
            }
            Step::Rtcp { client, packet_type, count, mut body } if self.is_there(client) => {
                // Often about a source that exists.
                if let Some(media) = body.get_mut(4..8)
                    && count % 2 == 0
                {
                    media.copy_from_slice(&0x7000_u32.to_be_bytes());
                }
                body.resize((body.len() / 4 * 4).max(4), 0);
                let words = (body.len() / 4) as u16;
                self.world.send_rtcp(client, |out| {
                    out.extend_from_slice(&[0x80 | count, packet_type]);
                    out.extend_from_slice(&words.to_be_bytes());
                    out.extend_from_slice(&body);
                });
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_breaks_the_worker(steps in prop::collection::vec(step(), 1..300)) {
        let mut attack = Attack::new();
        for step in steps {
            attack.take(step);
        }
        let stats = attack.world.stats();
        prop_assert!(stats.pool_packets <= 4_096 && stats.transports.len() <= 4);
        prop_assert_eq!(stats.drops.of(DropReason::SrtpIndexReused), 0, "no number is to be used twice");
        for client in &attack.world.clients {
            // Whoever is over gets nothing, and repair never more than doubles what is sent.
            prop_assert!(client.rtp.len() < 100_000);
        }
        attack.world.command(Command::CloseRoom { room: ROOM });
        attack.world.pass(1);
        let stats = attack.world.stats();
        prop_assert_eq!((stats.rooms, stats.transports.len(), attack.world.worker.poll_timeout()), (0, 0, None));
    }
}

#[test]
fn repair_is_bounded_whatever_is_asked() {
    let mut world = World::new();
    let camera = world.join(vec![published("0", Video)]);
    let viewer = world.join(vec![slot("v", Video, 0x7000)]);
    let publication = world.publish(camera, "0");
    world.assign(viewer, "v", Some(publication));
    let mut source = Vp8Source::new("0", 10);
    for n in 0..300 {
        world.send(camera, &source.frame(n == 0));
        let media = |packet: &&ReceivedPacket| packet.ssrc == Ssrc(0x7000);
        let newest = world.clients[viewer].rtp.iter().rfind(media).map_or(0, |packet| packet.seq.wire());
        let all: Vec<u16> = (0..40).rev().map(|back| newest.wrapping_sub(back)).collect();
        world.send_rtcp(viewer, |out| {
            sfu_rtc::rtcp::write_nack(out, Ssrc(1), Ssrc(0x7000), &all);
        });
        world.pass(33);
    }
    let (media, repair): (Vec<_>, Vec<_>) = world.clients[viewer].rtp.iter().partition(|p| p.ssrc == Ssrc(0x7000));
    assert_eq!(media.len(), 300);
    assert!(repair.len() < 300 + 10 * 66, "{}", repair.len());
}

#[test]
fn a_codec_that_changes_with_every_packet_is_reported_once_a_second() {
    let mut world = World::new();
    let camera = world.join(vec![with_h264(published("v", Video))]);
    world.connect(camera);
    world.publish(camera, "v");
    let mut source = Vp8Source::new("v", 10);
    let mut reported = Vec::new();
    for n in 0..400 {
        let mut packet = source.frame(n == 0);
        if n % 2 == 1 || n > 300 {
            packet.payload_type = H264;
        }
        world.send(camera, &packet);
        world.pass(10);
        reported.extend(world.events().into_iter().filter_map(|event| match event {
            sfu_core::event::Event::PublicationCodec { codec, .. } => Some(codec),
            _ => None,
        }));
    }
    // In four seconds: the first at once.
    assert!((2..=5).contains(&reported.len()), "{reported:?}");
    assert_eq!((reported.first(), reported.last()), (Some(&Codec::Vp8), Some(&Codec::H264)));
}
