//! Simulcast layers by what they are, not by where they are named.

use crate::support::World;
use crate::support::media::*;
use sfu_core::command::Quality;
use sfu_rtc::ids::{Rid, Ssrc};
use sfu_rtc::media::MediaKind::*;
use sfu_rtc::media::{MediaSection, RemoteSource, SsrcPair};

const SLOT: u32 = 0x7000;

/// Width and height in the header of a keyframe that [`Vp8Source`] made.
fn resize(packet: &mut Rtp, width: u16, height: u16) {
    packet.payload[12..14].copy_from_slice(&width.to_le_bytes());
    packet.payload[14..16].copy_from_slice(&height.to_le_bytes());
}

/// A publisher that names its layers `a` and `b`; the layers that a viewer gets who wants the lowest, and the highest.
fn lowest_and_highest(sizes: [(u16, u16); 2], packets: [usize; 2]) -> [Option<Rid>; 2] {
    let mut world = World::new();
    let camera = world.join(vec![simulcast("0", &["a", "b"])]);
    let viewer = world.join(vec![slot("v", Video, SLOT)]);
    let publication = world.publish(camera, "0");
    world.assign_as(viewer, "v", Some(publication), Quality::Low);
    let mut layers = [Vp8Source::layer("0", "a", 10), Vp8Source::layer("0", "b", 20)];
    [Quality::Low, Quality::High].map(|quality| {
        world.prefer(viewer, "v", quality, false);
        for n in 0..240 {
            for (layer, source) in layers.iter_mut().enumerate() {
                let (key, (width, height)) = (n % 20 == 0, sizes[layer]);
                for (at, mut packet) in source.packets(key, packets[layer]).into_iter().enumerate() {
                    if key && at == 0 {
                        resize(&mut packet, width, height);
                    }
                    world.send(camera, &packet);
                }
            }
            world.pass(33);
        }
        world.stats().transports[viewer].slots[0].rid
    })
}

#[test]
fn layers_are_ordered_by_what_is_seen_of_them() {
    let [a, b] = [Rid::new("a"), Rid::new("b")];
    assert_eq!(lowest_and_highest([(320, 180), (640, 360)], [1, 2]), [a, b], "as named");
    assert_eq!(lowest_and_highest([(640, 360), (320, 180)], [2, 1]), [b, a], "the larger one is named first");
    assert_eq!(lowest_and_highest([(640, 360), (640, 360)], [4, 1]), [b, a], "by bitrate");
}

/// Layers that old clients tell apart by source alone (`a=ssrc-group:SIM`) are one stable video, whichever is wanted.
#[test]
fn layers_by_source_are_one_stable_video() {
    const TURNS: [(Quality, usize); 3] = [(Quality::Low, 0), (Quality::High, 2), (Quality::Low, 0)];
    let mut world = World::new();
    let rids = ["s0", "s1", "s2"];
    let source = |(rid, ssrc)| RemoteSource { ssrcs: SsrcPair { media: Ssrc(ssrc), rtx: None }, rid: Rid::new(rid) };
    let remote_ssrcs = rids.into_iter().zip([41, 42, 43]).map(source).collect();
    let camera = world.join(vec![MediaSection { remote_ssrcs, ..simulcast("0", &rids) }]);
    let viewer = world.join(vec![slot("v", Video, SLOT)]);
    let publication = world.publish(camera, "0");
    world.assign_as(viewer, "v", Some(publication), Quality::Low);
    let mut layers = [41, 42, 43].map(|ssrc| Vp8Source::new("0", ssrc));
    for (quality, layer) in TURNS {
        world.prefer(viewer, "v", quality, false);
        for n in 0..240 {
            for (source, (width, height)) in layers.iter_mut().zip([(160, 90), (320, 180), (640, 360)]) {
                let mut packet = source.frame(n % 20 == 0);
                if n % 20 == 0 {
                    resize(&mut packet, width, height);
                }
                packet.extensions.clear();
                world.send(camera, &packet);
            }
            world.pass(33);
        }
        assert_eq!(world.stats().transports[viewer].slots[0].rid, Rid::new(rids[layer]), "{quality:?}");
    }
    let got = &world.clients[viewer].rtp;
    assert_continuous(got);
    // One frame at a time; where a layer begins, at most one of each.
    assert!((715..=725).contains(&got.len()), "{}", got.len());
}
