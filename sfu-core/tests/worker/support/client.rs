//! One client.

use super::media::{MEDIA_EXTENSIONS, Rtp};
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::dtls::{DtlsCertificate, DtlsEndpoint, DtlsRole, Fingerprint};
use sfu_rtc::ice::stun::{IceRole, StunClass, StunKey, StunWriter, answer_to};
use sfu_rtc::ice::{IceCredentials, is_answer};
use sfu_rtc::ids::{PayloadType, SeqNo, Ssrc};
use sfu_rtc::net::{DatagramKind, NetworkPath, Protocol};
use sfu_rtc::rtcp::{TwccFeedback, write_twcc};
use sfu_rtc::rtp::extension::{ExtensionKind, parse_transport_cc};
use sfu_rtc::rtp::{HeaderWriter, RtpHeader, RtpView, SealedHeader};
use sfu_rtc::srtp::{MasterKey, SrtpReceiver, SrtpSender};
use sfu_rtc::time::Instant;
use sfu_rtc::twcc::{ArrivalConfig, ArrivalRecorder};
use std::net::{IpAddr, SocketAddr};

/// A packet as a client got it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct ReceivedPacket {
    pub(crate) ssrc: Ssrc,
    pub(crate) payload_type: PayloadType,
    pub(crate) seq: SeqNo,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Vec<u8>,
    pub(crate) at: Instant,
}

pub(crate) struct Client {
    pub(crate) local: IceCredentials,
    pub(crate) remote: IceCredentials,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) path: NetworkPath,
    /// Whether it answers the server's checks, and what it has to send.
    pub(crate) answers: bool,
    /// Its answers are on their way for as long as this is set.
    pub(crate) answers_late: bool,
    pub(crate) outbox: Vec<Vec<u8>>,
    /// Checks sent.
    checks: u64,
    pub(crate) dtls_received: usize,
    dtls: DtlsEndpoint,
    sender: Option<SrtpSender>,
    master: Option<MasterKey>,
    receiver: Option<SrtpReceiver>,
    /// What it got, for the test to take.
    pub(crate) rtp: Vec<ReceivedPacket>,
    pub(crate) rtcp: Vec<Vec<u8>>,
    /// What it tells of each packet (transport-wide feedback), when asked to.
    arrivals: ArrivalRecorder,
    feedback_count: u8,
    /// Whether RTP is lost on the way to it, and what was: as it was sealed.
    pub(crate) loses: bool,
    pub(crate) lost: Vec<Vec<u8>>,
    /// Whether it may get a packet twice, and how many were refused for that.
    pub(crate) takes_copies: bool,
    pub(crate) copies: usize,
    /// The server said goodbye.
    pub(crate) closed: bool,
}

impl Client {
    pub(crate) fn new(number: usize, server: &DtlsCertificate, now: Instant) -> Self {
        let certificate = DtlsCertificate::generate();
        Self {
            local: credentials("client", number),
            remote: credentials("server", number),
            fingerprint: certificate.fingerprint().clone(),
            path: path(5_000 + number as u16),
            answers: true,
            answers_late: false,
            outbox: Vec::new(),
            checks: 0,
            dtls_received: 0,
            dtls: DtlsEndpoint::new(DtlsRole::Client, &certificate, vec![server.fingerprint().clone()], now),
            sender: None,
            master: None,
            receiver: None,
            rtp: Vec::new(),
            rtcp: Vec::new(),
            arrivals: ArrivalRecorder::new(ArrivalConfig::default()),
            feedback_count: 0,
            loses: false,
            lost: Vec::new(),
            takes_copies: false,
            copies: 0,
            closed: false,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.sender.is_some()
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

    /// What the handshake wants to send.
    pub(crate) fn dtls_flight(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let flight = self.dtls.flight(now);
        if let Some(keys) = flight.keys {
            self.sender = Some(SrtpSender::new(&keys.local));
            self.master = Some(keys.local);
            self.receiver = Some(SrtpReceiver::new(&keys.remote, 64));
        }
        self.closed |= flight.closed.is_some();
        flight.packets
    }

    pub(crate) fn close(&mut self) {
        self.dtls.close();
    }

    pub(crate) fn seal(&mut self, rtp: &Rtp) -> Vec<u8> {
        let mut packet = Vec::new();
        let header = RtpHeader {
            payload_type: rtp.payload_type,
            seq: SeqNo(rtp.seq).wire(),
            timestamp: rtp.timestamp,
            ssrc: rtp.ssrc,
            marker: rtp.marker,
        };
        let mut writer = HeaderWriter::new(&mut packet, header);
        for (kind, value) in &rtp.extensions {
            let id = MEDIA_EXTENSIONS.iter().find(|(known, _)| known == kind).unwrap().1;
            assert!(writer.extension(id, value));
        }
        let header_len = writer.finish();
        packet.extend_from_slice(&rtp.payload);
        let seq = SeqNo(rtp.seq);
        if self.sender.as_mut().unwrap().seal_rtp(&mut packet, 0, header_len, seq).is_err() {
            // A client that uses a number twice; the server must not mind.
            let mut careless = SrtpSender::new(self.master.as_ref().unwrap());
            careless.seal_rtp(&mut packet, 0, header_len, seq).unwrap();
        }
        packet
    }

    pub(crate) fn seal_rtcp(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut packet = Vec::new();
        write(&mut packet);
        self.sender.as_mut().unwrap().seal_rtcp(&mut packet, 0).unwrap();
        packet
    }

    /// Feedback on all packets that came since the last, sealed.
    pub(crate) fn feedback(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let (mut compounds, count) = (Vec::new(), &mut self.feedback_count);
        self.arrivals.report(now, |base_seq, arrivals| {
            let (mut compound, fb_count) = (Vec::new(), *count);
            *count = count.wrapping_add(1);
            let covered = write_twcc(
                &mut compound,
                &TwccFeedback { sender: Ssrc(1), media: Ssrc(1), base_seq, fb_count, arrivals },
            );
            compounds.push(compound);
            covered
        });
        compounds.iter().map(|compound| self.seal_rtcp(|out| out.extend_from_slice(compound))).collect()
    }

    /// Takes a datagram from the server.
    pub(crate) fn take(&mut self, now: Instant, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        match DatagramKind::of(&datagram).expect("the server sends nothing else") {
            DatagramKind::Stun if self.answers && !is_answer(&datagram) => {
                // None to checks that are for somebody else.
                self.outbox.extend(answer_to(&datagram, self.path.remote, &StunKey::new(&self.local.pwd)));
            }
            DatagramKind::Stun => {}
            DatagramKind::Dtls => {
                self.dtls_received += 1;
                let _ = self.dtls.handle_packet(now, &datagram);
                if self.is_connected() {
                    self.dtls_flight(now);
                }
            }
            DatagramKind::Rtcp => {
                let len = self.receiver.as_mut().unwrap().open_rtcp(&mut datagram).unwrap();
                datagram.truncate(len);
                self.rtcp.push(datagram);
            }
            DatagramKind::Rtp if self.loses => self.lost.push(datagram),
            DatagramKind::Rtp => self.take_rtp(now, datagram),
        }
    }

    fn take_rtp(&mut self, at: Instant, mut datagram: Vec<u8>) {
        let header = SealedHeader::parse(&datagram).unwrap();
        let receiver = self.receiver.as_mut().unwrap();
        // A number that was used before, or one that is too old to tell, is refused here.
        let opened = match receiver.open_rtp(&mut datagram, header.header_len, header.ssrc, header.seq) {
            Err(DropReason::SrtpReplay) if self.takes_copies => {
                self.copies += 1;
                return;
            }
            opened => opened.unwrap(),
        };
        datagram.truncate(opened.len);
        let view = RtpView::parse(&datagram).unwrap();
        let transport_cc = MEDIA_EXTENSIONS.iter().find(|(kind, _)| *kind == ExtensionKind::TransportCc).unwrap().1;
        if let Some(wire) = view.extension(transport_cc).and_then(parse_transport_cc) {
            self.arrivals.on_packet(at, wire);
        }
        self.rtp.push(ReceivedPacket {
            ssrc: view.ssrc(),
            payload_type: view.payload_type(),
            seq: opened.seq,
            timestamp: view.timestamp(),
            marker: view.marker(),
            payload: view.payload().to_vec(),
            at,
        });
    }
}

pub(crate) fn path(port: u16) -> NetworkPath {
    NetworkPath {
        remote: SocketAddr::from(([127, 0, 0, 1], port)),
        local: IpAddr::from([127, 0, 0, 1]),
        protocol: Protocol::Udp,
    }
}

fn credentials(side: &str, number: usize) -> IceCredentials {
    IceCredentials { ufrag: format!("{side}{number}"), pwd: format!("{side}-{number}-password-of-22-and-more") }
}
