//! Reports, requests and estimates.

use crate::support::media::*;
use crate::support::{UNIX_START, World};
use sfu_core::config::WorkerConfig;
use sfu_core::event::Event;
use sfu_core::ids::PublicationId;
use sfu_rtc::bwe::{EstimatorConfig, RembConfig};
use sfu_rtc::ids::Ssrc;
use sfu_rtc::media::MediaKind::*;
use sfu_rtc::rtcp::{self, RtcpView, SenderInfo};
use sfu_rtc::time::{Duration, NtpTime};
use sfu_rtc::units::Bitrate;

const SOUND: u32 = 0x7000;
const PICTURE: u32 = 0x7100;

/// A participant with sound and picture, and one who gets both.
fn pair(world: &mut World) -> (usize, usize) {
    let publisher = world.join(vec![published("0", Audio), published("1", Video)]);
    let subscriber = world.join(vec![slot("a", Audio, SOUND), slot("v", Video, PICTURE)]);
    for (published, slot) in [("0", "a"), ("1", "v")] {
        let publication = world.publish(publisher, published);
        world.assign(subscriber, slot, Some(publication));
    }
    (publisher, subscriber)
}

fn sender_reports(world: &mut World, client: usize, ssrc: u32) -> Vec<SenderInfo> {
    let compounds = &world.clients[client].rtcp;
    let packets = compounds.iter().flat_map(|compound| rtcp::compound(compound));
    packets
        .filter_map(|packet| match packet {
            Ok(RtcpView::SenderReport(report)) if report.info.ssrc == Ssrc(ssrc) => Some(report.info),
            _ => None,
        })
        .collect()
}

/// Seconds by which sound is ahead of picture for a receiver who plays by the newest reports, given timestamps of both
/// that were captured at once.
fn lip_error(world: &mut World, client: usize, sound: u32, picture: u32) -> f64 {
    let mut captured = |ssrc, timestamp: u32, rate: f64| {
        let report = *sender_reports(world, client, ssrc).last().unwrap();
        let ntp = (report.ntp.0 >> 32) as f64 + (report.ntp.0 & 0xffff_ffff) as f64 / 2_f64.powi(32);
        ntp + f64::from(timestamp.wrapping_sub(report.rtp) as i32) / rate
    };
    captured(SOUND, sound, 48_000.0) - captured(PICTURE, picture, 90_000.0)
}

#[test]
fn sound_and_picture_stay_in_step() {
    let mut world = World::new();
    let (publisher, subscriber) = pair(&mut world);
    let (mut sound, mut picture) = (OpusSource::new("0", 20), Vp8Source::new("1", 10));
    let (sound_start, picture_start) = (sound.timestamp, picture.timestamp);
    let start = world.now;
    // Its clock is of another year. Captured at once, sound takes 150 ms longer on the way; of the reports, those on the
    // picture take 60 ms longer.
    let ntp = |millis: u32| NtpTime::from_unix(Duration::from_secs(99) + Duration::from_millis(u64::from(millis)));
    for n in 0..300_u32 {
        if n % 3 == 0 {
            world.send(publisher, &picture.picture(n == 0));
        }
        if n >= 15 {
            for _ in 0..=n % 2 {
                world.send(publisher, &sound.packet(40)); // 50 a second, with gaps of 10 ms and less
            }
        }
        if n % 50 == 20 {
            let sound_at = (world.now - start).as_millis() as u32;
            let picture_at = sound_at - 60;
            let (sound_rtp, picture_rtp) = (sound_start + sound_at * 48, picture_start.wrapping_add(picture_at * 90));
            for (ssrc, at, rtp) in [(20, sound_at, sound_rtp), (10, picture_at, picture_rtp)] {
                let info = SenderInfo { ssrc: Ssrc(ssrc), ntp: ntp(at), rtp, packets: 1, octets: 1 };
                world.send_rtcp(publisher, |out| rtcp::write_sender_report(out, &info, &[]));
            }
        }
        world.pass(10);
    }
    let reports = sender_reports(&mut world, subscriber, PICTURE);
    assert!(reports.len() >= 3, "{reports:?}");
    let unix = UNIX_START + Duration::from_nanos(world.now.as_nanos());
    assert!(NtpTime::from_unix(unix).0.abs_diff(reports.last().unwrap().ntp.0) >> 32 <= 1, "reports are on our clock");
    // Timestamps on the wire equal the publisher's, since nothing was carried before: captured at once, 1 s in.
    let error = lip_error(&mut world, subscriber, sound_start + 48_000, picture_start.wrapping_add(90_000));
    assert!(error.abs() < 0.002, "{error}");
    let octets = reports.last().unwrap().octets / reports.last().unwrap().packets;
    assert_eq!(octets, 996);
}

#[test]
fn sync_survives_a_switch_of_the_picture() {
    let mut world = World::new();
    let (first, subscriber) = pair(&mut world);
    let second = world.join(vec![published("0", Audio), published("1", Video)]);
    let publications = [world.publish(second, "0"), world.publish(second, "1")];
    let (mut sound, mut picture) = (OpusSource::new("0", 30), Vp8Source::new("1", 40));
    world.send(first, &OpusSource::new("0", 20).packet(40));
    world.send(first, &Vp8Source::new("1", 10).picture(true));
    world.pass(500);
    let (sound_start, picture_start) = (sound.timestamp + 960, picture.timestamp.wrapping_add(3_000));
    for (ssrc, rtp) in [(30, sound_start), (40, picture_start)] {
        let (sound, picture) = (sound.packet(40), picture.picture(true));
        world.send(second, if ssrc == 30 { &sound } else { &picture });
        let ntp = NtpTime::from_unix(Duration::from_secs(7));
        let info = SenderInfo { ssrc: Ssrc(ssrc), ntp, rtp, packets: 1, octets: 1 };
        world.send_rtcp(second, |out| rtcp::write_sender_report(out, &info, &[]));
    }
    (sound.timestamp, picture.timestamp) = (sound_start, picture_start);
    world.assign(subscriber, "a", Some(publications[0]));
    world.assign(subscriber, "v", Some(publications[1]));
    world.pass(400);
    world.clients[subscriber].rtp.clear();
    // 420 ms after the reports, by the publisher's clock; one on time, the other 80 ms late.
    (sound.timestamp, picture.timestamp) = (sound_start + 420 * 48 - 960, picture_start.wrapping_add(420 * 90 - 3_000));
    world.send(second, &sound.packet(40));
    world.pass(80);
    world.send(second, &picture.picture(true));
    world.pass(1_000);
    let newest = |world: &World, ssrc| {
        world.clients[subscriber].rtp.iter().rfind(|packet| packet.ssrc == Ssrc(ssrc)).unwrap().timestamp
    };
    let (sound, picture) = (newest(&world, SOUND), newest(&world, PICTURE));
    let error = lip_error(&mut world, subscriber, sound, picture);
    assert!(error.abs() < 0.002, "{error}");
}

#[test]
fn publishers_get_receiver_reports() {
    let mut world = World::new();
    let (publisher, _) = pair(&mut world);
    let mut picture = Vp8Source::new("1", 10);
    for n in 0..100 {
        let packet = picture.picture(n == 0);
        if n % 10 != 5 {
            world.send(publisher, &packet);
        }
        world.pass(20);
    }
    let blocks: Vec<_> = world.clients[publisher]
        .rtcp
        .iter()
        .flat_map(|compound| rtcp::compound(compound))
        .filter_map(|packet| if let Ok(RtcpView::ReceiverReport(report)) = packet { Some(report) } else { None })
        .flat_map(|report| report.blocks().collect::<Vec<_>>())
        .collect();
    let last = blocks.last().unwrap();
    assert_eq!(last.ssrc, Ssrc(10));
    assert!((4..=10).contains(&last.cumulative_lost), "{last:?}");
    assert!((15..=35).contains(&last.fraction_lost), "{last:?}");
    world.clients[publisher].rtcp.clear();
    world.pass(3_000);
    world.clients[publisher].rtcp.clear();
    world.pass(5_000);
    let reports = &world.clients[publisher].rtcp;
    assert!(reports.is_empty(), "silence is not reported on: {:?}", rtcp::compound(&reports[0]).collect::<Vec<_>>());
}

#[test]
fn one_subscriber_does_not_wear_the_others_keyframes_out() {
    let mut world = World::new();
    let (publisher, subscriber) = pair(&mut world);
    let mut picture = Vp8Source::new("1", 10);
    let mut asked = 0;
    for n in 0..900 {
        let requested = world.clients[publisher]
            .rtcp
            .drain(..)
            .filter(|compound| rtcp::compound(compound).any(|packet| matches!(packet, Ok(RtcpView::Pli(_)))));
        let requested = requested.count();
        asked += requested;
        world.send(publisher, &picture.picture(requested > 0));
        world.pass(33);
        if n % 6 == 5 {
            world.send_rtcp(subscriber, |out| rtcp::write_pli(out, Ssrc(1), Ssrc(PICTURE)));
        }
    }
    assert!((18..=22).contains(&asked), "{asked} in 30 s");
    let traffic = world.stats().totals;
    assert_eq!((traffic.keyframe_requests_sent, traffic.keyframe_requests_received), (asked as u64, 150));
}

/// Whoever loses a picture now and then gets a keyframe for each as soon as its publisher can send one.
#[test]
fn a_lossy_subscriber_is_not_left_frozen() {
    let mut world = World::new();
    let (publisher, subscriber) = pair(&mut world);
    let mut picture = Vp8Source::new("1", 10);
    for n in 0..900 {
        let before = world.keyframe_requests(publisher);
        if n % 63 == 60 {
            world.send_rtcp(subscriber, |out| rtcp::write_pli(out, Ssrc(1), Ssrc(PICTURE)));
        }
        let asked = world.keyframe_requests(publisher) - before;
        assert_eq!(asked, usize::from(n % 63 == 60), "at picture {n}");
        world.send(publisher, &picture.picture(n == 0 || asked > 0));
        world.pass(33);
    }
}

#[test]
fn one_keyframe_serves_all_who_ask() {
    let mut world = World::new();
    let (publisher, _) = pair(&mut world);
    let viewers: Vec<_> = (0..10).map(|_| world.join(vec![slot("v", Video, PICTURE)])).collect();
    for viewer in &viewers {
        world.assign(*viewer, "v", Some(PublicationId(2)));
    }
    let mut picture = Vp8Source::new("1", 10);
    world.send(publisher, &picture.picture(true));
    world.pass(1_000);
    for _ in 0..20 {
        for viewer in &viewers {
            world.send_rtcp(*viewer, |out| rtcp::write_pli(out, Ssrc(1), Ssrc(PICTURE)));
        }
        world.send(publisher, &picture.picture(false));
        world.pass(10);
    }
    assert_eq!(world.keyframe_requests(publisher), 1);
}

#[test]
fn a_publisher_that_does_not_answer_is_asked_ever_more_rarely() {
    let mut world = World::new();
    let (publisher, _) = pair(&mut world);
    let mut picture = Vp8Source::new("1", 10);
    let mut play = |world: &mut World, seconds: u64| {
        let before = world.keyframe_requests(publisher);
        for _ in 0..30 * seconds {
            world.send(publisher, &picture.picture(false));
            world.pass(33);
        }
        world.keyframe_requests(publisher) - before
    };
    let often = play(&mut world, 20);
    assert!((15..=22).contains(&often), "{often} in 20 s");
    let rarely = play(&mut world, 60);
    assert!((5..=8).contains(&rarely), "{rarely} in 60 s");
    // It was away, and comes back.
    world.pass(5_000);
    let again = play(&mut world, 3);
    assert!((3..=6).contains(&again), "{again} in 3 s");
}

#[test]
fn the_active_speaker_is_told() {
    let mut world = World::new();
    let (publisher, _) = pair(&mut world);
    world.events();
    let mut sound = OpusSource::new("0", 20);
    let speakers = |world: &mut World| {
        let mut told = Vec::new();
        for event in world.events() {
            if let Event::ActiveSpeakers { speakers, .. } = event {
                told.push(speakers.into_iter().map(|(id, _)| id).collect::<Vec<_>>());
            }
        }
        told
    };
    for _ in 0..40 {
        world.send(publisher, &sound.packet(25));
        world.pass(20);
    }
    assert_eq!(speakers(&mut world), [[PublicationId(1)]]);
    // Not a word more, not even silence.
    world.pass(5_000);
    assert_eq!(speakers(&mut world), [[PublicationId(0); 0]]);
}

#[test]
fn the_estimate_caps_what_is_sent() {
    let mut config = WorkerConfig::default();
    config.transport.estimator = EstimatorConfig::Remb(RembConfig::default());
    let mut world = World::with(config);
    let camera = world.join(vec![simulcast("0", &["q", "f"])]);
    let viewer = world.join(vec![slot("v", Video, PICTURE)]);
    let publication = world.publish(camera, "0");
    world.assign(viewer, "v", Some(publication));
    let mut layers = [Vp8Source::layer("0", "q", 10), Vp8Source::layer("0", "f", 20)];
    let mut play = |world: &mut World, estimate: u64| {
        for n in 0..150 {
            let [low, high] = &mut layers;
            world.send(camera, &low.picture(n % 30 == 0));
            for packet in high.packets(n % 30 == 0, 4) {
                world.send(camera, &packet);
            }
            world.pass(33);
            if n % 30 == 0 {
                let bitrate = Bitrate::from_kbps(estimate);
                world.send_rtcp(viewer, |out| rtcp::write_remb(out, Ssrc(1), bitrate, &[Ssrc(PICTURE)]));
            }
        }
        let stats = world.stats();
        stats.transports[1].slots[0].bitrate.as_kbps()
    };
    assert_eq!(play(&mut world, 10_000) / 100, 9);
    assert_eq!(play(&mut world, 500) / 100, 2, "the lower layer");
    assert_eq!(play(&mut world, 100) / 100, 2, "something has to be sent");
}
