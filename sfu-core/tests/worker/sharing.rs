//! A subscriber's bandwidth among its slots, and why nothing is sent in some.

use crate::support::media::*;
use crate::support::{World, id, mid};
use sfu_core::command::{Command, LayerPreference, Role, Tile, VideoCaps};
use sfu_core::config::WorkerConfig;
use sfu_core::event::{Event, LayerLimit, PauseReason, SlotStats};
use sfu_core::ids::PublicationId;
use sfu_rtc::bwe::{EstimatorConfig, RembConfig};
use sfu_rtc::ids::{Rid, Ssrc};
use sfu_rtc::media::MediaKind::*;
use sfu_rtc::rtcp::{self, ReportBlock};
use sfu_rtc::units::Bitrate;

/// SSRCs of the viewer's slots.
const SLOTS: [u32; 2] = [0x7000, 0x7100];
/// One packet of about 1,060 bytes a frame on the wire, and four.
const LOW_KBPS: u64 = 255;
const HIGH_KBPS: u64 = 1_020;

/// Cameras that send simulcast of two layers, and a viewer of them.
struct Meeting {
    world: World,
    cameras: Vec<(usize, PublicationId, [Vp8Source; 2])>,
    viewer: usize,
    frames: u64,
}

impl Meeting {
    fn new(cameras: usize, estimator: EstimatorConfig) -> Self {
        let mut config = WorkerConfig::default();
        config.transport.estimator = estimator;
        let mut world = World::with(config);
        let cameras: Vec<_> = (0..cameras)
            .map(|n| {
                let camera = world.join(vec![simulcast("0", &["q", "f"])]);
                let ssrc = 10 + 10 * n as u32;
                let layers = [Vp8Source::layer("0", "q", ssrc), Vp8Source::layer("0", "f", ssrc + 1)];
                (camera, world.publish(camera, "0"), layers)
            })
            .collect();
        let viewer = world.join(vec![slot("v0", Video, SLOTS[0]), slot("v1", Video, SLOTS[1])]);
        Self { world, cameras, viewer, frames: 0 }
    }

    fn watch(&mut self, camera: usize, preference: LayerPreference) {
        let source = Some(self.cameras[camera].1);
        let mid = mid(&format!("v{camera}"));
        self.world.command(Command::AssignSlot { transport: id(self.viewer), mid, source, preference });
    }

    fn prefer(&mut self, camera: usize, preference: LayerPreference) {
        let mid = mid(&format!("v{camera}"));
        self.world.command(Command::SetPreference { transport: id(self.viewer), mid, preference });
    }

    /// Lets all cameras send for so many seconds; a keyframe each second.
    fn play(&mut self, seconds: u64) {
        for _ in 0..seconds * 30 {
            let key = self.frames.is_multiple_of(30);
            for (camera, _, [low, high]) in &mut self.cameras {
                self.world.send(*camera, &low.frame(key));
                for packet in high.packets(key, 4) {
                    self.world.send(*camera, &packet);
                }
            }
            self.world.pass(33);
            self.frames += 1;
        }
    }

    /// The viewer reports that its path carries so much, and that nothing was lost.
    fn report(&mut self, kbps: u64) {
        let highest = self.world.clients[self.viewer].rtp.last().map_or(0, |packet| packet.seq.0 as u32);
        self.world.send_rtcp(self.viewer, |out| {
            let block = |ssrc| ReportBlock { ssrc: Ssrc(ssrc), highest_seq: highest, ..ReportBlock::default() };
            rtcp::write_receiver_report(out, Ssrc(1), &SLOTS.map(block));
            rtcp::write_remb(out, Ssrc(1), Bitrate::from_kbps(kbps), &SLOTS.map(Ssrc));
        });
    }

    fn slots(&mut self) -> Vec<SlotStats> {
        self.world.stats().transports[self.viewer].slots.clone()
    }

    fn layers(&mut self) -> Vec<Option<Rid>> {
        self.slots().iter().map(|slot| slot.rid.filter(|_| slot.bitrate > Bitrate::ZERO)).collect()
    }

    /// Reasons that were reported since the last call, by camera.
    fn pauses(&mut self) -> Vec<(usize, Option<PauseReason>)> {
        let cameras: Vec<_> = self.cameras.iter().map(|camera| camera.1).collect();
        let reported = self.world.events().into_iter().filter_map(|event| match event {
            Event::SlotPaused { publication, reason, .. } => {
                Some((cameras.iter().position(|camera| *camera == publication)?, reason))
            }
            _ => None,
        });
        reported.collect()
    }

    /// Why the viewer gets no better layers, as its slots say and as it was reported last, by camera.
    fn limits(&mut self) -> (Vec<LayerLimit>, Vec<Option<LayerLimit>>) {
        let mut reported = vec![None; self.cameras.len()];
        for event in self.world.events() {
            if let Event::SlotLimited { publication, limit, .. } = event {
                let camera = self.cameras.iter().position(|camera| camera.1 == publication).unwrap();
                reported[camera] = Some(limit);
            }
        }
        (self.slots().iter().map(|slot| slot.limit).take(reported.len()).collect(), reported)
    }

    /// Frames that the viewer got in a slot.
    fn frames(&self, slot: usize) -> usize {
        let got = &self.world.clients[self.viewer].rtp;
        got.iter().filter(|packet| packet.ssrc == Ssrc(SLOTS[slot]) && packet.marker).count()
    }
}

fn fixed(kbps: u64) -> EstimatorConfig {
    EstimatorConfig::Fixed(Some(Bitrate::from_kbps(kbps)))
}

fn role(role: Role) -> LayerPreference {
    LayerPreference { role, ..LayerPreference::default() }
}

#[test]
fn a_narrow_path_gets_the_low_layer_and_no_frozen_picture() {
    let mut meeting = Meeting::new(1, fixed(500));
    meeting.watch(0, LayerPreference::default());
    meeting.play(6);
    assert_eq!(meeting.layers()[0], Rid::new("q"));
    assert_eq!(meeting.frames(0), 180, "every frame, from the first on");
    assert_continuous(&meeting.world.clients[meeting.viewer].rtp);
    assert_eq!(meeting.pauses(), []);
    let allocation = meeting.world.stats().transports[meeting.viewer].allocation;
    let near = |rate: Bitrate, kbps: u64| rate.as_kbps().abs_diff(kbps) < kbps / 20;
    assert!(near(allocation.granted, LOW_KBPS) && near(allocation.wanted, HIGH_KBPS), "{allocation:?}");
    let step = allocation.next_step.unwrap();
    assert!(near(step.gain, HIGH_KBPS - LOW_KBPS) && near(step.at, HIGH_KBPS * 10 / 9), "{step:?}");
}

#[test]
fn a_wide_path_gets_everything_soon() {
    let mut meeting = Meeting::new(2, fixed(5_000));
    (0..2).for_each(|camera| meeting.watch(camera, LayerPreference::default()));
    meeting.play(3);
    assert_eq!(meeting.layers(), [Rid::new("f"); 2]);
    assert_eq!(meeting.pauses(), []);
    assert_eq!(meeting.world.stats().transports[meeting.viewer].allocation.next_step, None);
}

#[test]
fn a_slot_says_why_it_gets_no_better_layer() {
    use LayerLimit::*;
    let tile = |width, height| LayerPreference { tile: Some(Tile { width, height }), ..LayerPreference::default() };
    let mut meeting = Meeting::new(1, EstimatorConfig::Remb(RembConfig::default()));
    meeting.watch(0, LayerPreference::default());
    meeting.report(5_000);
    meeting.play(4);
    assert_eq!(meeting.limits().0, [Best]);
    meeting.prefer(0, tile(320, 180));
    meeting.play(2);
    assert_eq!(meeting.limits(), (vec![Wanted], vec![Some(Wanted)]));
    meeting.prefer(0, tile(1_280, 720));
    meeting.report(500);
    meeting.play(4);
    assert_eq!(meeting.limits(), (vec![Bandwidth], vec![Some(Bandwidth)]));
    for _ in 0..30 {
        meeting.report(5_000);
        meeting.play(1);
    }
    assert_eq!(meeting.limits(), (vec![Best], vec![Some(Best)]));
    let caps = VideoCaps { bitrate: Some(Bitrate::from_kbps(400)), ..VideoCaps::default() };
    meeting.world.command(Command::CapPublication { publication: meeting.cameras[0].1, caps });
    meeting.play(3);
    assert_eq!(meeting.limits(), (vec![Cap], vec![Some(Cap)]));
}

#[test]
fn a_layer_that_is_not_sent_is_the_senders_doing() {
    let mut meeting = Meeting::new(1, fixed(5_000));
    meeting.watch(0, LayerPreference::default());
    meeting.play(2);
    for n in 0..120 {
        let (camera, _, [low, _]) = &mut meeting.cameras[0];
        meeting.world.send(*camera, &low.frame(n % 30 == 0));
        meeting.world.pass(33);
    }
    assert_eq!(meeting.limits(), (vec![LayerLimit::Sender], vec![Some(LayerLimit::Sender)]));
}

/// Where the reasons come and go with the tile, a second passes from report to report, and the last one is told.
#[test]
fn reasons_are_reported_once_a_second() {
    let mut meeting = Meeting::new(1, EstimatorConfig::default());
    meeting.watch(0, LayerPreference::default());
    meeting.play(2);
    let tile = |width, height| LayerPreference { tile: Some(Tile { width, height }), ..LayerPreference::default() };
    for n in 0..30 {
        meeting.prefer(0, if n % 2 == 0 { tile(320, 180) } else { tile(1_280, 720) });
        meeting.world.pass(33);
    }
    meeting.prefer(0, tile(320, 180));
    meeting.play(2);
    let reported: Vec<LayerLimit> = meeting
        .world
        .events()
        .into_iter()
        .filter_map(|event| if let Event::SlotLimited { limit, .. } = event { Some(limit) } else { None })
        .collect();
    assert!((1..=3).contains(&reported.len()), "{reported:?}");
    assert_eq!(reported.last(), Some(&LayerLimit::Wanted), "{reported:?}");
}

#[test]
fn what_has_no_room_pauses_with_a_reason_and_comes_back() {
    let mut meeting = Meeting::new(2, EstimatorConfig::Remb(RembConfig::default()));
    meeting.watch(0, role(Role::Other));
    meeting.watch(1, role(Role::Pinned));
    meeting.report(5_000);
    meeting.play(4);
    assert_eq!(meeting.layers(), [Rid::new("f"); 2]);
    meeting.pauses();
    meeting.report(400);
    meeting.play(4);
    assert_eq!(meeting.layers(), [None, Rid::new("q")], "what is pinned goes on");
    assert_eq!(meeting.pauses(), [(0, Some(PauseReason::Bandwidth))]);
    assert_eq!(meeting.slots()[0].paused, Some(PauseReason::Bandwidth));
    for _ in 0..30 {
        meeting.report(5_000);
        meeting.play(1);
    }
    assert_eq!(meeting.pauses(), [(0, None)]);
    assert_eq!(meeting.layers(), [Rid::new("f"); 2]);
}

#[test]
fn what_is_not_shown_costs_nothing() {
    let hidden = LayerPreference { tile: Some(Tile::default()), ..LayerPreference::default() };
    for estimator in [fixed(1_300), EstimatorConfig::default()] {
        let mut meeting = Meeting::new(2, estimator);
        meeting.watch(0, LayerPreference::default());
        meeting.watch(1, hidden);
        meeting.play(4);
        assert_eq!(meeting.layers(), [Rid::new("f"), None]);
        assert_eq!(meeting.frames(1), 0);
        assert_eq!(meeting.pauses(), [(1, Some(PauseReason::NotVisible))]);
        meeting.prefer(1, LayerPreference::default());
        meeting.play(2);
        assert_eq!(meeting.pauses(), [(1, None)]);
        assert!(meeting.layers()[1].is_some());
    }
}

#[test]
fn no_layer_is_larger_than_its_tile_needs() {
    let tile = |width, height| LayerPreference { tile: Some(Tile { width, height }), ..LayerPreference::default() };
    let mut meeting = Meeting::new(1, EstimatorConfig::default());
    meeting.watch(0, tile(320, 180));
    meeting.play(3);
    assert_eq!(meeting.layers()[0], Rid::new("q"), "the low layer has 640x360 already");
    meeting.prefer(0, tile(1_280, 720));
    meeting.play(3);
    assert_eq!(meeting.layers()[0], Rid::new("f"));
    assert_continuous(&meeting.world.clients[meeting.viewer].rtp);
}

#[test]
fn a_publisher_that_changes_the_size_of_its_layers_is_followed() {
    let mut meeting = Meeting::new(1, EstimatorConfig::default());
    let tile = Some(Tile { width: 640, height: 360 });
    meeting.watch(0, LayerPreference { tile, ..LayerPreference::default() });
    meeting.play(3);
    assert_eq!(meeting.layers()[0], Rid::new("q"));
    // Its low layer has a quarter of the pixels from now on.
    for n in 0..60 {
        let (camera, _, [low, high]) = &mut meeting.cameras[0];
        let mut packet = low.frame(n % 30 == 0);
        if n % 30 == 0 {
            packet.payload[12..16].copy_from_slice(&[0x40, 0x01, 0xb4, 0]); // 320x180
        }
        meeting.world.send(*camera, &packet);
        meeting.world.send(*camera, &high.frame(n % 30 == 0));
        meeting.world.pass(33);
    }
    assert_eq!(meeting.layers()[0], Rid::new("f"));
}

/// One camera without simulcast whose frames alternate between two temporal layers, for a viewer at `kbps` who hears
/// somebody too; how many of its frames the viewer gets in six seconds.
fn frames_of_two_temporal_layers(kbps: u64) -> usize {
    let mut config = WorkerConfig::default();
    config.transport.estimator = fixed(kbps);
    let mut world = World::with(config);
    let camera = world.join(vec![published("0", Video), published("1", Audio)]);
    let viewer = world.join(vec![slot("v", Video, SLOTS[0]), slot("a", Audio, 0x7300)]);
    for (mid, slot) in [("0", "v"), ("1", "a")] {
        let publication = world.publish(camera, mid);
        world.assign(viewer, slot, Some(publication));
    }
    let (mut video, mut audio) = (Vp8Source::new("0", 10), OpusSource::new("1", 30));
    for n in 0..360 {
        let mut packet = video.frame(n % 30 == 0);
        // RFC 7741 section 4.2: the temporal layer's index, and whether it refers to the lowest alone.
        packet.payload[5] = if n % 2 == 0 { 0 } else { 0b0110_0000 };
        world.send(camera, &packet);
        world.send(camera, &audio.packet(30));
        world.pass(33);
    }
    let got = &world.clients[viewer].rtp;
    let video: Vec<_> = got.iter().filter(|packet| packet.ssrc == Ssrc(SLOTS[0])).cloned().collect();
    for pair in video.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.next());
    }
    assert!(got.iter().filter(|packet| packet.ssrc == Ssrc(0x7300)).count() >= 355, "audio never starves");
    video.len()
}

#[test]
fn a_lower_frame_rate_is_better_than_none() {
    assert!(frames_of_two_temporal_layers(1_000) > 340);
    assert!((170..=220).contains(&frames_of_two_temporal_layers(250)), "half of them");
    assert!(frames_of_two_temporal_layers(50) < 60, "none, once it is known what they take");
}

/// Somebody turns pages for a second every six seconds, and their screen takes 2.6 Mbit/s then.
#[test]
fn a_screen_whose_pages_are_turned_is_not_paused_nor_the_camera_beside_it() {
    let mut meeting = Meeting::new(1, fixed(1_000));
    meeting.watch(0, LayerPreference::default());
    let presenter = meeting.world.join(vec![published("0", Video)]);
    let source = Some(meeting.world.publish(presenter, "0"));
    let (transport, mid, preference) = (id(meeting.viewer), mid("v1"), role(Role::Screen));
    meeting.world.command(Command::AssignSlot { transport, mid, source, preference });
    let mut screen = Vp8Source::new("0", 40);
    let mut sent = 0;
    for n in 0..900 {
        let turns = n % 180 >= 150;
        if turns || n % 6 == 0 {
            sent += 1;
            let packets = screen.packets(n == 0, if turns { 10 } else { 1 });
            packets.iter().for_each(|packet| meeting.world.send(presenter, packet));
        }
        let (camera, _, [low, _]) = &mut meeting.cameras[0];
        meeting.world.send(*camera, &low.frame(n % 30 == 0));
        meeting.world.pass(33);
    }
    meeting.world.pass(3_000);
    assert_eq!((meeting.frames(0), meeting.frames(1)), (900, sent));
    let events = meeting.world.events();
    assert!(!events.iter().any(|event| matches!(event, Event::SlotPaused { .. })), "{events:?}");
}

/// A VP9 camera of two spatial layers inside one stream, as a viewer at `kbps` gets it who shows it in `tile`: packets a
/// picture, after a while.
fn packets_of_two_spatial_layers(kbps: Option<u64>, tile: Option<Tile>) -> usize {
    let mut config = WorkerConfig::default();
    config.transport.estimator = EstimatorConfig::Fixed(kbps.map(Bitrate::from_kbps));
    let mut world = World::with(config);
    let camera = world.join(vec![as_vp9(published("0", Video))]);
    let viewer = world.join(vec![as_vp9(slot("v", Video, SLOTS[0]))]);
    let source = Some(world.publish(camera, "0"));
    let preference = LayerPreference { tile, ..LayerPreference::default() };
    world.command(Command::AssignSlot { transport: id(viewer), mid: mid("v"), source, preference });
    let mut video = Vp9Source::new("0", 10);
    let mut play = |world: &mut World, pictures: u64| {
        world.clients[viewer].rtp.clear();
        for n in 0..pictures {
            for packet in video.picture(n % 30 == 0) {
                world.send(camera, &packet);
            }
            world.pass(33);
        }
        let got = &world.clients[viewer].rtp;
        assert_eq!(got.iter().filter(|packet| packet.marker).count() as u64, pictures, "each picture is closed");
        got.len() / pictures as usize
    };
    play(&mut world, 90);
    play(&mut world, 30)
}

#[test]
fn spatial_layers_inside_a_stream_are_chosen_by_bandwidth_and_by_tile() {
    let tile = |width, height| Some(Tile { width, height });
    assert_eq!(packets_of_two_spatial_layers(None, None), 4);
    assert_eq!(packets_of_two_spatial_layers(Some(5_000), None), 4);
    assert_eq!(packets_of_two_spatial_layers(Some(500), None), 1);
    assert_eq!(packets_of_two_spatial_layers(None, tile(320, 180)), 1);
    assert_eq!(packets_of_two_spatial_layers(Some(5_000), tile(320, 180)), 1);
    assert_eq!(packets_of_two_spatial_layers(Some(5_000), tile(640, 360)), 4);
}

#[test]
fn who_comes_back_begins_at_what_the_path_carried() {
    let mut meeting = Meeting::new(1, EstimatorConfig::Remb(RembConfig::default()));
    meeting.watch(0, LayerPreference::default());
    meeting.play(1);
    meeting.report(500);
    meeting.play(3);
    let start = |world: &mut World| {
        let viewer = world.join(vec![slot("v0", Video, SLOTS[0])]);
        let stats = world.stats();
        let stats = stats.transports.iter().find(|stats| stats.transport == id(viewer)).unwrap();
        world.command(Command::RemoveTransport { transport: id(viewer) });
        stats.downlink_estimate.unwrap().as_kbps()
    };
    assert_eq!(start(&mut meeting.world), 200, "beside one who uses it");
    meeting.world.command(Command::RemoveTransport { transport: id(meeting.viewer) });
    meeting.world.pass(5_000);
    assert_eq!(start(&mut meeting.world), 400);
    meeting.world.pass(5_000);
    assert_eq!(start(&mut meeting.world), 400, "nothing was learned, and nothing forgotten");
}
