//! Forwarding allocates nothing once it is warm.

use crate::support::World;
use crate::support::media::*;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::Ssrc;
use sfu_rtc::media::MediaKind::*;
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::rtcp;
use sfu_rtc::time::Instant;

const SOUND: u32 = 0x7000;
const PICTURE: u32 = 0x7100;
const SUBSCRIBERS: usize = 40;

/// One publisher of sound and simulcast, and many who get both.
struct Meeting {
    world: World,
    publisher: usize,
    subscribers: Vec<usize>,
    sound: OpusSource,
    layers: [Vp8Source; 2],
    frames: u64,
}

/// What goes into the worker when, sealed beforehand.
struct Script(Vec<(Instant, usize, Vec<u8>)>);

impl Meeting {
    fn new() -> Self {
        let mut world = World::new();
        let publisher = world.join(vec![published("0", Audio), simulcast("1", &["q", "f"])]);
        let publications = [world.publish(publisher, "0"), world.publish(publisher, "1")];
        let subscribers: Vec<_> =
            (0..SUBSCRIBERS).map(|_| world.join(vec![slot("a", Audio, SOUND), slot("v", Video, PICTURE)])).collect();
        for &subscriber in &subscribers {
            world.assign(subscriber, "a", Some(publications[0]));
            world.assign(subscriber, "v", Some(publications[1]));
        }
        let layers = [Vp8Source::layer("1", "q", 10), Vp8Source::layer("1", "f", 20)];
        Self { world, publisher, subscribers, sound: OpusSource::new("0", 30), layers, frames: 0 }
    }

    /// The next `frames` frames, 33 ms each: one packet of sound, two and five of picture; a report and a NACK of a
    /// subscriber in each, and a loss on the way in now and then.
    fn script(&mut self, frames: u64) -> Script {
        let mut script = Vec::new();
        for n in 0..frames {
            let at = self.world.now + std::time::Duration::from_millis(33 * n);
            let key = self.frames.is_multiple_of(300);
            let [low, high] = &mut self.layers;
            let mut packets = vec![self.sound.packet(30)];
            packets.extend(low.packets(key, 2));
            packets.extend(high.packets(key, 5));
            if self.frames % 50 == 25 {
                packets.remove(4);
            }
            let client = &self.world.clients[self.publisher];
            script.extend(packets.iter().map(|packet| (at, self.publisher, client.seal(packet))));
            let subscriber = self.subscribers[self.frames as usize % SUBSCRIBERS];
            let client = &mut self.world.clients[subscriber];
            let asked = client.rtp.last().map(|packet| packet.seq.wire().wrapping_add(3));
            let feedback = client.seal_rtcp(|out| {
                rtcp::write_receiver_report(out, Ssrc(1), &[]);
                rtcp::write_nack(out, Ssrc(1), Ssrc(PICTURE), &asked.map_or([0, 1], |asked| [asked, asked + 1]));
            });
            script.push((at, subscriber, feedback));
            self.frames += 1;
        }
        Script(script)
    }

    /// Plays it into the worker alone: nobody receives.
    fn play(&mut self, script: &mut Script, batch: &mut TransmitBatch) -> usize {
        let mut datagrams = 0;
        for (at, client, datagram) in &mut script.0 {
            if *at > self.world.now {
                datagrams += self.run_until(*at, batch);
            }
            self.world.worker.handle_datagram(*at, &self.world.clients[*client].path, datagram);
        }
        let end = self.world.now + std::time::Duration::from_millis(33);
        datagrams + self.run_until(end, batch)
    }

    fn run_until(&mut self, until: Instant, batch: &mut TransmitBatch) -> usize {
        let mut datagrams = self.flush(batch);
        while let Some(at) = self.world.worker.poll_timeout().filter(|at| *at <= until) {
            self.world.now = self.world.now.max(at);
            self.world.worker.handle_timeout(self.world.now);
            datagrams += self.flush(batch);
        }
        self.world.now = until;
        datagrams
    }

    fn flush(&mut self, batch: &mut TransmitBatch) -> usize {
        let mut datagrams = 0;
        loop {
            batch.clear();
            self.world.worker.poll_transmit(self.world.now, batch);
            while self.world.worker.poll_event().is_some() {}
            if batch.is_empty() {
                return datagrams;
            }
            datagrams += batch.datagrams();
        }
    }
}

#[test]
fn a_million_packets_allocate_nothing() {
    let mut meeting = Meeting::new();
    let mut batch = TransmitBatch::with_capacity(4 * 1024 * 1024);
    let mut warm_up = meeting.script(150);
    meeting.play(&mut warm_up, &mut batch);
    let mut datagrams = 0;
    while datagrams < 1_000_000 {
        // Consent is renewed, which is no part of forwarding.
        (0..=SUBSCRIBERS).for_each(|client| meeting.world.check(client));
        let mut script = meeting.script(150);
        let allocations = allocation_counter::measure(|| datagrams += meeting.play(&mut script, &mut batch));
        assert_eq!(allocations.count_total, 0, "{allocations:?} after {datagrams} datagrams");
    }
    assert_eq!(meeting.world.stats().drops.of(DropReason::NotConnected), 0);
}
