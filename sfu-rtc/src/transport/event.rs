//! What a transport tells its owner.

use crate::net::NetworkPath;
use crate::time::Duration;

/// One thing that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransportEvent {
    /// The first check has come: the peer is there, and keys will follow within about a round trip. At most once.
    Reached,
    /// ICE and DTLS are done; media flows.
    Connected {
        /// Path that ICE chose.
        path: NetworkPath,
        /// From the transport's making to the first valid check.
        ice: Duration,
        /// From the first DTLS packet to the keys.
        dtls: Duration,
    },
    /// The peer's address changed; the call goes on.
    PathChanged {
        /// Path from now on.
        path: NetworkPath,
    },
    /// The peer sends more than it may, and what is over that is dropped. Told every 5 s at most.
    IngressLimited,
    /// The transport is over; nothing more comes or goes.
    Closed(CloseReason),
}

/// Why a transport is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// No ICE check, or none for too long (consent, RFC 7675).
    IceTimeout,
    /// The DTLS handshake failed or took too long, or the peer's certificate is not the one announced.
    DtlsFailed,
    /// The peer closed DTLS.
    PeerClosed,
    /// We closed it.
    Local,
}
