//! Sources of a publisher that come, go, and are replaced.

use crate::support::media::*;
use crate::support::{World, id};
use sfu_core::command::Command;
use sfu_core::event::Event;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::media::MediaKind::*;

const SLOT: u32 = 0x7000;

/// A camera, and a viewer of it.
fn pair(world: &mut World) -> (usize, usize) {
    let camera = world.join(vec![published("0", Video)]);
    let viewer = world.join(vec![slot("v", Video, SLOT)]);
    let publication = world.publish(camera, "0");
    world.assign(viewer, "v", Some(publication));
    (camera, viewer)
}

#[test]
fn late_packets_of_a_former_source_do_not_bring_it_back() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let (mut before, mut after) = (Vp8Source::new("0", 10), Vp8Source::new("0", 20));
    world.send(camera, &before.frame(true));
    world.pass(33);
    let late: Vec<_> = (0..3).map(|_| before.frame(false)).collect();
    for n in 0..10 {
        world.send(camera, &after.frame(n == 0));
        if let Some(late) = late.get(n) {
            world.send(camera, late);
        }
        world.pass(33);
    }
    assert_eq!(world.drops(DropReason::OutOfWindow), 3);
    assert_eq!(world.clients[viewer].rtp.len(), 11);
    assert_continuous(&world.clients[viewer].rtp);
    assert_eq!(world.keyframe_requests(camera), 0, "nothing began anew without one");
}

#[test]
fn a_source_that_returns_takes_over_once_the_other_is_silent() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let (mut first, mut second) = (Vp8Source::new("0", 10), Vp8Source::new("0", 20));
    world.send(camera, &first.frame(true));
    world.pass(33);
    world.send(camera, &second.frame(true));
    world.pass(600);
    for n in 0..5 {
        world.send(camera, &first.frame(n == 0));
        world.pass(33);
    }
    assert_eq!(world.clients[viewer].rtp.len(), 7);
    assert_continuous(&world.clients[viewer].rtp);
}

/// The newer of two that send at once is the video from its keyframe on, which is asked for; what the older one still
/// sends is counted.
#[test]
fn a_source_that_begins_while_the_other_still_sends_takes_over() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let (mut older, mut newer) = (Vp8Source::new("0", 10), Vp8Source::new("0", 20));
    for n in 0..10 {
        world.send(camera, &older.frame(n == 0));
        world.pass(33);
    }
    for n in 0..30 {
        world.send(camera, &older.frame(false));
        world.send(camera, &newer.frame(n == 6));
        world.pass(33);
    }
    let got = &world.clients[viewer].rtp;
    assert_eq!(got.len(), 11 + 24, "the older one until the newer began, and the newer one from its keyframe on");
    assert_continuous(got);
    assert_eq!(world.keyframe_requests(camera), 1);
    assert_eq!(world.drops(DropReason::OutOfWindow), 29, "of the older one");
    assert_eq!(world.drops(DropReason::AwaitingKeyframe), 6, "of the newer one");
}

/// Screen shares come and go all call long, each on a section of its own.
#[test]
fn sections_that_ended_give_their_sources_back() {
    let mut world = World::new();
    let camera = world.join(vec![]);
    let viewer = world.join(vec![slot("v", Video, SLOT)]);
    for n in 0..600 {
        let mid = format!("s{n}");
        world.command(Command::UpdateSections { transport: id(camera), sections: vec![published(&mid, Video)] });
        let publication = world.publish(camera, &mid);
        world.assign(viewer, "v", Some(publication));
        let mut source = Vp8Source { seq: 0, ..Vp8Source::new(&mid, 100 + n) };
        world.send(camera, &source.frame(true));
        world.pass(2);
        world.command(Command::Unpublish { publication });
    }
    assert_eq!(world.drops(DropReason::TooManyStreams), 0);
    assert_eq!(world.clients[viewer].rtp.len(), 600);
}

/// Of a publisher that sends more than it may, the rest is dropped: it is reported now and then, and not requested again.
#[test]
fn a_flood_is_dropped_and_reported() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let mut source = Vp8Source { seq: 0, ..Vp8Source::new("0", 10) };
    world.events();
    // 80 Mbit/s for 6 s; a megabyte each 100 ms.
    for n in 0..60 {
        for packet in source.packets(n == 0, 1_000) {
            let sealed = world.clients[camera].seal(&packet);
            world.give(camera, sealed);
        }
        world.pass(100);
    }
    let (dropped, got) = (world.drops(DropReason::IngressLimit), world.clients[viewer].rtp.len() as u64);
    assert!((41_000..=45_000).contains(&dropped), "{dropped} of 60,000");
    assert!(got <= 60_000 - dropped, "{got}");
    assert_eq!(world.stats().totals.nacks_sent, 0);
    let reported = world.events().iter().filter(|event| matches!(event, Event::IngressLimited { .. })).count();
    assert_eq!(reported, 2, "once in 5 s");
}
