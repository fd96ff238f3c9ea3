//! From the first connectivity check to keys, and to the end.

use super::{CloseReason, Transport, TransportEvent};
use crate::drop_reason::DropReason;
use crate::dtls::{DtlsClosed, DtlsEndpoint, DtlsOutput, DtlsRole};
use crate::ice::{IceAgent, IceEvent, KnownPath};
use crate::ids::Ssrc;
use crate::media::SsrcPair;
use crate::net::{NetworkPath, TransmitBatch};
use crate::srtp::{KeyingMaterial, SrtpReceiver, SrtpSender};
use crate::time::{Duration, Instant};
use std::collections::VecDeque;
use std::convert::Infallible;

/// ICE, DTLS, and the keys that they led to.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ice: IceAgent,
    pub(super) dtls: DtlsEndpoint,
    pub(super) keys: Option<Keys>,
    pub(super) events: VecDeque<TransportEvent>,
    /// STUN and DTLS that wait to leave.
    control: VecDeque<Control>,
    /// Where DTLS last came from: its answers go there, since nothing may be selected yet.
    dtls_path: Option<NetworkPath>,
    started: Instant,
    ice_connected: Option<Instant>,
    /// A check came, so that a handshake may begin.
    reached: bool,
    dtls_started: Option<Instant>,
    /// Until when keys must be there.
    deadline: Option<Instant>,
    reported: bool,
    closed: bool,
    scratch: Vec<u8>,
}

/// A datagram of STUN or DTLS.
#[derive(Debug)]
struct Control {
    path: NetworkPath,
    datagram: Vec<u8>,
    /// It waits until as much may be sent to the path. What ICE sends is counted there already.
    asks: bool,
}

/// Both directions of SRTP.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) receiver: SrtpReceiver,
    pub(super) sender: SrtpSender,
    /// When they came.
    at: Instant,
}

impl Connection {
    pub(super) fn new(ice: IceAgent, dtls: DtlsEndpoint, deadline: Instant, now: Instant) -> Self {
        Self {
            ice,
            dtls,
            keys: None,
            events: VecDeque::new(),
            control: VecDeque::new(),
            dtls_path: None,
            started: now,
            ice_connected: None,
            reached: false,
            dtls_started: None,
            deadline: Some(deadline),
            reported: false,
            closed: false,
            scratch: Vec::new(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.reported && !self.closed
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.ice.poll_timeout(), self.dtls.poll_timeout(), self.deadline].into_iter().flatten().min()
    }

    /// Whether STUN or DTLS waits to leave.
    pub(super) fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    /// Appends what may leave; the rest stays, in order. What is for a path that is gone goes with it.
    pub(super) fn flush_control(&mut self, batch: &mut TransmitBatch) {
        for _ in 0..self.control.len() {
            let Some(control) = self.control.pop_front() else { return };
            let Control { path, datagram, asks } = &control;
            if *asks && !self.ice.may_send(path, datagram.len()) {
                if self.ice.is_known(path) {
                    self.control.push_back(control);
                }
                continue;
            }
            let Ok(()) = batch.push(*path, |out| {
                out.extend_from_slice(datagram);
                Ok::<_, Infallible>(())
            });
        }
    }

    /// A section sends with `after` from now on: what it sent with `before` and does not any more is over.
    pub(super) fn retire_source(&mut self, before: SsrcPair, after: SsrcPair) {
        let Some(keys) = &mut self.keys else { return };
        let over = [Some(before.media), before.rtx].into_iter().flatten();
        over.filter(|ssrc| ![Some(after.media), after.rtx].contains(&Some(*ssrc)))
            .for_each(|ssrc| keys.sender.retire(ssrc));
    }

    /// Nothing more is sent with this source.
    pub(super) fn retire(&mut self, ssrc: Ssrc) {
        if let Some(keys) = &mut self.keys {
            keys.sender.retire(ssrc);
        }
    }

    fn queue(&mut self, control: Control, limit: usize) -> Result<(), DropReason> {
        if self.control.len() >= limit {
            return Err(DropReason::QueueFull);
        }
        self.control.push_back(control);
        Ok(())
    }
}

impl Transport {
    pub(super) fn handle_stun(&mut self, now: Instant, path: &NetworkPath, message: &[u8]) -> Result<(), DropReason> {
        let outcome = self.connection.ice.handle_stun(now, path, message);
        if let Some(rtt) = self.connection.ice.take_rtt() {
            self.path_state.on_rtt(now, rtt);
        }
        // Our check goes first, so that its answer is here before the ClientHello that our response allows.
        self.queue_checks(now);
        let limit = self.config.max_control;
        let reply = |datagram| Control { path: *path, datagram, asks: false };
        let queued = outcome.reply.map_or(Ok(()), |datagram| self.connection.queue(reply(datagram), limit));
        self.poll_ice_events(now);
        queued.and(outcome.drop.map_or(Ok(()), Err))
    }

    /// Queues the checks of ours that are due.
    pub(super) fn queue_checks(&mut self, now: Instant) {
        while let Some((path, datagram)) = self.connection.ice.poll_check(now) {
            let check = Control { path, datagram, asks: false };
            if let Err(reason) = self.connection.queue(check, self.config.max_control) {
                self.drop_packet(reason);
            }
        }
    }

    pub(super) fn handle_dtls(
        &mut self,
        now: Instant,
        (path, known): (&NetworkPath, KnownPath),
        packet: &[u8],
    ) -> Result<(), DropReason> {
        self.connection.dtls_path = Some(*path);
        self.connection.dtls_started.get_or_insert(now);
        let was_keyed = self.connection.keys.is_some();
        let handled = self.connection.dtls.handle_packet(now, packet);
        self.poll_dtls(now);
        if !was_keyed && self.connection.keys.is_some() {
            self.connection.ice.on_authentic(now, known);
            self.poll_ice_events(now);
        }
        handled
    }

    /// Handles the output of DTLS. A client is not polled before there is a path for its ClientHello.
    pub(super) fn poll_dtls(&mut self, now: Instant) {
        let connection = &mut self.connection;
        if connection.dtls.role() == DtlsRole::Client {
            if connection.ice.handshake_path().is_none() {
                return;
            }
            if connection.dtls_started.is_none() {
                connection.dtls_started = Some(now);
                // Its retransmissions count from here.
                connection.dtls.handle_timeout(now);
            }
        }
        let mut scratch = std::mem::take(&mut self.connection.scratch);
        while let Some(output) = self.connection.dtls.poll_output(&mut scratch) {
            match output {
                DtlsOutput::Packet(packet) => {
                    let datagram = packet.to_vec();
                    self.queue_dtls(datagram);
                }
                DtlsOutput::Connected(keying) => self.on_keys(now, &keying),
                DtlsOutput::Closed(DtlsClosed::Local) => {}
                DtlsOutput::Closed(DtlsClosed::Peer) => self.end(CloseReason::PeerClosed),
                DtlsOutput::Closed(_) => self.end(CloseReason::DtlsFailed),
            }
        }
        self.connection.scratch = scratch;
    }

    fn queue_dtls(&mut self, datagram: Vec<u8>) {
        // After a change of path the old one may be dead.
        let ice = &self.connection.ice;
        let last = self.connection.dtls_path.filter(|path| ice.is_known(path));
        let Some(path) = last.or(ice.handshake_path()) else { return };
        let control = Control { path, datagram, asks: true };
        if let Err(reason) = self.connection.queue(control, self.config.max_control) {
            self.drop_packet(reason);
        }
    }

    fn on_keys(&mut self, now: Instant, keying: &KeyingMaterial) {
        self.connection.keys = Some(Keys {
            receiver: SrtpReceiver::new(&keying.remote, self.config.max_sources),
            sender: SrtpSender::new(&keying.local),
            at: now,
        });
        self.connection.deadline = None;
        self.report_connected();
    }

    /// Handles the events of ICE.
    pub(super) fn poll_ice_events(&mut self, now: Instant) {
        if !self.connection.reached && self.connection.ice.handshake_path().is_some() {
            self.connection.reached = true;
            self.connection.events.push_back(TransportEvent::Reached);
            self.poll_dtls(now);
        }
        // A check alone proves nothing (see `IceAgent`), and buys no time.
        if self.connection.ice_connected.is_none() && self.connection.ice.selected().is_some() {
            self.connection.ice_connected = Some(now);
            // The peer is there, and has the rest of the time for DTLS.
            let deadline = self.connection.started + self.config.connect_timeout;
            self.connection.deadline = self.connection.deadline.map(|_| deadline);
        }
        while let Some(event) = self.connection.ice.poll_event() {
            match event {
                IceEvent::Connected(_) => self.report_connected(),
                IceEvent::PathChanged(path) if self.connection.reported => {
                    self.connection.events.push_back(TransportEvent::PathChanged { path });
                }
                IceEvent::PathChanged(_) => {}
                IceEvent::Disconnected => self.end(CloseReason::IceTimeout),
            }
        }
    }

    pub(super) fn check_deadline(&mut self, now: Instant) {
        if self.connection.deadline.is_some_and(|at| at <= now) {
            let reason = match self.connection.ice_connected {
                Some(_) => CloseReason::DtlsFailed,
                None => CloseReason::IceTimeout,
            };
            self.end(reason);
        }
    }

    /// Ends the transport; the first reason counts.
    pub(super) fn end(&mut self, reason: CloseReason) {
        if self.connection.closed {
            return;
        }
        self.connection.closed = true;
        self.connection.deadline = None;
        self.connection.keys = None;
        self.pacer.clear();
        self.connection.events.push_back(TransportEvent::Closed(reason));
    }

    /// Reports that media flows, once both ICE and DTLS are done.
    fn report_connected(&mut self) {
        let connection = &mut self.connection;
        let (Some(keys), Some(path)) = (&connection.keys, connection.ice.selected()) else { return };
        if connection.reported || connection.closed {
            return;
        }
        connection.reported = true;
        let since = |from: Option<Instant>| from.map_or(Duration::ZERO, |from| keys.at.saturating_since(from));
        let ice = connection.ice_connected.map_or(Duration::ZERO, |at| at.saturating_since(connection.started));
        let dtls = since(connection.dtls_started);
        connection.events.push_back(TransportEvent::Connected { path, ice, dtls });
    }
}
