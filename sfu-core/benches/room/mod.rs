//! A room with one publisher of video, its frames sealed beforehand, and subscribers who only take what they get.

#[path = "../../tests/worker/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the worker's tests use the rest")]
pub(crate) mod support;

use sfu_core::config::WorkerConfig;
use sfu_core::ids::PublicationId;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::media::{MediaKind, MediaSection};
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::rtp::extension::{ExtensionKind, ExtensionMap};
use sfu_rtc::time::{Duration, Instant};
use support::World;
use support::media::{Vp8Source, published, slot};

/// Packets of a frame: 1.5 Mbit/s at 30 frames per second.
pub(crate) const FRAME_PACKETS: usize = 6;
const FRAME_TIME: Duration = Duration::from_micros(33_333);
/// Payload of each packet.
const PAYLOAD: usize = 1_060;
/// After so many frames every subscriber has its keyframe, none needs the MID any more, and the history is full.
const WARM_UP: usize = 40;
/// Peers that only receive renew their consent so seldom that it does not show.
const CONSENT: Duration = Duration::from_secs(1_000_000);

/// A frame as it comes from the publisher's network.
pub(crate) struct Frame {
    at: Instant,
    datagrams: Vec<Vec<u8>>,
}

/// The room.
pub(crate) struct Room {
    world: World,
    publisher: usize,
    publication: PublicationId,
    source: Vp8Source,
    transport_seq: SeqNo,
    /// When the next frame comes.
    next: Instant,
    batch: TransmitBatch,
}

impl Room {
    /// With `subscribers`, warm.
    pub(crate) fn new(subscribers: usize) -> Self {
        let mut config = WorkerConfig::default();
        config.transport.ice.consent_timeout = CONSENT;
        let mut world = World::with(config);
        let publisher = world.join(vec![published("0", MediaKind::Video)]);
        let publication = world.publish(publisher, "0");
        let mut room = Self {
            next: world.now,
            world,
            publisher,
            publication,
            source: Vp8Source::new("0", 10),
            transport_seq: SeqNo(0),
            batch: TransmitBatch::with_capacity(4 * 1024 * 1024),
        };
        (0..subscribers).for_each(|_| room.let_in());
        room.warm_up();
        room
    }

    fn let_in(&mut self) {
        let subscriber = self.world.join(vec![subscriber_slot()]);
        self.world.assign(subscriber, "v", Some(self.publication));
        self.next = self.world.now;
    }

    fn warm_up(&mut self) {
        for n in 0..WARM_UP {
            let mut frame = self.frame_of(n == 0);
            self.play(&mut frame);
        }
    }

    /// The next frame, sealed.
    pub(crate) fn frame(&mut self) -> Frame {
        self.frame_of(false)
    }

    fn frame_of(&mut self, key: bool) -> Frame {
        self.next += FRAME_TIME;
        let client = &mut self.world.clients[self.publisher];
        let datagrams = self.source.packets(key, FRAME_PACKETS).into_iter().map(|mut packet| {
            packet.payload.resize(PAYLOAD, 0xab);
            self.transport_seq = self.transport_seq.next();
            let transport_seq = self.transport_seq.wire().to_be_bytes();
            client.seal(&packet.with(ExtensionKind::TransportCc, &transport_seq))
        });
        Frame { at: self.next, datagrams: datagrams.collect() }
    }

    /// Lets time pass until the frame comes, with the timers that are due, and forwards it. How many datagrams left.
    pub(crate) fn play(&mut self, frame: &mut Frame) -> usize {
        let mut datagrams = 0;
        while let Some(at) = self.world.worker.poll_timeout().filter(|at| *at <= frame.at) {
            self.world.now = self.world.now.max(at);
            self.world.worker.handle_timeout(self.world.now);
            datagrams += self.flush();
        }
        self.world.now = frame.at;
        let path = self.world.clients[self.publisher].path;
        for datagram in &mut frame.datagrams {
            self.world.worker.handle_datagram(frame.at, &path, datagram);
        }
        datagrams + self.flush()
    }

    /// Media packets that left so far.
    pub(crate) fn forwarded(&self) -> u64 {
        self.world.worker.stats(self.world.now).totals.rtp_out
    }

    fn flush(&mut self) -> usize {
        let mut datagrams = 0;
        loop {
            self.batch.clear();
            self.world.worker.poll_transmit(self.world.now, &mut self.batch);
            while self.world.worker.poll_event().is_some() {}
            if self.batch.is_empty() {
                return datagrams;
            }
            datagrams += self.batch.datagrams();
        }
    }
}

/// A slot with the extensions that the server negotiates where no estimator reads transport-wide feedback.
pub(crate) fn subscriber_slot() -> MediaSection {
    let mut extensions = ExtensionMap::default();
    for (kind, id) in [(ExtensionKind::AbsSendTime, 2), (ExtensionKind::Mid, 4)] {
        assert!(extensions.set(kind, id));
    }
    MediaSection { extensions, ..slot("v", MediaKind::Video, 0x7000) }
}
