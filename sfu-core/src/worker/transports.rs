//! The life of a transport: added, renegotiated, ICE restarted, removed; and its events.

use super::Worker;
use crate::command::{TransportParams, VideoCaps};
use crate::event::{CloseReason, Event};
use crate::ids::{RoomId, TransportId};
use crate::peer::{Dirty, FeedbackCounters, Peer, Share};
use crate::repair::{AudioRedundancy, Copies, PlayoutHold};
use crate::slab::Key;
use sfu_rtc::ice::IceCredentials;
use sfu_rtc::media::MediaSection;
use sfu_rtc::time::Instant;
use sfu_rtc::transport::{self, Transport, TransportEvent};
use sfu_rtc::units::Bitrate;

impl Worker {
    pub(super) fn add_transport(
        &mut self,
        now: Instant,
        room: RoomId,
        id: TransportId,
        params: TransportParams,
    ) -> Option<()> {
        let router = *self.rooms.get(&room)?;
        self.at_work = Some(router);
        let full = self.peers.len() >= self.config.max_transports || live(&params.sections) > self.config.max_sections;
        if full || self.transports.contains_key(&id) {
            return None;
        }
        let claim = self.claimed.claim(&params.candidates, params.signalled_from);
        let params = transport::TransportParams {
            local_ice: params.local_ice,
            remote_ice: params.remote_ice,
            ice_secret: self.ice_secret.clone(),
            signalled_from: params.signalled_from,
            remote_fingerprints: params.remote_fingerprints,
            dtls_role: params.dtls_role,
            sections: params.sections,
            rtcp: params.rtcp,
        };
        let transport = Transport::new(self.config.transport.clone(), params, &self.certificate, now);
        let key = self.peers.insert(Box::new(Peer {
            dirty: Dirty::default(),
            closing: false,
            report_due: Instant::NEVER,
            repair_due: Instant::NEVER,
            copies: Copies::default(),
            playout_delay: PlayoutHold::default(),
            audio_redundancy: AudioRedundancy::default(),
            transport,
            claim,
            router,
            id,
            room,
            inbound: Vec::new(),
            publications: Vec::new(),
            slots: Vec::new(),
            paths: Vec::new(),
            ufrags: Vec::new(),
            received: FeedbackCounters::default(),
            share: Share::default(),
            began: None,
            caps: VideoCaps::default(),
        }));
        self.transports.insert(id, key);
        self.routers.get_mut(router)?.members.push(key);
        self.update_ufrags(key);
        self.update_slots(now, key);
        self.wake(key);
        Some(())
    }

    pub(super) fn update_sections(
        &mut self,
        now: Instant,
        transport: TransportId,
        sections: Vec<MediaSection>,
    ) -> Option<()> {
        let key = self.begin_work(transport)?;
        if live(&sections) > self.config.max_sections {
            return None;
        }
        self.peers.get_mut(key)?.transport.update_sections(sections);
        self.update_slots(now, key);
        self.wake(key);
        Some(())
    }

    pub(super) fn restart_ice(
        &mut self,
        transport: TransportId,
        local: IceCredentials,
        remote: IceCredentials,
    ) -> Option<()> {
        let key = self.begin_work(transport)?;
        self.peers.get_mut(key)?.transport.restart_ice(local, remote);
        self.update_ufrags(key);
        self.wake(key);
        Some(())
    }

    /// Asks a publisher to send no more than so much.
    pub(super) fn limit_sender(&mut self, transport: TransportId, bitrate: Option<Bitrate>) -> Option<()> {
        let key = self.begin_work(transport)?;
        self.peers.get_mut(key)?.transport.set_receive_cap(bitrate);
        self.wake(key);
        Some(())
    }

    /// Ends a peer: its publications and slots at once, itself when its goodbye has left.
    pub(super) fn remove_peer(&mut self, now: Instant, key: Key) -> Option<()> {
        let peer = self.peers.get_mut(key).filter(|peer| !peer.closing)?;
        peer.closing = true;
        peer.transport.close(now);
        peer.schedule(key, &mut self.dirty);
        self.transports.remove(&peer.id);
        let published: Vec<_> = peer.publications.clone();
        let router_key = peer.router;
        if let Some(router) = self.routers.get_mut(router_key) {
            router.members.retain(|member| *member != key);
            let published: Vec<_> =
                published.iter().filter_map(|p| router.publications.get(*p)).map(|p| p.id).collect();
            for id in published {
                self.unpublish(now, id);
            }
        }
        self.remove_slots(now, key);
        Some(())
    }

    /// Forgets a peer and everything that leads to it, without another word.
    pub(super) fn forget_peer(&mut self, key: Key) {
        self.peer_timers.set(key, None);
        let Some(peer) = self.peers.remove(key) else { return };
        if self.transports.get(&peer.id) == Some(&key) {
            self.transports.remove(&peer.id);
        }
        peer.paths.iter().for_each(|path| self.paths.remove_path(path, key));
        peer.ufrags.iter().for_each(|ufrag| self.paths.remove_ufrag(ufrag, key));
        self.remember_traffic(&peer);
    }

    /// Finds the transport by the names under which it expects checks now.
    fn update_ufrags(&mut self, key: Key) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let ufrags: Vec<String> = peer.transport.ufrags().map(str::to_owned).collect();
        for gone in peer.ufrags.iter().filter(|ufrag| !ufrags.contains(ufrag)) {
            self.paths.remove_ufrag(gone, key);
        }
        ufrags.iter().for_each(|ufrag| self.paths.add_ufrag(ufrag, key));
        peer.ufrags = ufrags;
    }

    pub(super) fn wake(&mut self, key: Key) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.schedule(key, &mut self.dirty);
        }
    }

    /// Handles the events of a transport.
    pub(super) fn handle_transport_events(&mut self, now: Instant, key: Key) {
        loop {
            let Some(peer) = self.peers.get_mut(key) else { return };
            let Some(event) = peer.transport.poll_event() else { return };
            let transport = peer.id;
            match event {
                TransportEvent::Reached => self.prepare_slots(now, key),
                TransportEvent::Connected { path, ice, dtls } => {
                    peer.claim.on_connected();
                    self.begin_estimate(now, key, path.remote.ip());
                    self.events.push(Event::Connected { transport, path, ice, dtls });
                    self.begin_slots(now, key);
                }
                TransportEvent::IngressLimited => self.events.push(Event::IngressLimited { transport }),
                TransportEvent::PathChanged { path } => self.events.push(Event::PathChanged { transport, path }),
                TransportEvent::Closed(reason) => {
                    if let Some(reason) = close_reason(reason) {
                        self.events.push(Event::Closed { transport, reason });
                    }
                    self.remove_peer(now, key);
                }
            }
        }
    }
}

/// How many of the sections are not stopped: those that were stopped have no formats, and cost nothing.
fn live(sections: &[MediaSection]) -> usize {
    sections.iter().filter(|section| !section.formats.is_empty()).count()
}

/// Why a transport is over, where we did not end it ourselves.
fn close_reason(reason: transport::CloseReason) -> Option<CloseReason> {
    match reason {
        transport::CloseReason::IceTimeout => Some(CloseReason::IceTimeout),
        transport::CloseReason::DtlsFailed => Some(CloseReason::DtlsFailed),
        transport::CloseReason::PeerClosed => Some(CloseReason::PeerClosed),
        transport::CloseReason::Local => None,
    }
}
