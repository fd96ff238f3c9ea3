//! A worker that is past its limit.

use crate::support::World;
use crate::support::media::*;
use sfu_core::event::Event;
use sfu_core::overload::{Load, Stage};
use sfu_rtc::ids::Ssrc;
use sfu_rtc::media::MediaKind::*;
use sfu_rtc::time::Duration;

const SOUND: Ssrc = Ssrc(0x7000);

/// Measurements of so many tenths of a second, while pictures and sound go on; packets of sound and of picture that the
/// viewer got in the meantime.
fn pass(world: &mut World, sources: (&mut OpusSource, &mut Vp8Source), load: Load, tenths: usize) -> (usize, usize) {
    let before = world.clients[1].rtp.len();
    for _ in 0..tenths {
        world.send(0, &sources.0.packet(127));
        // Keyframes, so that whoever may begin does.
        world.send(0, &sources.1.picture(true));
        world.worker.handle_load(world.now, load);
        world.pass(100);
    }
    let got = &world.clients[1].rtp[before..];
    let sound = got.iter().filter(|packet| packet.ssrc == SOUND).count();
    (sound, got.len() - sound)
}

#[test]
fn pictures_give_way_sound_never_does_and_all_comes_back() {
    let mut world = World::new();
    let publisher = world.join(vec![published("0", Audio), published("1", Video)]);
    let viewer = world.join(vec![slot("a", Audio, SOUND.0), slot("v", Video, 0x7100)]);
    for (mid, slot) in [("0", "a"), ("1", "v")] {
        let publication = world.publish(publisher, mid);
        world.assign(viewer, slot, Some(publication));
    }
    let (mut sound, mut picture) = (OpusSource::new("0", 10), Vp8Source::new("1", 20));
    let usual = Load { busy: 0.4, queue_age: Duration::ZERO };
    let past = Load { busy: 1.0, queue_age: Duration::from_millis(200) };
    assert_eq!(pass(&mut world, (&mut sound, &mut picture), usual, 10), (10, 10));
    pass(&mut world, (&mut sound, &mut picture), past, 20);
    assert_eq!(pass(&mut world, (&mut sound, &mut picture), past, 10), (10, 0));
    let stages = world.events().into_iter().filter_map(|event| match event {
        Event::Shedding { stage } => Some(stage),
        _ => None,
    });
    let expected = [Stage::Repair, Stage::UpperLayers, Stage::Pictures, Stage::SpeakersPictures];
    assert_eq!(stages.collect::<Vec<_>>(), expected);
    pass(&mut world, (&mut sound, &mut picture), usual, 20);
    assert_eq!(pass(&mut world, (&mut sound, &mut picture), usual, 10), (10, 10));
    assert!(matches!(world.events().as_slice(), [.., Event::Shedding { stage: Stage::Nothing }]));
}
