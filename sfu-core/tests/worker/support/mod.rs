//! A worker with hand-driven clients: full STUN, the active side of DTLS, SRTP of their own, on simulated time.

mod client;
pub(crate) mod media;
pub(crate) mod pair;

pub(crate) use client::{Client, ReceivedPacket};

use sfu_core::command::{Command, LayerPreference, Quality, TransportParams};
use sfu_core::config::WorkerConfig;
use sfu_core::event::{Event, WorkerStats};
use sfu_core::ids::{PublicationId, RoomId, TransportId};
use sfu_core::worker::Worker;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::dtls::{DtlsCertificate, DtlsRole};
use sfu_rtc::ids::{Mid, Ssrc};
use sfu_rtc::media::MediaSection;
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::rtcp::{self, RtcpView};
use sfu_rtc::time::{Duration, Instant, WallClock};
use sfu_rtc::transport::RtcpSource;
use std::sync::Arc;

/// Whom the RTCP of all transports is from that send no media.
pub(crate) const OWN: Ssrc = Ssrc(0x0a11_ce00);
pub(crate) const CNAME: &str = "a-name-of-ours";
pub(crate) const ROOM: RoomId = RoomId(1);
/// Wall-clock time at the monotonic clock's start.
pub(crate) const UNIX_START: Duration = Duration::from_secs(1_800_000_000);

/// A worker, its clients, and the time.
pub(crate) struct World {
    pub(crate) worker: Worker,
    pub(crate) clients: Vec<Client>,
    pub(crate) now: Instant,
    certificate: Arc<DtlsCertificate>,
    batch: TransmitBatch,
    events: Vec<Event>,
    pub(crate) publications: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(WorkerConfig::default())
    }

    pub(crate) fn with(config: WorkerConfig) -> Self {
        let certificate = Arc::new(DtlsCertificate::generate());
        let clock = WallClock::new(Instant::ZERO, UNIX_START);
        let mut world = Self {
            worker: Worker::new(config, Arc::clone(&certificate), clock, 7),
            clients: Vec::new(),
            now: Instant::from_millis(1_000),
            certificate,
            batch: TransmitBatch::default(),
            events: Vec::new(),
            publications: 0,
        };
        world.command(Command::OpenRoom { room: ROOM });
        world
    }

    /// A new client in the room, connected; its number.
    pub(crate) fn join(&mut self, sections: Vec<MediaSection>) -> usize {
        let client = self.announce(ROOM, sections);
        self.connect(client);
        client
    }

    /// A new client that has not connected yet.
    pub(crate) fn announce(&mut self, room: RoomId, sections: Vec<MediaSection>) -> usize {
        let number = self.clients.len();
        let client = Client::new(number, &self.certificate, self.now);
        let params = TransportParams {
            local_ice: client.remote.clone(),
            remote_ice: client.local.clone(),
            remote_fingerprints: vec![client.fingerprint.clone()],
            dtls_role: DtlsRole::Server,
            sections,
            rtcp: RtcpSource { ssrc: OWN, cname: CNAME.to_owned() },
            signalled_from: Some(client.path.remote.ip()),
            candidates: vec![client.path.remote],
        };
        self.clients.push(client);
        self.command(Command::AddTransport { room, transport: id(number), params: Box::new(params) });
        number
    }

    pub(crate) fn connect(&mut self, client: usize) {
        self.check(client);
        for _ in 0..20 {
            for datagram in self.clients[client].dtls_flight(self.now) {
                self.give(client, datagram);
            }
            if self.clients[client].is_connected() {
                self.drain();
                return;
            }
            self.pass(5);
        }
        panic!("client {client} did not connect");
    }

    /// Sends one connectivity check on the client's path.
    pub(crate) fn check(&mut self, client: usize) {
        let request = self.clients[client].check();
        self.give(client, request);
        self.drain();
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.worker.handle_command(self.now, command);
        self.collect_events();
    }

    pub(crate) fn publish(&mut self, client: usize, mid: &str) -> PublicationId {
        self.publications += 1;
        let publication = PublicationId(self.publications);
        self.command(Command::Publish { publication, transport: id(client), mid: self::mid(mid) });
        publication
    }

    pub(crate) fn assign(&mut self, client: usize, slot: &str, source: Option<PublicationId>) {
        self.assign_as(client, slot, source, Quality::High);
    }

    pub(crate) fn assign_as(&mut self, client: usize, slot: &str, source: Option<PublicationId>, quality: Quality) {
        let preference = LayerPreference { quality, ..LayerPreference::default() };
        self.command(Command::AssignSlot { transport: id(client), mid: mid(slot), source, preference });
    }

    pub(crate) fn prefer(&mut self, client: usize, slot: &str, quality: Quality, paused: bool) {
        let preference = LayerPreference { quality, paused, ..LayerPreference::default() };
        self.command(Command::SetPreference { transport: id(client), mid: mid(slot), preference });
    }

    /// Hands a datagram of a client to the worker.
    pub(crate) fn give(&mut self, client: usize, mut datagram: Vec<u8>) {
        let path = self.clients[client].path;
        self.worker.handle_datagram(self.now, &path, &mut datagram);
    }

    /// Sends a packet of a client, and delivers what comes of it.
    pub(crate) fn send(&mut self, client: usize, packet: &media::Rtp) {
        let sealed = self.clients[client].seal(packet);
        self.give(client, sealed);
        self.drain();
    }

    /// Sends RTCP of a client, and delivers what comes of it.
    pub(crate) fn send_rtcp(&mut self, client: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let sealed = self.clients[client].seal_rtcp(write);
        self.give(client, sealed);
        self.drain();
    }

    /// Sends a client's feedback on the packets that came, and delivers what comes of it.
    pub(crate) fn send_feedback(&mut self, client: usize) {
        for sealed in self.clients[client].feedback(self.now) {
            self.give(client, sealed);
        }
        self.drain();
    }

    /// Delivers all that the worker has to send, and what the clients answer at once.
    pub(crate) fn drain(&mut self) {
        loop {
            self.batch.clear();
            self.worker.poll_transmit(self.now, &mut self.batch);
            if self.batch.is_empty() {
                break;
            }
            for transmit in self.batch.transmits() {
                for datagram in self.batch.bytes(transmit).chunks(transmit.segment_size) {
                    if let Some(client) = self.clients.iter_mut().find(|client| client.path == transmit.path) {
                        client.take(self.now, datagram);
                    }
                }
            }
            for client in 0..self.clients.len() {
                if self.clients[client].answers_late {
                    continue;
                }
                for datagram in std::mem::take(&mut self.clients[client].outbox) {
                    self.give(client, datagram);
                }
            }
        }
        self.collect_events();
    }

    /// Lets time pass and timers run.
    pub(crate) fn pass(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        self.drain();
        while let Some(at) = self.worker.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.worker.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// What happened since the last call.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        self.collect_events();
        std::mem::take(&mut self.events)
    }

    /// Keyframe requests that a client got.
    pub(crate) fn keyframe_requests(&self, client: usize) -> usize {
        let packets = self.clients[client].rtcp.iter().flat_map(|compound| rtcp::compound(compound));
        packets.filter(|packet| matches!(packet, Ok(RtcpView::Pli(_)))).count()
    }

    pub(crate) fn stats(&mut self) -> WorkerStats {
        self.worker.stats(self.now)
    }

    pub(crate) fn drops(&mut self, reason: DropReason) -> u64 {
        self.stats().drops.of(reason)
    }

    fn collect_events(&mut self) {
        while let Some(event) = self.worker.poll_event() {
            self.events.push(event);
        }
    }
}

/// Name of a client's transport.
pub(crate) fn id(client: usize) -> TransportId {
    TransportId(client as u64 + 1)
}

pub(crate) fn mid(text: &str) -> Mid {
    Mid::new(text).unwrap()
}
