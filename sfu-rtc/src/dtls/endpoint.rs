//! One side of a DTLS association.

use super::certificate::{DtlsCertificate, Fingerprint};
use crate::drop_reason::DropReason;
use crate::srtp::{KeyingMaterial, SrtpProfile};
use crate::time::{Duration, Instant, Spacing};
use dimpl::{Dtls, Error, Output, SecurityError};
use std::fmt;

/// Why an association ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DtlsClosed {
    /// We closed it.
    Local,
    /// The peer closed it.
    Peer,
    /// The peer's certificate has none of the signalled fingerprints.
    WrongFingerprint,
    /// The peer agreed to no SRTP profile of ours.
    NoSrtpProfile,
    /// The handshake failed, or took too long.
    Failed,
}

/// What [`DtlsEndpoint::poll_output`] yields.
#[derive(PartialEq, Eq, Debug)]
pub enum DtlsOutput<'a> {
    /// A datagram to send.
    Packet(&'a [u8]),
    /// The handshake is done, and the peer has a signalled fingerprint. At most once.
    Connected(KeyingMaterial),
    /// The association has ended; nothing follows.
    Closed(DtlsClosed),
}

/// All that [`DtlsEndpoint::poll_output`] yields at one time.
#[derive(Default, Debug)]
pub struct DtlsFlight {
    /// Datagrams to send, in order.
    pub packets: Vec<Vec<u8>>,
    /// The handshake is done.
    pub keys: Option<KeyingMaterial>,
    /// The association has ended.
    pub closed: Option<DtlsClosed>,
}

/// Which side begins the handshake (`a=setup`, RFC 8842).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DtlsRole {
    /// Sends the ClientHello (`active`).
    Client,
    /// Waits for it (`passive`).
    Server,
}

/// DTLS 1.3 or 1.2 for the keys of SRTP (RFC 5764), server or client.
///
/// It carries no data, and takes what comes from the peer only until it has ended.
pub struct DtlsEndpoint {
    /// Apart, since it is large, and idle once there are keys.
    dtls: Box<Dtls>,
    certificate: DtlsCertificate,
    is_client: bool,
    peer_fingerprints: Vec<Fingerprint>,
    progress: Progress,
    /// Whether the peer's certificate is one that was signalled. It counts once the peer has proven to have the key.
    peer_verified: bool,
    /// Whether the handshake is done; keys come right after.
    is_done: bool,
    /// Why it ended, until that has been told.
    ended: Option<DtlsClosed>,
    timeout: Option<Instant>,
    /// What datagrams that proved nothing have left to pay.
    failures: Spacing,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    Handshaking,
    /// Keys were given out.
    Connected,
    Ended,
}

/// Room for a datagram; dimpl sends none larger than its MTU of 1150 bytes.
const MAX_DATAGRAM: usize = 1_500;

/// What a datagram that proves nothing costs its session: until that has passed no other is looked at, but for some free
/// ones. Each takes operations with public keys, of a quarter of a millisecond and more.
const FAILURE_COST: Duration = Duration::from_millis(500);
const FREE_FAILURES: u32 = 8;

/// Alerts: the certificate does not fit its fingerprint (RFC 8122 section 5), and there is nothing in common.
const BAD_CERTIFICATE: u8 = 42;
const HANDSHAKE_FAILURE: u8 = 40;

impl DtlsEndpoint {
    /// One side, which expects the peer to have a certificate with one of these fingerprints.
    pub fn new(
        role: DtlsRole,
        certificate: &DtlsCertificate,
        peer_fingerprints: Vec<Fingerprint>,
        now: Instant,
    ) -> Self {
        let mut dtls = Box::new(certificate.endpoint(now));
        let is_client = role == DtlsRole::Client;
        dtls.set_active(is_client);
        let mut this = Self {
            dtls,
            certificate: certificate.clone(),
            is_client,
            peer_fingerprints,
            progress: Progress::Handshaking,
            peer_verified: false,
            is_done: false,
            ended: None,
            timeout: None,
            failures: Spacing::default(),
        };
        this.handle_timeout(now);
        this
    }

    /// Our side.
    pub fn role(&self) -> DtlsRole {
        if self.is_client { DtlsRole::Client } else { DtlsRole::Server }
    }

    /// Handles a datagram. Whatever was provoked is then to be polled.
    pub fn handle_packet(&mut self, now: Instant, packet: &[u8]) -> Result<(), DropReason> {
        if self.progress == Progress::Ended {
            return Err(DropReason::DtlsRefused);
        }
        if self.failures.next(now, FAILURE_COST * (FREE_FAILURES - 1)) > now {
            return Err(DropReason::DtlsRate);
        }
        let timely = self.dtls.handle_timeout(self.certificate.std_time(now));
        let handled = timely.and_then(|()| self.dtls.handle_packet(packet));
        handled.map_err(|error| {
            if self.is_over(&error) {
                self.end(DtlsClosed::Failed);
            }
            if has_failed_to_prove(&error) {
                self.failures.count(now, FAILURE_COST);
            }
            DropReason::DtlsRefused
        })
    }

    /// Whether an error ends the association, and is not only that a datagram was refused: anybody can send one.
    fn is_over(&self, error: &Error) -> bool {
        // An alert is an error only if the peer has sealed it.
        let told = matches!(error, Error::Timeout(_) | Error::SecurityError(SecurityError::FatalAlert { .. }));
        told || self.dtls.is_closing() || self.dtls.is_closed()
    }

    /// Retransmits, or gives up.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.timeout = None;
        if self.progress != Progress::Ended && self.dtls.handle_timeout(self.certificate.std_time(now)).is_err() {
            self.end(DtlsClosed::Failed);
        }
    }

    /// When [`Self::handle_timeout`] is due. Known after [`Self::poll_output`] has returned `None`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    /// What is to be done; to be called until `None` after everything that was handled. `buf` is the caller's to
    /// reuse.
    pub fn poll_output<'a>(&mut self, buf: &'a mut Vec<u8>) -> Option<DtlsOutput<'a>> {
        buf.resize(buf.len().max(MAX_DATAGRAM), 0);
        loop {
            match self.step(buf) {
                Step::Packet(len) => return Some(DtlsOutput::Packet(&buf[..len])),
                Step::Grow(needed) => buf.resize(needed, 0),
                Step::Connected(keys) => return Some(DtlsOutput::Connected(keys)),
                Step::Continue => {}
                Step::Idle => return self.ended.take().map(DtlsOutput::Closed),
            }
        }
    }

    /// All that is to be done by now, for a caller that may allocate.
    pub fn flight(&mut self, now: Instant) -> DtlsFlight {
        self.handle_timeout(now);
        let (mut buf, mut flight) = (Vec::new(), DtlsFlight::default());
        while let Some(output) = self.poll_output(&mut buf) {
            match output {
                DtlsOutput::Packet(packet) => flight.packets.push(packet.to_vec()),
                DtlsOutput::Connected(keys) => flight.keys = Some(keys),
                DtlsOutput::Closed(closed) => flight.closed = Some(closed),
            }
        }
        flight
    }

    /// Says goodbye to the peer.
    pub fn close(&mut self) {
        if self.progress != Progress::Ended {
            // On failure there is nobody to say goodbye to.
            let _ = self.dtls.close();
            self.end(DtlsClosed::Local);
        }
    }

    /// Whether keys were given out and the association has not ended.
    pub fn is_connected(&self) -> bool {
        self.progress == Progress::Connected
    }

    fn step(&mut self, buf: &mut [u8]) -> Step {
        match self.dtls.poll_output(buf) {
            Output::Packet(packet) => Step::Packet(packet.len()),
            Output::BufferTooSmall { needed } => Step::Grow(needed),
            // A server that chose no profile gives no keys.
            Output::Timeout(_) if self.is_done && self.progress == Progress::Handshaking => {
                self.refuse(DtlsClosed::NoSrtpProfile, HANDSHAKE_FAILURE);
                Step::Continue
            }
            Output::Connected => {
                self.is_done = true;
                Step::Continue
            }
            Output::Timeout(at) => {
                let ended = self.progress == Progress::Ended;
                self.timeout = (!ended).then(|| self.certificate.our_time(at));
                Step::Idle
            }
            Output::PeerCert(der) => {
                self.peer_verified = self.peer_fingerprints.iter().any(|fingerprint| fingerprint.fits(der));
                Step::Continue
            }
            Output::KeyingMaterial(exported, profile) => self.keyed(profile, &exported),
            Output::CloseNotify => {
                self.end(DtlsClosed::Peer);
                Step::Continue
            }
            // Of data there is none to expect.
            _ => Step::Continue,
        }
    }

    fn keyed(&mut self, profile: dimpl::SrtpProfile, exported: &[u8]) -> Step {
        if self.progress != Progress::Handshaking {
            return Step::Continue;
        }
        if !self.peer_verified {
            self.refuse(DtlsClosed::WrongFingerprint, BAD_CERTIFICATE);
            return Step::Continue;
        }
        let keys = ours(profile).and_then(|profile| KeyingMaterial::from_export(profile, exported, self.is_client));
        match keys {
            Some(keys) => {
                self.progress = Progress::Connected;
                Step::Connected(keys)
            }
            None => {
                self.refuse(DtlsClosed::NoSrtpProfile, HANDSHAKE_FAILURE);
                Step::Continue
            }
        }
    }

    fn refuse(&mut self, why: DtlsClosed, alert: u8) {
        self.dtls.refuse(alert);
        self.end(why);
    }

    fn end(&mut self, why: DtlsClosed) {
        if self.progress != Progress::Ended {
            self.progress = Progress::Ended;
            self.ended = Some(why);
            self.timeout = None;
        }
    }
}

/// Whether keys, signatures or certificates were computed with, in vain.
fn has_failed_to_prove(error: &Error) -> bool {
    match error {
        Error::CryptoError(_) | Error::CertificateError(_) => true,
        Error::SecurityError(error) => matches!(
            error,
            SecurityError::ClientFinishedVerificationFailed | SecurityError::ServerFinishedVerificationFailed
        ),
        _ => false,
    }
}

enum Step {
    Packet(usize),
    Grow(usize),
    Connected(KeyingMaterial),
    Continue,
    Idle,
}

impl fmt::Debug for DtlsEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.is_client { "client" } else { "server" };
        write!(f, "DtlsEndpoint({role}, {:?})", self.progress)
    }
}

fn ours(profile: dimpl::SrtpProfile) -> Option<SrtpProfile> {
    match profile {
        dimpl::SrtpProfile::AEAD_AES_128_GCM => Some(SrtpProfile::AeadAes128Gcm),
        dimpl::SrtpProfile::AEAD_AES_256_GCM => Some(SrtpProfile::AeadAes256Gcm),
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => Some(SrtpProfile::Aes128CmHmacSha1_80),
        _ => None,
    }
}
