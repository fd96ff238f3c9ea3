//! One sans-IO peer of the load: ICE, DTLS, SRTP, and nothing that a generator by the hundred could not afford.

mod ice_client;

use ice_client::IceClient;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::dtls::{DtlsCertificate, DtlsEndpoint, DtlsOutput, DtlsRole, Fingerprint};
use sfu_rtc::ice::IceCredentials;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::net::{DatagramKind, NetworkPath, TransmitBatch};
use sfu_rtc::rtp::{HeaderWriter, RtpHeader, SealedHeader};
use sfu_rtc::srtp::{SrtpReceiver, SrtpSender};
use sfu_rtc::time::Instant;

/// Most sources that a server may send to one peer: slots and their retransmissions.
const MAX_STREAMS: usize = 256;

/// What a datagram was.
pub enum Incoming<'a> {
    /// RTP in clear, with its extended sequence number.
    Rtp(&'a [u8], SeqNo),
    /// RTCP in clear.
    Rtcp(&'a [u8]),
    /// ICE or DTLS, or nothing that could be used.
    Other,
}

/// How to reach the server, from offer and answer.
#[derive(Clone, Debug)]
pub struct EndpointParams {
    /// Our credentials.
    pub local_ice: IceCredentials,
    /// The server's credentials.
    pub remote_ice: IceCredentials,
    /// The server's certificate.
    pub fingerprints: Vec<Fingerprint>,
    /// Our side of DTLS.
    pub dtls_role: DtlsRole,
    /// The way to the server.
    pub path: NetworkPath,
}

/// One peer.
pub struct Endpoint {
    ice: IceClient,
    dtls: DtlsEndpoint,
    dtls_started: bool,
    /// Something came that DTLS may answer.
    dtls_pending: bool,
    keys: Option<(SrtpSender, SrtpReceiver)>,
    failed: bool,
    path: NetworkPath,
}

impl Endpoint {
    /// A peer that begins to connect at once.
    pub fn new(params: EndpointParams, certificate: &DtlsCertificate, now: Instant) -> Self {
        Self {
            ice: IceClient::new(params.local_ice, params.remote_ice, now),
            dtls: DtlsEndpoint::new(params.dtls_role, certificate, params.fingerprints, now),
            dtls_started: false,
            dtls_pending: false,
            keys: None,
            failed: false,
            path: params.path,
        }
    }

    /// Whether media may flow.
    pub fn is_connected(&self) -> bool {
        self.keys.is_some() && self.ice.is_nominated()
    }

    /// Whether the connection is over, or never came about.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether what came is to be answered at once.
    pub fn wants_service(&self) -> bool {
        self.dtls_pending || self.ice.has_answer() || (self.ice.is_nominated() && !self.dtls_started)
    }

    /// Handles a datagram of the server; media is opened in place.
    pub fn handle_datagram<'a>(&mut self, now: Instant, datagram: &'a mut [u8]) -> Incoming<'a> {
        match DatagramKind::of(datagram) {
            Some(DatagramKind::Stun) => self.ice.handle(self.path.remote, datagram),
            Some(DatagramKind::Dtls) => {
                self.dtls_pending = true;
                // Refused handshakes end by the endpoint's own verdict.
                let _ = self.dtls.handle_packet(now, datagram);
            }
            Some(DatagramKind::Rtp) => return self.open_rtp(datagram).unwrap_or(Incoming::Other),
            Some(DatagramKind::Rtcp) => return self.open_rtcp(datagram).unwrap_or(Incoming::Other),
            None => {}
        }
        Incoming::Other
    }

    fn open_rtcp<'a>(&mut self, datagram: &'a mut [u8]) -> Result<Incoming<'a>, DropReason> {
        let (_, receiver) = self.keys.as_mut().ok_or(DropReason::NoKeys)?;
        let len = receiver.open_rtcp(datagram)?;
        Ok(Incoming::Rtcp(&datagram[..len]))
    }

    fn open_rtp<'a>(&mut self, datagram: &'a mut [u8]) -> Result<Incoming<'a>, DropReason> {
        let (_, receiver) = self.keys.as_mut().ok_or(DropReason::NoKeys)?;
        let header = SealedHeader::parse(datagram)?;
        let opened = receiver.open_rtp(datagram, header.header_len, header.ssrc, header.seq)?;
        Ok(Incoming::Rtp(&datagram[..opened.len], opened.seq))
    }

    /// Writes what ICE and DTLS have to say.
    pub fn poll_transmit(&mut self, now: Instant, batch: &mut TransmitBatch) {
        if let Some(answer) = self.ice.take_answer() {
            push(batch, self.path, &answer);
        }
        if let Some(check) = self.ice.poll(now) {
            push(batch, self.path, &check);
        }
        // A ClientHello may be here before the answer to our check, and is answered at once: the server, which knows that
        // we are there, would send it again and again, at times of its own.
        let asked = self.dtls_pending && self.dtls.role() == DtlsRole::Server;
        if !self.ice.is_nominated() && !self.dtls_started && !asked {
            return;
        }
        let due = !self.dtls_started || self.dtls.poll_timeout().is_some_and(|at| at <= now);
        if due {
            self.dtls_started = true;
            self.dtls.handle_timeout(now);
        }
        if !std::mem::take(&mut self.dtls_pending) && !due {
            return;
        }
        let mut buf = Vec::new();
        while let Some(output) = self.dtls.poll_output(&mut buf) {
            match output {
                DtlsOutput::Packet(packet) => push(batch, self.path, packet),
                DtlsOutput::Connected(keying) => {
                    let receiver = SrtpReceiver::new(&keying.remote, MAX_STREAMS);
                    self.keys = Some((SrtpSender::new(&keying.local), receiver));
                }
                DtlsOutput::Closed(_) => {
                    self.failed = true;
                    self.keys = None;
                }
            }
        }
    }

    /// When [`Self::poll_transmit`] has something to do on its own.
    pub fn poll_timeout(&self) -> Instant {
        let dtls = self.dtls.poll_timeout().filter(|_| self.dtls_started).unwrap_or(Instant::NEVER);
        self.ice.poll_timeout().min(dtls)
    }

    /// Seals one RTP packet into the batch. `mid` is sent as the extension with that id.
    pub fn send_rtp(
        &mut self,
        header: RtpHeader,
        seq: SeqNo,
        extensions: &[(u8, &[u8])],
        payload: &[u8],
        batch: &mut TransmitBatch,
    ) {
        let Some((sender, _)) = &mut self.keys else { return };
        // A packet that is too large to be sealed is a fault of the scenario, which bounds sizes.
        let _ = batch.push(self.path, |out| {
            let start = out.len();
            let mut writer = HeaderWriter::new(out, header);
            for (id, value) in extensions {
                writer.extension(*id, value);
            }
            let header_len = writer.finish();
            out.extend_from_slice(payload);
            sender.seal_rtp(out, start, header_len, seq)
        });
    }

    /// Seals one compound RTCP packet into the batch.
    pub fn send_rtcp(&mut self, compound: &[u8], batch: &mut TransmitBatch) {
        let Some((sender, _)) = &mut self.keys else { return };
        let _ = batch.push(self.path, |out| {
            let start = out.len();
            out.extend_from_slice(compound);
            sender.seal_rtcp(out, start)
        });
    }

    /// Says goodbye; what it says is to be polled.
    pub fn close(&mut self) {
        self.dtls_pending = true;
        self.dtls.close();
    }
}

fn push(batch: &mut TransmitBatch, path: NetworkPath, datagram: &[u8]) {
    let written: Result<(), std::convert::Infallible> = batch.push(path, |out| {
        out.extend_from_slice(datagram);
        Ok(())
    });
    match written {
        Ok(()) => {}
    }
}
