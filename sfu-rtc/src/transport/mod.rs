//! One peer: joins ICE, DTLS, SRTP, stream routing, congestion feedback and the pacer.
//!
//! In: [`Transport::handle_datagram`] tells STUN, DTLS, RTP and RTCP apart (RFC 7983), answers what it can by itself
//! and hands up media and reports, authenticated and in clear. Out: [`Transport::send_rtp`] writes a
//! packet's header and seals its shared payload straight into the batch, or queues it for
//! [`Transport::poll_transmit`] where the pacer holds it back.

mod among;
mod config;
mod connect;
mod probing;
mod protect;
mod receive;
mod recovery;
mod red;
mod route;
mod rtcp_in;
mod rtcp_out;
mod section_sender;
mod send;
mod supersede;
mod uplink;

pub use crate::fec::{PROTECTION_GROUPS, Protection};
pub use crate::pacer::PacketClass;
pub use config::TransportConfig;
pub use receive::{IngressConfig, Received, ReceivedRtp, RtcpCompound, RtxOrigin};
pub use rtcp_out::{RtcpQueue, RtcpQueueStats, RtcpSource};
pub use send::{Handover, PayloadEdit, Repeat, RtpOut};
pub use uplink::{UplinkConfig, UplinkFigures};

use crate::bwe::BandwidthEstimator;
use crate::drop_reason::{DropCounts, DropReason};
use crate::dtls::{DtlsCertificate, DtlsEndpoint, DtlsRole, Fingerprint};
use crate::ice::{IceAgent, IceCredentials, IceSecret};
use crate::media::{Direction, MediaSection};
use crate::net::{DatagramKind, NetworkPath, TransmitBatch};
use crate::pacer::Pacer;
use crate::path_meter::PathQuality;
use crate::prefetch::prefetch;
use crate::rtp::SealedHeader;
use crate::time::{Duration, Instant};
use crate::twcc::{ArrivalRecorder, FramePacket};
use crate::units::Bitrate;
use connect::Connection;
use probing::Probing;
use protect::{ParityBuffer, Protector};
use receive::Ingress;
use recovery::Recovery;
use red::Red;
use route::{ExtensionIds, StreamTable};
use rtcp_in::PathState;
use section_sender::SectionSender;
use send::{QueuedPacket, SealedHistory};
use std::net::IpAddr;
use uplink::Uplink;

/// One peer.
#[derive(Debug)]
pub struct Transport {
    config: TransportConfig,
    connection: Connection,
    sections: Vec<MediaSection>,
    extension_ids: ExtensionIds,
    streams: StreamTable,
    ingress: Ingress,
    arrivals: ArrivalRecorder,
    uplink: Uplink,
    feedback_count: u8,
    /// A source that the peer sends, for feedback that has to name one.
    media_source: crate::ids::Ssrc,
    path_state: PathState,
    rtcp: RtcpQueue,
    pacer: Pacer<QueuedPacket>,
    /// A path was proven by media since the last drain.
    path_proven: bool,
    /// Since when packets wait for the peer to prove its path, where they do.
    held_since: Option<Instant>,
    senders: Vec<SectionSender>,
    sealed: SealedHistory,
    parity: ParityBuffer,
    /// One for each section on which the peer may send parity.
    red: Red,
    recoveries: Vec<Recovery>,
    /// Limits of the playout delay that the peer is told.
    playout_delay: Option<[u8; 3]>,
    probing: Probing,
    /// What the peer could be sent.
    demand: Option<Bitrate>,
    counters: TransportCounters,
    drops: DropCounts,
}

/// What is known when a transport is made.
#[derive(Clone, Debug)]
pub struct TransportParams {
    /// Our ICE credentials.
    pub local_ice: IceCredentials,
    /// The peer's ICE credentials.
    pub remote_ice: IceCredentials,
    /// What no peer knows.
    pub ice_secret: IceSecret,
    /// Address that the peer's signalling came from, which lets a handshake begin there at once.
    pub signalled_from: Option<IpAddr>,
    /// Fingerprints of the peer's certificate, of which one must match.
    pub remote_fingerprints: Vec<Fingerprint>,
    /// Our side of DTLS.
    pub dtls_role: DtlsRole,
    /// All sections.
    pub sections: Vec<MediaSection>,
    /// Sender of our RTCP.
    pub rtcp: RtcpSource,
}

/// What a transport tells its owner.
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
    /// The peer sends more than it may, and what is over that is dropped. Reported every 5 s at most.
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

/// Counters since the transport's making.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TransportCounters {
    /// Authentic RTP packets received.
    pub rtp_in: u64,
    /// Of these, retransmissions.
    pub rtx_in: u64,
    /// Of these, parity (forward error correction).
    pub fec_in: u64,
    /// Packets of media that came back from parity.
    pub fec_recovered: u64,
    /// Parity packets, or packets that came out of them, that could not be right. None was forwarded.
    pub fec_refused: u64,
    /// RTP packets that never came, before any repair, as far as transport-wide numbers tell.
    pub rtp_in_lost: u64,
    /// Authentic RTCP datagrams received.
    pub rtcp_in: u64,
    /// Bytes received, all kinds of datagrams.
    pub bytes_in: u64,
    /// RTP packets sent.
    pub rtp_out: u64,
    /// Of these, retransmissions.
    pub rtx_out: u64,
    /// Of these, padding of probes.
    pub padding_out: u64,
    /// Of these, parity (forward error correction).
    pub fec_out: u64,
    /// Bytes of its payloads.
    pub fec_bytes_out: u64,
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
    /// Share of packets lost on the way to the peer, by its latest report, 0 to 1. What had not come to us is not lost on
    /// that way.
    pub loss: f32,
    /// Estimate of the way to the peer.
    pub estimate: Option<Bitrate>,
    /// What it carries for longer, where a queue is being drained now.
    pub sustained: Option<Bitrate>,
    /// The way from the peer.
    pub uplink: UplinkFigures,
}

impl Transport {
    /// A transport that waits for its peer's checks. As DTLS client it begins once the first has come.
    pub fn new(config: TransportConfig, params: TransportParams, certificate: &DtlsCertificate, now: Instant) -> Self {
        let mut ice = IceAgent::new(config.ice, params.local_ice, &params.ice_secret, now);
        ice.set_remote(params.remote_ice);
        ice.vouch(params.signalled_from);
        let dtls = DtlsEndpoint::new(params.dtls_role, certificate, params.remote_fingerprints, now);
        let estimator = config.estimator.build(now);
        let mut transport = Self {
            connection: Connection::new(ice, dtls, now + config.ice_timeout.min(config.connect_timeout), now),
            sections: Vec::new(),
            extension_ids: ExtensionIds::new(&[]),
            streams: StreamTable::new(config.max_streams),
            ingress: Ingress::new(config.ingress),
            arrivals: ArrivalRecorder::new(config.arrivals.clone()),
            uplink: Uplink::new(config.uplink.clone(), config.ingress.bitrate, now),
            feedback_count: 0,
            media_source: crate::ids::Ssrc(0),
            path_state: PathState::new(estimator, &config, now),
            rtcp: RtcpQueue::new(params.rtcp, config.max_rtcp_queue),
            pacer: Pacer::new(config.pacer.clone()),
            path_proven: false,
            held_since: None,
            senders: Vec::new(),
            sealed: SealedHistory::default(),
            parity: ParityBuffer::default(),
            red: Red::default(),
            recoveries: Vec::new(),
            playout_delay: None,
            probing: Probing::default(),
            demand: None,
            counters: TransportCounters::default(),
            drops: DropCounts::default(),
            config,
        };
        transport.apply_estimate(now);
        transport.update_sections(params.sections);
        transport
    }

    /// Replaces the sections after a negotiation. One whose mid and direction stay keeps its streams and counters.
    pub fn update_sections(&mut self, sections: Vec<MediaSection>) {
        let before = std::mem::replace(&mut self.sections, sections);
        let stays = |index: usize| match (before.get(index), self.sections.get(index)) {
            (Some(old), Some(new)) => old.mid == new.mid && old.direction == new.direction,
            _ => false,
        };
        self.streams.retain_sections(|index| stays(index) && self.sections[index].direction == Direction::Receive);
        if let Some(keys) = &mut self.connection.keys {
            self.streams.take_removed().for_each(|ssrc| keys.receiver.retire(ssrc));
        }
        let mut senders = std::mem::take(&mut self.senders);
        // Never shorter: a source must not begin anew while the keys last.
        senders.resize_with(self.sections.len().max(senders.len()), SectionSender::default);
        for (index, (sender, section)) in senders.iter_mut().zip(&self.sections).enumerate() {
            // An inactive section may go on later, with the same source.
            let replaced = section.local_ssrcs.and_then(|source| Some((sender.set_source(source)?, source)));
            if let Some((before, after)) = replaced {
                self.connection.retire_source(before, after);
            }
            if let Some(gone) = Protector::update(&mut sender.protector, section) {
                self.connection.retire(gone);
            }
            if replaced.is_some() || !stays(index) {
                sender.announce_mid(self.config.mid_packets);
            }
        }
        self.senders = senders;
        self.red = Red::new(&self.sections);
        Recovery::update(&mut self.recoveries, &self.sections);
        self.extension_ids = ExtensionIds::new(&self.sections);
        self.update_rtcp();
    }

    fn update_rtcp(&mut self) {
        let Self { sections, rtcp, .. } = self;
        let first = sections.iter().find_map(|section| section.local_ssrcs.map(|pair| pair.media));
        let announced = sections.iter().flat_map(|section| &section.remote_ssrcs);
        let theirs = |ssrc| announced.clone().any(|known| known.ssrcs.media == ssrc || known.ssrcs.rtx == Some(ssrc));
        let mut live = sections.iter().filter(|section| !section.formats.is_empty());
        let reduced_size = live.all(|section| section.reduced_rtcp);
        rtcp.on_negotiated(first, theirs, reduced_size);
        self.uplink.on_negotiated(&self.sections);
        self.probing.on_negotiated(&self.sections);
    }

    /// All sections, in the order of the session description.
    pub fn sections(&self) -> &[MediaSection] {
        &self.sections
    }

    /// ICE restart: media goes on over the old path until another is proven with the new credentials.
    pub fn restart_ice(&mut self, local: IceCredentials, remote: IceCredentials) {
        self.connection.ice.restart(local, remote);
    }

    /// Somebody else may be where this peer's checks come from: a handshake waits until the peer has answered a check there.
    pub fn await_proof(&mut self) {
        self.connection.ice.vouch(None);
    }

    /// User name fragments under which checks for this transport arrive.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        self.connection.ice.ufrags()
    }

    /// Whether the peer has sent a check on `path`: what comes from elsewhere is not taken.
    pub fn is_known(&self, path: &NetworkPath) -> bool {
        self.connection.ice.is_known(path)
    }

    /// Whether it is proven that the peer is at `path`, and nothing makes one doubt that it still is.
    pub fn holds(&self, now: Instant, path: &NetworkPath) -> bool {
        !self.is_closed() && self.connection.ice.holds(now, path)
    }

    /// Another peer's check came from `path`, which this one [`Self::holds`]: checks whether it is still there. What that
    /// takes leaves with the next [`Transport::poll_transmit`].
    pub fn challenge(&mut self, now: Instant, path: &NetworkPath) {
        self.connection.ice.challenge(now, path);
    }

    /// When something authentic last came on `path`.
    pub fn last_heard(&self, path: &NetworkPath) -> Option<Instant> {
        self.connection.ice.last_heard(path)
    }

    /// The connection below `path` is gone (TCP), or the path is another peer's now.
    pub fn on_path_closed(&mut self, now: Instant, path: &NetworkPath) {
        self.connection.ice.on_path_closed(now, path);
        self.poll_ice_events(now);
    }

    /// Path that media leaves on.
    pub fn path(&self) -> Option<NetworkPath> {
        self.connection.ice.selected()
    }

    /// Whether ICE and DTLS are done and the transport is not over.
    pub fn is_connected(&self) -> bool {
        self.connection.is_connected()
    }

    /// Whether the transport is over.
    pub fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Closes DTLS; the last [`Transport::poll_transmit`] carries it.
    pub fn close(&mut self, now: Instant) {
        self.connection.dtls.close();
        self.poll_dtls(now);
        self.end(CloseReason::Local);
    }

    /// Round trip, once measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.path_state.rtt()
    }

    /// Measures the round trip by a check of ours, where nothing else has lately: reports to who only sends bring no
    /// answer.
    pub fn refresh_rtt(&mut self, now: Instant) {
        if !self.path_state.knows_rtt(now, self.config.rtt_lifetime) {
            self.connection.ice.measure(now);
        }
    }

    /// Round trip, or what is assumed before one is measured.
    pub fn rtt_or_default(&self) -> Duration {
        self.rtt().unwrap_or(self.config.initial_rtt)
    }

    /// Estimate of the way to the peer; `None` where it is taken to carry all there is.
    pub fn estimate(&self) -> Option<Bitrate> {
        self.path_state.estimate()
    }

    /// What the way to the peer does to packets, where that is measured ([`TransportConfig::measure_path`]) and the peer
    /// has reported.
    pub fn path_quality(&self) -> Option<PathQuality> {
        self.path_state.quality()
    }

    /// What became of packets of numbered frames since this was asked last, where what is sent is followed: whether they
    /// arrived.
    pub fn told(&mut self) -> impl Iterator<Item = (FramePacket, bool)> + '_ {
        self.path_state.told()
    }

    /// Replaces the bandwidth estimator.
    pub fn set_estimator(&mut self, now: Instant, estimator: Box<dyn BandwidthEstimator>) {
        self.path_state.set_estimator(now, estimator);
        self.apply_estimate(now);
    }

    /// What the peer could be sent at most: nothing above it is probed for. `None` where that is not known.
    pub fn set_demand(&mut self, demand: Option<Bitrate>) {
        self.demand = demand;
        self.path_state.set_demand(demand);
    }

    /// Bounds what the peer may send in all, media and retransmissions: it is told by REMB, at once and again and again,
    /// where it follows that. `None` lifts the bound. Browsers follow it beside transport-wide feedback too.
    pub fn set_receive_cap(&mut self, cap: Option<Bitrate>) {
        self.uplink.set_cap(cap);
    }

    /// Feedback and reports to the peer; they leave with the next [`Transport::poll_transmit`].
    pub fn feedback(&mut self) -> &mut RtcpQueue {
        &mut self.rtcp
    }

    /// Whether something happened.
    pub fn has_event(&self) -> bool {
        !self.connection.events.is_empty()
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<TransportEvent> {
        self.connection.events.pop_front()
    }

    /// Counters.
    pub fn counters(&self) -> TransportCounters {
        TransportCounters { requests: self.rtcp.stats(), ..self.counters }
    }

    /// The transport as it is now.
    pub fn figures(&self) -> TransportFigures {
        TransportFigures {
            connected: self.is_connected(),
            path: self.path(),
            rtt: self.rtt(),
            loss: self.path_state.loss(),
            estimate: self.estimate(),
            sustained: self.path_state.sustained(),
            uplink: self.uplink.figures(),
        }
    }

    /// Packets that died inside the transport after they were taken: sealing failed, or its section went.
    pub fn drops(&self) -> &DropCounts {
        &self.drops
    }

    /// Lets what is due happen.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_closed() {
            return;
        }
        self.connection.ice.handle_timeout(now);
        self.queue_checks(now);
        self.poll_ice_events(now);
        if self.connection.dtls.poll_timeout().is_some_and(|at| at <= now) {
            self.connection.dtls.handle_timeout(now);
            self.poll_dtls(now);
        }
        self.check_deadline(now);
        self.push_arrivals(now);
        self.push_remb(now);
        if self.path_state.handle_timeout(now) {
            self.apply_estimate(now);
        }
    }

    /// When [`Transport::handle_timeout`] or, for what the pacer holds back, [`Transport::poll_transmit`] is to be
    /// called next; the past means now. To be asked after a drain.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_closed() {
            return None;
        }
        // What is held leaves when something comes, which is no timer's.
        let pacer = if self.is_connected() && !self.is_held() { self.pacer.poll_timeout() } else { None };
        let probe = if self.is_connected() { self.probe_timeout() } else { None };
        let others = [self.feedback_timeout(), self.path_state.poll_timeout()];
        [self.connection.poll_timeout(), pacer, probe].into_iter().chain(others).flatten().min()
    }

    /// Whether media that came may have changed more than [`Transport::feedback_timeout`], so that a drain is due: it
    /// proved a path, or gave room to send on one that is not proven.
    pub fn wants_drain(&self) -> bool {
        self.path_proven || self.has_event() || self.connection.has_control() || self.is_held()
    }

    /// When [`Transport::handle_timeout`] is to be called for the sake of media that came: the part of
    /// [`Transport::poll_timeout`] that it changes.
    pub fn feedback_timeout(&self) -> Option<Instant> {
        let remb = if self.is_connected() { self.uplink.poll_timeout() } else { None };
        [self.arrivals.poll_timeout(), remb].into_iter().flatten().min()
    }

    /// Fetches what [`Transport::handle_datagram`] needs for media, except for what is behind pointers.
    pub fn prefetch_inbound(&self) {
        prefetch(&self.connection.keys);
        self.connection.ice.prefetch();
        self.extension_ids.prefetch();
        prefetch(&self.streams);
        prefetch(&self.ingress);
        prefetch(&self.arrivals);
        prefetch(&self.uplink);
        prefetch(&self.counters);
    }

    /// Fetches what is behind the pointers that [`Transport::prefetch_inbound`] has fetched.
    pub fn prefetch_inbound_keys(&self) {
        if let Some(keys) = &self.connection.keys {
            keys.receiver.prefetch();
        }
        self.connection.ice.prefetch_path();
        self.arrivals.prefetch();
        self.streams.prefetch();
    }

    /// Fetches what only the source of `datagram` needs, once [`Transport::prefetch_inbound_keys`] is there. Index of
    /// its section, where the source is known.
    pub fn prefetch_source(&self, datagram: &[u8]) -> Option<usize> {
        let ssrc = DatagramKind::is_rtp(datagram).then(|| SealedHeader::parse(datagram))?.ok()?.ssrc;
        if let Some(keys) = &self.connection.keys {
            keys.receiver.prefetch_window(ssrc);
        }
        self.streams.section_of(ssrc)
    }

    /// Appends all that may leave now: answers to STUN and DTLS, RTCP, then the pacer's packets.
    pub fn poll_transmit(&mut self, now: Instant, batch: &mut TransmitBatch) {
        let before = batch.len();
        self.path_proven = false;
        self.connection.flush_control(batch);
        if self.is_connected()
            && let Some(path) = self.path()
        {
            self.flush_rtcp(now, path, batch);
            self.flush_media(now, path, batch);
        }
        self.counters.bytes_out += (batch.len() - before) as u64;
    }

    /// Appends the audio that waits, and nothing else.
    pub fn transmit_audio(&mut self, now: Instant, batch: &mut TransmitBatch) {
        let before = batch.len();
        if self.is_connected()
            && let Some(path) = self.path()
        {
            self.flush_audio(now, path, batch);
        }
        self.counters.bytes_out += (batch.len() - before) as u64;
    }

    /// A probe keeps its own rate to its end.
    fn apply_estimate(&mut self, now: Instant) {
        if self.probing.active().is_none() {
            self.pacer.set_estimate(now, self.path_state.estimate(), self.path_state.is_queued());
        }
    }

    fn drop_packet(&mut self, reason: DropReason) {
        self.drops.count(reason);
    }
}

#[cfg(test)]
mod tests;
