//! Simulcast layers by what they are, not by where they are named.

use crate::support::World;
use crate::support::media::*;
use sfu_core::command::Quality;
use sfu_rtc::ids::Rid;
use sfu_rtc::media::MediaKind::*;

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
