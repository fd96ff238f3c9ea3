//! Sections that stop and go on by new offers.

use crate::support::media::*;
use crate::support::{World, id};
use sfu_core::command::Command;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::Ssrc;
use sfu_rtc::media::{Direction, MediaKind::*, MediaSection};
use sfu_rtc::rtcp;

const SLOT: u32 = 0x7000;

fn update(world: &mut World, client: usize, sections: Vec<MediaSection>) {
    world.command(Command::UpdateSections { transport: id(client), sections });
}

/// A section that goes inactive, and comes back by a later offer, has the same source under the same keys: its numbers go
/// on, those of retransmissions too, and whatever it carries then begins at a keyframe.
#[test]
fn numbers_go_on_when_a_section_goes_on() {
    let mut world = World::new();
    let camera = world.join(vec![published("0", Video)]);
    let viewer = world.join(vec![slot("v", Video, SLOT)]);
    let publication = world.publish(camera, "0");
    let mut source = Vp8Source::new("0", 10);
    for _ in 0..20 {
        world.assign(viewer, "v", Some(publication));
        for n in 0..5 {
            let packet = source.frame(n == 0);
            world.send(camera, &packet);
            world.pass(33);
        }
        // No packet is sent again sooner than after a round trip.
        world.pass(200);
        let last = world.clients[viewer].rtp.iter().rfind(|packet| packet.ssrc == Ssrc(SLOT)).unwrap().seq.wire();
        world.send_rtcp(viewer, |out| {
            rtcp::write_nack(out, Ssrc(1), Ssrc(SLOT), &[last]);
        });
        world.pass(33);
        let paused = MediaSection { direction: Direction::Inactive, ..slot("v", Video, SLOT) };
        update(&mut world, viewer, vec![paused]);
        world.assign(viewer, "v", Some(publication));
        let before = world.clients[viewer].rtp.len();
        world.send(camera, &source.frame(true));
        assert_eq!(world.clients[viewer].rtp.len(), before, "nothing is sent on an inactive section");
        update(&mut world, viewer, vec![slot("v", Video, SLOT)]);
    }
    assert_eq!(world.drops(DropReason::SrtpIndexReused), 0);
    let of = |ssrc| {
        world.clients[viewer].rtp.iter().filter(move |packet| packet.ssrc == Ssrc(ssrc)).cloned().collect::<Vec<_>>()
    };
    let (media, repair) = (of(SLOT), of(SLOT + 1));
    assert!(media.len() >= 100, "all that was sent arrived: {}", media.len());
    assert_continuous(&media);
    assert_eq!(repair.len(), 20);
    assert!(repair.windows(2).all(|pair| pair[1].seq == pair[0].seq.next()));
}

/// Where the source of a section is replaced, its memory is given back, and the new one begins.
#[test]
fn a_section_with_another_source_begins_anew() {
    let mut world = World::new();
    let camera = world.join(vec![published("0", Video)]);
    let viewer = world.join(vec![slot("v", Video, SLOT)]);
    let publication = world.publish(camera, "0");
    let mut source = Vp8Source::new("0", 10);
    for round in 0..3 {
        let ssrc = SLOT + 10 * round;
        update(&mut world, viewer, vec![slot("v", Video, ssrc)]);
        world.assign(viewer, "v", Some(publication));
        world.send(camera, &source.frame(true));
        world.pass(33);
        assert_eq!(world.clients[viewer].rtp.last().unwrap().ssrc, Ssrc(ssrc));
    }
    update(&mut world, viewer, vec![slot("v", Video, SLOT)]);
    world.assign(viewer, "v", Some(publication));
    world.send(camera, &source.frame(true));
    world.pass(33);
    assert_eq!(world.clients[viewer].rtp.last().unwrap().ssrc, Ssrc(SLOT + 20), "a source that is over stays so");
    assert!(world.drops(DropReason::SrtpIndexReused) > 0);
}
