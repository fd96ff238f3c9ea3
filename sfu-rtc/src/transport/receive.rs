//! The way in: from a datagram to media and reports in clear.

use super::demux::{self, Route};
use super::extensions::InboundExtensions;
use super::{Received, ReceivedRtp, RtcpCompound, RtxOrigin, Transport, TransportEvent};
use crate::drop_reason::DropReason;
use crate::ice::KnownPath;
use crate::ids::{SeqNo, Ssrc};
use crate::net::{DatagramKind, NetworkPath};
use crate::packet::MAX_PACKET;
use crate::rtp::{RtpView, SealedHeader};
use crate::time::Instant;

/// Bytes of the original sequence number at the head of a retransmission (RFC 4588 section 4).
const OSN_LEN: usize = 2;

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
            self.after_ice(now);
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
        if !self.ingress.admits_rtcp(now) {
            self.tell_ingress(now);
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
        let packet: &'d [u8] = datagram.get(..opened.len).ok_or(DropReason::RtpMalformed)?;
        let view = RtpView::parse(packet)?;
        let extensions = self.extension_ids.read(&view);
        let admitted = self.ingress.admits_rtp(now, packet.len());
        if !admitted {
            self.tell_ingress(now);
        // What is over the limit is not reported as arrived, so that the peer's congestion control makes room.
        } else if let Some(seq) = extensions.transport_seq {
            self.arrivals.on_packet(now, seq);
            self.media_source = view.ssrc();
        }
        let identity = (view.ssrc(), view.payload_type(), opened.seq);
        let route = self.streams.route(now, &self.sections, identity, &extensions.hints);
        if let Some(keys) = &mut self.connection.keys {
            // One that belongs nowhere keeps no window, or such sources would use them up.
            let lost = route.is_err().then_some(view.ssrc());
            self.streams.take_gone().chain(lost).for_each(|ssrc| keys.receiver.retire(ssrc));
        }
        let route = route?;
        // Padding among the media has a number there, which whoever counts them has to know.
        if view.payload_range().is_empty() && route.rtx {
            return Err(DropReason::Padding);
        }
        let received = self.hand_up(now, packet, &view, opened.seq, route, extensions)?;
        Ok(if admitted { Received::Rtp(received) } else { Received::OverLimit(received) })
    }

    fn tell_ingress(&mut self, now: Instant) {
        if self.ingress.tells(now) {
            self.connection.events.push_back(TransportEvent::IngressLimited);
        }
    }

    fn hand_up<'d>(
        &mut self,
        now: Instant,
        packet: &'d [u8],
        view: &RtpView<'d>,
        seq: SeqNo,
        route: Route,
        extensions: InboundExtensions,
    ) -> Result<ReceivedRtp<'d>, DropReason> {
        let section = self.sections.get(route.section).ok_or(DropReason::UnknownStream)?;
        let format = demux::format_of(section, route, view.payload_type()).ok_or(DropReason::UnknownStream)?;
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
