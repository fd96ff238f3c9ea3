//! Many who join one stream within two seconds, over paths that lose packets: what that asks of the publisher, and when
//! each has a picture.

use crate::support::World;
use crate::support::media::*;
use sfu_rtc::ids::{SeqNo, Ssrc};
use sfu_rtc::media::MediaKind::*;
use sfu_rtc::rtcp;
use sfu_rtc::time::{Duration, Instant};
use std::collections::BTreeMap;

const SLOT: u32 = 0x7000;
const VIEWERS: usize = 200;
const STEP: Duration = Duration::from_millis(10);
/// From one viewer to the next.
const BETWEEN: Duration = Duration::from_millis(10);
const LENGTH: Duration = Duration::from_millis(3_500);
/// From the server to each viewer.
const ONE_WAY: Duration = Duration::from_millis(25);
/// From a request at the publisher to its keyframe: an encoder's frame, and the way there and back.
const ANSWER: Duration = Duration::from_millis(80);
/// A viewer asks for a keyframe where it has had no picture for so long, and again after as long.
const PATIENCE: Duration = Duration::from_millis(200);
/// Packets of a keyframe and of another frame: 10 to 1 in bits, as encoders have it.
const KEYFRAME: usize = 20;
const FRAME: usize = 2;

/// Packets are lost by chance, the same in every run.
struct Chance(u64);

impl Chance {
    fn loses(&mut self) -> bool {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % 100 < 5
    }
}

/// What a viewer does with what comes: asks again for what is missing, and for a keyframe where it has no picture.
struct Viewer {
    client: usize,
    joined: Instant,
    picture: Option<Duration>,
    /// By number: whether it begins a keyframe, and whether it ends a frame.
    packets: BTreeMap<SeqNo, (bool, bool)>,
    /// When each missing packet was last asked for.
    asked: BTreeMap<SeqNo, Instant>,
    /// What arrives at the server, and when.
    feedback: Vec<(Instant, Vec<u16>)>,
    plis: Vec<Instant>,
    next_pli: Instant,
}

impl Viewer {
    fn new(client: usize, now: Instant) -> Self {
        Self {
            client,
            joined: now,
            picture: None,
            packets: BTreeMap::new(),
            asked: BTreeMap::new(),
            feedback: Vec::new(),
            plis: Vec::new(),
            next_pli: now + PATIENCE,
        }
    }

    fn step(&mut self, world: &mut World, chance: &mut Chance) {
        let now = world.now;
        for packet in std::mem::take(&mut world.clients[self.client].rtp) {
            if chance.loses() {
                continue;
            }
            let (seq, payload) = match packet.payload_type == VP8_RTX {
                false => (packet.seq, &packet.payload[..]),
                true => {
                    let newest = self.packets.keys().next_back().copied().unwrap_or(SeqNo(0));
                    (newest.extend(u16::from_be_bytes([packet.payload[0], packet.payload[1]])), &packet.payload[2..])
                }
            };
            self.asked.remove(&seq);
            self.packets.insert(seq, (payload[0] == 0x90 && payload[6] & 1 == 0, packet.marker));
        }
        self.look_for_picture(now);
        self.ask_again(now);
        if self.picture.is_none() && now >= self.next_pli {
            self.plis.push(now + ONE_WAY * 2);
            self.next_pli = now + PATIENCE;
        }
        for (_, seqs) in self.feedback.extract_if(.., |(due, _)| *due <= now).collect::<Vec<_>>() {
            world.send_rtcp(self.client, |out| {
                rtcp::write_nack(out, Ssrc(1), Ssrc(SLOT), &seqs);
            });
        }
        if self.plis.extract_if(.., |due| *due <= now).count() > 0 {
            world.send_rtcp(self.client, |out| rtcp::write_pli(out, Ssrc(1), Ssrc(SLOT)));
        }
    }

    fn look_for_picture(&mut self, now: Instant) {
        if self.picture.is_some() {
            return;
        }
        let keyframes = self.packets.iter().filter(|(_, (begins, _))| *begins).map(|(seq, _)| *seq);
        let is_whole = |first: SeqNo| {
            let mut at = first;
            while let Some((_, ends)) = self.packets.get(&at) {
                if *ends {
                    return true;
                }
                at = at.next();
            }
            false
        };
        if keyframes.into_iter().any(is_whole) {
            self.picture = Some(now + ONE_WAY - self.joined);
        }
    }

    fn ask_again(&mut self, now: Instant) {
        let (Some(first), Some(last)) = (self.packets.keys().next(), self.packets.keys().next_back()) else { return };
        let mut missing = Vec::new();
        for seq in (first.0..last.0).map(SeqNo).filter(|seq| !self.packets.contains_key(seq)) {
            let due = self.asked.get(&seq).is_none_or(|asked| now - *asked >= ONE_WAY * 3);
            if due && missing.len() < 50 {
                self.asked.insert(seq, now);
                missing.push(seq.wire());
            }
        }
        if !missing.is_empty() {
            self.feedback.push((now + ONE_WAY * 2, missing));
        }
    }
}

#[test]
fn two_hundred_who_join_within_two_seconds_cost_the_publisher_little_and_see_at_once() {
    let mut world = World::new();
    let mut chance = Chance(7);
    let camera = world.join(vec![published("0", Video)]);
    let clients: Vec<usize> = (0..VIEWERS).map(|_| world.join(vec![slot("v", Video, SLOT)])).collect();
    let publication = world.publish(camera, "0");
    let mut source = Vp8Source::new("0", 10);
    let (mut viewers, mut requests, mut answers) = (Vec::new(), Vec::new(), vec![world.now]);
    let (mut key_packets, mut all_packets) = (0, 0);
    let begin = world.now;
    let mut next_frame = begin;
    while world.now - begin < LENGTH {
        let now = world.now;
        if now >= next_frame {
            next_frame += Duration::from_micros(33_333);
            let is_key = answers.extract_if(.., |at| *at <= now).count() > 0;
            let packets = source.packets(is_key, if is_key { KEYFRAME } else { FRAME });
            all_packets += packets.len();
            // The first begins the call.
            key_packets += if is_key && now > begin { packets.len() } else { 0 };
            packets.iter().for_each(|packet| world.send(camera, packet));
        }
        let due = ((now - begin).as_nanos() / BETWEEN.as_nanos()) as usize;
        while viewers.len() < due.min(VIEWERS) {
            let client = clients[viewers.len()];
            world.assign(client, "v", Some(publication));
            viewers.push(Viewer::new(client, now));
        }
        viewers.iter_mut().for_each(|viewer| viewer.step(&mut world, &mut chance));
        let seen = world.keyframe_requests(camera);
        if seen > requests.len() {
            assert_eq!(seen, requests.len() + 1);
            requests.push(now);
            answers.push(now + ANSWER);
        }
        world.pass(STEP.as_millis() as u64);
    }
    let mut waits: Vec<u64> = viewers.iter().filter_map(|viewer| Some(viewer.picture?.as_millis() as u64)).collect();
    waits.sort_unstable();
    let at: Vec<u64> = requests.iter().map(|at| (*at - begin).as_millis() as u64).collect();
    let share = key_packets as f64 / all_packets as f64;
    println!("requests at {at:?} ms, {share:.3} of the packets in keyframes");
    assert_eq!(waits.len(), VIEWERS, "all have a picture");
    let (median, p95) = (waits[VIEWERS / 2], waits[VIEWERS * 95 / 100]);
    println!("picture after {median} ms in the median, {p95} ms for 95 %, {} ms at most", waits[VIEWERS - 1]);
    assert!(requests.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(500)), "{at:?}");
    assert!(share <= 0.15, "{share}");
    assert!(median <= 300 && p95 <= 600, "{median} {p95}");
}
