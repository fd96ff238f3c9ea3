//! Our own certificate.

use super::Fingerprint;
use crate::time::{Duration, Instant};
use std::fmt;
use std::sync::Arc;

/// Time of the first retransmission; it doubles. Far below the second that RFC 6347 proposes, as browsers have it:
/// a lost flight would show as a late first frame, and a needless one costs a packet or two.
const FIRST_RETRANSMISSION: Duration = Duration::from_millis(100);
/// Retransmissions per flight; so many that the handshake's time limit decides, not they.
const RETRANSMISSIONS: usize = 12;
/// Time for the whole handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Packets of one flight that wait for others before them. A browser's flight has at most five or so.
const MAX_WAITING: usize = 16;

/// A self-signed ECDSA P-256 certificate with its key, and what else all endpoints of a process share.
#[derive(Clone)]
pub struct DtlsCertificate {
    shared: Arc<Shared>,
}

/// Makes an endpoint of certain versions.
pub(super) type Make = fn(Arc<dimpl::Config>, dimpl::DtlsCertificate, std::time::Instant) -> dimpl::Dtls;

struct Shared {
    certificate: dimpl::DtlsCertificate,
    fingerprint: Fingerprint,
    config: Arc<dimpl::Config>,
    make: Make,
    origin: std::time::Instant,
}

impl DtlsCertificate {
    /// A new certificate.
    ///
    /// # Panics
    /// Where the system gives no randomness.
    pub fn generate() -> Self {
        let certificate = dimpl::certificate::generate_self_signed_certificate().expect("randomness for a key");
        Self::with(certificate, dimpl::Config::builder(), dimpl::Dtls::new_auto)
    }

    pub(super) fn with(certificate: dimpl::DtlsCertificate, config: dimpl::ConfigBuilder, make: Make) -> Self {
        let config = config
            // Addresses are validated by ICE before DTLS is read, so a cookie would only cost a round trip.
            .use_server_cookie(false)
            .flight_start_rto(FIRST_RETRANSMISSION)
            .flight_retries(RETRANSMISSIONS)
            .handshake_timeout(HANDSHAKE_TIMEOUT)
            .max_queue_rx(MAX_WAITING)
            .build()
            .expect("the constants above are valid");
        let fingerprint = Fingerprint::sha_256(&certificate.certificate);
        Self { shared: Arc::new(Shared { certificate, fingerprint, config: Arc::new(config), make, origin: origin() }) }
    }

    /// What a=fingerprint says of it.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.shared.fingerprint
    }

    #[cfg(test)]
    pub(super) fn der(&self) -> &[u8] {
        &self.shared.certificate.certificate
    }

    /// A DTLS endpoint of the version that the peer has, 1.3 or 1.2.
    pub(super) fn endpoint(&self, now: Instant) -> dimpl::Dtls {
        (self.shared.make)(Arc::clone(&self.shared.config), self.shared.certificate.clone(), self.std_time(now))
    }

    /// Our time as dimpl wants it.
    pub(super) fn std_time(&self, at: Instant) -> std::time::Instant {
        let since = Duration::from_nanos(at.as_nanos());
        self.shared.origin.checked_add(since).unwrap_or(self.shared.origin)
    }

    /// And back.
    pub(super) fn our_time(&self, at: std::time::Instant) -> Instant {
        Instant::ZERO + at.saturating_duration_since(self.shared.origin)
    }
}

impl fmt::Debug for DtlsCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DtlsCertificate({})", self.shared.fingerprint)
    }
}

/// The point of dimpl's time line that stands for our [`Instant::ZERO`]. It has an opaque time type, of which only
/// the clock makes a first value; all others are counted from it, so it does not matter when it was read.
#[expect(clippy::disallowed_methods, reason = "an arbitrary origin, not a reading of time")]
fn origin() -> std::time::Instant {
    std::time::Instant::now()
}
