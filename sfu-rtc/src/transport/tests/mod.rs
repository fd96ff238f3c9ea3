//! Transport against a hand-driven client: full STUN, the active side of DTLS, SRTP of its own.

mod among;
mod connection;
mod forged;
mod media;
mod paths;
mod probing;
mod protect;
mod recovery;
mod reports;
mod supersede;
mod uplink;

use super::*;
use crate::codec::FrameFacts;
use crate::dtls::DtlsRole;
use crate::ice::is_answer;
use crate::ice::stun::{IceRole, StunClass, StunKey, StunMessage, StunWriter, answer_to};
use crate::ids::{Mid, PayloadType, Rid, SeqNo, Ssrc};
use crate::media::{Codec, MediaKind, PayloadFormat, SsrcPair};
use crate::net::{DatagramKind, Protocol};
use crate::packet::{CarriedExtensions, Packet, PacketPool};
use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use crate::rtp::{HeaderWriter, RtpHeader, RtpView, SealedHeader};
use crate::srtp::{SrtpReceiver, SrtpSender};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

const MEDIA: Ssrc = Ssrc(0x1111);
const RTX: Ssrc = Ssrc(0x2222);
const SLOT: SsrcPair = SsrcPair { media: Ssrc(0x3333), rtx: Some(Ssrc(0x4444)) };
const VP8: PayloadType = PayloadType(96);
const VP8_RTX: PayloadType = PayloadType(97);
const MID_ID: u8 = 4;
const TCC_ID: u8 = 3;
const SEND_TIME_ID: u8 = 2;
const LEVEL_ID: u8 = 1;
const DESCRIPTOR_ID: u8 = 9;
const PUBLISHED: usize = 0;
const SUBSCRIBED: usize = 1;

fn ms(n: u64) -> Instant {
    Instant::from_millis(n)
}

fn path(port: u16) -> NetworkPath {
    NetworkPath {
        remote: SocketAddr::from(([127, 0, 0, 1], port)),
        local: IpAddr::from([127, 0, 0, 1]),
        protocol: Protocol::Udp,
    }
}

fn credentials(name: &str) -> IceCredentials {
    IceCredentials { ufrag: format!("{name}-ufrag"), pwd: format!("{name}-password-of-22-and-more") }
}

fn section(mid: &str, direction: Direction) -> MediaSection {
    let mut extensions = ExtensionMap::default();
    for (kind, id) in [
        (ExtensionKind::Mid, MID_ID),
        (ExtensionKind::TransportCc, TCC_ID),
        (ExtensionKind::AbsSendTime, SEND_TIME_ID),
        (ExtensionKind::AudioLevel, LEVEL_ID),
        (ExtensionKind::DependencyDescriptor, DESCRIPTOR_ID),
    ] {
        assert!(extensions.set(kind, id));
    }
    MediaSection {
        mid: Mid::new(mid).unwrap(),
        kind: MediaKind::Video,
        direction,
        formats: Arc::new(vec![PayloadFormat {
            payload_type: VP8,
            codec: Codec::Vp8,
            clock_rate: 90_000,
            fmtp: String::new(),
            rtx: Some(VP8_RTX),
        }]),
        extensions,
        rids: Vec::new(),
        remote_ssrcs: Vec::new(),
        local_ssrcs: (direction == Direction::Send).then_some(SLOT),
        local_fec: None,
        remote_fec: None,
        red: None,
        reduced_rtcp: true,
        rtx_time: Duration::from_millis(200),
        nack: true,
        remb: true,
    }
}

/// What the client got back.
#[derive(Default)]
struct Answers {
    checks: usize,
    rtp: Vec<(Vec<u8>, SeqNo)>,
    rtcp: Vec<Vec<u8>>,
    closed: bool,
    /// What left, by path.
    bytes: HashMap<NetworkPath, usize>,
}

struct Client {
    local: IceCredentials,
    remote: IceCredentials,
    dtls: DtlsEndpoint,
    path: NetworkPath,
    sender: Option<SrtpSender>,
    receiver: Option<SrtpReceiver>,
    /// Checks sent.
    checks: u64,
    /// Whether it answers the transport's checks, and what it has to send.
    answers: bool,
    outbox: Vec<Vec<u8>>,
}

/// A client and its transport.
struct Pair {
    client: Client,
    server: Transport,
    now: Instant,
    pool: PacketPool,
    /// The server's.
    fingerprint: Fingerprint,
}

/// Whom the server's RTCP is from.
fn own() -> RtcpSource {
    RtcpSource { ssrc: Ssrc(0x0a11_ce00), cname: "a-name-of-ours".to_owned() }
}

impl Pair {
    /// Publishes one video section and subscribes to one.
    fn new() -> Self {
        Self::with(TransportConfig::default(), vec![section("0", Direction::Receive), section("1", Direction::Send)])
    }

    fn with(config: TransportConfig, sections: Vec<MediaSection>) -> Self {
        Self::in_role(DtlsRole::Server, config, sections)
    }

    /// The transport has this DTLS role, the client the other.
    fn in_role(dtls_role: DtlsRole, config: TransportConfig, sections: Vec<MediaSection>) -> Self {
        let now = ms(1_000);
        let (ours, theirs) = (DtlsCertificate::generate(), DtlsCertificate::generate());
        let (local_ice, remote_ice) = (credentials("server"), credentials("client"));
        let their_role = if dtls_role == DtlsRole::Server { DtlsRole::Client } else { DtlsRole::Server };
        let client = Client {
            local: remote_ice.clone(),
            remote: local_ice.clone(),
            dtls: DtlsEndpoint::new(their_role, &theirs, vec![ours.fingerprint().clone()], now),
            path: path(5_000),
            sender: None,
            receiver: None,
            checks: 0,
            answers: true,
            outbox: Vec::new(),
        };
        let remote_fingerprints = vec![theirs.fingerprint().clone()];
        let ice_secret = IceSecret::from_seed(1);
        let params = TransportParams {
            local_ice,
            remote_ice,
            ice_secret,
            signalled_from: Some(path(5_000).remote.ip()),
            remote_fingerprints,
            dtls_role,
            sections,
            rtcp: own(),
        };
        let server = Transport::new(config, params, &ours, now);
        Self { client, server, now, pool: PacketPool::new(256), fingerprint: ours.fingerprint().clone() }
    }

    fn connected() -> Self {
        let mut pair = Self::new();
        pair.connect();
        pair
    }

    fn connect(&mut self) {
        self.check();
        for _ in 0..20 {
            self.pump_dtls();
            if self.server.is_connected() && self.client.sender.is_some() {
                return;
            }
            self.pass(5);
        }
        panic!("no connection");
    }

    /// One connectivity check on the client's path; whether it was answered.
    fn check(&mut self) -> bool {
        self.check_only();
        self.drain().checks == 1
    }

    fn check_only(&mut self) {
        let request = self.client.check();
        self.give(request);
    }

    fn pump_dtls(&mut self) {
        let flight = self.client.dtls.flight(self.now);
        if let Some(keys) = flight.keys {
            self.client.sender = Some(SrtpSender::new(&keys.local));
            self.client.receiver = Some(SrtpReceiver::new(&keys.remote, 64));
        }
        for packet in flight.packets {
            self.give(packet);
        }
        self.drain();
    }

    /// Hands a datagram to the transport; why it was dropped, if it was.
    fn give(&mut self, mut datagram: Vec<u8>) -> Option<DropReason> {
        match self.receive(&mut datagram) {
            Received::Dropped(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whoever owns the transport relies on what it says of media: that nothing else is due sooner by it.
    fn receive<'d>(&mut self, datagram: &'d mut [u8]) -> Received<'d> {
        let before = self.server.poll_timeout();
        let received = self.server.handle_datagram(self.now, &self.client.path, datagram);
        if matches!(received, Received::Rtp(_)) && !self.server.wants_drain() {
            let due = |timeout: Option<Instant>| timeout.unwrap_or(Instant::NEVER);
            let expected = due(before).min(due(self.server.feedback_timeout()));
            assert!(due(self.server.poll_timeout()) >= expected);
        }
        received
    }

    /// Hands an RTP packet to the transport, and what it makes of it to `then`.
    fn give_rtp<R>(&mut self, mut datagram: Vec<u8>, then: impl FnOnce(Result<ReceivedRtp<'_>, DropReason>) -> R) -> R {
        match self.receive(&mut datagram) {
            Received::Rtp(rtp) => then(Ok(rtp)),
            Received::Dropped(reason) => then(Err(reason)),
            other => panic!("{other:?}"),
        }
    }

    fn seal_rtcp(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut packet = Vec::new();
        write(&mut packet);
        self.client.sender.as_mut().unwrap().seal_rtcp(&mut packet, 0).unwrap();
        packet
    }

    /// Takes all that the transport sends, and hands over what the client answers at once.
    fn drain(&mut self) -> Answers {
        let mut answers = Answers::default();
        loop {
            let mut batch = TransmitBatch::default();
            self.server.poll_transmit(self.now, &mut batch);
            for transmit in batch.transmits() {
                assert!(self.server.is_closed() || self.server.is_known(&transmit.path));
                for datagram in batch.bytes(transmit).chunks(transmit.segment_size) {
                    *answers.bytes.entry(transmit.path).or_default() += datagram.len();
                    // What goes elsewhere does not reach it.
                    if transmit.path == self.client.path {
                        self.client.take(self.now, datagram, &mut answers);
                    }
                }
            }
            if self.client.outbox.is_empty() {
                return answers;
            }
            for datagram in std::mem::take(&mut self.client.outbox) {
                self.give(datagram);
            }
        }
    }

    /// Lets time pass and timers run.
    fn pass(&mut self, millis: u64) -> Answers {
        let until = self.now + Duration::from_millis(millis);
        let mut all = Answers::default();
        while let Some(at) = self.server.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.server.handle_timeout(self.now);
            all.add(self.drain());
        }
        self.now = until;
        all
    }

    fn events(&mut self) -> Vec<TransportEvent> {
        std::iter::from_fn(|| self.server.poll_event()).collect()
    }

    /// A shared packet with this payload.
    fn packet(&mut self, payload: &[u8], extensions: CarriedExtensions, extra: &[u8]) -> Packet {
        let mut bytes = vec![0; 12];
        bytes.extend_from_slice(extra);
        let start = bytes.len();
        bytes.extend_from_slice(payload);
        let filled = self.pool.take(|data| {
            data.frame = FrameFacts::default();
            data.extensions = extensions;
            data.set_bytes(&bytes, start..bytes.len())
        });
        filled.unwrap()
    }

    /// Queues a packet with a short payload.
    fn queue(&mut self, out: RtpOut) -> Result<Handover, DropReason> {
        let packet = self.packet(b"0123456789", CarriedExtensions::default(), &[]);
        self.server.queue_rtp(self.now, &packet, out)
    }

    fn out(&self, seq: u64) -> RtpOut {
        RtpOut {
            section: SUBSCRIBED,
            ssrc: SLOT.media,
            payload_type: VP8,
            seq: SeqNo(seq),
            timestamp: 90_000,
            marker: true,
            edit: PayloadEdit::default(),
            frame_number: None,
            padding: 0,
            class: PacketClass::Video,
            repeat: Repeat::Never,
            group: None,
        }
    }
}

impl Answers {
    fn add(&mut self, other: Self) {
        self.checks += other.checks;
        self.rtp.extend(other.rtp);
        self.rtcp.extend(other.rtcp);
        self.closed |= other.closed;
        other.bytes.into_iter().for_each(|(path, bytes)| *self.bytes.entry(path).or_default() += bytes);
    }
}

impl Client {
    /// A connectivity check that nominates.
    fn check(&mut self) -> Vec<u8> {
        self.checks += 1;
        let mut transaction = [7; 12];
        transaction[..8].copy_from_slice(&self.checks.to_be_bytes());
        StunWriter::new(StunClass::Request, &transaction)
            .username(&self.remote.ufrag, &self.local.ufrag)
            .priority(1)
            .role(IceRole::Controlling(1))
            .use_candidate()
            .finish(&StunKey::new(&self.remote.pwd))
    }

    fn take(&mut self, now: Instant, datagram: &[u8], answers: &mut Answers) {
        let mut datagram = datagram.to_vec();
        match DatagramKind::of(&datagram).expect("we send nothing else") {
            DatagramKind::Stun if !is_answer(&datagram) => {
                let check = StunMessage::parse(&datagram).unwrap();
                let username = format!("{}:{}", self.local.ufrag, self.remote.ufrag);
                assert_eq!(check.username, Some(username.as_str()));
                assert!(matches!(check.role, Some(IceRole::Controlled(_))) && check.fingerprint_fits());
                let key = StunKey::new(&self.local.pwd);
                let answer = answer_to(&datagram, self.path.remote, &key).expect("an authentic check");
                self.outbox.extend(self.answers.then_some(answer));
            }
            DatagramKind::Stun => {
                let reply = StunMessage::parse(&datagram).unwrap();
                assert_eq!((reply.class, reply.mapped), (StunClass::Success, Some(self.path.remote)));
                assert!(reply.is_authentic(&StunKey::new(&self.remote.pwd)) && reply.fingerprint_fits());
                answers.checks += 1;
            }
            DatagramKind::Dtls => {
                let _ = self.dtls.handle_packet(now, &datagram);
                if self.sender.is_some() {
                    answers.closed |= self.dtls.flight(now).closed.is_some();
                }
            }
            DatagramKind::Rtcp => {
                let len = self.receiver.as_mut().unwrap().open_rtcp(&mut datagram).unwrap();
                datagram.truncate(len);
                answers.rtcp.push(datagram);
            }
            DatagramKind::Rtp => {
                let header = SealedHeader::parse(&datagram).unwrap();
                let receiver = self.receiver.as_mut().unwrap();
                let opened = receiver.open_rtp(&mut datagram, header.header_len, header.ssrc, header.seq).unwrap();
                datagram.truncate(opened.len);
                answers.rtp.push((datagram, opened.seq));
            }
        }
    }
}

/// An RTP packet of the client.
struct ClientRtp {
    ssrc: Ssrc,
    payload_type: PayloadType,
    seq: u64,
    extensions: Vec<(u8, Vec<u8>)>,
    payload: Vec<u8>,
}

impl ClientRtp {
    fn new(seq: u64) -> Self {
        Self { ssrc: MEDIA, payload_type: VP8, seq, extensions: Vec::new(), payload: b"picture".to_vec() }
    }

    fn with(mut self, id: u8, value: &[u8]) -> Self {
        self.extensions.push((id, value.to_vec()));
        self
    }

    fn seal(&self, client: &mut Client) -> Vec<u8> {
        let mut packet = Vec::new();
        let header = RtpHeader {
            payload_type: self.payload_type,
            seq: SeqNo(self.seq).wire(),
            timestamp: 3_000,
            ssrc: self.ssrc,
            marker: false,
        };
        let mut writer = HeaderWriter::new(&mut packet, header);
        for (id, value) in &self.extensions {
            assert!(writer.extension(*id, value));
        }
        let header_len = writer.finish();
        packet.extend_from_slice(&self.payload);
        client.sender.as_mut().unwrap().seal_rtp(&mut packet, 0, header_len, SeqNo(self.seq)).unwrap();
        packet
    }
}

/// What is in a batch, datagram by datagram.
fn datagrams(batch: &TransmitBatch) -> impl Iterator<Item = &[u8]> {
    batch.transmits().iter().flat_map(|transmit| batch.bytes(transmit).chunks(transmit.segment_size))
}
