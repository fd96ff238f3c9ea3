//! Limits of one peer, each with its reason.

use super::{IngressConfig, UplinkConfig};
use crate::bwe::EstimatorConfig;
use crate::ice::IceConfig;
use crate::pacer::PacerConfig;
use crate::time::Duration;
use crate::twcc::{ArrivalConfig, SendHistoryConfig};

/// Limits of a [`super::Transport`].
#[derive(Clone, PartialEq, Debug)]
pub struct TransportConfig {
    /// How long a path lasts without consent.
    pub ice: IceConfig,
    /// Most sources that have a replay window at once: each publication takes up to six. Those of a section that ended
    /// give theirs back.
    pub max_sources: usize,
    /// Most sources that a peer may send at once; beyond, the one silent for longest is forgotten. A browser with
    /// camera, screen and microphone at three layers each sends 16, retransmissions included.
    pub max_streams: usize,
    /// Most sealed packets that are kept for a peer that asks for packets again and takes no retransmissions (RFC 4588):
    /// two seconds of 2.5 Mbit/s, 600 kB.
    pub max_sealed: usize,
    /// Most datagrams of STUN and DTLS waiting to leave: a DTLS flight with a long certificate chain is below ten.
    pub max_control: usize,
    /// ICE must have a path so long after the transport was made: who cannot be reached in ten seconds tries again.
    pub ice_timeout: Duration,
    /// ICE and DTLS must be done so long after the transport was made. Browsers give up after 30 s at most.
    pub connect_timeout: Duration,
    /// A new source carries its MID in so many packets, or until the peer's first report on it.
    pub mid_packets: u32,
    /// Most bytes of one RTCP datagram: below every usual path MTU, with room for IPv6, UDP and SRTCP.
    pub max_rtcp: usize,
    /// Most bytes of RTCP waiting to leave; what comes on top is dropped, since the next report says it again.
    pub max_rtcp_queue: usize,
    /// How much the peer may send.
    pub ingress: IngressConfig,
    /// Round trip assumed before one is measured.
    pub initial_rtt: Duration,
    /// A round trip that was measured so long ago is measured anew, where the peer sends media. Reports come each second;
    /// those that bring an answer do so within a round trip.
    pub rtt_lifetime: Duration,
    /// What the peer is told to send at most.
    pub uplink: UplinkConfig,
    /// Feedback to the peer on what it sends.
    pub arrivals: ArrivalConfig,
    /// What we remember of what we sent.
    pub send_history: SendHistoryConfig,
    /// Whether loss and delay on the way to the peer are measured by transport-wide feedback, whatever the estimator.
    pub measure_path: bool,
    /// Pacing of what we send.
    pub pacer: PacerConfig,
    /// How the path to the peer is estimated.
    pub estimator: EstimatorConfig,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            ice: IceConfig::default(),
            max_sources: 512,
            max_streams: 64,
            max_sealed: 512,
            max_control: 64,
            ice_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(30),
            mid_packets: 60,
            max_rtcp: 1_180,
            max_rtcp_queue: 16_384,
            ingress: IngressConfig::default(),
            initial_rtt: Duration::from_millis(100),
            rtt_lifetime: Duration::from_millis(1_500),
            uplink: UplinkConfig::default(),
            arrivals: ArrivalConfig::default(),
            send_history: SendHistoryConfig::default(),
            measure_path: false,
            pacer: PacerConfig::default(),
            estimator: EstimatorConfig::default(),
        }
    }
}
