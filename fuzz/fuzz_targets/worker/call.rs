//! The workers with their clients, and what must hold whatever they do.

use crate::client::{Client, path, worker_of};
use crate::workers::{MAX_PACKETS, WORKERS, Workers};
use sfu_core::command::Command;
use sfu_core::ids::{PublicationId, RoomId, WorkerId};
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::ids::{Mid, PayloadType, SeqNo, Ssrc};
use sfu_rtc::media::MediaKind;
use sfu_rtc::net::{DatagramKind, NetworkPath, TransmitBatch};
use sfu_rtc::rtp::{HeaderWriter, RtpHeader, SealedHeader};
use sfu_rtc::time::{Duration, Instant};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

pub(crate) const ROOM: RoomId = RoomId(1);
/// Orders name rooms below this number.
pub(crate) const ROOMS: u64 = 3;
const CLIENTS: u64 = 3;
const START: Instant = Instant::from_millis(1_000_000);
/// What one step may make the workers send: a whole history again, to all clients, and some more.
const MAX_SENT: usize = 8_192;

/// Sequence numbers in use at each path, by source. AES-GCM forbids to use one twice under one key.
type SentNumbers = HashMap<(NetworkPath, Ssrc), (SeqNo, HashSet<u64>)>;

pub(crate) struct Call {
    pub(crate) workers: Workers,
    pub(crate) clients: Vec<Client>,
    pub(crate) now: Instant,
    batch: TransmitBatch,
    /// Next sequence number of each source of each client.
    seqs: HashMap<(usize, u32), u64>,
    sent: SentNumbers,
}

fn certificates() -> &'static [Arc<DtlsCertificate>; 2] {
    static CERTIFICATES: OnceLock<[Arc<DtlsCertificate>; 2]> = OnceLock::new();
    CERTIFICATES.get_or_init(|| [DtlsCertificate::generate().into(), DtlsCertificate::generate().into()])
}

impl Call {
    /// Three clients in a room, one of them on another worker: each publishes sound and picture, and gets another's.
    pub(crate) fn new() -> Self {
        let [server, _] = certificates();
        let mut call = Self {
            workers: Workers::new(server, START),
            clients: Vec::new(),
            now: START,
            batch: TransmitBatch::default(),
            seqs: HashMap::new(),
            sent: HashMap::new(),
        };
        for worker in 0..WORKERS {
            call.command(worker, Command::OpenRoom { room: ROOM });
        }
        for id in 0..CLIENTS {
            call.join(id);
        }
        for subscriber in 0..CLIENTS {
            let other = [1, 0, 0][subscriber as usize];
            for (slot, publication) in [("2", 2 * other), ("3", 2 * other + 1)] {
                call.assign(subscriber, slot, publication);
            }
        }
        call
    }

    fn join(&mut self, id: u64) {
        let [server, own] = certificates();
        let mut client = Client::new(id, own, server, self.now);
        self.command(client.worker, client.add(ROOM, crate::client::sections(id, 0)));
        let check = client.check();
        self.clients.push(client);
        self.give(id as usize, check);
        for _ in 0..50 {
            self.drain();
            client = self.clients.remove(id as usize);
            let packets = client.dtls_flight(self.now);
            self.clients.insert(id as usize, client);
            packets.into_iter().for_each(|packet| self.give(id as usize, packet));
            if self.clients[id as usize].sender.is_some() {
                break;
            }
            self.pass(Duration::from_millis(5));
        }
        for (publication, mid) in [(2 * id, "0"), (2 * id + 1, "1")] {
            self.publish(id as usize, PublicationId(publication), Mid::new(mid).expect("a mid"));
        }
    }

    /// Publishes a client's section, and relays it to the other worker.
    fn publish(&mut self, index: usize, publication: PublicationId, mid: Mid) {
        let Client { worker, transport, .. } = self.clients[index];
        self.command(worker, Command::Publish { publication, transport, mid });
        let section = crate::client::sections(transport.0, 0).into_iter().find(|section| section.mid == mid);
        let (kind, rids) = section.map_or((MediaKind::Audio, Vec::new()), |section| (section.kind, section.rids));
        let (origin, destination) = (WorkerId(worker as u16), WorkerId(1 - worker as u16));
        self.command(worker, Command::RelayTo { publication, destination });
        let open = Command::OpenRelay { room: ROOM, publication, origin, sender: transport, kind, rids };
        self.command(1 - worker, open);
    }

    fn assign(&mut self, subscriber: u64, slot: &str, publication: u64) {
        let transport = self.clients[subscriber as usize].transport;
        let (mid, source) = (Mid::new(slot).expect("a mid"), Some(PublicationId(publication)));
        let command = Command::AssignSlot { transport, mid, source, preference: Default::default() };
        self.command(worker_of(transport), command);
    }

    pub(crate) fn command(&mut self, worker: usize, command: Command) {
        self.workers.command(self.now, worker, command);
    }

    /// A datagram of a client.
    pub(crate) fn give(&mut self, who: usize, mut datagram: Vec<u8>) {
        let Client { worker, path, .. } = self.clients[who % self.clients.len()];
        self.workers.handle_datagram(self.now, worker, &path, &mut datagram);
    }

    pub(crate) fn give_from_a_stranger(&mut self, who: usize, mut datagram: Vec<u8>) {
        self.workers.handle_datagram(self.now, who, &path(50_000 + who as u16), &mut datagram);
    }

    /// A sealed RTP packet: source, payload type, step of the sequence number, timestamp, extensions, payload.
    pub(crate) fn give_rtp(&mut self, who: usize, kind: u8, bytes: &[u8]) {
        let Some((&[source, payload_type, step, time, extensions], mut rest)) = bytes.split_first_chunk::<5>() else {
            return;
        };
        let index = who % self.clients.len();
        let ssrc = 0x100 * (index as u32 + 1) + u32::from(source % 8);
        let first = 1_000;
        let next = self.seqs.entry((index, ssrc)).or_insert(first);
        // Gaps, and now and then a jump; never back, for a client uses no number twice.
        *next += 1 + u64::from(step % 16) * if step > 250 { 1_000 } else { u64::from(step > 128) };
        let seq = SeqNo(*next);
        let header = RtpHeader {
            payload_type: PayloadType(96 + payload_type % 16),
            seq: seq.wire(),
            timestamp: 3_000 * u32::from(time),
            ssrc: Ssrc(ssrc),
            marker: kind & 0x80 != 0,
        };
        let mut packet = Vec::new();
        let mut writer = HeaderWriter::new(&mut packet, header);
        if extensions & 1 != 0 {
            writer.extension(crate::client::MID_ID, if source % 2 == 0 { b"0" } else { b"1" });
        }
        if extensions & 2 != 0 {
            writer.extension(crate::client::RID_ID, if source & 4 == 0 { b"q" } else { b"f" });
        }
        if extensions & 4 != 0 {
            writer.extension(crate::client::TRANSPORT_CC_ID, &seq.wire().to_be_bytes());
        }
        if extensions & 8 != 0
            && let Some((&len, after)) = rest.split_first()
        {
            let (value, after) = after.split_at(usize::from(len % 24).min(after.len()));
            writer.extension(1 + (extensions >> 4), value);
            rest = after;
        }
        let header_len = writer.finish();
        packet.extend_from_slice(rest);
        let sealed = self.clients[index].seal_rtp(packet, header_len, seq);
        sealed.into_iter().for_each(|packet| self.give(index, packet));
    }

    /// Sealed RTCP. What names a slot by its number becomes the slot's source.
    pub(crate) fn give_rtcp(&mut self, who: usize, bytes: &[u8]) {
        let index = who % self.clients.len();
        let sealed = self.clients[index].seal_rtcp(bytes.to_vec());
        sealed.into_iter().for_each(|packet| self.give(index, packet));
    }

    /// A true check, from the client's port or another.
    pub(crate) fn give_check(&mut self, who: usize, bytes: &[u8]) {
        let index = who % self.clients.len();
        if let Some(port) = bytes.first() {
            self.clients[index].path = path(1_000 + index as u16 + 10 * u16::from(port % 4));
        }
        let check = self.clients[index].check();
        self.give(index, check);
    }

    /// A true packet, damaged.
    pub(crate) fn give_damaged(&mut self, who: usize, bytes: &[u8]) {
        let index = who % self.clients.len();
        let next = self.seqs.entry((index, 0x100)).or_insert(1_000);
        *next += 1;
        let seq = SeqNo(*next);
        let mut packet = vec![0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        packet[2..4].copy_from_slice(&seq.wire().to_be_bytes());
        packet.extend_from_slice(&[0x78; 20]);
        let Some(mut packet) = self.clients[index].seal_rtp(packet, 12, seq) else { return };
        for change in bytes.chunks_exact(2) {
            if let Some(byte) = packet.get_mut(usize::from(change[0])) {
                *byte ^= change[1];
            }
        }
        self.give(index, packet);
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..10_000 {
            let Some(at) = self.workers.poll_timeout().filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(at);
            self.workers.handle_timeout(self.now);
            self.drain();
        }
        panic!("the timers do not come to rest");
    }

    /// Takes all that the workers have to send and to say.
    pub(crate) fn drain(&mut self) {
        let Self { workers, clients, batch, sent, now, .. } = self;
        let mut count = 0;
        workers.transmit(*now, batch, |batch| {
            count += batch.datagrams();
            assert!(count <= MAX_SENT, "{count} datagrams at once");
            for transmit in batch.transmits() {
                let datagrams = batch.bytes(transmit).chunks(transmit.segment_size);
                datagrams.for_each(|datagram| take_datagram(*now, &transmit.path, datagram, clients, sent));
            }
        });
        while workers.poll_event().is_some() {}
        for who in 0..self.clients.len() {
            for answer in std::mem::take(&mut self.clients[who].answers) {
                self.give(who, answer);
            }
        }
    }

    /// Ends the rooms; nothing may stay.
    pub(crate) fn close(&mut self) {
        for stats in self.workers.stats(self.now) {
            assert!(stats.pool_packets <= MAX_PACKETS, "{stats:?}");
            assert_eq!(stats.drops.of(DropReason::SrtpIndexReused), 0, "no number is to be used twice");
        }
        for room in 0..ROOMS {
            (0..WORKERS).for_each(|worker| self.command(worker, Command::CloseRoom { room: RoomId(room) }));
        }
        self.workers.busy = false;
        self.drain();
        let stats = self.workers.stats(self.now);
        assert!(stats.iter().all(|stats| stats.rooms == 0 && stats.transports.is_empty()), "{stats:?}");
        assert!(stats[0].relayed_in <= stats[1].relayed_out, "{stats:?}");
        assert!(stats[1].relayed_in <= stats[0].relayed_out, "{stats:?}");
    }
}

/// A datagram of a worker, for whom it may concern.
fn take_datagram(now: Instant, to: &NetworkPath, datagram: &[u8], clients: &mut [Client], sent: &mut SentNumbers) {
    match DatagramKind::of(datagram) {
        Some(DatagramKind::Stun) => {
            let client = clients.iter_mut().find(|client| client.path == *to);
            client.into_iter().for_each(|client| client.handle_stun(datagram));
        }
        Some(DatagramKind::Dtls) => {
            let client = clients.iter_mut().find(|client| client.path == *to);
            client.into_iter().for_each(|client| client.handle_dtls(now, datagram));
        }
        Some(DatagramKind::Rtp) => {
            let header = SealedHeader::parse(datagram).expect("we send sound headers");
            let first = SeqNo(u64::from(header.seq));
            let owner = path(1_000 + to.remote.port() % 10);
            let used = sent.entry((owner, header.ssrc)).or_insert((first, HashSet::new()));
            let seq = used.0.extend(header.seq);
            used.0 = used.0.max(seq);
            assert!(used.1.insert(seq.0), "{seq:?} of {:?} was sealed twice", header.ssrc);
        }
        _ => {}
    }
}
