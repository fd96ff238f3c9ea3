//! A client that seals whatever it is told to.

use sfu_core::command::{Command, TransportParams};
use sfu_core::ids::{RoomId, TransportId};
use sfu_rtc::dtls::{DtlsCertificate, DtlsEndpoint, DtlsRole};
use sfu_rtc::ice::stun::{IceRole, StunClass, StunKey, StunWriter, answer_to};
use sfu_rtc::ice::{IceCredentials, is_answer};
use sfu_rtc::ids::{Mid, PayloadType, Rid, SeqNo, Ssrc};
use sfu_rtc::fec::Scheme;
use sfu_rtc::media::{Codec, Direction, FecStream, MediaKind, MediaSection, PayloadFormat, SsrcPair, VideoRed};
use sfu_rtc::net::{NetworkPath, Protocol};
use sfu_rtc::rtp::extension::{ExtensionKind, ExtensionMap};
use sfu_rtc::srtp::SrtpSender;
use sfu_rtc::time::{Duration, Instant};
use std::net::{IpAddr, SocketAddr};

pub(crate) const MID_ID: u8 = 1;
pub(crate) const RID_ID: u8 = 2;
pub(crate) const TRANSPORT_CC_ID: u8 = 3;

/// Two sections that a client publishes on, and two slots; `shape` varies them.
pub(crate) fn sections(id: u64, shape: u8) -> Vec<MediaSection> {
    let base = 0x9000_0000 + 16 * id as u32;
    let mut sections = vec![
        section("0", MediaKind::Audio, Direction::Receive, base),
        section("1", MediaKind::Video, Direction::Receive, base + 2),
        section("2", MediaKind::Audio, Direction::Send, base + 4),
        section("3", MediaKind::Video, Direction::Send, base + 6),
    ];
    if shape & 1 == 0 {
        sections[1].rids = ["q", "f"].into_iter().filter_map(Rid::new).collect();
    }
    if shape & 2 != 0 {
        sections[3].direction = Direction::Inactive;
    }
    if shape & 4 != 0 {
        sections.truncate(2);
    }
    if shape & 8 != 0 {
        sections.push(section("4", MediaKind::Video, Direction::Send, base + 8));
    }
    if shape & 16 != 0 {
        sections.swap(0, 1);
    }
    sections
}

fn section(mid: &str, kind: MediaKind, direction: Direction, ssrc: u32) -> MediaSection {
    let mut extensions = ExtensionMap::default();
    for (id, kind) in (1..).zip([
        ExtensionKind::Mid,
        ExtensionKind::Rid,
        ExtensionKind::TransportCc,
        ExtensionKind::RepairedRid,
        ExtensionKind::AudioLevel,
        ExtensionKind::DependencyDescriptor,
        ExtensionKind::AbsCaptureTime,
        ExtensionKind::PlayoutDelay,
        ExtensionKind::VideoOrientation,
    ]) {
        extensions.set(kind, id);
    }
    let codecs: &[Codec] = match kind {
        MediaKind::Audio => &[Codec::Opus, Codec::OpusRed],
        MediaKind::Video => &[Codec::Vp8, Codec::Vp9, Codec::H264, Codec::H265, Codec::Av1],
    };
    let first = if kind == MediaKind::Audio { 96 } else { 98 };
    let formats = (first..).zip(codecs).map(|(payload_type, codec)| PayloadFormat {
        payload_type: PayloadType(payload_type),
        codec: *codec,
        clock_rate: if kind == MediaKind::Audio { 48_000 } else { 90_000 },
        fmtp: String::new(),
        rtx: (kind == MediaKind::Video).then_some(PayloadType(payload_type + 5)),
    });
    let pair = SsrcPair { media: Ssrc(ssrc), rtx: (kind == MediaKind::Video).then_some(Ssrc(ssrc + 1)) };
    MediaSection {
        mid: Mid::new(mid).expect("a mid"),
        kind,
        direction,
        formats: std::sync::Arc::new(formats.collect()),
        extensions,
        rids: Vec::new(),
        remote_ssrcs: Vec::new(),
        local_ssrcs: (direction == Direction::Send).then_some(pair),
        local_fec: None,
        remote_fec: (kind == MediaKind::Video && direction == Direction::Receive).then_some(FecStream {
            ssrc: Ssrc(ssrc + 2),
            payload_type: PayloadType(108),
            scheme: Scheme::ReedSolomon,
        }),
        red: (kind == MediaKind::Video).then_some(VideoRed {
            payload_type: PayloadType(109),
            rtx: Some(PayloadType(110)),
            parity: PayloadType(111),
        }),
        reduced_rtcp: true,
        remb: true,
        rtx_time: Duration::from_millis(200),
        nack: true,
    }
}

/// One client.
pub(crate) struct Client {
    /// Number of its worker.
    pub(crate) worker: usize,
    pub(crate) path: NetworkPath,
    pub(crate) transport: TransportId,
    pub(crate) sender: Option<SrtpSender>,
    pub(crate) local: IceCredentials,
    pub(crate) remote: IceCredentials,
    /// What it answers to the worker's checks.
    pub(crate) answers: Vec<Vec<u8>>,
    /// Checks sent.
    checks: u64,
    certificate: DtlsCertificate,
    dtls: DtlsEndpoint,
}

/// Number of the worker of a transport: the first two clients share one, so that it both forwards and relays.
pub(crate) fn worker_of(transport: TransportId) -> usize {
    usize::from(transport.0 > 1)
}

/// The server's path to a port of the clients' host.
pub(crate) fn path(port: u16) -> NetworkPath {
    let local = IpAddr::from([10, 0, 0, 1]);
    NetworkPath { remote: SocketAddr::from(([10, 0, 0, 2], port)), local, protocol: Protocol::Udp }
}

pub(crate) fn credentials(name: &str) -> IceCredentials {
    IceCredentials { ufrag: format!("a-{name}"), pwd: format!("password-of-22-and-more-{name}") }
}

impl Client {
    pub(crate) fn new(id: u64, certificate: &DtlsCertificate, server: &DtlsCertificate, now: Instant) -> Self {
        Self {
            worker: worker_of(TransportId(id)),
            path: path(1_000 + id as u16),
            transport: TransportId(id),
            sender: None,
            local: credentials(&format!("client-{id}")),
            remote: credentials(&format!("server-{id}")),
            answers: Vec::new(),
            checks: 0,
            certificate: certificate.clone(),
            dtls: DtlsEndpoint::new(DtlsRole::Client, certificate, vec![server.fingerprint().clone()], now),
        }
    }

    /// The order that makes its transport.
    pub(crate) fn add(&self, room: RoomId, sections: Vec<MediaSection>) -> Command {
        let params = TransportParams {
            local_ice: self.remote.clone(),
            remote_ice: self.local.clone(),
            remote_fingerprints: vec![self.certificate.fingerprint().clone()],
            dtls_role: DtlsRole::Server,
            sections,
            rtcp: sfu_rtc::transport::RtcpSource { ssrc: sfu_rtc::ids::Ssrc(0x0a11_ce00), cname: "fuzz".to_owned() },
            signalled_from: Some(self.path.remote.ip()),
            candidates: Vec::new(),
        };
        Command::AddTransport { room, transport: self.transport, params: Box::new(params) }
    }

    /// A connectivity check that nominates.
    pub(crate) fn check(&mut self) -> Vec<u8> {
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

    pub(crate) fn handle_stun(&mut self, datagram: &[u8]) {
        if !is_answer(datagram) {
            self.answers.extend(answer_to(datagram, self.path.remote, &StunKey::new(&self.local.pwd)));
        }
    }

    pub(crate) fn handle_dtls(&mut self, now: Instant, datagram: &[u8]) {
        // A worker that was told nonsense may send what does not belong here.
        let _ = self.dtls.handle_packet(now, datagram);
    }

    pub(crate) fn dtls_flight(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let flight = self.dtls.flight(now);
        if let Some(keys) = flight.keys {
            self.sender = Some(SrtpSender::new(&keys.local));
        }
        flight.packets
    }

    /// Seals an RTP packet with a header of so many bytes.
    pub(crate) fn seal_rtp(&mut self, mut packet: Vec<u8>, header_len: usize, seq: SeqNo) -> Option<Vec<u8>> {
        self.sender.as_mut()?.seal_rtp(&mut packet, 0, header_len, seq).ok()?;
        Some(packet)
    }

    /// Seals a compound of RTCP.
    pub(crate) fn seal_rtcp(&mut self, mut packet: Vec<u8>) -> Option<Vec<u8>> {
        self.sender.as_mut()?.seal_rtcp(&mut packet, 0).ok()?;
        Some(packet)
    }
}
