//! A room that has more to do than the worker can take from its others.

use crate::support::World;
use crate::support::media::*;
use sfu_core::command::Command;
use sfu_core::ids::RoomId;
use sfu_rtc::media::MediaKind::*;
use sfu_rtc::net::TransmitBatch;

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
    let (mut flood, mut picture) = (Vp8Source::new("0", 10), Vp8Source::new("0", 20));
    let flood: Vec<_> = flood.packets(true, 60).iter().map(|p| world.clients[flooder].seal(p)).collect();
    let wanted = world.clients[quiet].seal(&picture.picture(true));
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
