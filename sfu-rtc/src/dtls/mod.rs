//! DTLS (RFC 6347) for keys of SRTP (RFC 5764).

mod certificate;
mod endpoint;
mod fingerprint;

pub use certificate::DtlsCertificate;
pub use endpoint::{DtlsClosed, DtlsEndpoint, DtlsOutput};
pub use fingerprint::Fingerprint;

#[cfg(test)]
mod tests;
