//! The way in: from a datagram to authentic media and reports in clear.
//!
//! Classify (RFC 7983), open, admit, route, and pass on; retransmissions (RFC 4588) are undone on the way.

use super::route::{HeaderExtensions, Route, StreamFormat};
use super::{Transport, TransportEvent};
use crate::codec::FrameFacts;
use crate::drop_reason::DropReason;
use crate::ice::KnownPath;
use crate::ids::{PayloadType, Rid, SeqNo, Ssrc};
use crate::media::Codec;
use crate::net::{DatagramKind, NetworkPath};
use crate::packet::{CarriedExtensions, MAX_PACKET, PacketData};
use crate::rtcp::{self, RtcpView};
use crate::rtp::{RtpView, SealedHeader};
use crate::time::{Duration, Instant, Spacing};
use crate::units::{Bitrate, DataSize};
use std::ops::Range;

/// Bytes of the original sequence number at the head of a retransmission (RFC 4588 section 4).
pub(super) const OSN_LEN: usize = 2;
/// Least time between two [`TransportEvent::IngressLimited`].
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

impl Transport {
    /// Handles one datagram; SRTP and SRTCP are decrypted in place. Whatever it provokes leaves with the next
    /// [`Transport::poll_transmit`].
    pub fn handle_datagram<'d>(&mut self, now: Instant, path: &NetworkPath, datagram: &'d mut [u8]) -> Received<'d> {
        self.counters.bytes_in += datagram.len() as u64;
        self.receive(now, path, datagram).unwrap_or_else(Received::Dropped)
    }

    fn receive<'d>(
        &mut self,
        now: Instant,
        path: &NetworkPath,
        datagram: &'d mut [u8],
    ) -> Result<Received<'d>, DropReason> {
        if self.is_closed() {
            return Err(DropReason::NotConnected);
        }
        let kind = DatagramKind::of(datagram).ok_or(DropReason::Unclassified)?;
        if kind == DatagramKind::Stun {
            self.handle_stun(now, path, datagram)?;
            return Ok(Received::Nothing);
        }
        let known = self.connection.ice.on_datagram(path, datagram.len()).ok_or(DropReason::UnvalidatedAddress)?;
        match kind {
            DatagramKind::Stun | DatagramKind::Dtls => {
                self.handle_dtls(now, (path, known), datagram)?;
                Ok(Received::Nothing)
            }
            DatagramKind::Rtcp => self.receive_rtcp(now, known, datagram),
            DatagramKind::Rtp => self.receive_rtp(now, known, datagram),
        }
    }

    /// Something authentic came on `path`: it may be proven by that.
    fn on_authentic(&mut self, now: Instant, path: KnownPath) {
        if self.connection.ice.on_authentic(now, path) {
            self.path_proven = true;
            self.poll_ice_events(now);
        }
    }

    fn receive_rtcp<'d>(
        &mut self,
        now: Instant,
        path: KnownPath,
        datagram: &'d mut [u8],
    ) -> Result<Received<'d>, DropReason> {
        let keys = self.connection.keys.as_mut().ok_or(DropReason::NoKeys)?;
        let len = keys.receiver.open_rtcp(datagram)?;
        self.counters.rtcp_in += 1;
        self.on_authentic(now, path);
        if !self.ingress.admits_rtcp(now, len) {
            self.report_ingress_limit(now);
            return Err(DropReason::IngressLimit);
        }
        let compound = RtcpCompound::new(datagram.get(..len).ok_or(DropReason::RtcpMalformed)?);
        self.handle_rtcp(now, compound);
        Ok(Received::Rtcp(compound))
    }

    fn receive_rtp<'d>(
        &mut self,
        now: Instant,
        path: KnownPath,
        datagram: &'d mut [u8],
    ) -> Result<Received<'d>, DropReason> {
        let keys = self.connection.keys.as_mut().ok_or(DropReason::NoKeys)?;
        if datagram.len() > MAX_PACKET {
            return Err(DropReason::TooLarge);
        }
        let sealed = SealedHeader::parse(datagram)?;
        let opened = keys.receiver.open_rtp(datagram, sealed.header_len, sealed.ssrc, sealed.seq)?;
        self.counters.rtp_in += 1;
        self.on_authentic(now, path);
        let packet = datagram.get_mut(..opened.len).ok_or(DropReason::RtpMalformed)?;
        let packet: &'d [u8] = self.red.take_out(&self.sections, packet)?;
        let view = RtpView::parse(packet)?;
        let extensions = self.extension_ids.read(&view);
        let admitted = self.ingress.admits_rtp(now, packet.len());
        if !admitted {
            self.report_ingress_limit(now);
        // What is over the limit is not reported as arrived, so that the peer's congestion control makes room.
        } else {
            self.uplink.on_packet(now, extensions.send_time, DataSize::from_bytes(packet.len() as u64));
            if let Some(seq) = extensions.transport_seq {
                self.arrivals.on_packet(now, seq);
                self.media_source = view.ssrc();
            }
        }
        if !self.recoveries.is_empty()
            && admitted
            && let Some(received) = self.receive_parity(now, &view)
        {
            return Ok(received);
        }
        let identity = (view.ssrc(), view.payload_type(), opened.seq);
        let route = self.streams.route(now, &self.sections, identity, &extensions.hints);
        if let Some(keys) = &mut self.connection.keys {
            // One that belongs nowhere keeps no window, or such sources would use them up.
            let lost = route.is_err().then_some(view.ssrc());
            self.streams.take_removed().chain(lost).for_each(|ssrc| keys.receiver.retire(ssrc));
        }
        let (route, format) = route?;
        // Padding among the media has a number there, which whoever counts them has to know.
        if view.payload_range().is_empty() && route.rtx {
            return Err(DropReason::Padding);
        }
        let format = format.ok_or(DropReason::UnknownStream)?;
        let mut received = self.received_rtp(now, packet, (&view, opened.seq), (route, format), extensions)?;
        if !self.recoveries.is_empty() && admitted && !route.rtx {
            let is_parity = self.recover_by(now, route.section, &view, packet);
            if is_parity {
                // Its number is one of the media's, as that of padding is.
                received.payload = 0..0;
            }
        }
        Ok(if admitted { Received::Rtp(received) } else { Received::OverLimit(received) })
    }

    fn report_ingress_limit(&mut self, now: Instant) {
        if self.ingress.may_report(now) {
            self.connection.events.push_back(TransportEvent::IngressLimited);
        }
    }

    fn received_rtp<'d>(
        &mut self,
        now: Instant,
        packet: &'d [u8],
        (view, seq): (&RtpView<'d>, SeqNo),
        (route, format): (Route, StreamFormat),
        extensions: HeaderExtensions,
    ) -> Result<ReceivedRtp<'d>, DropReason> {
        let mut received = ReceivedRtp {
            packet,
            payload: view.payload_range(),
            arrival: now,
            section: route.section,
            rid: route.rid,
            ssrc: view.ssrc(),
            seq,
            timestamp: view.timestamp(),
            marker: view.marker(),
            payload_type: format.payload_type,
            codec: format.codec,
            clock_rate: format.clock_rate,
            extensions: extensions.carried,
            rtx: None,
            from_parity: false,
        };
        if route.rtx {
            self.counters.rtx_in += 1;
            let (media, original) = self.undo_rtx(view, route)?;
            received.payload.start += OSN_LEN;
            received.rtx = Some(RtxOrigin { ssrc: received.ssrc, seq });
            (received.ssrc, received.seq) = (media, original);
        }
        Ok(received)
    }

    /// The media stream's source and the extended number that the packet has there.
    fn undo_rtx(&self, view: &RtpView<'_>, route: Route) -> Result<(Ssrc, SeqNo), DropReason> {
        let osn = view.payload().first_chunk::<OSN_LEN>().ok_or(DropReason::RtxMalformed)?;
        let (media, highest) = self.streams.media_of(route).ok_or(DropReason::UnknownStream)?;
        Ok((media, highest.extend(u16::from_be_bytes(*osn))))
    }
}

/// What a datagram held.
#[derive(Clone, PartialEq, Debug)]
pub enum Received<'a> {
    /// Media.
    Rtp(ReceivedRtp<'a>),
    /// Media beyond what the peer may send: dropped, and not to be asked for again.
    OverLimit(ReceivedRtp<'a>),
    /// Parity of what comes on a section ([`Transport::take_recovered`] has what came back by it).
    Parity {
        /// Index of the section.
        section: usize,
        /// It is the last of its block: what is still missing does not come back by it.
        completes: bool,
    },
    /// Reports and feedback. What concerns congestion control was handled already.
    Rtcp(RtcpCompound<'a>),
    /// Something that the transport dealt with by itself.
    Nothing,
    /// Nothing of use.
    Dropped(DropReason),
}

/// One authentic datagram of RTCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtcpCompound<'a>(&'a [u8]);

impl<'a> RtcpCompound<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Its packets; the malformed ones as errors.
    pub fn packets(&self) -> impl Iterator<Item = Result<RtcpView<'a>, DropReason>> + use<'a> {
        rtcp::compound(self.0)
    }
}

/// One received RTP packet.
///
/// A retransmission (RFC 4588) looks like the packet that it repeats, but for `rtx`.
#[derive(Clone, PartialEq, Debug)]
pub struct ReceivedRtp<'a> {
    /// The decrypted packet as it came, header and padding included.
    pub packet: &'a [u8],
    /// Where in it the payload stands: padding and, for retransmissions, the original sequence number left out.
    /// Empty where the packet is only padding.
    pub payload: Range<usize>,
    /// When it arrived.
    pub arrival: Instant,
    /// Index of its section.
    pub section: usize,
    /// Its stream within the section; `None` without simulcast.
    pub rid: Option<Rid>,
    /// Source of the media stream.
    pub ssrc: Ssrc,
    /// Extended sequence number in the media stream.
    pub seq: SeqNo,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// Payload type of the media.
    pub payload_type: PayloadType,
    /// Its codec.
    pub codec: Codec,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Header extensions to carry on.
    pub extensions: CarriedExtensions,
    /// Where it came from if it is a retransmission.
    pub rtx: Option<RtxOrigin>,
    /// It was computed from parity, and never came.
    pub from_parity: bool,
}

/// The retransmission that carried a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtxOrigin {
    /// Its own source.
    pub ssrc: Ssrc,
    /// Its own extended sequence number.
    pub seq: SeqNo,
}

impl ReceivedRtp<'_> {
    /// Whether it is what a lost packet was, so that its time says nothing of the path.
    pub fn is_repaired(&self) -> bool {
        self.rtx.is_some() || self.from_parity
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.packet.get(self.payload.clone()).unwrap_or_default()
    }

    /// The dependency descriptor, if it carries one.
    pub fn dependency_descriptor(&self) -> Option<&[u8]> {
        let (start, len) = self.extensions.dependency_descriptor?;
        let start = usize::from(start);
        self.packet.get(start..start + usize::from(len))
    }

    /// Writes it into a packet of the pool, with what was learned of its frame. `None` where it is too large.
    pub fn fill(&self, frame: FrameFacts, data: &mut PacketData) -> Option<()> {
        data.set_bytes(self.packet, self.payload.clone())?;
        data.arrival = self.arrival;
        data.ssrc = self.ssrc;
        data.payload_type = self.payload_type;
        data.codec = self.codec;
        data.seq = self.seq;
        data.timestamp = self.timestamp;
        data.marker = self.marker;
        data.frame = frame;
        data.extensions = self.extensions.clone();
        data.repaired = self.is_repaired();
        Some(())
    }
}

/// Limits of what a peer sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IngressConfig {
    /// Bits per second of RTP: 4K at 60 frames/s from a camera and a screen in 1080p with all their layers.
    pub bitrate: Bitrate,
    /// Packets per second of RTP and RTCP: twice what that bitrate comes to in packets of usual size.
    pub packets: u32,
    /// Bits per second of RTCP: a few bytes ask for 17 packets, or for a keyframe, each of which has to be looked for.
    /// Receivers of 40 Mbit/s that lose a fifth send a quarter of that.
    pub feedback: Bitrate,
    /// So much time's worth may come at once: a keyframe, or what a network held back.
    pub burst: Duration,
}

impl Default for IngressConfig {
    fn default() -> Self {
        Self {
            bitrate: Bitrate::from_kbps(20_000),
            packets: 5_000,
            feedback: Bitrate::from_kbps(2_000),
            burst: Duration::from_secs(1),
        }
    }
}

/// What a peer has sent, against what it may: three token buckets.
///
/// What one peer sends is multiplied by all who get it, so it is bounded: in bits, and in packets, which cost more than
/// their bits; and so is what it asks for. Only what has been authenticated counts, or anybody could use a peer's share up.
#[derive(Debug)]
pub(super) struct Ingress {
    config: IngressConfig,
    bits: Spacing,
    packets: Spacing,
    feedback: Spacing,
    reported: Option<Instant>,
}

impl Ingress {
    pub(super) fn new(config: IngressConfig) -> Self {
        Self {
            config,
            bits: Spacing::default(),
            packets: Spacing::default(),
            feedback: Spacing::default(),
            reported: None,
        }
    }

    /// Whether a packet of RTP may come; counts it if so.
    pub(super) fn admits_rtp(&mut self, now: Instant, bytes: usize) -> bool {
        let admitted = self.bits.next(now, self.config.burst) == now && self.admits_packet(now);
        if admitted {
            self.bits.count(now, self.config.bitrate.time_for(DataSize::from_bytes(bytes as u64)));
        }
        admitted
    }

    /// Whether a packet of RTCP may come; counts it if so. Its bits are apart from those of RTP, so that whoever sends too much
    /// video still says what it receives.
    pub(super) fn admits_rtcp(&mut self, now: Instant, bytes: usize) -> bool {
        let admitted = self.feedback.next(now, self.config.burst) == now && self.admits_packet(now);
        if admitted {
            self.feedback.count(now, self.config.feedback.time_for(DataSize::from_bytes(bytes as u64)));
        }
        admitted
    }

    fn admits_packet(&mut self, now: Instant) -> bool {
        let admitted = self.packets.next(now, self.config.burst) == now;
        if admitted {
            self.packets.count(now, Duration::from_secs(1) / self.config.packets.max(1));
        }
        admitted
    }

    /// Something was refused. Whether that is to be reported now.
    pub(super) fn may_report(&mut self, now: Instant) -> bool {
        let may_report = self.reported.is_none_or(|reported| now - reported >= REPORT_INTERVAL);
        if may_report {
            self.reported = Some(now);
        }
        may_report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `count` packets of `bytes`, evenly over `seconds`, are admitted.
    fn admitted(ingress: &mut Ingress, from: u64, seconds: u64, count: u64, bytes: usize) -> u64 {
        let at = |n: u64| Instant::from_nanos((from * count + n * seconds) * 1_000_000_000 / count);
        (0..count).filter(|n| ingress.admits_rtp(at(*n), bytes)).count() as u64
    }

    #[test]
    fn bits_and_packets_are_bounded_over_time() {
        let config = IngressConfig::default();
        let most = admitted(&mut Ingress::new(config), 0, 10, 10 * 20_000, 1_150);
        assert!((23_500..=24_500).contains(&most), "20 Mbit/s for 10 s and the burst of 1 s, of 184: {most}");
        let small = admitted(&mut Ingress::new(config), 0, 10, 10 * 20_000, 60);
        assert!((54_500..=55_500).contains(&small), "5,000 packets/s: {small}");
        let usual = admitted(&mut Ingress::new(config), 0, 10, 10 * 2_100, 1_150);
        assert_eq!(usual, 21_000, "19 Mbit/s pass whole");
    }

    #[test]
    fn what_is_asked_for_is_bounded() {
        let mut ingress = Ingress::new(IngressConfig::default());
        let at = |n: u64| Instant::from_nanos(n * 1_000_000_000 / 4_000);
        let admitted = (0..10 * 4_000).filter(|n| ingress.admits_rtcp(at(*n), 1_200)).count();
        assert!((2_250..=2_350).contains(&admitted), "2 Mbit/s for 10 s and the burst of 1 s, of 384: {admitted}");
        let mut ingress = Ingress::new(IngressConfig::default());
        let usual = (0..10 * 4_000).filter(|n| ingress.admits_rtcp(at(*n), 60)).count();
        assert_eq!(usual, 40_000, "many small ones pass");
    }

    #[test]
    fn rtcp_is_admitted_beyond_the_bitrate() {
        let mut ingress = Ingress::new(IngressConfig::default());
        let now = Instant::from_millis(1_000);
        while ingress.admits_rtp(now, 1_400) {}
        assert!(ingress.admits_rtcp(now, 100));
        assert!(ingress.may_report(now) && !ingress.may_report(now + Duration::from_secs(4)));
        assert!(ingress.may_report(now + Duration::from_secs(5)));
    }
}
