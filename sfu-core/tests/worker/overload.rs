//! A worker that is past its limit.

use crate::support::World;
use crate::support::media::*;
use sfu_core::event::Event;
use sfu_core::overload::{Load, Stage};
use sfu_rtc::ids::Ssrc;
use sfu_rtc::media::MediaKind::*;
use sfu_rtc::time::Duration;

const AUDIO: Ssrc = Ssrc(0x7000);

/// Measurements of so many tenths of a second, while video and audio go on; packets of audio and of video that the
/// viewer got in the meantime.
fn pass(world: &mut World, sources: (&mut OpusSource, &mut Vp8Source), load: Load, tenths: usize) -> (usize, usize) {
    let before = world.clients[1].rtp.len();
    for _ in 0..tenths {
        world.send(0, &sources.0.packet(127));
        // Keyframes, so that whoever may begin does.
        world.send(0, &sources.1.frame(true));
        world.worker.handle_load(world.now, load);
        world.pass(100);
    }
    let got = &world.clients[1].rtp[before..];
    let audio = got.iter().filter(|packet| packet.ssrc == AUDIO).count();
    (audio, got.len() - audio)
}

#[test]
fn video_gives_way_audio_never_does_and_all_comes_back() {
    let mut world = World::new();
    let publisher = world.join(vec![published("0", Audio), published("1", Video)]);
    let viewer = world.join(vec![slot("a", Audio, AUDIO.0), slot("v", Video, 0x7100)]);
    for (mid, slot) in [("0", "a"), ("1", "v")] {
        let publication = world.publish(publisher, mid);
        world.assign(viewer, slot, Some(publication));
    }
    let (mut audio, mut video) = (OpusSource::new("0", 10), Vp8Source::new("1", 20));
    let usual = Load { busy: 0.4, queue_age: Duration::ZERO };
    let past = Load { busy: 1.0, queue_age: Duration::from_millis(200) };
    assert_eq!(pass(&mut world, (&mut audio, &mut video), usual, 10), (10, 10));
    pass(&mut world, (&mut audio, &mut video), past, 20);
    assert_eq!(pass(&mut world, (&mut audio, &mut video), past, 10), (10, 0));
    let stages = world.events().into_iter().filter_map(|event| match event {
        Event::Shedding { stage } => Some(stage),
        _ => None,
    });
    let expected = [Stage::Repair, Stage::UpperLayers, Stage::Video, Stage::SpeakersVideo];
    assert_eq!(stages.collect::<Vec<_>>(), expected);
    pass(&mut world, (&mut audio, &mut video), usual, 20);
    assert_eq!(pass(&mut world, (&mut audio, &mut video), usual, 10), (10, 10));
    assert!(matches!(world.events().as_slice(), [.., Event::Shedding { stage: Stage::Nothing }]));
}
