//! What strangers write in plaintext ends no handshake (RFC 9147 4.5.2 and 5.2, RFC 6347 4.1.2.7).
//!
//! Handshake messages before encryption are authenticated only later, by a signature over all of
//! them. Where something does not fit, one of those before may have been forged as well as this
//! one. So the endpoint goes back to what it last sent, takes this datagram alone, and waits for
//! the peer to repeat the rest, as it does anyway where datagrams are lost.

use super::*;

/// What is needed to begin anew.
pub(crate) enum Restart {
    Server {
        version: Version,
        config: Arc<Config>,
        certificate: DtlsCertificate,
    },
    /// As it was before the first answer.
    Client(ClientPending),
}

#[derive(Clone, Copy)]
pub(crate) enum Version {
    Server12,
    Server13,
    Auto,
}

impl Restart {
    pub(crate) fn server(
        version: Version,
        config: &Arc<Config>,
        certificate: &DtlsCertificate,
    ) -> Self {
        Restart::Server {
            version,
            config: Arc::clone(config),
            certificate: certificate.clone(),
        }
    }
}

impl Dtls {
    pub(crate) fn with(inner: Inner) -> Self {
        Dtls {
            inner: Some(inner),
            restart: None,
            alert: None,
            last_now: None,
            untouched: true,
        }
    }

    pub(crate) fn restarting(mut self, restart: Restart) -> Self {
        self.restart = Some(Box::new(restart));
        self
    }

    pub(crate) fn handle_guarded(&mut self, packet: &[u8]) -> Result<(), Error> {
        let untouched = std::mem::take(&mut self.untouched);
        let Err(mut error) = self.handle_datagram(packet) else {
            return Ok(());
        };
        if matches!(error, Error::SecurityError(SecurityError::FatalAlert { .. })) {
            return Err(error);
        }
        self.fail_sealed(&error);
        if !self.begin_anew() {
            return Err(error);
        }
        // Where nothing else had come, the same would come of it.
        if !untouched {
            match self.handle_datagram(packet) {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
            self.begin_anew();
        }
        self.untouched = true;
        self.alert = hello_alert(&error);
        if let (Some(Inner::Server12(server)), Some(description)) =
            (self.inner.as_mut(), certificate_alert(&error))
        {
            server.alert(description);
        }
        Err(error)
    }

    /// Ends a handshake that is done, instead of what waits to leave, with a fatal alert.
    ///
    /// To be called before anything is polled that came of the datagram that completed it, but for events.
    pub fn refuse(&mut self, description: u8) {
        match self.inner.as_mut() {
            Some(Inner::Client12(client)) => client.refuse(description),
            Some(Inner::Client13(client)) => client.refuse(description),
            Some(Inner::Server12(server)) => server.refuse(description),
            Some(Inner::Server13(server)) => server.refuse(description),
            Some(Inner::ClientPending(_)) | None => {}
        }
    }

    /// Whether something came, but nothing more for two resends.
    pub(crate) fn is_stalled(&self) -> bool {
        match self.inner.as_ref() {
            Some(Inner::Client12(client)) => client.is_stalled(),
            Some(Inner::Client13(client)) => client.is_stalled(),
            Some(Inner::Server12(server)) => server.is_stalled(),
            _ => false,
        }
    }

    /// Forgets what is not authenticated, if nothing is yet.
    pub(crate) fn begin_anew(&mut self) -> bool {
        let client = match self.inner.as_mut() {
            Some(Inner::Server12(server)) if server.awaits_client_flight() => {
                server.rewind();
                return true;
            }
            Some(Inner::Server12(server)) if server.awaits_client_hello() => false,
            Some(Inner::Server13(server)) if server.awaits_client_hello() => false,
            Some(Inner::Client12(client)) if client.awaits_server_flight() => true,
            Some(Inner::Client13(client)) if client.awaits_server_flight() => true,
            _ => return false,
        };
        let inner = match (self.restart.as_deref(), self.last_now) {
            (Some(Restart::Client(pending)), _) if client => {
                Inner::ClientPending(pending.duplicate())
            }
            (Some(Restart::Server { version, config, certificate }), Some(now)) if !client => {
                let deadline = match self.inner.as_ref() {
                    Some(Inner::Server12(server)) => server.handshake_deadline(),
                    Some(Inner::Server13(server)) => server.handshake_deadline(),
                    _ => return false,
                };
                new_server(*version, config, certificate, now, deadline)
            }
            _ => return false,
        };
        self.inner = Some(inner);
        if let Some(now) = self.last_now {
            // Sets its clock. A timer that is due is found at the next call.
            let _ = self.handle_inner_timeout(now);
        }
        true
    }

    /// Ends a handshake whose peer is known by its keys and cannot be served.
    fn fail_sealed(&mut self, error: &Error) {
        let description = match error {
            Error::CryptoError(CryptoError::SignatureVerificationFailed { .. }) => 51,
            Error::SecurityError(SecurityError::ClientFinishedVerificationFailed)
            | Error::SecurityError(SecurityError::ServerFinishedVerificationFailed) => 51,
            Error::CryptoError(_) | Error::CertificateError(_) => 43,
            Error::SecurityError(_) => 47,
            _ => return,
        };
        match self.inner.as_mut() {
            Some(Inner::Client13(client)) => client.fail(description),
            Some(Inner::Server13(server)) => server.fail(description),
            _ => {}
        }
    }
}

fn new_server(
    version: Version,
    config: &Arc<Config>,
    certificate: &DtlsCertificate,
    now: Instant,
    deadline: timer::Timeout,
) -> Inner {
    let (config, certificate) = (Arc::clone(config), certificate.clone());
    match version {
        Version::Server12 => {
            let mut server = Server12::new(config, certificate, now);
            server.set_handshake_deadline(deadline);
            Inner::Server12(server)
        }
        Version::Server13 | Version::Auto => {
            let mut server = match version {
                Version::Auto => Server13::new_auto(config, certificate, now),
                _ => Server13::new(config, certificate, now),
            };
            server.set_handshake_deadline(deadline);
            Inner::Server13(server)
        }
    }
}

/// The alert for hellos that have nothing in common (RFC 5246 7.2.2, RFC 7627 5.2).
fn hello_alert(error: &Error) -> Option<u8> {
    let Error::SecurityError(error) = error else {
        return None;
    };
    match error {
        SecurityError::NoMutuallyAcceptableCipherSuite
        | SecurityError::NoCommonCipherSuite
        | SecurityError::NoCommonKeyExchangeGroup
        | SecurityError::NoCommonSrtpProfile
        | SecurityError::CannotSendSecondHelloRetryRequest
        | SecurityError::ExtendedMasterSecretNotNegotiated => Some(40),
        SecurityError::UnsupportedClientVersion(_)
        | SecurityError::UnsupportedServerVersion(_)
        | SecurityError::ClientHelloMissingDtls13SupportedVersions => Some(70),
        SecurityError::UnsupportedClientCompression
        | SecurityError::UnsupportedServerCompression(_)
        | SecurityError::ServerSelectedUnknownCipherSuite
        | SecurityError::ServerSelectedIncompatibleCipherSuite(_)
        | SecurityError::ServerSelectedDisallowedCipherSuite(_) => Some(47),
        _ => None,
    }
}

/// The alert for a client's certificate that nothing can be done with (RFC 5246 7.2.2 and 7.4.6).
fn certificate_alert(error: &Error) -> Option<u8> {
    match error {
        Error::CertificateError(CertificateError::NoClientCertificateReceived) => Some(40),
        Error::CryptoError(
            CryptoError::CertificateParseFailed
            | CryptoError::InvalidSubjectPublicKey
            | CryptoError::UnsupportedPublicKeyAlgorithm
            | CryptoError::UnsupportedEcCurve,
        ) => Some(43),
        _ => None,
    }
}

/// A fatal alert before there are keys.
pub(crate) fn plaintext_alert(description: u8, buf: &mut [u8]) -> Output<'_> {
    let alert = [21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, description];
    if buf.len() < alert.len() {
        return Output::BufferTooSmall {
            needed: alert.len(),
        };
    }
    buf[..alert.len()].copy_from_slice(&alert);
    Output::Packet(&buf[..alert.len()])
}
