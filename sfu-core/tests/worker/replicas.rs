//! One room over two workers.

use crate::support::media::*;
use crate::support::pair::{HERE, Pair, THERE};
use crate::support::{World, id, mid};
use sfu_core::command::{Command, Quality, VideoCaps};
use sfu_core::config::WorkerConfig;
use sfu_core::event::Event;
use sfu_core::ids::PublicationId;
use sfu_rtc::bwe::{EstimatorConfig, RembConfig};
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::Ssrc;
use sfu_rtc::media::{Codec, MediaKind::*};
use sfu_rtc::rtcp::{self, RtcpView, SenderInfo};
use sfu_rtc::time::{Duration, NtpTime};
use sfu_rtc::units::Bitrate;

const SLOT: u32 = 0x7000;

/// A camera here, a viewer there, and the camera's video in the viewer's slot.
fn camera_and_viewer(pair: &mut Pair) -> (usize, usize, PublicationId) {
    let camera = pair.here.join(vec![published("0", Video)]);
    let viewer = viewer(pair);
    let publication = pair.publish(camera, "0", Video, &[]);
    pair.assign(viewer, "v", Some(publication));
    (camera, viewer, publication)
}

fn viewer(pair: &mut Pair) -> usize {
    pair.there.join(vec![slot("v", Video, SLOT)])
}

/// Sends so many frames, 33 ms each; those of the numbers in `keys` are keyframes.
fn play(pair: &mut Pair, camera: usize, source: &mut Vp8Source, frames: usize, keys: &[usize]) {
    for n in 0..frames {
        for packet in source.packets(keys.contains(&n), 3) {
            pair.send(camera, &packet);
        }
        pair.pass(33);
    }
}

#[test]
fn video_crosses_over_and_its_keyframe_is_asked_for_at_once() {
    let mut pair = Pair::new();
    let (camera, viewer, publication) = camera_and_viewer(&mut pair);
    let mut source = Vp8Source::new("0", 10);
    pair.send(camera, &source.frame(false));
    assert_eq!(pair.here.keyframe_requests(camera), 1);
    play(&mut pair, camera, &mut source, 10, &[0]);
    let got = &pair.there.clients[viewer].rtp;
    assert_eq!(got.len(), 30);
    assert!(got.iter().all(|packet| (packet.ssrc, packet.payload_type) == (Ssrc(SLOT), VP8)));
    assert_continuous(got);
    assert_eq!(pair.here.keyframe_requests(camera), 1);
    let codec = Event::PublicationCodec { transport: id(camera), publication, codec: Codec::Vp8 };
    assert!(pair.here.events().contains(&codec));
    let events = pair.there.events();
    assert!(!events.contains(&codec), "its origin tells it, nobody else");
    assert!(events.contains(&Event::SlotSwitched { transport: id(viewer), mid: mid("v"), publication }));
    assert_eq!((pair.here.stats().relayed_out, pair.there.stats().relayed_in), (31, 31));
    assert_eq!(pair.there.drops(DropReason::NotPublished), 0);
}

#[test]
fn commands_may_overtake_relay_messages() {
    for opened_first in [false, true] {
        let mut pair = Pair::new();
        let camera = pair.here.join(vec![published("0", Video)]);
        let viewer = viewer(&mut pair);
        let publication = pair.here.publish(camera, "0");
        if opened_first {
            pair.open(publication, Video, &[]);
            pair.assign(viewer, "v", Some(publication));
        }
        pair.here.command(Command::RelayTo { publication, destination: THERE });
        pair.exchange();
        if !opened_first {
            pair.open(publication, Video, &[]);
            pair.assign(viewer, "v", Some(publication));
        }
        play(&mut pair, camera, &mut Vp8Source::new("0", 10), 5, &[0]);
        assert_eq!(pair.there.clients[viewer].rtp.len(), 15, "{opened_first}");
    }
}

#[test]
fn what_a_relay_says_that_ends_is_not_taken_for_the_first_word_of_the_next() {
    let mut pair = Pair::new();
    let (camera, viewer, publication) = camera_and_viewer(&mut pair);
    let mut source = Vp8Source::new("0", 10);
    play(&mut pair, camera, &mut source, 5, &[0]);
    pair.pass(1_000);
    // The room leaves the worker and comes back at once: the origin has its orders first.
    pair.there.command(Command::Unpublish { publication });
    pair.here.command(Command::StopRelay { publication, destination: THERE });
    pair.here.command(Command::RelayTo { publication, destination: THERE });
    pair.exchange();
    pair.open(publication, Video, &[]);
    pair.assign(viewer, "v", Some(publication));
    play(&mut pair, camera, &mut source, 5, &[0]);
    assert_eq!(pair.there.clients[viewer].rtp.len(), 30);
}

#[test]
fn nothing_that_nobody_wants_there_is_relayed() {
    let mut pair = Pair::new();
    let (camera, viewer, _) = camera_and_viewer(&mut pair);
    let mut source = Vp8Source::new("0", 10);
    play(&mut pair, camera, &mut source, 5, &[0]);
    pair.assign(viewer, "v", None);
    let relayed = pair.here.stats().relayed_out;
    play(&mut pair, camera, &mut source, 20, &[0]);
    assert_eq!(pair.here.stats().relayed_out, relayed);
    pair.pass(2_000);
    assert_eq!(pair.here.keyframe_requests(camera), 0, "nobody waits for one");
}

#[test]
fn a_loss_on_the_way_in_is_repaired_at_the_origin_and_keeps_its_place() {
    let mut pair = Pair::new();
    let (camera, viewer, _) = camera_and_viewer(&mut pair);
    let mut source = Vp8Source::new("0", 10);
    pair.send(camera, &source.frame(true));
    let lost = source.frame(false);
    pair.send(camera, &source.frame(false));
    pair.pass(60);
    assert!(pair.here.stats().totals.nacks_sent > 0, "though nobody here gets it");
    pair.send(camera, &lost.again(Ssrc(11), 500).with(sfu_rtc::rtp::extension::ExtensionKind::Mid, b"0"));
    let mut got = pair.there.clients[viewer].rtp.clone();
    got.sort_by_key(|packet| packet.seq);
    assert_eq!(got.len(), 3);
    assert_continuous(&got);
}

#[test]
fn a_loss_on_the_way_out_is_repaired_by_the_worker_of_the_subscriber() {
    let mut pair = Pair::new();
    let (camera, viewer, _) = camera_and_viewer(&mut pair);
    let mut source = Vp8Source::new("0", 10);
    play(&mut pair, camera, &mut source, 20, &[0]);
    let lost = pair.there.clients[viewer].rtp[40].clone();
    let relayed = pair.here.stats().relayed_out;
    pair.there.send_rtcp(viewer, |out| {
        rtcp::write_nack(out, Ssrc(1), Ssrc(SLOT), &[lost.seq.wire()]);
    });
    let again = pair.there.clients[viewer].rtp.last().unwrap().clone();
    assert_eq!((again.ssrc, again.payload_type), (Ssrc(SLOT + 1), VP8_RTX));
    assert_eq!(again.payload[..2], lost.seq.wire().to_be_bytes());
    assert_eq!(again.payload[2..], lost.payload[..]);
    assert_eq!((pair.here.stats().relayed_out, pair.carry()), (relayed, 0));
}

#[test]
fn keyframe_requests_of_many_there_are_one_to_the_publisher() {
    let mut pair = Pair::new();
    let (camera, first, publication) = camera_and_viewer(&mut pair);
    let mut source = Vp8Source::new("0", 10);
    play(&mut pair, camera, &mut source, 30, &[0]);
    let second = viewer(&mut pair);
    pair.assign(second, "v", Some(publication));
    play(&mut pair, camera, &mut source, 30, &[0]);
    let before = pair.here.keyframe_requests(camera);
    for viewer in [first, second] {
        pair.there.send_rtcp(viewer, |out| rtcp::write_pli(out, Ssrc(1), Ssrc(SLOT)));
    }
    pair.exchange();
    assert_eq!(pair.here.keyframe_requests(camera), before + 1);
    play(&mut pair, camera, &mut source, 30, &[2]);
    assert_eq!(pair.here.keyframe_requests(camera), before + 1);
}

#[test]
fn who_comes_soon_after_a_keyframe_needs_none() {
    let mut pair = Pair::new();
    let camera = pair.here.join(vec![published("0", Video)]);
    let publication = pair.publish(camera, "0", Video, &[]);
    let here = pair.here.join(vec![slot("v", Video, SLOT)]);
    let viewers = [viewer(&mut pair), viewer(&mut pair)];
    pair.here.assign(here, "v", Some(publication));
    let mut source = Vp8Source::new("0", 10);
    play(&mut pair, camera, &mut source, 3, &[0]);
    let asked = pair.here.keyframe_requests(camera);
    for viewer in viewers {
        // The first is served from what the origin holds, the second from what is held there.
        pair.assign(viewer, "v", Some(publication));
    }
    play(&mut pair, camera, &mut source, 3, &[]);
    assert_eq!(pair.here.keyframe_requests(camera), asked);
    for viewer in viewers {
        let got = &pair.there.clients[viewer].rtp;
        assert_eq!(got.len(), 18);
        assert_continuous(got);
    }
}

#[test]
fn a_source_that_begins_anew_does_so_there() {
    let mut pair = Pair::new();
    let (camera, viewer, _) = camera_and_viewer(&mut pair);
    play(&mut pair, camera, &mut Vp8Source::new("0", 10), 10, &[0]);
    let mut other = Vp8Source::new("0", 50);
    play(&mut pair, camera, &mut other, 4, &[]);
    assert_eq!(pair.there.clients[viewer].rtp.len(), 30, "its first frames build on others");
    assert_eq!(pair.here.keyframe_requests(camera), 1);
    play(&mut pair, camera, &mut other, 10, &[0]);
    let got = &pair.there.clients[viewer].rtp;
    assert_eq!(got.len(), 60);
    assert_continuous(got);
    assert!(got.windows(2).all(|pair| (pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32) >= 0));
}

#[test]
fn what_is_muted_is_silent_there_and_comes_back_with_a_keyframe() {
    let mut pair = Pair::new();
    let (camera, viewer, publication) = camera_and_viewer(&mut pair);
    let mut source = Vp8Source::new("0", 10);
    play(&mut pair, camera, &mut source, 10, &[0]);
    pair.mute(publication, true);
    play(&mut pair, camera, &mut source, 10, &[0]);
    assert_eq!(pair.there.clients[viewer].rtp.len(), 30);
    pair.mute(publication, false);
    assert_eq!(pair.here.keyframe_requests(camera), 1);
    play(&mut pair, camera, &mut source, 10, &[3]);
    assert_eq!(pair.there.clients[viewer].rtp.len(), 30 + 21);
    assert_continuous(&pair.there.clients[viewer].rtp);
}

#[test]
fn a_relay_that_begins_while_muted_knows_it() {
    let mut pair = Pair::new();
    let camera = pair.here.join(vec![published("0", Video)]);
    let publication = pair.here.publish(camera, "0");
    pair.here.command(Command::SetMuted { publication, muted: true });
    let viewer = viewer(&mut pair);
    pair.here.command(Command::RelayTo { publication, destination: THERE });
    pair.open(publication, Video, &[]);
    pair.assign(viewer, "v", Some(publication));
    let mut source = Vp8Source::new("0", 10);
    play(&mut pair, camera, &mut source, 5, &[0]);
    assert_eq!((pair.there.clients[viewer].rtp.len(), pair.here.keyframe_requests(camera)), (0, 0));
    pair.mute(publication, false);
    play(&mut pair, camera, &mut source, 5, &[0]);
    assert_eq!(pair.there.clients[viewer].rtp.len(), 15);
}

#[test]
fn a_full_queue_drops_and_counts_and_a_keyframe_is_asked_for() {
    let mut pair = Pair::with(WorkerConfig { max_relay_queue: 40, ..WorkerConfig::default() });
    let (camera, viewer, _) = camera_and_viewer(&mut pair);
    let mut source = Vp8Source::new("0", 10);
    play(&mut pair, camera, &mut source, 10, &[0]);
    let (asked, got) = (pair.here.keyframe_requests(camera), pair.there.clients[viewer].rtp.len());
    for _ in 0..20 {
        // The other worker does not look for 660 ms.
        for packet in source.packets(false, 3) {
            pair.here.send(camera, &packet);
        }
        pair.here.pass(33);
    }
    pair.there.pass(660);
    pair.exchange();
    let dropped = pair.here.drops(DropReason::RelayFull);
    assert!((20..30).contains(&dropped), "{dropped}");
    assert_eq!(pair.here.keyframe_requests(camera), asked, "it would find no room either");
    play(&mut pair, camera, &mut source, 10, &[5]);
    assert_eq!(pair.here.keyframe_requests(camera), asked + 1);
    assert_eq!(pair.here.drops(DropReason::RelayFull), dropped);
    let after = &pair.there.clients[viewer].rtp[got..];
    assert_eq!(after.len() as u64, 60 - dropped + 30);
    let gap = after.last().unwrap().seq.0 + 1 - after[0].seq.0 - after.len() as u64;
    assert_eq!(gap, dropped, "a gap where packets were lost on the way, nowhere else");
}

#[test]
fn the_end_of_a_publication_is_the_end_of_its_relay() {
    let mut pair = Pair::new();
    let (camera, viewer, publication) = camera_and_viewer(&mut pair);
    let mut source = Vp8Source::new("0", 10);
    play(&mut pair, camera, &mut source, 10, &[0]);
    // There first: what is on its way meets nobody, and the origin stops at once.
    pair.here.send(camera, &source.frame(false));
    pair.there.command(Command::Unpublish { publication });
    pair.exchange();
    assert_eq!(pair.there.drops(DropReason::NotPublished), 1);
    let relayed = pair.here.stats().relayed_out;
    play(&mut pair, camera, &mut source, 10, &[0]);
    assert_eq!(pair.here.stats().relayed_out, relayed);
    pair.here.command(Command::StopRelay { publication, destination: THERE });
    pair.here.command(Command::StopRelay { publication, destination: THERE });
    assert_eq!(pair.here.stats().ignored_commands, 1);
    // And again, the other way round.
    pair.here.command(Command::RelayTo { publication, destination: THERE });
    pair.open(publication, Video, &[]);
    pair.assign(viewer, "v", Some(publication));
    play(&mut pair, camera, &mut source, 10, &[0]);
    assert_eq!(pair.there.clients[viewer].rtp.len(), 60);
    pair.here.command(Command::Unpublish { publication });
    pair.there.command(Command::CloseRoom { room: crate::support::ROOM });
    pair.pass(3_000);
    assert_eq!((pair.there.stats().rooms, pair.there.stats().ignored_commands), (0, 0));
}

#[test]
fn packets_are_let_go_of_when_a_source_falls_silent() {
    let mut pair = Pair::with(WorkerConfig { max_packets: 100, ..WorkerConfig::default() });
    let (camera, viewer, _) = camera_and_viewer(&mut pair);
    let mut source = Vp8Source::new("0", 10);
    for burst in 0..10 {
        for packet in source.packets(burst == 0, 60) {
            pair.send(camera, &packet);
        }
        pair.pass(3_000);
    }
    assert_eq!(pair.there.clients[viewer].rtp.len(), 600, "the pool never ran dry");
    assert_eq!(pair.here.drops(DropReason::LimitReached), 0);
}

#[test]
fn orders_that_make_no_sense_are_ignored() {
    let mut pair = Pair::new();
    let (_, _, publication) = camera_and_viewer(&mut pair);
    pair.here.command(Command::RelayTo { publication, destination: THERE });
    pair.here.command(Command::RelayTo { publication: PublicationId(77), destination: THERE });
    pair.there.command(Command::RelayTo { publication, destination: HERE });
    pair.open(publication, Video, &[]);
    pair.exchange();
    assert_eq!((pair.here.stats().ignored_commands, pair.there.stats().ignored_commands), (2, 2));
}

/// Audio here, and who speaks as each worker sees it.
#[test]
fn each_worker_hears_everybody() {
    let mut pair = Pair::new();
    let speaker = pair.here.join(vec![published("0", Audio)]);
    let listener = pair.there.join(vec![slot("a", Audio, SLOT)]);
    let publication = pair.publish(speaker, "0", Audio, &[]);
    let mut source = OpusSource::new("0", 30);
    for wanted in [false, true] {
        pair.assign(listener, "a", wanted.then_some(publication));
        for _ in 0..60 {
            pair.send(speaker, &source.packet(20));
            pair.pass(20);
        }
        for world in [&mut pair.here, &mut pair.there] {
            let events = world.events();
            let heard = |event: &Event| matches!(event, Event::ActiveSpeakers { speakers, .. } if speakers.len() == 1);
            assert!(events.iter().any(heard), "{wanted} {events:?}");
        }
        pair.mute(publication, true);
        pair.pass(400);
        let events = pair.there.events();
        let silent = |event: &Event| matches!(event, Event::ActiveSpeakers { speakers, .. } if speakers.is_empty());
        assert!(events.iter().any(silent), "{wanted} {events:?}");
        pair.mute(publication, false);
        pair.here.events();
    }
    let got = &pair.there.clients[listener].rtp;
    assert_eq!(got.len(), 60);
    assert_eq!(pair.here.stats().relayed_out, 60, "of what nobody wants, only the loudness crosses over");
}

/// Seconds by which audio is ahead of video in the newest reports that a client has, for timestamps captured at once.
fn lip_error(world: &World, client: usize, captured: [(u32, u32, f64); 2]) -> f64 {
    let compounds = world.clients[client].rtcp.iter();
    let reports: Vec<_> = compounds
        .flat_map(|compound| rtcp::compound(compound))
        .filter_map(|packet| if let Ok(RtcpView::SenderReport(report)) = packet { Some(report.info) } else { None })
        .collect();
    let [audio, video] = captured.map(|(ssrc, timestamp, rate)| {
        let report = reports.iter().rfind(|report| report.ssrc == Ssrc(ssrc)).unwrap();
        let ntp = (report.ntp.0 >> 32) as f64 + (report.ntp.0 & 0xffff_ffff) as f64 / 2_f64.powi(32);
        ntp + f64::from(timestamp.wrapping_sub(report.rtp) as i32) / rate
    });
    audio - video
}

#[test]
fn audio_and_video_stay_in_step_there_also_for_those_who_come_late() {
    let mut pair = Pair::new();
    let publisher = pair.here.join(vec![published("0", Audio), published("1", Video)]);
    let publications = [pair.publish(publisher, "0", Audio, &[]), pair.publish(publisher, "1", Video, &[])];
    let (mut audio, mut video) = (OpusSource::new("0", 20), Vp8Source::new("1", 10));
    let (audio_start, video_start) = (audio.timestamp, video.timestamp);
    let start = pair.here.now;
    let mut viewers = Vec::new();
    for n in 0..100_u32 {
        if n == 0 || n == 50 {
            let viewer = pair.there.join(vec![slot("a", Audio, 0x7100), slot("v", Video, SLOT)]);
            pair.assign(viewer, "a", Some(publications[0]));
            pair.assign(viewer, "v", Some(publications[1]));
            viewers.push(viewer);
        }
        pair.send(publisher, &video.frame(n % 50 == 0));
        if n >= 6 {
            pair.send(publisher, &audio.packet(40)); // 200 ms longer on the way
        }
        if n == 30 {
            // On a clock of another year.
            let elapsed = (pair.here.now - start).as_millis() as u32;
            let ntp = NtpTime::from_unix(Duration::from_secs(99) + (pair.here.now - start));
            for (ssrc, rtp) in [(10, video_start.wrapping_add(elapsed * 90)), (20, audio_start + elapsed * 48)] {
                let info = SenderInfo { ssrc: Ssrc(ssrc), ntp, rtp, packets: 1, octets: 1 };
                pair.here.send_rtcp(publisher, |out| rtcp::write_sender_report(out, &info, &[]));
                pair.exchange();
            }
        }
        pair.pass(33);
    }
    pair.pass(1_000);
    let at = 1_000;
    let captured = [(0x7100, audio_start + at * 48, 48_000.0), (SLOT, video_start.wrapping_add(at * 90), 90_000.0)];
    // Timestamps on the slots are the source's, since nothing was carried before.
    for viewer in viewers {
        let error = lip_error(&pair.there, viewer, captured);
        assert!(error.abs() < 0.002, "{viewer} {error}");
    }
}

#[test]
fn of_simulcast_the_layers_that_are_wanted_there_are_relayed() {
    let mut pair = Pair::new();
    let rids = ["q", "h", "f"];
    let camera = pair.here.join(vec![simulcast("0", &rids)]);
    let viewers = [viewer(&mut pair), viewer(&mut pair)];
    let publication = pair.publish(camera, "0", Video, &rids);
    let mut layers = [10, 20, 30].map(|ssrc| Vp8Source::layer("0", rids[ssrc as usize / 10 - 1], ssrc));
    // Plays so many frames of these layers, keyframes where asked for; how many packets were relayed.
    let mut play = |pair: &mut Pair, which: &[usize], frames: usize| {
        let before = pair.here.stats().relayed_out;
        for _ in 0..frames {
            for &layer in which {
                let ssrc = layers[layer].ssrc;
                let asked = |compound: &Vec<u8>| {
                    rtcp::compound(compound).any(|p| matches!(p, Ok(RtcpView::Pli(pli)) if pli.media == ssrc))
                };
                let key = pair.here.clients[camera].rtcp.iter().any(asked);
                pair.here.clients[camera].rtcp.retain(|compound| !asked(compound));
                pair.send(camera, &layers[layer].frame(key));
            }
            pair.pass(33);
        }
        (pair.here.stats().relayed_out - before) as usize
    };
    let rid =
        |pair: &mut Pair, viewer: usize| pair.there.stats().transports[viewer].slots[0].rid.map(|r| r.to_string());
    assert_eq!(play(&mut pair, &[0, 1, 2], 10), 0);
    pair.assign(viewers[0], "v", Some(publication));
    play(&mut pair, &[0, 1, 2], 20);
    assert_eq!(rid(&mut pair, viewers[0]).as_deref(), Some("f"));
    assert_eq!(play(&mut pair, &[0, 1, 2], 10), 10, "one of three");
    pair.there.assign_as(viewers[1], "v", Some(publication), Quality::Low);
    play(&mut pair, &[0, 1, 2], 20);
    assert_eq!(play(&mut pair, &[0, 1, 2], 10), 20, "two of three");
    // A layer that is not relayed is known to be alive, and one that died not to be.
    pair.there.prefer(viewers[0], "v", Quality::Medium, false);
    play(&mut pair, &[0, 1, 2], 20);
    assert_eq!(rid(&mut pair, viewers[0]).as_deref(), Some("h"));
    play(&mut pair, &[0, 2], 60);
    assert_eq!(rid(&mut pair, viewers[0]).as_deref(), Some("q"));
    assert_eq!(play(&mut pair, &[0, 2], 10), 10);
    play(&mut pair, &[0, 1, 2], 30);
    assert_eq!(rid(&mut pair, viewers[0]).as_deref(), Some("h"), "it is back");
    for viewer in viewers {
        assert_continuous(&pair.there.clients[viewer].rtp);
    }
}

#[test]
fn a_path_that_is_narrow_there_gets_what_fits_it() {
    let estimator = EstimatorConfig::Remb(RembConfig::default());
    let mut config = WorkerConfig::default();
    config.transport.estimator = estimator;
    let mut pair = Pair::with(config);
    let rids = ["q", "f"];
    let camera = pair.here.join(vec![simulcast("0", &rids)]);
    let viewer = viewer(&mut pair);
    let publication = pair.publish(camera, "0", Video, &rids);
    pair.assign(viewer, "v", Some(publication));
    // 240 and 960 kbit/s: the path takes the lower only, and the upper is not relayed, but its bitrate is known.
    let (mut low, mut high) = (Vp8Source::layer("0", "q", 10), Vp8Source::layer("0", "f", 20));
    for n in 0..200 {
        if n % 15 == 0 {
            pair.there.send_rtcp(viewer, |out| {
                rtcp::write_remb(out, Ssrc(1), Bitrate::from_kbps(500), &[Ssrc(SLOT)]);
            });
        }
        pair.send(camera, &low.frame(n % 30 == 0));
        for packet in high.packets(n % 30 == 0, 4) {
            pair.send(camera, &packet);
        }
        pair.pass(33);
    }
    let before = pair.here.stats().relayed_out;
    for _ in 0..90 {
        pair.send(camera, &low.frame(false));
        for packet in high.packets(false, 4) {
            pair.send(camera, &packet);
        }
        pair.pass(33);
    }
    assert_eq!(pair.here.stats().relayed_out - before, 90);
    assert_eq!(pair.there.stats().transports[viewer].slots[0].rid.map(|rid| rid.to_string()).as_deref(), Some("q"));
}

#[test]
fn what_is_negotiated_anew_is_known_there_and_redundant_audio_is_stripped_there() {
    let mut pair = Pair::new();
    let speaker = pair.here.join(vec![published("0", Audio)]);
    let knows = pair.there.join(vec![with_red(slot("a", Audio, SLOT))]);
    let plain = pair.there.join(vec![slot("a", Audio, SLOT)]);
    let publication = pair.publish(speaker, "0", Audio, &[]);
    for listener in [knows, plain] {
        pair.assign(listener, "a", Some(publication));
    }
    let sections = vec![with_red(published("0", Audio))];
    pair.here.command(Command::UpdateSections { transport: id(speaker), sections });
    pair.exchange();
    let mut packet = OpusSource::new("0", 20).packet(30);
    packet.payload_type = RED;
    // RFC 2198: one redundant block of 3 bytes, 960 ticks old, then the primary.
    packet.payload = vec![0x80 | 111, (960 >> 6) as u8, ((960 & 0x3f) << 2) as u8, 3, 111, 1, 2, 3, 0xfc, 8, 9];
    pair.send(speaker, &packet);
    let got = |client: usize| pair.there.clients[client].rtp.first().map(|got| (got.payload_type, got.payload.clone()));
    assert_eq!(got(knows), Some((RED, packet.payload.clone())));
    assert_eq!(got(plain), Some((OPUS, vec![0xfc, 8, 9])));
}

#[test]
fn padding_is_neither_forwarded_nor_missed_there() {
    let mut pair = Pair::new();
    let (camera, viewer, publication) = camera_and_viewer(&mut pair);
    let mut source = Vp8Source::new("0", 10);
    for n in 0..6 {
        pair.send(camera, &source.frame(n == 0));
        source.seq += 1;
        let padding = Rtp { seq: source.seq, payload: Vec::new(), ..source.clone().frame(false) };
        pair.send(camera, &padding);
        pair.pass(33);
    }
    assert_eq!(pair.there.clients[viewer].rtp.len(), 6);
    assert_continuous(&pair.there.clients[viewer].rtp);
    let asked = pair.here.keyframe_requests(camera);
    let late = self::viewer(&mut pair);
    pair.assign(late, "v", Some(publication));
    pair.send(camera, &source.frame(false));
    pair.pass(33);
    assert_eq!((pair.there.clients[late].rtp.len(), pair.here.keyframe_requests(camera)), (7, asked));
    assert_continuous(&pair.there.clients[late].rtp);
}

/// What is left out over a cap is missing there, too, though nothing of it shows there.
#[test]
fn a_sender_over_its_cap_is_asked_for_a_keyframe_for_viewers_there() {
    let mut pair = Pair::new();
    let (camera, viewer, publication) = camera_and_viewer(&mut pair);
    let mut source = Vp8Source::new("0", 10);
    play(&mut pair, camera, &mut source, 10, &[0]);
    let caps = VideoCaps { bitrate: Some(Bitrate::from_kbps(300)), ..VideoCaps::default() };
    pair.here.command(Command::CapPublication { publication, caps });
    let asked = pair.here.keyframe_requests(camera);
    play(&mut pair, camera, &mut source, 90, &[]);
    assert!(pair.here.drops(DropReason::OverCap) > 0);
    assert!(pair.here.keyframe_requests(camera) > asked);
    let before = pair.there.clients[viewer].rtp.len();
    play(&mut pair, camera, &mut source, 5, &[0]);
    let got = &pair.there.clients[viewer].rtp;
    assert!(got.len() > before, "it goes on");
    for pair in got.windows(2) {
        let new_picture = u16::from(pair[0].timestamp != pair[1].timestamp);
        assert_eq!(pair[1].seq, pair[0].seq.next());
        assert_eq!(
            vp8_ids(&pair[1].payload).0,
            vp8_ids(&pair[0].payload).0 + new_picture,
            "as if no other had been sent"
        );
    }
}
