//! Publishers and subscribers whose formats differ.

use crate::support::media::*;
use crate::support::{World, id, mid};
use sfu_core::event::{Event, PauseReason};
use sfu_core::ids::PublicationId;
use sfu_rtc::ids::{PayloadType, Ssrc};
use sfu_rtc::media::{Codec, MediaKind::*, MediaSection, PayloadFormat};
use sfu_rtc::rtcp;
use std::sync::Arc;

const SLOT: u32 = 0x7000;
const H264: PayloadType = PayloadType(102);

fn h264() -> PayloadFormat {
    let fmtp = "packetization-mode=1;profile-level-id=42e01f".to_owned();
    PayloadFormat { payload_type: H264, codec: Codec::H264, clock_rate: 90_000, fmtp, rtx: None }
}

fn playable(world: &mut World) -> Vec<(PublicationId, bool)> {
    let reported = world.events().into_iter().filter_map(|event| match event {
        Event::SlotPaused { transport, mid: slot, publication, reason } => {
            assert_eq!((transport, slot), (id(1), mid("v")));
            assert!(matches!(reason, None | Some(PauseReason::Codec)), "{reason:?}");
            Some((publication, reason.is_none()))
        }
        _ => None,
    });
    reported.collect()
}

#[test]
fn a_slot_without_the_codec_is_reported_and_nothing_is_requested() {
    let mut world = World::new();
    let camera = world.join(vec![published("0", Video)]);
    let viewer = world.join(vec![MediaSection { formats: Arc::new(vec![h264()]), ..slot("v", Video, SLOT) }]);
    let publication = world.publish(camera, "0");
    world.assign(viewer, "v", Some(publication));
    assert_eq!(playable(&mut world), [(publication, false)], "known before the first packet");
    let mut source = Vp8Source::new("0", 10);
    for n in 0..150 {
        if n % 30 == 10 {
            world.send_rtcp(viewer, |out| rtcp::write_pli(out, Ssrc(1), Ssrc(SLOT)));
        }
        if n != 50 {
            world.send(camera, &source.frame(n == 0));
        } else {
            source.frame(false);
        }
        world.pass(33);
    }
    assert_eq!(world.keyframe_requests(camera), 0);
    assert_eq!(world.stats().totals.nacks_sent, 0);
    assert_eq!(playable(&mut world), []);
    assert!(world.clients[viewer].rtp.is_empty());
    // Somebody else does understand it.
    let other = world.join(vec![slot("v", Video, SLOT)]);
    world.assign(other, "v", Some(publication));
    assert_eq!(world.keyframe_requests(camera), 0);
    world.send(camera, &source.frame(false));
    assert_eq!(world.keyframe_requests(camera), 1);
}

#[test]
fn a_publisher_may_change_its_codec() {
    let mut world = World::new();
    let mut section = published("0", Video);
    Arc::make_mut(&mut section.formats).push(h264());
    let camera = world.join(vec![section]);
    let viewer = world.join(vec![slot("v", Video, SLOT)]);
    let publication = world.publish(camera, "0");
    world.assign(viewer, "v", Some(publication));
    assert_eq!(playable(&mut world), [], "one of them it understands");
    let mut source = Vp8Source::new("0", 10);
    let mut play = |world: &mut World, payload_type: PayloadType| {
        let before = world.keyframe_requests(camera);
        for _ in 0..90 {
            let mut packet = source.frame(false);
            packet.payload_type = payload_type;
            if payload_type == H264 {
                packet.payload = vec![0x41; 500]; // RFC 6184 section 5.6: a slice of no keyframe
            }
            world.send(camera, &packet);
            world.pass(33);
        }
        world.keyframe_requests(camera) - before
    };
    assert_eq!(play(&mut world, H264), 0);
    assert_eq!(playable(&mut world), [(publication, false)]);
    assert!(play(&mut world, VP8) > 0);
    assert_eq!(playable(&mut world), [(publication, true)]);
}

/// Formats that alternate from packet to packet are reported once a second.
#[test]
fn alternating_formats_are_not_reported_packet_by_packet() {
    let mut world = World::new();
    let mut section = published("0", Video);
    Arc::make_mut(&mut section.formats).push(h264());
    let camera = world.join(vec![section]);
    let viewer = world.join(vec![slot("v", Video, SLOT)]);
    let publication = world.publish(camera, "0");
    world.assign(viewer, "v", Some(publication));
    let mut source = Vp8Source::new("0", 10);
    for n in 0..500 {
        let mut packet = source.frame(false);
        if n % 2 == 0 {
            (packet.payload_type, packet.payload) = (H264, vec![0x41; 500]);
        }
        world.send(camera, &packet);
        world.pass(10);
    }
    assert!(playable(&mut world).len() <= 6);
}
