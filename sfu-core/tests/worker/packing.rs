//! Packets of a frame leave together where the worker has much to do.

use crate::support::World;
use crate::support::media::*;
use sfu_core::coalescing::CoalescingConfig;
use sfu_core::overload::Load;
use sfu_rtc::media::MediaKind::*;
use sfu_rtc::time::Duration;

/// A camera and a microphone of which one viewer gets all: the numbers of both clients.
fn call(world: &mut World) -> (usize, usize) {
    let publisher = world.join(vec![published("0", Video), published("1", Audio)]);
    let viewer = world.join(vec![slot("v", Video, 0x7000), slot("a", Audio, 0x7100)]);
    for (mid, slot) in [("0", "v"), ("1", "a")] {
        let publication = world.publish(publisher, mid);
        world.assign(viewer, slot, Some(publication));
    }
    (publisher, viewer)
}

fn measure(world: &mut World, busy: f32) {
    // The window follows within a few measurements.
    for _ in 0..20 {
        world.worker.handle_load(world.now, Load { busy, queue_age: Duration::ZERO });
    }
}

#[test]
fn a_worker_with_time_to_spare_lets_nothing_wait() {
    let mut world = World::new();
    let (publisher, viewer) = call(&mut world);
    measure(&mut world, 0.9);
    measure(&mut world, 0.1);
    for (count, packet) in (1..).zip(&Vp8Source::new("0", 10).packets(true, 4)) {
        world.send(publisher, packet);
        assert_eq!(world.clients[viewer].rtp.len(), count);
    }
}

#[test]
fn under_load_packets_wait_for_the_end_of_their_frame_and_audio_does_not() {
    let mut world = World::new();
    let (publisher, viewer) = call(&mut world);
    let mut camera = Vp8Source::new("0", 10);
    measure(&mut world, 0.9);
    let frame = camera.packets(true, 4);
    for packet in &frame[..3] {
        world.send(publisher, packet);
        world.pass(2);
    }
    assert!(world.clients[viewer].rtp.is_empty());
    world.send(publisher, &OpusSource::new("1", 20).packet(0));
    assert_eq!(world.clients[viewer].rtp.len(), 1);
    world.send(publisher, &frame[3]);
    assert_eq!(world.clients[viewer].rtp.len(), 5);
    assert_continuous(&world.clients[viewer].rtp[1..]);
}

#[test]
fn no_packet_waits_longer_than_is_configured() {
    let mut world = World::new();
    let (publisher, viewer) = call(&mut world);
    measure(&mut world, 0.9);
    let longest = CoalescingConfig::default().video.as_millis() as u64;
    let frame = Vp8Source::new("0", 10).packets(true, 4);
    world.send(publisher, &frame[0]);
    world.pass(longest / 4);
    world.send(publisher, &frame[1]);
    world.pass(longest / 2);
    assert!(world.clients[viewer].rtp.is_empty());
    world.pass(longest / 4);
    assert_eq!(world.clients[viewer].rtp.len(), 2);
}

#[test]
fn packets_further_apart_than_the_window_do_not_wait() {
    let mut world = World::new();
    let (publisher, viewer) = call(&mut world);
    measure(&mut world, 0.9);
    let apart = CoalescingConfig::default().video.as_millis() as u64 + 1;
    for (count, packet) in Vp8Source::new("0", 10).packets(true, 4).iter().enumerate() {
        world.send(publisher, packet);
        // Of the first it is not known yet.
        assert_eq!(world.clients[viewer].rtp.len(), if count == 0 { 0 } else { count + 1 });
        world.pass(apart);
    }
}
