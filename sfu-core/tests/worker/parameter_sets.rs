//! H.264 and H.265 whose parameter sets stand in the description alone, or come once: subscribers get them with each keyframe.

use crate::support::media::{Rtp, published, slot};
use crate::support::pair::Pair;
use crate::support::{ReceivedPacket, World};
use sfu_rtc::ids::{PayloadType, Ssrc};
use sfu_rtc::media::MediaKind::Video;
use sfu_rtc::media::{Codec, MediaSection, PayloadFormat};
use sfu_rtc::rtcp;
use std::collections::HashSet;
use std::sync::Arc;

const H264: PayloadType = PayloadType(102);
const SLOT: u32 = 0x7000;
/// What the description below announces.
const SPS: [u8; 15] = [0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x03, 0xc5, 0x68, 0x40, 0, 0, 3, 0, 0x40, 0];
const PPS: [u8; 4] = [0x68, 0xcb, 0x8c, 0xb2];
const DESCRIBED: &str = "packetization-mode=1;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAA,aMuMsg==";

fn h264(mut section: MediaSection, fmtp: &str) -> MediaSection {
    let fmtp = fmtp.to_owned();
    section.formats = Arc::new(vec![PayloadFormat {
        payload_type: H264,
        codec: Codec::H264,
        clock_rate: 90_000,
        fmtp,
        rtx: section.formats[0].rtx,
    }]);
    section
}

fn viewer(world: &mut World) -> usize {
    world.join(vec![h264(slot("v", Video, SLOT), "packetization-mode=1")])
}

/// A camera that sends an IDR frame of three packets now and then, and others of two.
struct Camera {
    seq: u64,
    timestamp: u32,
}

impl Camera {
    fn new() -> Self {
        Self { seq: 65_500, timestamp: 1_000 }
    }

    fn packet(&mut self, payload: &[u8], marker: bool) -> Rtp {
        self.seq += 1;
        let (seq, timestamp) = (self.seq, self.timestamp);
        Rtp { ssrc: Ssrc(9), payload_type: H264, seq, timestamp, marker, payload: payload.to_vec(), extensions: vec![] }
    }

    /// The next frame, 40 ms after the last.
    fn frame(&mut self, key: bool) -> Vec<Rtp> {
        self.timestamp += 3_600;
        // The slice as fragments, as its first macroblock is 0 (RFC 6184 section 5.8).
        let (begin, end) =
            if key { ([0x7c, 0x85, 0x88], [0x7c, 0x45, 2]) } else { ([0x5c, 0x81, 0x88], [0x5c, 0x41, 2]) };
        let mut packets = vec![self.packet(&begin, false)];
        if key {
            packets.push(self.packet(&[0x7c, 0x05, 1], false));
        }
        packets.push(self.packet(&end, true));
        packets
    }

    fn sets(&mut self) -> Vec<Rtp> {
        vec![self.packet(&SPS, false), self.packet(&PPS, false)]
    }
}

fn send(world: &mut World, client: usize, packets: &[Rtp]) {
    packets.iter().for_each(|packet| world.send(client, packet));
    world.pass(40);
}

/// Parameter sets (`s`), fragments of IDR slices (`I`) and of others (`p`), in order of their numbers.
fn kinds(packets: &[ReceivedPacket]) -> String {
    let mut packets: Vec<_> = packets.iter().collect();
    packets.sort_by_key(|packet| packet.seq);
    let kind = |packet: &&ReceivedPacket| match packet.payload.as_slice() {
        [head, ..] if matches!(head & 0x1f, 7 | 8) => 's',
        [0x7c, ..] => 'I',
        _ => 'p',
    };
    packets.iter().map(kind).collect()
}

/// Each number once and none left out; parameter sets have the timestamp of the keyframe that follows.
fn assert_intact(packets: &[ReceivedPacket]) {
    let numbers: HashSet<_> = packets.iter().map(|packet| packet.seq).collect();
    assert_eq!(numbers.len(), packets.len());
    let mut packets: Vec<_> = packets.iter().collect();
    packets.sort_by_key(|packet| packet.seq);
    for pair in packets.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.next());
        let goes_on = pair[0].timestamp == pair[1].timestamp;
        assert_eq!(goes_on, !pair[0].marker, "{pair:?}");
    }
}

/// A camera and its numbers; what it announces is `fmtp`.
fn publish(world: &mut World, fmtp: &str) -> (usize, sfu_core::ids::PublicationId) {
    let camera = world.join(vec![h264(published("0", Video), fmtp)]);
    (camera, world.publish(camera, "0"))
}

#[test]
fn sets_of_the_description_come_before_each_keyframe() {
    let mut world = World::new();
    let (camera, publication) = publish(&mut world, DESCRIBED);
    let viewer = viewer(&mut world);
    world.assign(viewer, "v", Some(publication));
    let mut source = Camera::new();
    for n in 0..100 {
        send(&mut world, camera, &source.frame(n % 50 == 0));
    }
    let got = &world.clients[viewer].rtp;
    let group = format!("ssIII{}", "pp".repeat(49));
    assert_eq!(kinds(got), group.repeat(2));
    assert_eq!((&got[0].payload[..], &got[1].payload[..]), (&SPS[..], &PPS[..]));
    assert!(got.iter().all(|packet| (packet.ssrc, packet.payload_type) == (Ssrc(SLOT), H264)));
    assert_intact(got);
    assert_eq!(world.keyframe_requests(camera), 0, "a keyframe whose sets are known is one");
    let stats = world.stats();
    assert_eq!(stats.drops.of(sfu_rtc::drop_reason::DropReason::AwaitingKeyframe), 0);
}

#[test]
fn sets_that_came_once_serve_who_joins_later() {
    let mut world = World::new();
    let (camera, publication) = publish(&mut world, "packetization-mode=1");
    let early = viewer(&mut world);
    world.assign(early, "v", Some(publication));
    let mut source = Camera::new();
    // Aggregated with each other, and with the timestamp of the frame that follows.
    source.timestamp += 3_600;
    let aggregate = [&[0x78, 0, SPS.len() as u8][..], &SPS, &[0, PPS.len() as u8], &PPS].concat();
    world.send(camera, &source.packet(&aggregate, false));
    source.timestamp -= 3_600;
    for n in 0..250 {
        send(&mut world, camera, &source.frame(n % 250 == 0));
    }
    let asked = world.keyframe_requests(camera);
    let late = viewer(&mut world);
    world.assign(late, "v", Some(publication));
    for n in 0..100 {
        send(&mut world, camera, &source.frame(n == 5));
    }
    assert_eq!(world.keyframe_requests(camera), asked + 1);
    let got = &world.clients[late].rtp;
    assert!(kinds(got).starts_with("ssIIIpp"), "{}", kinds(got));
    assert_intact(got);
    let all = &world.clients[early].rtp;
    assert!(kinds(all).starts_with("pIIIpp"), "the keyframe brought them itself: {}", kinds(all));
    assert_eq!(kinds(all).matches("ssIII").count(), 1);
    assert_intact(all);
}

#[test]
fn one_who_joins_after_a_keyframe_gets_it_again_with_its_sets() {
    let mut world = World::new();
    let (camera, publication) = publish(&mut world, DESCRIBED);
    let mut source = Camera::new();
    for n in 0..30 {
        send(&mut world, camera, &source.frame(n % 25 == 0));
    }
    let late = viewer(&mut world);
    send(&mut world, camera, &source.frame(true));
    world.assign(late, "v", Some(publication));
    send(&mut world, camera, &source.frame(false));
    assert_eq!(kinds(&world.clients[late].rtp), "ssIIIpp");
    assert_intact(&world.clients[late].rtp);
    assert_eq!(world.keyframe_requests(camera), 0);
}

#[test]
fn an_inserted_packet_is_sent_again_and_a_late_one_finds_its_place() {
    let mut world = World::new();
    let (camera, publication) = publish(&mut world, DESCRIBED);
    let viewer = viewer(&mut world);
    world.assign(viewer, "v", Some(publication));
    let mut source = Camera::new();
    send(&mut world, camera, &source.frame(true));
    // Of the frame before the next keyframe the first packet comes late, after that keyframe.
    let mut before = source.frame(false);
    let late = before.remove(0);
    send(&mut world, camera, &before);
    send(&mut world, camera, &source.frame(true));
    send(&mut world, camera, &[late]);
    let got = world.clients[viewer].rtp.clone();
    assert_eq!(kinds(&got), "ssIIIppssIII");
    assert_intact(&got);
    let sps = got.iter().rfind(|packet| packet.payload == SPS).unwrap().seq;
    world.pass(300);
    world.send_rtcp(viewer, |out| {
        rtcp::write_nack(out, Ssrc(0x99), Ssrc(SLOT), &[sps.wire()]);
    });
    world.pass(10);
    let again = world.clients[viewer].rtp.last().unwrap();
    assert_eq!(
        (again.ssrc, &again.payload[..2], &again.payload[2..]),
        (Ssrc(SLOT + 1), &sps.wire().to_be_bytes()[..], &SPS[..])
    );
}

#[test]
fn a_keyframe_with_sets_of_its_own_or_with_a_gap_before_it_is_left_as_it_is() {
    let mut world = World::new();
    let (camera, publication) = publish(&mut world, DESCRIBED);
    let viewer = viewer(&mut world);
    world.assign(viewer, "v", Some(publication));
    let mut source = Camera::new();
    let mut key = |source: &mut Camera, lost: bool| {
        source.timestamp += 3_600;
        let mut packets = source.sets();
        source.timestamp -= 3_600;
        packets.extend(source.frame(true));
        if lost {
            packets.remove(1);
        }
        send(&mut world, camera, &packets);
        send(&mut world, camera, &source.frame(false));
    };
    key(&mut source, false);
    key(&mut source, true);
    key(&mut source, false);
    // What was lost may be new sets, which would be too late after old ones.
    assert_eq!(kinds(&world.clients[viewer].rtp), "ssIIIppsIIIppssIIIpp");
}

#[test]
fn encoders_of_nothing_but_keyframes_are_numbered_on_and_on() {
    let mut world = World::new();
    let (camera, publication) = publish(&mut world, DESCRIBED);
    let viewer = viewer(&mut world);
    world.assign(viewer, "v", Some(publication));
    let mut source = Camera::new();
    for _ in 0..300 {
        send(&mut world, camera, &source.frame(true));
    }
    assert_eq!(kinds(&world.clients[viewer].rtp), "ssIII".repeat(300));
    assert_intact(&world.clients[viewer].rtp);
}

#[test]
fn sets_of_h265_that_came_once_serve_who_joins_later() {
    const VPS: [u8; 4] = [0x40, 0x01, 0x0c, 0x01];
    const SPS: [u8; 17] =
        [0x42, 0x01, 0x01, 0x60, 0x60, 0x60, 0x60, 0x60, 0x60, 0x60, 0x60, 0x60, 0x60, 0x60, 0x60, 0xa0, 0x02];
    const PPS: [u8; 3] = [0x44, 0x01, 0xc0];
    let h265 = |section: MediaSection| {
        let mut section = h264(section, "");
        Arc::make_mut(&mut section.formats)[0].codec = Codec::H265;
        section
    };
    let frame = |source: &mut Camera, key: bool| {
        source.timestamp += 3_600;
        [source.packet(if key { &[0x26, 0x01, 0x80] } else { &[0x02, 0x01, 0x80] }, true)]
    };
    let mut world = World::new();
    let camera = world.join(vec![h265(published("0", Video))]);
    let publication = world.publish(camera, "0");
    let mut source = Camera::new();
    let sets = [&VPS[..], &SPS, &PPS].map(|unit| source.packet(unit, false));
    send(&mut world, camera, &sets);
    for n in 0..250 {
        send(&mut world, camera, &frame(&mut source, n == 0));
    }
    let asked = world.keyframe_requests(camera);
    let late = world.join(vec![h265(slot("v", Video, SLOT))]);
    world.assign(late, "v", Some(publication));
    for n in 0..20 {
        send(&mut world, camera, &frame(&mut source, n == 5));
    }
    assert_eq!(world.keyframe_requests(camera), asked + 1);
    let got = &world.clients[late].rtp;
    let units: Vec<u8> = got.iter().map(|packet| packet.payload[0] >> 1).collect();
    assert_eq!(units[..5], [32, 33, 34, 19, 1], "three sets, the keyframe, and on");
    assert_intact(got);
}

#[test]
fn another_worker_gets_them_too() {
    let mut pair = Pair::new();
    let camera = pair.here.join(vec![h264(published("0", Video), DESCRIBED)]);
    let there = viewer(&mut pair.there);
    let publication = pair.publish(camera, "0", Video, &[]);
    pair.assign(there, "v", Some(publication));
    let mut source = Camera::new();
    for n in 0..10 {
        for packet in source.frame(n % 5 == 0) {
            pair.here.send(camera, &packet);
        }
        pair.pass(40);
    }
    assert_eq!(kinds(&pair.there.clients[there].rtp), "ssIIIpppppppp".repeat(2));
    assert_intact(&pair.there.clients[there].rtp);
}
