//! A client as light as can be: full checks, the active side of DTLS, SRTP; media is the caller's.
//!
//! For what wants to feed a Worker exactly: the count of allocations, the fuzzer.

use sfu_core::command::{Command, TransportParams};
use sfu_core::ids::{RoomId, TransportId};
use sfu_core::worker::Worker;
use sfu_rtc::dtls::{DtlsCertificate, DtlsEndpoint, DtlsOutput};
use sfu_rtc::ice::IceCredentials;
use sfu_rtc::ice::stun::{IceRole, StunClass, StunKey, StunWriter};
use sfu_rtc::ids::SeqNo;
use sfu_rtc::media::MediaSection;
use sfu_rtc::net::{NetworkPath, TransmitBatch};
use sfu_rtc::rtp::{HeaderWriter, RtpHeader};
use sfu_rtc::srtp::{SrtpReceiver, SrtpSender};
use sfu_rtc::time::{Duration, Instant};

/// One client.
#[derive(Debug)]
pub struct LightClient {
    /// Where it is.
    pub path: NetworkPath,
    /// Its transport.
    pub transport: TransportId,
    /// Seals what it sends, once connected.
    pub sender: Option<SrtpSender>,
    /// Opens what it gets, once connected.
    pub receiver: Option<SrtpReceiver>,
    local: IceCredentials,
    remote: IceCredentials,
    certificate: DtlsCertificate,
    dtls: DtlsEndpoint,
}

impl LightClient {
    /// A client with the number `id`, for a server with this certificate.
    pub fn new(id: u64, path: NetworkPath, server: &DtlsCertificate, now: Instant) -> Self {
        let credentials = |side: &str| IceCredentials {
            ufrag: format!("a{side}{id}"),
            pwd: format!("password-of-{side}-{id}-which-is-long"),
        };
        let certificate = DtlsCertificate::generate();
        let dtls = DtlsEndpoint::new_client(&certificate, vec![server.fingerprint().clone()], now);
        Self {
            path,
            transport: TransportId(id),
            sender: None,
            receiver: None,
            local: credentials("client"),
            remote: credentials("server"),
            certificate,
            dtls,
        }
    }

    /// The order that makes its transport.
    pub fn add(&self, room: RoomId, sections: Vec<MediaSection>) -> Command {
        let params = TransportParams {
            local_ice: self.remote.clone(),
            remote_ice: self.local.clone(),
            remote_fingerprints: vec![self.certificate.fingerprint().clone()],
            sections,
        };
        Command::AddTransport { room, transport: self.transport, params: Box::new(params) }
    }

    /// A connectivity check that nominates.
    pub fn check(&self) -> Vec<u8> {
        StunWriter::new(StunClass::Request, &[7; 12])
            .username(&self.remote.ufrag, &self.local.ufrag)
            .priority(1)
            .role(IceRole::Controlling(1))
            .use_candidate()
            .finish(&StunKey::new(&self.remote.pwd))
    }

    /// Connects to the worker, with nothing in between; the time when it was done.
    ///
    /// # Panics
    /// Where it does not work.
    pub fn connect(&mut self, worker: &mut Worker, mut now: Instant) -> Instant {
        let mut batch = TransmitBatch::default();
        worker.handle_datagram(now, &self.path, &mut self.check());
        for _ in 0..100 {
            self.dtls.handle_timeout(now);
            for mut packet in self.poll_dtls() {
                worker.handle_datagram(now, &self.path, &mut packet);
            }
            batch.clear();
            worker.poll_transmit(now, &mut batch);
            for transmit in batch.transmits().iter().filter(|transmit| transmit.path == self.path) {
                for datagram in batch.bytes(transmit).chunks(transmit.segment_size) {
                    if matches!(datagram.first(), Some(20..=63)) {
                        // What is refused is sent again.
                        let _ = self.dtls.handle_packet(now, datagram);
                    }
                }
            }
            if self.sender.is_some() && self.poll_dtls().is_empty() {
                return now;
            }
            now += Duration::from_millis(2);
            worker.handle_timeout(now);
        }
        panic!("no connection");
    }

    /// Seals an RTP packet.
    ///
    /// # Panics
    /// Before it is connected.
    pub fn seal(&self, header: RtpHeader, seq: SeqNo, extensions: &[(u8, &[u8])], payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        let mut writer = HeaderWriter::new(&mut packet, header);
        for (id, value) in extensions {
            writer.extension(*id, value);
        }
        let header_len = writer.finish();
        packet.extend_from_slice(payload);
        let sender = self.sender.as_ref().expect("connected");
        sender.seal_rtp(&mut packet, 0, header_len, seq).expect("a packet of usual size");
        packet
    }

    fn poll_dtls(&mut self) -> Vec<Vec<u8>> {
        let mut buf = Vec::new();
        let mut packets = Vec::new();
        while let Some(output) = self.dtls.poll_output(&mut buf) {
            match output {
                DtlsOutput::Packet(packet) => packets.push(packet.to_vec()),
                DtlsOutput::Connected(keys) => {
                    self.sender = Some(SrtpSender::new(&keys.local));
                    self.receiver = Some(SrtpReceiver::new(&keys.remote, 64));
                }
                DtlsOutput::Closed(_) => {}
            }
        }
        packets
    }
}
