//! What a worker reports to the control plane.

use crate::frame_class::CLASSES;
use crate::ids::{PublicationId, RoomId, TransportId};
use crate::overload::Stage;
use crate::qos::Allocation;
pub use crate::references::ReferenceNews;
use sfu_rtc::drop_reason::DropCounts;
use sfu_rtc::ids::{Mid, Rid};
use sfu_rtc::media::Codec;
use sfu_rtc::net::NetworkPath;
use sfu_rtc::time::Duration;
use sfu_rtc::transport::{Protection, UplinkFigures};
use sfu_rtc::units::Bitrate;

/// One thing that happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// ICE and DTLS are done; media flows.
    Connected {
        /// Which.
        transport: TransportId,
        /// Path that ICE chose.
        path: NetworkPath,
        /// From AddTransport to the first valid check.
        ice: Duration,
        /// From the first DTLS packet to the keys.
        dtls: Duration,
    },
    /// The peer's address changed; the call goes on.
    PathChanged {
        /// Which.
        transport: TransportId,
        /// Path from now on.
        path: NetworkPath,
    },
    /// The transport is over. It is removed already.
    Closed {
        /// Which.
        transport: TransportId,
        /// Why.
        reason: CloseReason,
    },
    /// The peer sends more than it may, and what is over that is dropped. Reported every 5 s at most.
    IngressLimited {
        /// Which.
        transport: TransportId,
    },
    /// Who speaks in a room changed: loudest first, empty when nobody does.
    ActiveSpeakers {
        /// Where.
        room: RoomId,
        /// Publications with their loudness from 0 to 1.
        speakers: Vec<(PublicationId, f32)>,
    },
    /// A publication's first packet of a codec arrived. Reported at most once a second, the newest wins.
    PublicationCodec {
        /// Its publisher's.
        transport: TransportId,
        /// Which.
        publication: PublicationId,
        /// Its codec.
        codec: Codec,
    },
    /// A slot has begun to carry another source.
    SlotSwitched {
        /// Subscriber.
        transport: TransportId,
        /// Its slot.
        mid: Mid,
        /// What it carries.
        publication: PublicationId,
    },
    /// Nothing is sent in a slot, or something is again, which is assumed unless this was reported.
    SlotPaused {
        /// Subscriber.
        transport: TransportId,
        /// Its slot.
        mid: Mid,
        /// What it would carry.
        publication: PublicationId,
        /// Why nothing is sent; `None` where something is.
        reason: Option<PauseReason>,
    },
    /// Why a slot carries no better layer of its publication; [`LayerLimit::Best`] is assumed until this is reported.
    /// Once a second at most for each slot.
    SlotLimited {
        /// Subscriber.
        transport: TransportId,
        /// Its slot.
        mid: Mid,
        /// What it carries.
        publication: PublicationId,
        /// Why.
        limit: LayerLimit,
    },
    /// What the sender of a publication is to know of its long-term references, and whether it is to recover.
    References {
        /// Its publisher's.
        transport: TransportId,
        /// Which.
        publication: PublicationId,
        /// The news.
        news: ReferenceNews,
    },
    /// The worker is past its limit and leaves something out, or more than before, or nothing any longer.
    Shedding {
        /// What.
        stage: Stage,
    },
    /// Answers `Command::Stats`.
    Stats {
        /// As in the command.
        token: u64,
        /// The figures.
        stats: Box<WorkerStats>,
    },
}

/// Why a transport is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// No ICE check, or no media and no check for too long (consent, RFC 7675).
    IceTimeout,
    /// The DTLS handshake failed or took too long, or the peer's certificate is not the one announced.
    DtlsFailed,
    /// The peer closed DTLS.
    PeerClosed,
}

/// Why nothing of a publication is sent in a slot. What is muted is not paused, and what is shed is reported by
/// [`Event::Shedding`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PauseReason {
    /// The subscriber does not have the format that it is sent in.
    Codec,
    /// The subscriber does not show it, or has paused it.
    NotVisible,
    /// The subscriber's path has no room for it beside what is more important.
    Bandwidth,
    /// Its publisher sends no layer of it, or none that the subscriber may get.
    NoLayer,
}

/// Why no better layer of a publication is sent in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LayerLimit {
    /// There is no better one.
    #[default]
    Best,
    /// The subscriber shows it no larger, or wants no better.
    Wanted,
    /// The subscriber's path has no room for it beside what is more important.
    Bandwidth,
    /// The publisher does not send it now.
    Sender,
    /// The publisher may not send it, or the subscriber may not get it.
    Cap,
    /// The worker has no time for it.
    Overload,
}

/// A worker's figures: counters since its start, gauges as they are.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct WorkerStats {
    /// Rooms.
    pub rooms: u64,
    /// Totals over all transports that are or were.
    pub totals: TrafficStats,
    /// Packets that died, by reason.
    pub drops: DropCounts,
    /// Commands that named something unknown.
    pub ignored_commands: u64,
    /// Packets handed to other workers.
    pub relayed_out: u64,
    /// Packets taken from other workers.
    pub relayed_in: u64,
    /// Packets that the pool holds.
    pub pool_packets: u64,
    /// Each transport.
    pub transports: Vec<TransportStats>,
}

/// Counters of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TrafficStats {
    /// RTP packets received, before anything is dropped.
    pub rtp_in: u64,
    /// Bytes received, all kinds of datagrams.
    pub bytes_in: u64,
    /// RTP packets that peers sent and that never came, before any repair, as far as transport-wide numbers tell.
    pub rtp_in_lost: u64,
    /// RTP packets sent.
    pub rtp_out: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Sequence numbers asked for again by NACK, from us to publishers.
    pub nacks_sent: u64,
    /// Sequence numbers asked for again by NACK, from subscribers.
    pub nacks_received: u64,
    /// PLI and FIR, from us to publishers.
    pub keyframe_requests_sent: u64,
    /// PLI and FIR, from subscribers.
    pub keyframe_requests_received: u64,
    /// Retransmissions received.
    pub rtx_in: u64,
    /// Retransmissions sent.
    pub rtx_out: u64,
    /// Packets of parity received (forward error correction).
    pub fec_in: u64,
    /// Packets of media that came back from parity.
    pub fec_recovered: u64,
    /// Parity, or what came out of it, that could not be right. None was forwarded.
    pub fec_refused: u64,
    /// Packets of parity sent (forward error correction).
    pub fec_out: u64,
    /// Bytes of their payloads.
    pub fec_bytes_out: u64,
}

/// Figures of one transport.
#[derive(Clone, PartialEq, Debug)]
pub struct TransportStats {
    /// Which.
    pub transport: TransportId,
    /// Its room.
    pub room: RoomId,
    /// Whether ICE and DTLS are done.
    pub connected: bool,
    /// Path in use.
    pub path: Option<NetworkPath>,
    /// Round trip between us and the peer, from sender and receiver reports.
    pub rtt: Option<Duration>,
    /// Share of packets lost on the way from us to the peer over the last reports, 0 to 1.
    pub downlink_loss: f32,
    /// Estimated bandwidth from us to the peer.
    pub downlink_estimate: Option<Bitrate>,
    /// What of that stays when a queue that is being drained is gone.
    pub downlink_sustained: Option<Bitrate>,
    /// How that is shared out.
    pub allocation: Allocation,
    /// The way from the peer to us.
    pub uplink: UplinkFigures,
    /// Counters.
    pub traffic: TrafficStats,
    /// What it publishes.
    pub received: Vec<ReceiveStreamStats>,
    /// Its slots.
    pub slots: Vec<SlotStats>,
}

/// Figures of one received layer of a publication.
#[derive(Clone, PartialEq, Debug)]
pub struct ReceiveStreamStats {
    /// Publication.
    pub publication: PublicationId,
    /// Layer; `None` without simulcast.
    pub rid: Option<Rid>,
    /// Codec.
    pub codec: Codec,
    /// Packets received and used, repaired ones included.
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Bitrate over the last second.
    pub bitrate: Bitrate,
    /// Frames over the last second.
    pub fps: f32,
    /// Width and height, as the last keyframe said.
    pub resolution: Option<(u16, u16)>,
    /// Parity that its sender is to send beside it, by class of frame, where it can.
    pub parity: Option<[Protection; CLASSES]>,
}

/// Figures of one slot.
#[derive(Clone, PartialEq, Debug)]
pub struct SlotStats {
    /// Slot.
    pub mid: Mid,
    /// What it carries.
    pub publication: Option<PublicationId>,
    /// Layer that it carries now.
    pub rid: Option<Rid>,
    /// Why nothing of it is sent.
    pub paused: Option<PauseReason>,
    /// Why no better layer of it is sent.
    pub limit: LayerLimit,
    /// Of audio: how many generations of older audio go along with each packet (RFC 2198), since the path loses some; or, to
    /// a subscriber that does not take them, how often each is sent once more. `None` where nothing is known of the path.
    pub redundancy: Option<u8>,
    /// Packets sent.
    pub packets: u64,
    /// Bitrate over the last second.
    pub bitrate: Bitrate,
}

impl TrafficStats {
    /// Adds the counters of `other`.
    pub fn add(&mut self, other: &Self) {
        self.rtp_in += other.rtp_in;
        self.bytes_in += other.bytes_in;
        self.rtp_in_lost += other.rtp_in_lost;
        self.rtp_out += other.rtp_out;
        self.bytes_out += other.bytes_out;
        self.nacks_sent += other.nacks_sent;
        self.nacks_received += other.nacks_received;
        self.keyframe_requests_sent += other.keyframe_requests_sent;
        self.keyframe_requests_received += other.keyframe_requests_received;
        self.rtx_in += other.rtx_in;
        self.rtx_out += other.rtx_out;
        self.fec_in += other.fec_in;
        self.fec_recovered += other.fec_recovered;
        self.fec_refused += other.fec_refused;
        self.fec_out += other.fec_out;
        self.fec_bytes_out += other.fec_bytes_out;
    }
}
