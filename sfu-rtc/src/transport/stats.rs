//! Figures of one transport.

use super::rtcp_queue::RtcpQueueStats;
use crate::drop_reason::DropCounts;
use crate::net::NetworkPath;
use crate::time::Duration;
use crate::units::Bitrate;

/// Counters since the transport's making.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TransportCounters {
    /// Authentic RTP packets received.
    pub rtp_in: u64,
    /// Of these, retransmissions.
    pub rtx_in: u64,
    /// Authentic RTCP datagrams received.
    pub rtcp_in: u64,
    /// Bytes received, all kinds of datagrams.
    pub bytes_in: u64,
    /// RTP packets sent.
    pub rtp_out: u64,
    /// Of these, retransmissions.
    pub rtx_out: u64,
    /// RTCP datagrams sent.
    pub rtcp_out: u64,
    /// Bytes sent, all kinds of datagrams.
    pub bytes_out: u64,
    /// What we asked for.
    pub requests: RtcpQueueStats,
}

/// A transport as it is now.
#[derive(Clone, PartialEq, Debug)]
pub struct TransportFigures {
    /// Whether ICE and DTLS are done.
    pub connected: bool,
    /// Path in use.
    pub path: Option<NetworkPath>,
    /// Round trip, once measured.
    pub rtt: Option<Duration>,
    /// Share of packets lost on the way to the peer, by its latest report, 0 to 1.
    pub loss: f32,
    /// Estimate of the way to the peer.
    pub estimate: Option<Bitrate>,
    /// Bytes waiting in the pacer.
    pub queued: u64,
    /// Counters.
    pub counters: TransportCounters,
    /// Packets that died inside the transport after they were taken: sealing failed, or its section went.
    pub drops: DropCounts,
}
