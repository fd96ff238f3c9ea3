//! Media from publishers to subscribers, through the whole worker.

use crate::support::media::*;
use crate::support::{ROOM, World, id, mid};
use sfu_core::command::{Command, Quality};
use sfu_core::event::Event;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::{Rid, SeqNo, Ssrc};
use sfu_rtc::media::{Codec, MediaKind::*};
use sfu_rtc::rtcp::{self, RtcpView};

const SLOT: u32 = 0x7000;

fn camera(world: &mut World) -> usize {
    world.join(vec![published("0", Video)])
}

fn viewer(world: &mut World) -> usize {
    world.join(vec![slot("v", Video, SLOT), slot("w", Video, SLOT + 10)])
}

/// A camera, a viewer, and the camera's video assigned to the viewer's first slot.
fn pair(world: &mut World) -> (usize, usize) {
    let (camera, viewer) = (camera(world), viewer(world));
    let publication = world.publish(camera, "0");
    world.assign(viewer, "v", Some(publication));
    (camera, viewer)
}

#[test]
fn video_begins_at_a_keyframe_that_is_asked_for_at_once() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    world.send(camera, &source.frame(false));
    assert_eq!(world.drops(DropReason::AwaitingKeyframe), 1);
    assert_eq!(world.keyframe_requests(camera), 1);
    for n in 0..10 {
        for packet in source.packets(n == 0, 3) {
            world.send(camera, &packet);
        }
        world.pass(33);
    }
    assert_eq!(world.keyframe_requests(camera), 1);
    let got = &world.clients[viewer].rtp;
    assert_eq!(got.len(), 30);
    assert!(got.iter().all(|packet| (packet.ssrc, packet.payload_type) == (Ssrc(SLOT), VP8)));
    assert_continuous(got);
    let events = world.events();
    assert!(events.iter().any(|event| matches!(event, Event::PublicationCodec { codec: Codec::Vp8, .. })));
    let switched = events.iter().filter(|event| matches!(event, Event::SlotSwitched { .. })).count();
    assert_eq!(switched, 1, "{events:?}");
}

#[test]
fn an_unanswered_request_is_repeated_while_someone_waits() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    for _ in 0..100 {
        world.send(camera, &source.frame(false));
        world.pass(33);
    }
    let asked = world.keyframe_requests(camera);
    assert!((4..=11).contains(&asked), "{asked} in 3.3 s");
    world.assign(viewer, "v", None);
    world.pass(5_000);
    assert_eq!(world.keyframe_requests(camera), asked);
}

#[test]
fn audio_goes_at_once() {
    let mut world = World::new();
    let speaker = world.join(vec![published("0", Audio)]);
    let listener = world.join(vec![slot("a", Audio, SLOT)]);
    let publication = world.publish(speaker, "0");
    world.assign(listener, "a", Some(publication));
    let mut source = OpusSource::new("0", 20);
    for _ in 0..5 {
        world.send(speaker, &source.packet(30));
        world.pass(20);
    }
    let got = &world.clients[listener].rtp;
    assert_eq!(got.iter().map(|packet| packet.marker).collect::<Vec<_>>(), [true, false, false, false, false]);
    assert!(got.windows(2).all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) == 960));
}

#[test]
fn a_loss_on_the_way_in_is_repaired_and_keeps_its_place() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    world.send(camera, &source.frame(true));
    let lost = source.frame(false);
    world.send(camera, &source.frame(false));
    world.pass(60);
    let nacked: Vec<_> = world.clients[camera]
        .rtcp
        .iter()
        .flat_map(|compound| rtcp::compound(compound))
        .filter_map(
            |packet| if let Ok(RtcpView::Nack(nack)) = packet { Some(nack.seqs().collect::<Vec<_>>()) } else { None },
        )
        .collect();
    // Once in each of its round trips, which are short.
    assert!(!nacked.is_empty() && nacked.iter().all(|seqs| *seqs == [lost.seq as u16]), "{nacked:?}");
    world.send(camera, &lost.again(Ssrc(11), 500).with(sfu_rtc::rtp::extension::ExtensionKind::Mid, b"0"));
    world.send(camera, &lost);
    assert_eq!(world.drops(DropReason::Duplicate), 1);
    let mut got = world.clients[viewer].rtp.clone();
    assert_eq!(got.len(), 3);
    got.sort_by_key(|packet| packet.seq);
    assert_continuous(&got);
    assert_eq!(got[1].payload[6..], lost.payload[6..]);
}

#[test]
fn padding_is_neither_forwarded_nor_missed() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    for n in 0..10 {
        world.send(camera, &source.frame(n == 0));
        source.seq += 1;
        let padding = Rtp { seq: source.seq, payload: Vec::new(), ..source.clone().frame(false) };
        world.send(camera, &padding);
        world.pass(33);
    }
    assert_eq!(world.drops(DropReason::Padding), 10);
    assert_eq!(world.clients[viewer].rtp.len(), 10);
    assert_continuous(&world.clients[viewer].rtp);
    assert_eq!(world.stats().totals.nacks_sent, 0);
}

/// A browser's parity has numbers among its media, and does not come again.
#[test]
fn parity_that_is_lost_between_frames_is_neither_missed_nor_asked_for() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    for n in 0..30 {
        let frame = source.packets(n == 0, 2);
        frame.iter().for_each(|packet| world.send(camera, packet));
        for parity in 0..3 {
            source.seq += 1;
            if (n + parity) % 4 > 0 {
                world.send(camera, &Rtp { seq: source.seq, payload: Vec::new(), ..frame[1].clone() });
            }
        }
        // Of what was sent last and is lost nothing is known before the next frame.
        if n % 4 != 2 {
            world.pass(33);
        }
    }
    assert_eq!(world.stats().totals.nacks_sent, 0);
    let got = &mut world.clients[viewer].rtp;
    got.sort_by_key(|packet| packet.seq);
    assert_eq!(got.len(), 60);
    assert_continuous(got);
}

#[test]
fn a_loss_on_the_way_out_is_repaired_once_per_round_trip() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    for n in 0..40 {
        world.send(camera, &source.frame(n == 0));
        world.pass(20);
    }
    let lost = world.clients[viewer].rtp[20].clone();
    let nack = |world: &mut World| {
        world.send_rtcp(viewer, |out| {
            rtcp::write_nack(out, Ssrc(1), Ssrc(SLOT), &[lost.seq.wire()]);
        });
    };
    let repairs = |world: &World| {
        let packets = world.clients[viewer].rtp.iter();
        packets.filter(|packet| packet.ssrc == Ssrc(SLOT + 1)).cloned().collect::<Vec<_>>()
    };
    nack(&mut world);
    nack(&mut world);
    let sent = repairs(&world);
    assert_eq!((sent.len(), sent[0].payload_type, sent[0].timestamp), (1, VP8_RTX, lost.timestamp));
    assert_eq!(sent[0].payload[..2], lost.seq.wire().to_be_bytes());
    assert_eq!(sent[0].payload[2..], lost.payload[..]);
    assert_eq!(world.drops(DropReason::ResentTooRecently), 1);
    world.pass(250);
    nack(&mut world);
    assert_eq!(repairs(&world).len(), 2);
    for _ in 0..100 {
        world.send(camera, &source.frame(false));
        world.pass(20);
    }
    nack(&mut world);
    assert_eq!(repairs(&world).len(), 2);
    assert_eq!(world.drops(DropReason::NotInHistory), 1, "two seconds are too long ago");
}

#[test]
fn a_slot_switches_its_source_without_a_break_in_its_numbers() {
    let mut world = World::new();
    let (first, viewer) = pair(&mut world);
    let second = camera(&mut world);
    let publication = world.publish(second, "0");
    let (mut a, mut b) = (Vp8Source::new("0", 10), Vp8Source::new("0", 40));
    for n in 0..10 {
        world.send(first, &a.frame(n == 0));
        world.send(second, &b.frame(n == 0));
        world.pass(33);
    }
    world.events();
    world.assign(viewer, "v", Some(publication));
    for n in 0..10 {
        world.send(first, &a.frame(false));
        world.send(second, &b.frame(n == 4));
        world.pass(33);
    }
    let got = &world.clients[viewer].rtp;
    assert_eq!(got.len(), 16, "silent until the keyframe");
    assert_continuous(got);
    let step = got[10].timestamp.wrapping_sub(got[9].timestamp);
    assert_eq!(step, 5 * 33 * 90, "by the time of arrival");
    assert!(got[10..].iter().all(|packet| packet.ssrc == Ssrc(SLOT)));
    let switch = Event::SlotSwitched { transport: id(viewer), mid: mid("v"), publication };
    assert_eq!(world.events(), [switch]);
}

#[test]
fn one_source_fills_two_slots_of_one_viewer() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let publication = sfu_core::ids::PublicationId(1);
    world.assign(viewer, "w", Some(publication));
    world.send(camera, &Vp8Source::new("0", 10).frame(true));
    let ssrcs: Vec<_> = world.clients[viewer].rtp.iter().map(|packet| packet.ssrc).collect();
    assert_eq!(ssrcs, [Ssrc(SLOT), Ssrc(SLOT + 10)]);
    world.assign(viewer, "v", None);
    world.prefer(viewer, "w", Quality::High, false);
    assert_eq!(world.stats().transports[1].slots[1].publication, Some(publication));
}

struct Simulcast {
    world: World,
    camera: usize,
    viewer: usize,
    layers: Vec<Vp8Source>,
}

impl Simulcast {
    fn new() -> Self {
        let mut world = World::new();
        let camera = world.join(vec![simulcast("0", &["q", "h", "f"])]);
        let viewer = viewer(&mut world);
        let publication = world.publish(camera, "0");
        world.assign(viewer, "v", Some(publication));
        let layers =
            vec![Vp8Source::layer("0", "q", 10), Vp8Source::layer("0", "h", 20), Vp8Source::layer("0", "f", 30)];
        Self { world, camera, viewer, layers }
    }

    /// Sends frames of the layers; a keyframe whenever one was asked for.
    fn play(&mut self, layers: &[usize], frames: usize) {
        for _ in 0..frames {
            for &layer in layers {
                let ssrc = self.layers[layer].ssrc;
                let requested = self.world.clients[self.camera].rtcp.iter().any(|compound| {
                    rtcp::compound(compound).any(|p| matches!(p, Ok(RtcpView::Pli(pli)) if pli.media == ssrc))
                });
                if requested {
                    self.world.clients[self.camera].rtcp.clear();
                }
                let packet = self.layers[layer].frame(requested);
                self.world.send(self.camera, &packet);
            }
            self.world.pass(33);
        }
    }

    fn current(&mut self) -> Option<Rid> {
        let viewer = id(self.viewer);
        let stats = self.world.stats();
        stats.transports.iter().find(|t| t.transport == viewer).unwrap().slots[0].rid
    }
}

fn rid(text: &str) -> Option<Rid> {
    Rid::new(text)
}

#[test]
fn simulcast_follows_the_wanted_quality() {
    let mut sim = Simulcast::new();
    sim.play(&[0, 1, 2], 30);
    assert_eq!(sim.current(), rid("f"));
    for (quality, layer) in [(Quality::Low, "q"), (Quality::Medium, "h"), (Quality::High, "f")] {
        sim.world.prefer(sim.viewer, "v", quality, false);
        sim.play(&[0, 1, 2], 30);
        assert_eq!(sim.current(), rid(layer));
    }
    let got = &sim.world.clients[sim.viewer].rtp;
    assert_continuous(got);
    assert!(got.len() > 100, "{}: no gap while a keyframe is awaited", got.len());
}

#[test]
fn a_dead_layer_falls_back_and_returns() {
    let mut sim = Simulcast::new();
    sim.play(&[0, 1, 2], 30);
    sim.play(&[0, 1], 60);
    assert_eq!(sim.current(), rid("h"));
    sim.play(&[0], 60);
    assert_eq!(sim.current(), rid("q"));
    sim.play(&[0, 1, 2], 60);
    assert_eq!(sim.current(), rid("f"));
    assert_continuous(&sim.world.clients[sim.viewer].rtp);
}

#[test]
fn layers_are_aligned_by_sender_reports() {
    let mut sim = Simulcast::new();
    // The layers' clocks differ, and the higher one takes 300 ms longer on the way.
    sim.play(&[0, 1, 2], 1);
    let ntp = sfu_rtc::time::NtpTime::from_unix(std::time::Duration::from_secs(5));
    for layer in 0..3 {
        let info = rtcp::SenderInfo {
            ssrc: sim.layers[layer].ssrc,
            ntp,
            rtp: sim.layers[layer].timestamp,
            packets: 1,
            octets: 1,
        };
        sim.world.send_rtcp(sim.camera, |out| rtcp::write_sender_report(out, &info, &[]));
    }
    sim.world.prefer(sim.viewer, "v", Quality::Low, false);
    sim.play(&[0, 1], 30);
    sim.play(&[0, 2], 9);
    let low = sim.world.clients[sim.viewer].rtp.len();
    // 39 frames after the reports in the low layer; the top layer's next frame is its tenth, 30 behind.
    for _ in 0..31 {
        sim.layers[2].frame(false);
    }
    sim.world.prefer(sim.viewer, "v", Quality::High, false);
    let key = sim.layers[2].frame(true);
    sim.world.send(sim.camera, &key);
    let got = &sim.world.clients[sim.viewer].rtp;
    assert_eq!(got.len(), low + 1);
    assert_eq!(got[low].timestamp.wrapping_sub(got[low - 1].timestamp), 2 * 3_000, "two frames after the last");
}

#[test]
fn what_is_paused_or_muted_is_not_sent_and_resumes_at_a_keyframe() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let publication = sfu_core::ids::PublicationId(1);
    let mut source = Vp8Source::new("0", 10);
    let mut play = |world: &mut World, key: bool| {
        let before = world.clients[viewer].rtp.len();
        world.send(camera, &source.frame(key));
        world.send(camera, &source.frame(false));
        world.pass(400);
        world.clients[viewer].rtp.len() - before
    };
    assert_eq!(play(&mut world, true), 2);
    world.prefer(viewer, "v", Quality::High, true);
    assert_eq!(play(&mut world, true), 0);
    let asked = world.keyframe_requests(camera);
    world.prefer(viewer, "v", Quality::High, false);
    assert_eq!(play(&mut world, false), 0);
    assert!(world.keyframe_requests(camera) > asked);
    assert_eq!(play(&mut world, true), 2);
    world.command(Command::SetMuted { publication, muted: true });
    assert_eq!(play(&mut world, true), 0);
    world.command(Command::SetMuted { publication, muted: false });
    assert_eq!(play(&mut world, false), 0);
    assert_eq!(play(&mut world, true), 2);
    assert_continuous(&world.clients[viewer].rtp);
}

/// A second after the keyframe of what `camera` publishes, a viewer of it is answered, and not heard yet.
fn a_viewer_is_answered(world: &mut World, camera: usize) -> (usize, Vp8Source) {
    let publication = world.publish(camera, "0");
    let mut source = Vp8Source::new("0", 10);
    world.send(camera, &source.frame(true));
    world.pass(1_000);
    let viewer = world.announce(ROOM, vec![slot("v", Video, SLOT)]);
    world.assign(viewer, "v", Some(publication));
    (viewer, source)
}

#[test]
fn the_keyframe_is_asked_for_while_the_handshake_is_under_way() {
    let mut world = World::new();
    let camera = world.join(vec![published("0", Video)]);
    let (viewer, mut source) = a_viewer_is_answered(&mut world, camera);
    world.pass(100);
    assert_eq!(world.keyframe_requests(camera), 0, "nobody has been heard");
    world.check(viewer);
    world.pass(10);
    assert_eq!(world.keyframe_requests(camera), 1);
    world.send(camera, &source.frame(true));
    world.connect(viewer);
    world.drain();
    assert_eq!((world.clients[viewer].rtp.len(), world.keyframe_requests(camera)), (1, 1));
    world.send(camera, &source.frame(false));
    assert_eq!(world.clients[viewer].rtp.len(), 2);
}

#[test]
fn a_far_publisher_is_asked_for_the_keyframe_before_the_subscriber_is_heard() {
    let mut world = World::new();
    let camera = world.announce(ROOM, vec![published("0", Video)]);
    world.clients[camera].answers_late = true;
    world.connect(camera);
    world.pass(200);
    world.clients[camera].answers_late = false;
    // Whatever is sent to it next shows that its answers are there; of later ones, which would be near, none is seen.
    world.pass(1_000);
    world.clients[camera].answers = false;
    let (viewer, mut source) = a_viewer_is_answered(&mut world, camera);
    world.pass(200);
    assert_eq!(world.keyframe_requests(camera), 1);
    world.check(viewer);
    world.send(camera, &source.frame(true));
    world.pass(150);
    world.connect(viewer);
    world.drain();
    assert_eq!((world.clients[viewer].rtp.len(), world.keyframe_requests(camera)), (1, 1));
}

#[test]
fn those_who_join_soon_after_a_keyframe_need_no_other() {
    let mut world = World::new();
    let (camera, first) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    for n in 0..6 {
        world.send(camera, &source.frame(n == 0));
        world.pass(33);
    }
    let asked = world.keyframe_requests(camera);
    let second = viewer(&mut world);
    world.assign(second, "v", Some(sfu_core::ids::PublicationId(1)));
    world.drain();
    assert_eq!(world.clients[second].rtp.len(), 6);
    assert_eq!(world.keyframe_requests(camera), asked);
    world.send(camera, &source.frame(false));
    assert_eq!((world.clients[first].rtp.len(), world.clients[second].rtp.len()), (7, 7));
    assert_continuous(&world.clients[second].rtp);
}

#[test]
fn a_keyframe_serves_those_who_join_also_where_padding_came_since() {
    let mut world = World::new();
    let (camera, _) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    for n in 0..6 {
        let frame = source.frame(n == 0);
        world.send(camera, &frame);
        source.seq += 1;
        world.send(camera, &Rtp { seq: source.seq, payload: Vec::new(), ..frame });
        world.pass(33);
    }
    let asked = world.keyframe_requests(camera);
    let second = viewer(&mut world);
    world.assign(second, "v", Some(sfu_core::ids::PublicationId(1)));
    world.drain();
    world.send(camera, &source.frame(false));
    assert_eq!((world.clients[second].rtp.len(), world.keyframe_requests(camera)), (7, asked));
    assert_continuous(&world.clients[second].rtp);
}

#[test]
fn a_keyframe_that_begins_late_is_followed_by_what_came_before_it() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    world.send(camera, &source.frame(false));
    let keyframe = source.packets(true, 4);
    for packet in [1, 2, 3] {
        world.send(camera, &keyframe[packet]);
    }
    world.send(camera, &source.frame(false));
    assert!(world.clients[viewer].rtp.is_empty());
    world.send(camera, &keyframe[0]);
    let got = &world.clients[viewer].rtp;
    assert_eq!(got.len(), 5);
    assert_continuous(got);
}

#[test]
fn what_comes_late_together_is_sent_once() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    let keyframe = source.packets(true, 4);
    for packet in [2, 3] {
        world.send(camera, &keyframe[packet]);
    }
    // Both are in the history before the first of them is forwarded.
    for packet in [0, 1] {
        let sealed = world.clients[camera].seal(&keyframe[packet]);
        world.give(camera, sealed);
    }
    world.drain();
    let mut seqs: Vec<_> = world.clients[viewer].rtp.iter().map(|packet| packet.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs.len(), 4);
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0].next()), "a number is used once: {seqs:?}");
}

#[test]
fn a_stream_does_not_begin_again_in_its_past() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    world.send(camera, &source.frame(true));
    let keyframe = source.packets(true, 4);
    for packet in [1, 2, 3] {
        world.send(camera, &keyframe[packet]);
    }
    world.prefer(viewer, "v", Quality::High, true);
    world.prefer(viewer, "v", Quality::High, false);
    assert_eq!(world.clients[viewer].rtp.len(), 4);
    world.send(camera, &keyframe[0]);
    assert_eq!(world.clients[viewer].rtp.len(), 4, "the rest of the keyframe was sent before");
    world.send(camera, &source.frame(true));
    assert_eq!(world.clients[viewer].rtp.len(), 5);
}

#[test]
fn nothing_of_a_muted_time_is_sent_later() {
    let mut world = World::new();
    let (camera, viewer) = (camera(&mut world), viewer(&mut world));
    let publication = world.publish(camera, "0");
    world.assign(viewer, "v", Some(publication));
    let mut source = Vp8Source::new("0", 10);
    world.send(camera, &source.frame(true));
    let mute = |muted| Command::SetMuted { publication, muted };
    world.command(mute(true));
    let keyframe = source.packets(true, 4);
    for packet in [1, 2, 3] {
        world.send(camera, &keyframe[packet]);
    }
    world.command(mute(false));
    world.send(camera, &keyframe[0]);
    assert_eq!(world.clients[viewer].rtp.len(), 1);
    world.send(camera, &source.frame(true));
    assert_eq!(world.clients[viewer].rtp.len(), 2);
}

#[test]
fn a_stream_does_not_begin_where_the_rest_is_no_longer_held() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    let mut source = Vp8Source::new("0", 10);
    let keyframe = source.packets(true, 4);
    for packet in [1, 2, 3] {
        world.send(camera, &keyframe[packet]);
    }
    for _ in 0..40 {
        world.pass(33);
        world.send(camera, &source.frame(false));
    }
    let asked = world.keyframe_requests(camera);
    world.send(camera, &keyframe[0]);
    assert!(world.clients[viewer].rtp.is_empty(), "the packets after it are older than the history");
    for _ in 0..20 {
        world.pass(33);
        world.send(camera, &source.frame(false));
    }
    assert!(world.keyframe_requests(camera) > asked, "another is asked for");
    world.send(camera, &source.frame(true));
    assert_eq!(world.clients[viewer].rtp.len(), 1);
}

#[test]
fn a_publisher_may_restart_its_stream() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    for ssrc in [10, 50] {
        let mut source = Vp8Source::new("0", ssrc);
        world.send(camera, &source.frame(false));
        world.pass(33);
        for n in 0..10 {
            world.send(camera, &source.frame(n == 0));
            world.pass(33);
        }
    }
    let got = &world.clients[viewer].rtp;
    assert_eq!(got.len(), 20);
    assert_continuous(got);
}

#[test]
fn redundant_audio_is_carried_or_stripped() {
    let mut world = World::new();
    let speaker = world.join(vec![with_red(published("0", Audio))]);
    let knows = world.join(vec![with_red(slot("a", Audio, SLOT))]);
    let plain = world.join(vec![slot("a", Audio, SLOT)]);
    let publication = world.publish(speaker, "0");
    for listener in [knows, plain] {
        world.assign(listener, "a", Some(publication));
    }
    let mut packet = OpusSource::new("0", 20).packet(30);
    packet.payload_type = RED;
    // RFC 2198: one redundant block of 3 bytes, 960 ticks old, then the primary.
    packet.payload = vec![0x80 | 111, (960 >> 6) as u8, ((960 & 0x3f) << 2) as u8, 3, 111, 1, 2, 3, 0xfc, 8, 9];
    world.send(speaker, &packet);
    let got = |client: usize| (world.clients[client].rtp[0].payload_type, world.clients[client].rtp[0].payload.clone());
    assert_eq!(got(knows), (RED, packet.payload.clone()));
    assert_eq!(got(plain), (OPUS, vec![0xfc, 8, 9]));
}

#[test]
fn a_codec_that_a_viewer_does_not_know_is_not_sent() {
    let mut world = World::new();
    let camera = camera(&mut world);
    let mut section = slot("v", Video, SLOT);
    std::sync::Arc::make_mut(&mut section.formats)[0].codec = Codec::H264;
    let viewer = world.join(vec![section]);
    let publication = world.publish(camera, "0");
    world.assign(viewer, "v", Some(publication));
    world.send(camera, &Vp8Source::new("0", 10).frame(true));
    assert!(world.clients[viewer].rtp.is_empty());
    assert_eq!(world.drops(DropReason::CodecNotNegotiated), 1);
}

#[test]
fn first_numbers_leave_room_for_the_rollover_counter() {
    let mut world = World::new();
    let (camera, viewer) = pair(&mut world);
    world.send(camera, &Vp8Source::new("0", 10).frame(true));
    assert!(world.clients[viewer].rtp[0].seq < SeqNo(0x8000));
}
