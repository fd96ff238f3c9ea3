//! Peers that come, move, misbehave and go.

use crate::support::media::*;
use crate::support::{ROOM, World, id, mid};
use sfu_core::command::Command;
use sfu_core::config::WorkerConfig;
use sfu_core::event::{CloseReason, Event, PauseReason};
use sfu_core::ids::{PublicationId, RoomId};
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ice::IceCredentials;
use sfu_rtc::media::MediaKind::*;
use std::net::SocketAddr;

const SLOT: u32 = 0x7000;

/// A camera and a viewer of it.
fn pair(world: &mut World) -> (usize, usize, PublicationId) {
    let camera = world.join(vec![published("0", Video)]);
    let viewer = world.join(vec![slot("v", Video, SLOT)]);
    let publication = world.publish(camera, "0");
    world.assign(viewer, "v", Some(publication));
    (camera, viewer, publication)
}

#[test]
fn a_connection_is_reported_with_its_times() {
    let mut world = World::new();
    let client = world.announce(ROOM, vec![published("0", Video)]);
    world.pass(40);
    world.connect(client);
    let events = world.events();
    let [Event::Connected { transport, path, ice, dtls }] = events[..] else { panic!("{events:?}") };
    assert_eq!((transport, path), (id(client), world.clients[client].path));
    assert!(ice.as_millis() == 40 && dtls.as_millis() < 100, "{ice:?} {dtls:?}");
}

/// Somebody who forges a check's source address has a session of its own, and whom it names waits for a handshake.
#[test]
fn no_handshake_begins_with_another_where_a_peer_says_that_it_is() {
    let mut world = World::new();
    let victim = world.announce(ROOM, vec![published("0", Video)]);
    world.command(Command::OpenRoom { room: RoomId(2) });
    let thief = world.announce(RoomId(2), vec![published("0", Video)]);
    let (own, named) = (world.clients[thief].path, world.clients[victim].path);
    assert_eq!(own.remote.ip(), named.remote.ip(), "signalling of both came from there");
    world.clients[thief].path = named;
    world.check(thief);
    for datagram in world.clients[thief].dtls_flight(world.now) {
        world.give(thief, datagram);
    }
    world.pass(1_000);
    assert_eq!(world.clients[victim].dtls_received, 0);
    world.clients[thief].path = own;
    world.connect(victim);
    world.connect(thief);
}

#[test]
fn strangers_are_not_heard() {
    let mut world = World::new();
    let (camera, ..) = pair(&mut world);
    let packet = world.clients[camera].seal(&Vp8Source::new("0", 10).frame(true));
    world.clients[camera].path.remote = SocketAddr::from(([10, 0, 0, 9], 9));
    world.give(camera, packet);
    world.give(camera, vec![22; 100]);
    world.give(camera, Vec::new());
    world.give(camera, vec![0; 40]);
    assert_eq!(world.drops(DropReason::UnvalidatedAddress), 2);
    assert_eq!(world.drops(DropReason::Unclassified), 1);
    assert_eq!(world.drops(DropReason::StunMalformed), 1);
    world.clients[camera].remote.ufrag = "nobody".to_owned();
    world.check(camera);
    assert_eq!(world.drops(DropReason::StunUnknownUser), 1);
}

#[test]
fn forged_packets_leave_nothing_behind() {
    let mut world = World::new();
    let (camera, viewer, _) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    world.send(camera, &source.frame(true));
    let before = world.stats();
    let mut forged = world.clients[camera].seal(&source.clone().frame(true));
    for n in 0..50_000_u32 {
        forged[8..12].copy_from_slice(&n.to_be_bytes());
        forged[2..4].copy_from_slice(&(n as u16).to_be_bytes());
        forged[40] ^= 0x55;
        world.give(camera, forged.clone());
    }
    world.drain();
    let after = world.stats();
    assert_eq!(after.drops.of(DropReason::SrtpAuth) + after.drops.of(DropReason::SrtpReplay), 50_000);
    assert_eq!(after.pool_packets, before.pool_packets);
    assert_eq!(world.clients[viewer].rtp.len(), 1);
    world.send(camera, &source.frame(false));
    assert_eq!(world.clients[viewer].rtp.len(), 2);
}

#[test]
fn a_peer_that_moves_keeps_its_call() {
    let mut world = World::new();
    let (camera, viewer, _) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    world.send(camera, &source.frame(true));
    world.events();
    for client in [camera, viewer] {
        world.clients[client].path.remote.set_port(7_000 + client as u16);
        world.check(client);
    }
    world.send(camera, &source.frame(false));
    assert_eq!(world.clients[viewer].rtp.len(), 2);
    world.pass(1_000);
    let moved = |event: &Event| matches!(event, Event::PathChanged { .. });
    assert_eq!(world.events().into_iter().filter(moved).count(), 2, "reported once they stay");
}

#[test]
fn many_moves_are_bounded() {
    let mut world = World::new();
    let (camera, viewer, _) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    world.send(camera, &source.frame(true));
    for port in 10_000..10_100 {
        world.clients[camera].path.remote.set_port(port);
        world.check(camera);
        world.send(camera, &source.frame(false));
    }
    assert_eq!(world.clients[viewer].rtp.len(), 101);
    let packet = world.clients[camera].seal(&source.frame(false));
    world.clients[camera].path.remote.set_port(10_000);
    world.give(camera, packet);
    assert_eq!(world.drops(DropReason::UnvalidatedAddress), 1, "long forgotten");
}

#[test]
fn nobody_takes_the_path_of_another() {
    let mut world = World::new();
    let (camera, viewer, _) = pair(&mut world);
    let thief = world.join(vec![published("0", Video)]);
    let mut source = Vp8Source::new("0", 10);
    world.send(camera, &source.frame(true));
    world.events();
    for _ in 0..100 {
        let check = world.clients[thief].check();
        // As if it came from there.
        world.give(viewer, check);
        world.drain();
        world.send(camera, &source.frame(true));
        world.pass(1_000);
    }
    assert_eq!(world.drops(DropReason::PathTaken), 100);
    assert_eq!(world.clients[viewer].rtp.len(), 101);
    assert_eq!(world.events(), []);
}

#[test]
fn a_path_whose_peer_is_gone_may_be_another_s() {
    let mut world = World::new();
    let (camera, ..) = pair(&mut world);
    let successor = world.announce(ROOM, vec![published("0", Video)]);
    world.clients[successor].path = world.clients[camera].path;
    // Of the one before, which has vanished, nothing comes any more.
    world.clients[camera].path.remote.set_port(9);
    let check = world.clients[successor].check();
    world.give(successor, check);
    assert_eq!(world.drops(DropReason::PathTaken), 1, "it was heard just now");
    world.pass(2_000);
    let check = world.clients[successor].check();
    world.give(successor, check);
    assert_eq!(world.drops(DropReason::PathTaken), 2, "it is asked, and may yet answer");
    world.pass(2_000);
    world.connect(successor);
}

#[test]
fn an_ice_restart_keeps_the_call() {
    let mut world = World::new();
    let (camera, viewer, _) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    world.send(camera, &source.frame(true));
    let credentials =
        |name: &str| IceCredentials { ufrag: name.to_owned(), pwd: format!("{name}-of-22-characters-and-more") };
    let (local, remote) = (credentials("local2"), credentials("remote2"));
    let command = Command::RestartIce { transport: id(camera), local: local.clone(), remote: remote.clone() };
    world.command(command);
    world.send(camera, &source.frame(false));
    (world.clients[camera].local, world.clients[camera].remote) = (remote, local);
    world.clients[camera].path.remote.set_port(7_000);
    world.check(camera);
    world.send(camera, &source.frame(false));
    assert_eq!(world.clients[viewer].rtp.len(), 3);
}

#[test]
fn who_vanishes_is_noticed_and_leaves_nothing() {
    let mut world = World::new();
    let (camera, _, publication) = pair(&mut world);
    world.send(camera, &Vp8Source::new("0", 10).frame(true));
    world.events();
    world.clients[camera].answers = false;
    world.pass(60_000);
    let closed = Event::Closed { transport: id(camera), reason: CloseReason::IceTimeout };
    let (transport, mid, reason) = (id(1), mid("v"), Some(PauseReason::NoLayer));
    assert_eq!(world.events(), [Event::SlotPaused { transport, mid, publication, reason }, closed]);
    let stats = world.stats();
    assert_eq!(stats.transports.len(), 1);
    assert_eq!(stats.transports[0].slots[0].publication, None);
    world.command(Command::Unpublish { publication });
    assert_eq!(world.stats().ignored_commands, 1, "it is gone already");
}

#[test]
fn a_removed_peer_gets_a_close_notify() {
    let mut world = World::new();
    let (camera, viewer, _) = pair(&mut world);
    world.send(camera, &Vp8Source::new("0", 10).frame(true));
    world.events();
    world.command(Command::RemoveTransport { transport: id(camera) });
    world.drain();
    assert!(world.clients[camera].closed && !world.clients[viewer].closed);
    assert_eq!((world.events(), world.stats().transports.len()), (vec![], 1));
    world.check(camera);
    assert_eq!(world.drops(DropReason::StunUnknownUser), 1);
    world.command(Command::CloseRoom { room: ROOM });
    world.drain();
    assert!(world.clients[viewer].closed);
    let stats = world.stats();
    assert_eq!((stats.rooms, stats.transports.len()), (0, 0));
    assert_eq!(stats.totals.rtp_in, 1, "what was counted stays counted");
    assert_eq!(world.worker.poll_timeout(), None);
}

#[test]
fn who_says_goodbye_is_closed() {
    let mut world = World::new();
    let (camera, ..) = pair(&mut world);
    world.events();
    world.clients[camera].close();
    for goodbye in world.clients[camera].dtls_flight(world.now) {
        world.give(camera, goodbye);
    }
    let closed = Event::Closed { transport: id(camera), reason: CloseReason::PeerClosed };
    assert_eq!(world.events(), [closed]);
}

#[test]
fn rooms_do_not_meet() {
    let mut world = World::new();
    let (camera, _, publication) = pair(&mut world);
    world.command(Command::OpenRoom { room: RoomId(2) });
    let stranger = world.announce(RoomId(2), vec![slot("v", Video, SLOT)]);
    world.connect(stranger);
    world.assign(stranger, "v", Some(publication));
    assert_eq!(world.stats().ignored_commands, 1);
    world.send(camera, &Vp8Source::new("0", 10).frame(true));
    assert!(world.clients[stranger].rtp.is_empty());
    world.command(Command::CloseRoom { room: RoomId(2) });
    world.drain();
    assert!(world.clients[stranger].closed && !world.clients[camera].closed);
}

#[test]
fn sections_may_be_added_and_keep_what_stays() {
    let mut world = World::new();
    let (camera, viewer, publication) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    world.send(camera, &source.frame(true));
    let sections = vec![slot("v", Video, SLOT), slot("w", Video, SLOT + 10)];
    world.command(Command::UpdateSections { transport: id(viewer), sections: sections.clone() });
    world.assign(viewer, "w", Some(publication));
    world.send(camera, &source.frame(false));
    let seqs: Vec<_> = world.clients[viewer].rtp.iter().filter(|p| p.ssrc.0 == SLOT).map(|p| p.seq).collect();
    assert_eq!(seqs.len(), 2);
    assert_eq!(seqs[1], seqs[0].next());
    assert_eq!(world.clients[viewer].rtp.iter().filter(|p| p.ssrc.0 == SLOT + 10).count(), 2, "caught up");
    let mut without = sections;
    without[0].direction = sfu_rtc::media::Direction::Inactive;
    world.command(Command::UpdateSections { transport: id(viewer), sections: without });
    world.send(camera, &source.frame(false));
    assert_eq!(world.clients[viewer].rtp.iter().filter(|p| p.ssrc.0 == SLOT).count(), 2);
    assert_eq!(world.clients[viewer].rtp.iter().filter(|p| p.ssrc.0 == SLOT + 10).count(), 3);
}

#[test]
fn orders_that_make_no_sense_are_counted() {
    let config = WorkerConfig { max_rooms: 1, max_transports: 2, max_publications: 1, ..WorkerConfig::default() };
    let mut world = World::with(config);
    let (camera, viewer, publication) = pair(&mut world);
    let mut ignored = 0;
    let mut is_ignored = |world: &mut World, command: Command| {
        world.command(command);
        ignored += 1;
        assert_eq!(world.stats().ignored_commands, ignored);
    };
    let preference = Default::default();
    let (transport, unknown) = (id(viewer), id(99));
    is_ignored(&mut world, Command::OpenRoom { room: ROOM });
    is_ignored(&mut world, Command::OpenRoom { room: RoomId(2) });
    is_ignored(&mut world, Command::CloseRoom { room: RoomId(2) });
    is_ignored(&mut world, Command::RemoveTransport { transport: unknown });
    is_ignored(&mut world, Command::UpdateSections { transport: unknown, sections: vec![] });
    is_ignored(&mut world, Command::Publish { publication, transport: id(camera), mid: mid("0") });
    is_ignored(&mut world, Command::Publish { publication: PublicationId(9), transport: id(camera), mid: mid("0") });
    is_ignored(&mut world, Command::Publish { publication: PublicationId(9), transport, mid: mid("v") });
    is_ignored(&mut world, Command::Unpublish { publication: PublicationId(9) });
    is_ignored(&mut world, Command::SetMuted { publication: PublicationId(9), muted: true });
    is_ignored(&mut world, Command::RequestKeyframe { publication: PublicationId(9) });
    is_ignored(&mut world, Command::SetPreference { transport, mid: mid("x"), preference });
    let source = Some(PublicationId(9));
    is_ignored(&mut world, Command::AssignSlot { transport, mid: mid("v"), source, preference });
    is_ignored(&mut world, Command::AssignSlot { transport, mid: mid("x"), source: None, preference });
    let third = world.announce(ROOM, vec![]);
    assert_eq!(world.stats().transports.len(), 2, "client {third} is one too many");
}

#[test]
fn figures_answer_with_their_token() {
    let mut world = World::new();
    let (camera, viewer, publication) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    for n in 0..30 {
        world.send(camera, &source.frame(n == 0));
        world.pass(33);
    }
    world.events();
    world.command(Command::Stats { token: 5 });
    let events = world.events();
    let [Event::Stats { token: 5, stats }] = &events[..] else { panic!("{events:?}") };
    let stream = &stats.transports[0].received[0];
    assert_eq!((stream.publication, stream.packets, stream.lost), (publication, 30, 0));
    assert_eq!(stream.resolution, Some((640, 360)));
    assert!((28.0..=32.0).contains(&stream.fps), "{}", stream.fps);
    assert!((220..=260).contains(&stream.bitrate.as_kbps()), "{}", stream.bitrate);
    let slot = &stats.transports[1].slots[0];
    assert_eq!((slot.publication, slot.packets), (Some(publication), 30));
    assert_eq!((stats.transports[0].transport, stats.transports[1].transport), (id(camera), id(viewer)));
    assert_eq!((stats.totals.rtp_in, stats.totals.rtp_out), (30, 30));
}
