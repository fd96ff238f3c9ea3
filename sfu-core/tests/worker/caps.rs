//! What publishers may send and subscribers may get at most, and what is kept back for want of room.

use crate::support::media::*;
use crate::support::{World, id};
use sfu_core::command::{Command, EncoderTarget, EncodingTarget, Quality, VideoCaps};
use sfu_core::config::WorkerConfig;
use sfu_core::event::PauseReason;
use sfu_core::ids::PublicationId;
use sfu_rtc::bwe::EstimatorConfig;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::{Rid, Ssrc};
use sfu_rtc::media::MediaKind::*;
use sfu_rtc::units::Bitrate;

const SLOT: u32 = 0x7000;

/// A camera that sends simulcast of two layers as it likes, and a viewer.
struct Call {
    world: World,
    camera: usize,
    viewer: usize,
    publication: PublicationId,
    /// With packets a frame, of about 1,000 bytes, and the picture.
    layers: Vec<(Vp8Source, usize, (u16, u16))>,
    frames: u64,
}

impl Call {
    fn new(estimator: EstimatorConfig) -> Self {
        let mut config = WorkerConfig::default();
        config.transport.estimator = estimator;
        let mut world = World::with(config);
        let camera = world.join(vec![simulcast("0", &["q", "f"])]);
        let viewer = world.join(vec![slot("v", Video, SLOT)]);
        let publication = world.publish(camera, "0");
        world.assign(viewer, "v", Some(publication));
        let layers =
            vec![(Vp8Source::layer("0", "q", 10), 1, (320, 180)), (Vp8Source::layer("0", "f", 20), 4, (1_280, 720))];
        Self { world, camera, viewer, publication, layers, frames: 0 }
    }

    fn cap_publisher(&mut self, caps: VideoCaps) {
        self.world.command(Command::CapPublication { publication: self.publication, caps });
    }

    fn cap_subscriber(&mut self, caps: VideoCaps) {
        self.world.command(Command::CapSubscriber { transport: id(self.viewer), caps });
    }

    /// Lets the camera send for so many seconds, a keyframe each; kbit/s that the viewer got.
    fn play(&mut self, seconds: u64) -> u64 {
        let before = self.world.clients[self.viewer].rtp.len();
        for _ in 0..seconds * 30 {
            let key = self.frames.is_multiple_of(30);
            for (source, count, (width, height)) in &mut self.layers {
                for (at, mut packet) in source.packets(key, *count).into_iter().enumerate() {
                    if key && at == 0 {
                        packet.payload[12..14].copy_from_slice(&width.to_le_bytes());
                        packet.payload[14..16].copy_from_slice(&height.to_le_bytes());
                    }
                    self.world.send(self.camera, &packet);
                }
            }
            self.world.pass(33);
            self.frames += 1;
        }
        let got = &self.world.clients[self.viewer].rtp[before..];
        got.iter().map(|packet| packet.payload.len() as u64 * 8).sum::<u64>() / seconds / 1_000
    }

    fn layer(&mut self) -> Option<Rid> {
        self.world.stats().transports[self.viewer].slots[0].rid
    }

    fn paused(&mut self) -> Option<PauseReason> {
        self.world.stats().transports[self.viewer].slots[0].paused
    }
}

fn kbps(kbps: u64) -> VideoCaps {
    VideoCaps { bitrate: Some(Bitrate::from_kbps(kbps)), ..VideoCaps::default() }
}

fn height(height: u16) -> VideoCaps {
    VideoCaps { height: Some(height), ..VideoCaps::default() }
}

#[test]
fn a_sender_that_ignores_its_cap_is_cut_to_whole_pictures() {
    let mut call = Call::new(EstimatorConfig::default());
    call.layers.truncate(1);
    call.layers[0].1 = 6;
    assert!(call.play(3) > 1_300);
    call.cap_publisher(kbps(400));
    call.play(1);
    let before = call.world.clients[call.viewer].rtp.len();
    let got = call.play(10);
    assert!((150..=420).contains(&got), "{got}");
    assert!(call.world.drops(DropReason::OverCap) > 1_000);
    assert_eq!(call.world.stats().totals.nacks_sent, 0);
    let got = &call.world.clients[call.viewer].rtp[before..];
    assert!(got.windows(2).all(|pair| pair[1].seq == pair[0].seq.next()), "as if nothing else had been sent");
    for frame in got.chunk_by(|a, b| a.timestamp == b.timestamp) {
        assert!(frame.len() == 6 && frame[5].marker, "no part of a frame");
    }
    call.cap_publisher(VideoCaps::default());
    call.play(1);
    assert!(call.play(3) > 1_300, "as before");
}

#[test]
fn upper_layers_go_before_lower_ones() {
    let mut call = Call::new(EstimatorConfig::default());
    call.play(3);
    assert_eq!(call.layer(), Rid::new("f"));
    call.cap_publisher(kbps(400));
    call.play(2);
    assert_eq!(call.layer(), Rid::new("q"));
    let before = call.world.clients[call.viewer].rtp.len();
    call.play(4);
    assert_eq!(call.world.clients[call.viewer].rtp.len() - before, 120, "all of the lower one");
    assert_continuous(&call.world.clients[call.viewer].rtp);
}

#[test]
fn a_layer_that_is_too_large_does_not_come_in() {
    let mut call = Call::new(EstimatorConfig::default());
    call.cap_publisher(height(360));
    call.play(3);
    assert_eq!(call.layer(), Rid::new("q"));
    call.cap_publisher(height(90));
    call.play(5);
    assert_eq!(call.paused(), Some(PauseReason::NoLayer));
    assert_eq!(call.play(1), 0);
}

#[test]
fn a_subscriber_gets_no_more_than_it_may() {
    let mut call = Call::new(EstimatorConfig::default());
    call.play(3);
    call.cap_subscriber(kbps(500));
    call.play(2);
    assert_eq!(call.layer(), Rid::new("q"));
    assert!(call.play(3) <= 500);
    call.cap_subscriber(VideoCaps::default());
    call.play(2);
    assert_eq!(call.layer(), Rid::new("f"));
    call.cap_subscriber(height(360));
    call.play(2);
    assert_eq!(call.layer(), Rid::new("q"));
    call.cap_subscriber(height(90));
    call.play(1);
    assert_eq!((call.play(1), call.paused()), (0, Some(PauseReason::NoLayer)));
    call.cap_subscriber(height(720));
    call.play(3);
    assert_eq!((call.layer(), call.paused()), (Rid::new("f"), None));
    assert_continuous(&call.world.clients[call.viewer].rtp);
}

/// Of two temporal layers, only the lower one comes where fewer frames may be got.
#[test]
fn a_subscriber_gets_no_more_frames_than_it_may() {
    let mut call = Call::new(EstimatorConfig::default());
    call.cap_subscriber(VideoCaps { framerate: Some(15), ..VideoCaps::default() });
    let mut source = Vp8Source::layer("0", "q", 10);
    for n in 0..120 {
        let mut packet = source.frame(n % 30 == 0);
        // RFC 7741 section 4.2: the temporal layer's index, and whether it refers to the lowest alone.
        let at = packet.payload.len().min(5);
        packet.payload[at] = if n % 2 == 0 { 0 } else { 0b0110_0000 };
        call.world.send(call.camera, &packet);
        call.world.pass(33);
    }
    let frames = call.world.clients[call.viewer].rtp.iter().filter(|packet| packet.ssrc == Ssrc(SLOT)).count();
    assert!((58..=64).contains(&frames), "{frames}");
}

/// A path is probed for what its subscriber wants and could get if it had room for it, though nobody sends it now.
#[test]
fn what_is_off_for_want_of_room_is_still_wanted() {
    let mut call = Call::new(EstimatorConfig::Fixed(Some(Bitrate::from_kbps(600))));
    call.layers.truncate(1);
    let mut wanted = |attainable: u64, quality| {
        let layer = EncodingTarget { rid: Rid::new("f"), bitrate: None, attainable: Bitrate::from_kbps(attainable) };
        let target = Box::new(EncoderTarget { layers: [layer].into_iter().collect() });
        call.world.command(Command::SetEncoderTarget { publication: call.publication, target });
        call.world.prefer(call.viewer, "v", quality, false);
        call.play(4);
        call.world.stats().transports[call.viewer].allocation.wanted.as_kbps()
    };
    let low = wanted(0, Quality::High);
    assert!((200..300).contains(&low), "{low}");
    assert_eq!(wanted(1_700, Quality::High), 1_700);
    assert_eq!(wanted(1_700, Quality::Low), low, "who wants no more is not probed for it");
    assert_eq!(wanted(1_700, Quality::High), 1_700);
    assert_eq!(wanted(0, Quality::High), low);
}
