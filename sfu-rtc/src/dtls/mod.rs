//! DTLS (RFC 6347) for keys of SRTP (RFC 5764).

mod fingerprint;

pub use fingerprint::Fingerprint;
