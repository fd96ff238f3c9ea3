//! Forwarding allocates nothing once it is warm, on one worker or on two.

use crate::support::World;
use crate::support::media::*;
use crate::support::pair::Pair;
use sfu_core::config::WorkerConfig;
use sfu_rtc::bwe::EstimatorConfig;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::Ssrc;
use sfu_rtc::media::MediaKind::*;
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::rtcp::{self, SenderInfo};
use sfu_rtc::time::{Duration, Instant, NtpTime};
use sfu_rtc::units::Bitrate;

const AUDIO: u32 = 0x7000;
const VIDEO: u32 = 0x7100;
const SUBSCRIBERS: usize = 40;
const FRAME: Duration = Duration::from_millis(33);

/// Which of the two workers somebody is on.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Here,
    There,
}

/// One publisher of audio and simulcast, and many who get both.
struct Meeting {
    pair: Pair,
    publisher: usize,
    subscribers: Vec<(Side, usize)>,
    audio: OpusSource,
    layers: [Vp8Source; 2],
    frames: u64,
}

/// What goes into which worker when, sealed beforehand.
struct Script(Vec<(Instant, Side, usize, Vec<u8>)>);

impl Meeting {
    /// One subscriber of so many is on the worker of the publisher, the others on another one.
    fn new(here: usize, estimator: EstimatorConfig) -> Self {
        // Consent is renewed between the scripts, which is no part of forwarding.
        let mut config = WorkerConfig::default();
        config.transport.estimator = estimator;
        config.transport.ice.consent_interval = Duration::from_secs(1_000_000);
        config.transport.ice.consent_timeout = Duration::from_secs(1_000_000);
        config.transport.rtt_lifetime = Duration::from_secs(1_000_000);
        let mut pair = Pair::with(config);
        let publisher = pair.here.join(vec![published("0", Audio), simulcast("1", &["q", "f"])]);
        let publications = [
            pair.publish(publisher, "0", Audio, &[]),
            pair.publish(publisher, "1", Video, &["q", "f"]), // relayed where someone wants it
        ];
        let mut subscribers = Vec::new();
        for n in 0..SUBSCRIBERS {
            let side = if n % here == 0 { Side::Here } else { Side::There };
            let world = world(&mut pair, side);
            let client = world.join(vec![slot("a", Audio, AUDIO), slot("v", Video, VIDEO)]);
            world.assign(client, "a", Some(publications[0]));
            world.assign(client, "v", Some(publications[1]));
            pair.exchange();
            subscribers.push((side, client));
        }
        let layers = [Vp8Source::layer("1", "q", 10), Vp8Source::layer("1", "f", 20)];
        Self { pair, publisher, subscribers, audio: OpusSource::new("0", 30), layers, frames: 0 }
    }

    /// The next `frames` frames: one packet of audio, two and five of video; a report and a NACK of a subscriber in
    /// each, sender reports once a second, and a loss on the way in now and then.
    fn script(&mut self, frames: u64) -> Script {
        let mut script = Vec::new();
        for n in 0..frames {
            let at = self.pair.here.now + FRAME * n as u32;
            let key = self.frames.is_multiple_of(300);
            let [low, high] = &mut self.layers;
            let mut packets = vec![self.audio.packet(30)];
            packets.extend(low.packets(key, 2));
            packets.extend(high.packets(key, 5));
            if self.frames % 50 == 25 {
                packets.remove(4);
            }
            let client = &mut self.pair.here.clients[self.publisher];
            script.extend(packets.iter().map(|packet| (at, Side::Here, self.publisher, client.seal(packet))));
            if self.frames.is_multiple_of(30) {
                let ntp = NtpTime::from_unix(Duration::from_nanos(at.as_nanos()));
                for (ssrc, rtp) in [(30, self.audio.timestamp), (20, self.layers[1].timestamp)] {
                    let info = SenderInfo { ssrc: Ssrc(ssrc), ntp, rtp, packets: 1, octets: 1 };
                    let report = client.seal_rtcp(|out| rtcp::write_sender_report(out, &info, &[]));
                    script.push((at, Side::Here, self.publisher, report));
                }
            }
            let (side, subscriber) = self.subscribers[self.frames as usize % SUBSCRIBERS];
            let client = &mut world(&mut self.pair, side).clients[subscriber];
            let asked = client.rtp.last().map(|packet| packet.seq.wire().wrapping_add(3));
            let feedback = client.seal_rtcp(|out| {
                rtcp::write_receiver_report(out, Ssrc(1), &[]);
                rtcp::write_nack(out, Ssrc(1), Ssrc(VIDEO), &asked.map_or([0, 1], |asked| [asked, asked + 1]));
            });
            script.push((at, side, subscriber, feedback));
            self.frames += 1;
        }
        Script(script)
    }

    /// Plays it into the workers alone: nobody receives. How many datagrams each sent.
    fn play(&mut self, script: &mut Script, batch: &mut TransmitBatch) -> [usize; 2] {
        let mut datagrams = [0; 2];
        for (at, side, client, datagram) in &mut script.0 {
            if *at > self.pair.here.now {
                self.run_until(*at, batch, &mut datagrams);
            }
            let world = world(&mut self.pair, *side);
            world.worker.handle_datagram(*at, &world.clients[*client].path, datagram);
        }
        let end = self.pair.here.now + FRAME;
        self.run_until(end, batch, &mut datagrams);
        datagrams
    }

    fn run_until(&mut self, until: Instant, batch: &mut TransmitBatch, datagrams: &mut [usize; 2]) {
        loop {
            while self.pair.carry() > 0 {}
            datagrams[0] += flush(&mut self.pair.here, batch);
            datagrams[1] += flush(&mut self.pair.there, batch);
            while self.pair.carry() > 0 {}
            let due = [&self.pair.here, &self.pair.there].map(|world| world.worker.poll_timeout());
            let Some(at) = due.into_iter().flatten().min().filter(|at| *at <= until) else { break };
            for world in [&mut self.pair.here, &mut self.pair.there] {
                world.now = world.now.max(at);
                world.worker.handle_timeout(world.now);
            }
        }
        (self.pair.here.now, self.pair.there.now) = (until, until);
    }
}

fn world(pair: &mut Pair, side: Side) -> &mut World {
    if side == Side::Here { &mut pair.here } else { &mut pair.there }
}

fn flush(world: &mut World, batch: &mut TransmitBatch) -> usize {
    let mut datagrams = 0;
    loop {
        batch.clear();
        world.worker.poll_transmit(world.now, batch);
        while world.worker.poll_event().is_some() {}
        if batch.is_empty() {
            return datagrams;
        }
        datagrams += batch.datagrams();
    }
}

/// How many datagrams each worker sent until both together had sent `least`; nothing is allocated meanwhile.
fn allocate_nothing(mut meeting: Meeting, least: usize) -> [usize; 2] {
    let mut batch = TransmitBatch::with_capacity(4 * 1024 * 1024);
    let mut warm_up = meeting.script(150);
    meeting.play(&mut warm_up, &mut batch);
    let mut datagrams = [0; 2];
    while datagrams.iter().sum::<usize>() < least {
        for world in [&mut meeting.pair.here, &mut meeting.pair.there] {
            (0..world.clients.len()).for_each(|client| world.check(client));
        }
        let mut script = meeting.script(150);
        let mut sent = [0; 2];
        let allocations = allocation_counter::measure(|| sent = meeting.play(&mut script, &mut batch));
        datagrams = [datagrams[0] + sent[0], datagrams[1] + sent[1]];
        assert_eq!(allocations.count_total, 0, "{allocations:?} after {datagrams:?} datagrams");
    }
    for world in [&mut meeting.pair.here, &mut meeting.pair.there] {
        assert_eq!(world.drops(DropReason::NotConnected) + world.drops(DropReason::RelayFull), 0);
    }
    datagrams
}

#[test]
fn a_million_packets_allocate_nothing() {
    assert_eq!(allocate_nothing(Meeting::new(1, EstimatorConfig::default()), 1_000_000)[1], 0);
}

#[test]
fn a_room_over_two_workers_allocates_nothing() {
    let [here, there] = allocate_nothing(Meeting::new(4, EstimatorConfig::default()), 400_000);
    assert!(there > 2 * here && here > 50_000, "{here} {there}");
}

#[test]
fn bandwidth_is_shared_out_without_allocating() {
    let estimator = EstimatorConfig::Fixed(Some(Bitrate::from_kbps(1_000)));
    allocate_nothing(Meeting::new(1, estimator), 100_000);
}
