//! Our own certificate, and the fingerprints that vouch for certificates (RFC 8122 section 5).

use crate::time::{Duration, Instant};
use aws_lc_rs::digest;
use std::fmt;
use std::str::FromStr;
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

/// Hash of a certificate, as a=fingerprint carries it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint {
    /// Name of the hash function, lower case ("sha-256").
    pub algorithm: String,
    /// The hash.
    pub bytes: Vec<u8>,
}

impl Fingerprint {
    /// SHA-256 of a certificate in DER, which every WebRTC endpoint knows (RFC 8122 section 5, RFC 8827 section 6.5).
    pub(super) fn sha_256(der: &[u8]) -> Self {
        Self { algorithm: "sha-256".to_owned(), bytes: digest::digest(&digest::SHA256, der).as_ref().to_vec() }
    }

    /// Hash of a certificate in DER by another algorithm.
    #[cfg(test)]
    pub(super) fn of(algorithm: &str, der: &[u8]) -> Option<Self> {
        let named = Self { algorithm: algorithm.to_owned(), bytes: Vec::new() };
        let bytes = digest::digest(named.hash()?, der).as_ref().to_vec();
        Some(Self { bytes, ..named })
    }

    /// Whether it can vouch for a certificate. SHA-1 and older hashes cannot (RFC 8122 section 5).
    pub fn is_usable(&self) -> bool {
        self.hash().is_some()
    }

    /// Whether it is that of a certificate in DER.
    pub(super) fn fits(&self, der: &[u8]) -> bool {
        self.hash().is_some_and(|hash| digest::digest(hash, der).as_ref() == self.bytes)
    }

    fn hash(&self) -> Option<&'static digest::Algorithm> {
        match self.algorithm.as_str() {
            "sha-256" => Some(&digest::SHA256),
            "sha-384" => Some(&digest::SHA384),
            "sha-512" => Some(&digest::SHA512),
            _ => None,
        }
    }
}

/// The text is no fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a fingerprint is a hash name and colon-separated hexadecimal bytes, as many as the hash has")]
pub struct BadFingerprint;

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (algorithm, hash) = text.trim().split_once(' ').ok_or(BadFingerprint)?;
        let bytes = hash
            .trim()
            .split(':')
            .map(|pair| {
                let is_byte = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
                if is_byte { u8::from_str_radix(pair, 16).ok() } else { None }
            })
            .collect::<Option<Vec<u8>>>()
            .ok_or(BadFingerprint)?;
        let fingerprint = Self { algorithm: algorithm.to_ascii_lowercase(), bytes };
        // Of hashes that are not known the length is not either.
        let fits = fingerprint.hash().is_none_or(|hash| hash.output_len() == fingerprint.bytes.len());
        if fits { Ok(fingerprint) } else { Err(BadFingerprint) }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.algorithm)?;
        for (i, byte) in self.bytes.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha_2_vouches_and_sha_1_does_not() {
        let der = b"a certificate";
        let of = |algorithm: &str, hash| Fingerprint {
            algorithm: algorithm.to_owned(),
            bytes: digest::digest(hash, der).as_ref().to_vec(),
        };
        for (algorithm, hash) in
            [("sha-256", &digest::SHA256), ("sha-384", &digest::SHA384), ("sha-512", &digest::SHA512)]
        {
            let fingerprint = of(algorithm, hash);
            assert!(fingerprint.is_usable() && fingerprint.fits(der) && !fingerprint.fits(b"another"));
            assert!(!Fingerprint { bytes: fingerprint.bytes[1..].to_vec(), ..fingerprint }.fits(der));
        }
        let sha_1 = of("sha-1", &digest::SHA1_FOR_LEGACY_USE_ONLY);
        assert!(!sha_1.is_usable() && !sha_1.fits(der));
        assert_eq!(Fingerprint::sha_256(der), of("sha-256", &digest::SHA256));
    }

    #[test]
    fn text_and_back() {
        let (hash, longer) = (vec!["Ff"; 32].join(":"), vec!["Ff"; 33].join(":"));
        let fingerprint: Fingerprint = format!("SHA-256 {hash}").parse().unwrap();
        assert_eq!(fingerprint.to_string(), format!("sha-256 {}", hash.to_uppercase()));
        assert!("md5 0A:ff:10".parse::<Fingerprint>().is_ok(), "another may vouch");
        let signed = hash.replacen("Ff", "+f", 1);
        for bad in ["", "sha-256", "sha-256 0", "sha-1 0g", "sha-1 0A::ff", "sha-256 0A:ff:10"] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
        for bad in [&longer, &signed] {
            assert!(format!("sha-256 {bad}").parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
