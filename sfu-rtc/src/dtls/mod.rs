//! DTLS 1.3 (RFC 9147) and 1.2 (RFC 6347) for keys of SRTP (RFC 5764).
//!
//! The handshake itself is dimpl's, which nothing outside this folder sees; vendor/dimpl has it with changes of ours.
//! What is not authenticated ends no handshake. Only datagrams from paths that ICE has validated may be handed in: a server
//! asks for no cookie, and what such a peer can make an endpoint hold is bounded (about 120 kB before it is cut off;
//! 10 kB after a handshake).

mod certificate;
mod endpoint;

pub use certificate::{DtlsCertificate, Fingerprint};
pub use endpoint::{DtlsClosed, DtlsEndpoint, DtlsFlight, DtlsOutput, DtlsRole};

#[cfg(test)]
mod tests;
