//! Reports, requests and estimates.

use crate::support::media::*;
use crate::support::{UNIX_START, World, id};
use sfu_core::command::Command;
use sfu_core::config::WorkerConfig;
use sfu_core::event::Event;
use sfu_core::ids::{PublicationId, TransportId};
use sfu_rtc::bwe::{EstimatorConfig, RembConfig};
use sfu_rtc::ids::Ssrc;
use sfu_rtc::media::MediaKind::*;
use sfu_rtc::rtcp::{self, RtcpView, SenderInfo};
use sfu_rtc::time::{Duration, NtpTime};
use sfu_rtc::units::Bitrate;

const AUDIO: u32 = 0x7000;
const VIDEO: u32 = 0x7100;

/// A participant with audio and video, and one who gets both.
fn pair(world: &mut World) -> (usize, usize) {
    let publisher = world.join(vec![published("0", Audio), published("1", Video)]);
    let subscriber = world.join(vec![slot("a", Audio, AUDIO), slot("v", Video, VIDEO)]);
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

/// Seconds by which audio is ahead of video for a receiver who plays by the newest reports, given timestamps of both
/// that were captured at once.
fn lip_error(world: &mut World, client: usize, audio: u32, video: u32) -> f64 {
    let mut captured = |ssrc, timestamp: u32, rate: f64| {
        let report = *sender_reports(world, client, ssrc).last().unwrap();
        let ntp = (report.ntp.0 >> 32) as f64 + (report.ntp.0 & 0xffff_ffff) as f64 / 2_f64.powi(32);
        ntp + f64::from(timestamp.wrapping_sub(report.rtp) as i32) / rate
    };
    captured(AUDIO, audio, 48_000.0) - captured(VIDEO, video, 90_000.0)
}

#[test]
fn audio_and_video_stay_in_step() {
    let mut world = World::new();
    let (publisher, subscriber) = pair(&mut world);
    let (mut audio, mut video) = (OpusSource::new("0", 20), Vp8Source::new("1", 10));
    let (audio_start, video_start) = (audio.timestamp, video.timestamp);
    let start = world.now;
    // Its clock is of another year. Captured at once, audio takes 150 ms longer on the way; of the reports, those on the
    // video take 60 ms longer.
    let ntp = |millis: u32| NtpTime::from_unix(Duration::from_secs(99) + Duration::from_millis(u64::from(millis)));
    for n in 0..300_u32 {
        if n % 3 == 0 {
            world.send(publisher, &video.frame(n == 0));
        }
        if n >= 15 {
            for _ in 0..=n % 2 {
                world.send(publisher, &audio.packet(40)); // 50 a second, with gaps of 10 ms and less
            }
        }
        if n % 50 == 20 {
            let audio_at = (world.now - start).as_millis() as u32;
            let video_at = audio_at - 60;
            let (audio_rtp, video_rtp) = (audio_start + audio_at * 48, video_start.wrapping_add(video_at * 90));
            for (ssrc, at, rtp) in [(20, audio_at, audio_rtp), (10, video_at, video_rtp)] {
                let info = SenderInfo { ssrc: Ssrc(ssrc), ntp: ntp(at), rtp, packets: 1, octets: 1 };
                world.send_rtcp(publisher, |out| rtcp::write_sender_report(out, &info, &[]));
            }
        }
        world.pass(10);
    }
    let reports = sender_reports(&mut world, subscriber, VIDEO);
    assert!(reports.len() >= 3, "{reports:?}");
    let unix = UNIX_START + Duration::from_nanos(world.now.as_nanos());
    assert!(NtpTime::from_unix(unix).0.abs_diff(reports.last().unwrap().ntp.0) >> 32 <= 1, "reports are on our clock");
    // Timestamps on the wire equal the publisher's, since nothing was carried before: captured at once, 1 s in.
    let error = lip_error(&mut world, subscriber, audio_start + 48_000, video_start.wrapping_add(90_000));
    assert!(error.abs() < 0.002, "{error}");
    let octets = reports.last().unwrap().octets / reports.last().unwrap().packets;
    assert_eq!(octets, 996);
}

#[test]
fn sync_survives_a_switch_of_the_video() {
    let mut world = World::new();
    let (first, subscriber) = pair(&mut world);
    let second = world.join(vec![published("0", Audio), published("1", Video)]);
    let publications = [world.publish(second, "0"), world.publish(second, "1")];
    let (mut audio, mut video) = (OpusSource::new("0", 30), Vp8Source::new("1", 40));
    world.send(first, &OpusSource::new("0", 20).packet(40));
    world.send(first, &Vp8Source::new("1", 10).frame(true));
    world.pass(500);
    let (audio_start, video_start) = (audio.timestamp + 960, video.timestamp.wrapping_add(3_000));
    for (ssrc, rtp) in [(30, audio_start), (40, video_start)] {
        let (audio, video) = (audio.packet(40), video.frame(true));
        world.send(second, if ssrc == 30 { &audio } else { &video });
        let ntp = NtpTime::from_unix(Duration::from_secs(7));
        let info = SenderInfo { ssrc: Ssrc(ssrc), ntp, rtp, packets: 1, octets: 1 };
        world.send_rtcp(second, |out| rtcp::write_sender_report(out, &info, &[]));
    }
    (audio.timestamp, video.timestamp) = (audio_start, video_start);
    world.assign(subscriber, "a", Some(publications[0]));
    world.assign(subscriber, "v", Some(publications[1]));
    world.pass(400);
    world.clients[subscriber].rtp.clear();
    // 420 ms after the reports, by the publisher's clock; one on time, the other 80 ms late.
    (audio.timestamp, video.timestamp) = (audio_start + 420 * 48 - 960, video_start.wrapping_add(420 * 90 - 3_000));
    world.send(second, &audio.packet(40));
    world.pass(80);
    world.send(second, &video.frame(true));
    world.pass(1_000);
    let newest = |world: &World, ssrc| {
        world.clients[subscriber].rtp.iter().rfind(|packet| packet.ssrc == Ssrc(ssrc)).unwrap().timestamp
    };
    let (audio, video) = (newest(&world, AUDIO), newest(&world, VIDEO));
    let error = lip_error(&mut world, subscriber, audio, video);
    assert!(error.abs() < 0.002, "{error}");
}

#[test]
fn publishers_get_receiver_reports() {
    let mut world = World::new();
    let (publisher, _) = pair(&mut world);
    let mut video = Vp8Source::new("1", 10);
    for n in 0..100 {
        let packet = video.frame(n == 0);
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
    let mut video = Vp8Source::new("1", 10);
    let mut asked = 0;
    for n in 0..900 {
        let requested = world.clients[publisher]
            .rtcp
            .drain(..)
            .filter(|compound| rtcp::compound(compound).any(|packet| matches!(packet, Ok(RtcpView::Pli(_)))));
        let requested = requested.count();
        asked += requested;
        world.send(publisher, &video.frame(requested > 0));
        world.pass(33);
        if n % 6 == 5 {
            world.send_rtcp(subscriber, |out| rtcp::write_pli(out, Ssrc(1), Ssrc(VIDEO)));
        }
    }
    assert!((18..=22).contains(&asked), "{asked} in 30 s");
    let traffic = world.stats().totals;
    assert_eq!((traffic.keyframe_requests_sent, traffic.keyframe_requests_received), (asked as u64, 150));
}

/// Whoever loses a frame now and then gets a keyframe for each as soon as its publisher can send one.
#[test]
fn a_lossy_subscriber_is_not_left_frozen() {
    let mut world = World::new();
    let (publisher, subscriber) = pair(&mut world);
    let mut video = Vp8Source::new("1", 10);
    for n in 0..900 {
        let before = world.keyframe_requests(publisher);
        if n % 63 == 60 {
            world.send_rtcp(subscriber, |out| rtcp::write_pli(out, Ssrc(1), Ssrc(VIDEO)));
        }
        let asked = world.keyframe_requests(publisher) - before;
        assert_eq!(asked, usize::from(n % 63 == 60), "at frame {n}");
        world.send(publisher, &video.frame(n == 0 || asked > 0));
        world.pass(33);
    }
}

#[test]
fn one_keyframe_serves_all_who_ask() {
    let mut world = World::new();
    let (publisher, _) = pair(&mut world);
    let viewers: Vec<_> = (0..10).map(|_| world.join(vec![slot("v", Video, VIDEO)])).collect();
    for viewer in &viewers {
        world.assign(*viewer, "v", Some(PublicationId(2)));
    }
    let mut video = Vp8Source::new("1", 10);
    world.send(publisher, &video.frame(true));
    world.pass(1_000);
    for _ in 0..20 {
        for viewer in &viewers {
            world.send_rtcp(*viewer, |out| rtcp::write_pli(out, Ssrc(1), Ssrc(VIDEO)));
        }
        world.send(publisher, &video.frame(false));
        world.pass(10);
    }
    assert_eq!(world.keyframe_requests(publisher), 1);
}

#[test]
fn a_publisher_that_does_not_answer_is_asked_ever_more_rarely() {
    let mut world = World::new();
    let (publisher, _) = pair(&mut world);
    let mut video = Vp8Source::new("1", 10);
    let mut play = |world: &mut World, seconds: u64| {
        let before = world.keyframe_requests(publisher);
        for _ in 0..30 * seconds {
            world.send(publisher, &video.frame(false));
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
fn the_active_speaker_is_reported() {
    let mut world = World::new();
    let (publisher, _) = pair(&mut world);
    world.events();
    let mut audio = OpusSource::new("0", 20);
    let speakers = |world: &mut World| {
        let mut reported = Vec::new();
        for event in world.events() {
            if let Event::ActiveSpeakers { speakers, .. } = event {
                reported.push(speakers.into_iter().map(|(id, _)| id).collect::<Vec<_>>());
            }
        }
        reported
    };
    for _ in 0..40 {
        world.send(publisher, &audio.packet(25));
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
    let viewer = world.join(vec![slot("v", Video, VIDEO)]);
    let publication = world.publish(camera, "0");
    world.assign(viewer, "v", Some(publication));
    let mut layers = [Vp8Source::layer("0", "q", 10), Vp8Source::layer("0", "f", 20)];
    let mut play = |world: &mut World, estimate: u64| {
        for n in 0..150 {
            let [low, high] = &mut layers;
            world.send(camera, &low.frame(n % 30 == 0));
            for packet in high.packets(n % 30 == 0, 4) {
                world.send(camera, &packet);
            }
            world.pass(33);
            if n % 30 == 0 {
                let bitrate = Bitrate::from_kbps(estimate);
                world.send_rtcp(viewer, |out| rtcp::write_remb(out, Ssrc(1), bitrate, &[Ssrc(VIDEO)]));
            }
        }
        let stats = world.stats();
        stats.transports[1].slots[0].bitrate.as_kbps()
    };
    assert_eq!(play(&mut world, 10_000) / 100, 9);
    assert_eq!(play(&mut world, 500) / 100, 2, "the lower layer");
    assert_eq!(play(&mut world, 100) / 100, 2, "something has to be sent");
}

#[test]
fn a_publisher_is_told_its_cap() {
    let mut world = World::new();
    let (publisher, subscriber) = pair(&mut world);
    let told = |world: &mut World, client: usize| {
        let compounds = std::mem::take(&mut world.clients[client].rtcp);
        let packets = compounds.iter().flat_map(|compound| rtcp::compound(compound));
        let rates = packets.filter_map(|packet| match packet {
            Ok(RtcpView::Remb(remb)) => Some(remb.bitrate.as_kbps()),
            _ => None,
        });
        rates.collect::<Vec<_>>()
    };
    let transport = id(publisher);
    let bitrate = Some(Bitrate::from_kbps(400));
    world.command(Command::LimitSender { transport, bitrate });
    for _ in 0..3 {
        world.pass(1_000);
        let rates = told(&mut world, publisher);
        assert!(rates.len() >= 2 && rates.iter().all(|rate| *rate == 400), "{rates:?}");
    }
    assert_eq!(told(&mut world, subscriber), [0; 0]);
    assert_eq!(world.stats().transports[publisher].uplink.cap, bitrate);
    world.command(Command::LimitSender { transport: TransportId(999), bitrate });
    assert_eq!(world.stats().ignored_commands, 1);
}

#[test]
fn a_change_of_the_round_trip_of_who_only_sends_is_known_within_seconds() {
    let mut world = World::new();
    let camera = world.join(vec![published("0", Video)]);
    world.publish(camera, "0");
    let mut source = Vp8Source::new("0", 10);
    let mut rtt = |world: &mut World, delay: u64, frames: u32| {
        world.clients[camera].answers_late = delay > 0;
        let mut answers = Vec::new();
        for n in 0..frames {
            let frame = source.frame(n == 0);
            world.send(camera, &frame);
            world.pass(33);
            let due = world.now + Duration::from_millis(delay);
            answers.extend(std::mem::take(&mut world.clients[camera].outbox).into_iter().map(|answer| (due, answer)));
            let now = world.now;
            answers.extract_if(.., |(due, _)| *due <= now).for_each(|(_, answer)| world.give(camera, answer));
        }
        world.stats().transports[0].rtt.unwrap().as_millis()
    };
    assert!(rtt(&mut world, 0, 60) < 40);
    assert!(rtt(&mut world, 250, 240) >= 240, "eight seconds after a change");
    assert!(rtt(&mut world, 0, 240) < 40, "and back");
}
