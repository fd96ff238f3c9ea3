//! Repairing what many subscribers lose allocates nothing once it is warm.

use crate::support::media::*;
use crate::support::{Client, World};
use sfu_core::config::WorkerConfig;
use sfu_core::event::TrafficStats;
use sfu_core::repair::FixedParity;
use sfu_core::worker::Worker;
use sfu_rtc::bwe::EstimatorConfig;
use sfu_rtc::fec::Scheme;
use sfu_rtc::ids::{PayloadType, SeqNo, Ssrc};
use sfu_rtc::media::{FecStream, MediaKind::*, MediaSection};
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::rtcp;
use sfu_rtc::time::Duration;
use sfu_rtc::units::Bitrate;

const AUDIO: u32 = 0x7000;
const VIDEO: u32 = 0x7100;
const PARITY: FecStream = FecStream { ssrc: Ssrc(0x7200), payload_type: PayloadType(49), scheme: Scheme::FlexFec03 };
const SUBSCRIBERS: usize = 200;
/// One packet of audio in each, a frame of video in every other, and in each fifth what a subscriber has to report.
const TICK: Duration = Duration::from_millis(20);
const REPORT_EVERY: usize = 5;
/// Of a frame. What is kept, a second of video and two of all numbers, is no power of two, at which room for more is made.
const PACKETS: usize = 5;
/// One packet of so many is lost.
const ONE_LOST_OF: u32 = 20;

/// One publisher, and many who lose some of what it sends.
struct Meeting {
    world: World,
    publisher: usize,
    subscribers: Vec<Subscriber>,
    audio: OpusSource,
    video: Vp8Source,
    ticks: usize,
    random: u32,
    batch: TransmitBatch,
    allocations: u64,
}

struct Subscriber {
    client: usize,
    /// The next packet of video.
    next: Option<SeqNo>,
    missing: Vec<u16>,
}

impl Subscriber {
    /// Reads what came: what is missing of the video is asked for with the next report.
    fn read(&mut self, client: &mut Client) {
        for packet in client.rtp.drain(..).filter(|packet| packet.ssrc == Ssrc(VIDEO)) {
            let next = *self.next.get_or_insert(packet.seq);
            self.missing.extend((next.0..packet.seq.0).map(|seq| SeqNo(seq).wire()));
            self.next = Some(next.max(packet.seq.next()));
        }
        client.lost.clear();
        client.rtcp.clear();
    }
}

impl Meeting {
    fn new(fixed: Option<FixedParity>) -> Self {
        let mut config = WorkerConfig::default();
        (config.repair.planner, config.repair.fixed) = (true, fixed);
        config.transport.measure_path = true;
        // An estimate that moves pauses somebody now and then, who begins anew.
        config.transport.estimator = EstimatorConfig::Fixed(Some(Bitrate::from_kbps(5_000)));
        // Consent and round trips are no part of it.
        config.transport.ice.consent_interval = Duration::from_secs(1_000_000);
        config.transport.ice.consent_timeout = Duration::from_secs(1_000_000);
        config.transport.rtt_lifetime = Duration::from_secs(1_000_000);
        let mut world = World::with(config);
        let publisher = world.join(vec![published("0", Audio), published("1", Video)]);
        let publications = [world.publish(publisher, "0"), world.publish(publisher, "1")];
        let subscribers = (0..SUBSCRIBERS).map(|n| {
            // Half of them take older audio along, and the others packets once more.
            let audio = slot("a", Audio, AUDIO);
            let audio = if n % 2 == 0 { with_red(audio) } else { audio };
            let video = MediaSection { local_fec: Some(PARITY), ..slot("v", Video, VIDEO) };
            let client = world.join(vec![audio, video]);
            world.clients[client].takes_copies = true;
            world.assign(client, "a", Some(publications[0]));
            world.assign(client, "v", Some(publications[1]));
            Subscriber { client, next: None, missing: Vec::new() }
        });
        let subscribers = subscribers.collect();
        let (audio, video) = (OpusSource::new("0", 30), Vp8Source::new("1", 20));
        let batch = TransmitBatch::with_capacity(4 * 1024 * 1024);
        Self { world, publisher, subscribers, audio, video, ticks: 0, random: 7, batch, allocations: 0 }
    }

    /// What the worker does, and what it allocates for it.
    fn worker<R>(&mut self, call: impl FnOnce(&mut Worker, &mut TransmitBatch) -> R) -> R {
        let Self { world, batch, .. } = self;
        let mut result = None;
        let measured = allocation_counter::measure(|| result = Some(call(&mut world.worker, batch)));
        self.allocations += measured.count_total;
        result.unwrap()
    }

    fn give(&mut self, client: usize, mut datagram: Vec<u8>) {
        let (now, path) = (self.world.now, self.world.clients[client].path);
        self.worker(|worker, _| worker.handle_datagram(now, &path, &mut datagram));
    }

    /// Delivers what the worker has to send, but for what is lost.
    fn drain(&mut self) {
        let now = self.world.now;
        loop {
            self.worker(|worker, batch| {
                batch.clear();
                worker.poll_transmit(now, batch);
                while worker.poll_event().is_some() {}
            });
            if self.batch.is_empty() {
                return;
            }
            for transmit in self.batch.transmits() {
                let client = usize::from(transmit.path.remote.port() - self.world.clients[0].path.remote.port());
                for datagram in self.batch.bytes(transmit).chunks(transmit.segment_size) {
                    self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let client = &mut self.world.clients[client];
                    client.loses = (self.random >> 16).is_multiple_of(ONE_LOST_OF);
                    client.take(now, datagram);
                }
            }
        }
    }

    fn report(&mut self, index: usize) {
        let Self { world, subscribers, .. } = self;
        let Subscriber { client, missing, .. } = &mut subscribers[index];
        let (client, now) = (*client, world.now);
        let mut reports = world.clients[client].feedback(now);
        if !missing.is_empty() {
            reports.push(world.clients[client].seal_rtcp(|out| {
                rtcp::write_nack(out, Ssrc(1), Ssrc(VIDEO), missing);
            }));
            missing.clear();
        }
        reports.into_iter().for_each(|report| self.give(client, report));
    }

    fn play(&mut self, time: Duration) {
        let end = self.world.now + time;
        while self.world.now < end {
            let mut packets = vec![self.audio.packet(30)];
            if self.ticks.is_multiple_of(2) {
                packets.extend(self.video.packets(self.ticks.is_multiple_of(500), PACKETS));
            }
            for packet in packets {
                let sealed = self.world.clients[self.publisher].seal(&packet);
                self.give(self.publisher, sealed);
            }
            let turn = self.ticks % REPORT_EVERY;
            (turn..SUBSCRIBERS).step_by(REPORT_EVERY).for_each(|index| self.report(index));
            self.drain();
            self.pass();
            let Self { world, subscribers, .. } = self;
            subscribers.iter_mut().for_each(|subscriber| subscriber.read(&mut world.clients[subscriber.client]));
            self.ticks += 1;
        }
    }

    /// Until the next tick.
    fn pass(&mut self) {
        let until = self.world.now + TICK;
        while let Some(at) = self.world.worker.poll_timeout().filter(|at| *at <= until) {
            self.world.now = self.world.now.max(at);
            let now = self.world.now;
            self.worker(|worker, _| worker.handle_timeout(now));
            self.drain();
        }
        self.world.now = until;
    }
}

/// What repair of each kind came to in ten seconds that allocate nothing.
fn allocate_nothing(fixed: Option<FixedParity>) -> Meeting {
    let mut meeting = Meeting::new(fixed);
    meeting.play(Duration::from_secs(15));
    let before = meeting.world.stats();
    meeting.allocations = 0;
    meeting.play(Duration::from_secs(10));
    assert_eq!(meeting.allocations, 0);
    let after = meeting.world.stats();
    for (before, after) in before.transports.iter().zip(&after.transports).skip(1) {
        let of = |traffic: fn(&TrafficStats) -> u64| traffic(&after.traffic) - traffic(&before.traffic);
        assert!(of(|traffic| traffic.rtx_out) > 20, "{after:?}");
        assert_eq!(of(|traffic| traffic.fec_out) > 200, fixed.is_some(), "{after:?}");
    }
    meeting
}

#[test]
fn repair_allocates_nothing() {
    let meeting = allocate_nothing(None);
    let copied = meeting.subscribers.iter().map(|subscriber| meeting.world.clients[subscriber.client].copies);
    assert!(copied.skip(1).step_by(2).all(|copies| copies > 300));
}

#[test]
fn parity_allocates_nothing() {
    allocate_nothing(Some(FixedParity { percent: 25, keyframes_only: false }));
}
