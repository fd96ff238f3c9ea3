//! A room that floods its worker, and another beside it.

use crate::support::media::*;
use crate::support::{World, id, mid};
use sfu_core::command::{Command, LayerPreference};
use sfu_core::config::WorkerConfig;
use sfu_core::ids::{PublicationId, RoomId};
use sfu_rtc::ids::Ssrc;
use sfu_rtc::media::MediaKind::*;
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::rtcp;

const SLOT: u32 = 0x7000;
const QUIET: RoomId = RoomId(2);
/// Packets of the flood that wait for each of its viewers.
const FLOOD: usize = 500;

struct Rooms {
    world: World,
    /// Publisher of the flood, and one of its viewers' transports.
    flooder: usize,
    flood: Vp8Source,
    camera: usize,
    viewer: usize,
    quiet: Vp8Source,
}

impl Rooms {
    fn new() -> Self {
        let mut world = World::with(WorkerConfig { max_history: 4_096, ..WorkerConfig::default() });
        let flooder = world.join(vec![published("0", Video)]);
        let publication = world.publish(flooder, "0");
        for _ in 0..10 {
            let viewer = world.join(vec![slot("v", Video, SLOT)]);
            world.assign(viewer, "v", Some(publication));
        }
        world.command(Command::OpenRoom { room: QUIET });
        let mut member = |section| {
            let client = world.announce(QUIET, vec![section]);
            world.connect(client);
            client
        };
        let (camera, viewer) = (member(published("0", Video)), member(slot("v", Video, SLOT)));
        let publication = world.publish(camera, "0");
        world.assign(viewer, "v", Some(publication));
        let (flood, quiet) = (Vp8Source { seq: 0, ..Vp8Source::new("0", 10) }, Vp8Source::new("0", 20));
        let mut rooms = Self { world, flooder, flood, camera, viewer, quiet };
        let (flood, quiet) = (rooms.flood.frame(true), rooms.quiet.frame(true));
        rooms.world.send(rooms.flooder, &flood);
        rooms.world.send(rooms.camera, &quiet);
        rooms.world.pass(200);
        rooms
    }

    fn flood(&mut self, packets: usize) {
        for packet in self.flood.packets(false, packets) {
            let sealed = self.world.clients[self.flooder].seal(&packet);
            self.world.give(self.flooder, sealed);
        }
    }

    /// The first batch that has a packet for the quiet room's viewer; more of the flood arrives between batches.
    fn batches_until_quiet(&mut self, floods: bool) -> usize {
        let path = self.world.clients[self.viewer].path;
        let mut batch = TransmitBatch::default();
        for number in 1..1_000 {
            batch.clear();
            self.world.worker.poll_transmit(self.world.now, &mut batch);
            if batch.transmits().iter().any(|transmit| transmit.path == path) {
                return number;
            }
            assert!(!batch.is_empty(), "nothing is left to send");
            if floods {
                self.flood(5);
            }
        }
        panic!("never");
    }
}

#[test]
fn a_flooding_room_does_not_keep_anothers_video_waiting() {
    let mut rooms = Rooms::new();
    rooms.flood(FLOOD);
    let frame = rooms.quiet.frame(false);
    let sealed = rooms.world.clients[rooms.camera].seal(&frame);
    rooms.world.give(rooms.camera, sealed);
    assert!(rooms.batches_until_quiet(true) <= 3);
}

#[test]
fn nor_what_waits_at_its_participants() {
    let mut rooms = Rooms::new();
    rooms.flood(FLOOD);
    // What waits for the flood's viewers is queued at them, since something changes for one.
    let preference = LayerPreference { paused: true, ..LayerPreference::default() };
    rooms.world.command(Command::SetPreference { transport: id(1), mid: mid("v"), preference });
    rooms.world.command(Command::SetMuted { publication: PublicationId(1), muted: true });
    let lost = rooms.world.clients[rooms.viewer].rtp[0].seq.wire();
    let nack = rooms.world.clients[rooms.viewer].seal_rtcp(|out| {
        rtcp::write_nack(out, Ssrc(1), Ssrc(SLOT), &[lost]);
    });
    rooms.world.give(rooms.viewer, nack);
    assert!(rooms.batches_until_quiet(false) <= 3);
}

/// A publisher and so many viewers in a room of their own; their numbers.
fn room(world: &mut World, room: RoomId, viewers: usize) -> (usize, Vec<usize>) {
    world.command(Command::OpenRoom { room });
    let mut join = |sections| {
        let client = world.announce(room, sections);
        world.connect(client);
        client
    };
    let publisher = join(vec![published("0", Video)]);
    let viewers: Vec<_> = (0..viewers).map(|_| join(vec![slot("v", Video, 0x7000)])).collect();
    let publication = world.publish(publisher, "0");
    for viewer in &viewers {
        world.assign(*viewer, "v", Some(publication));
    }
    (publisher, viewers)
}

/// However much a room has waiting, another waits for no more than one batch of it.
#[test]
fn no_room_waits_for_all_that_another_has() {
    let mut world = World::new();
    let (flooder, _) = room(&mut world, RoomId(2), 20);
    let (quiet, viewers) = room(&mut world, RoomId(3), 1);
    let (mut flood, mut video) = (Vp8Source::new("0", 10), Vp8Source::new("0", 20));
    let flood: Vec<_> = flood.packets(true, 60).iter().map(|p| world.clients[flooder].seal(p)).collect();
    let wanted = world.clients[quiet].seal(&video.frame(true));
    for datagram in flood {
        world.give(flooder, datagram);
    }
    world.give(quiet, wanted);
    let viewer = world.clients[viewers[0]].path;
    let batches = std::iter::from_fn(|| {
        let mut batch = TransmitBatch::default();
        world.worker.poll_transmit(world.now, &mut batch);
        (!batch.is_empty()).then_some(batch)
    });
    let batches: Vec<_> = batches.collect();
    let media = |batch: &TransmitBatch| batch.transmits().iter().any(|t| t.path == viewer && t.range.len() > 500);
    assert!(batches.len() > 5, "more than one batch: {}", batches.len());
    let turn = batches.iter().position(media);
    assert!(turn.is_some_and(|turn| turn <= 1), "in batch {turn:?} of {}", batches.len());
}
