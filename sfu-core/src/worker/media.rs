//! Received media, and events of transports.

use super::Worker;
use crate::event::{CloseReason, Event};
use crate::slab::Key;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::time::Instant;
use sfu_rtc::transport::{self, ReceivedRtp, TransportEvent};

impl Worker {
    /// A packet of `publisher`: to its publication, and so to all who get it.
    pub(super) fn on_media(
        &mut self,
        now: Instant,
        publisher: Key,
        received: &ReceivedRtp<'_>,
    ) -> Result<(), DropReason> {
        let peer = self.peers.get_mut(publisher).ok_or(DropReason::NotPublished)?;
        let key = peer.inbound.get(received.section).copied().flatten().ok_or(DropReason::NotPublished)?;
        if peer.report_due == Instant::NEVER {
            peer.report_due = self.config.next_report(now);
        }
        let router_key = peer.router;
        let (mut ctx, routers) = self.split(now);
        let router = routers.get_mut(router_key).ok_or(DropReason::NotPublished)?;
        let publication = router.publications.get_mut(key).ok_or(DropReason::NotPublished)?;
        let loudness = publication.receive(received, &mut ctx);
        self.schedule_fan_out(now, (router_key, key), loudness)
    }

    /// A packet of `publisher` that is dropped, since it sends too much.
    pub(super) fn on_over_limit(&mut self, publisher: Key, received: &ReceivedRtp<'_>) {
        let Some(peer) = self.peers.get(publisher) else { return };
        let Some(key) = peer.inbound.get(received.section).copied().flatten() else { return };
        let publication = self.routers.get_mut(peer.router).and_then(|router| router.publications.get_mut(key));
        if let Some(publication) = publication {
            publication.refuse(received);
        }
    }

    /// After a publication took something in: it may wait to be forwarded, and say how loud it is.
    pub(super) fn schedule_fan_out(
        &mut self,
        now: Instant,
        (router_key, key): (Key, Key),
        loudness: Result<Option<u8>, DropReason>,
    ) -> Result<(), DropReason> {
        let router = self.routers.get_mut(router_key).ok_or(DropReason::NotPublished)?;
        let publication = router.publications.get_mut(key).ok_or(DropReason::NotPublished)?;
        let (due, id, urgency) = (publication.due(), publication.id, publication.kind.into());
        let is_new = due != Instant::NEVER && !publication.set_listed(true);
        let speakers_due = loudness.map(|level| level.and_then(|level| router.on_audio_level(now, id, level)));
        self.fan_outs.schedule(urgency, due);
        if is_new {
            self.fan_outs.add(urgency, router_key, key);
        }
        if let Some(due) = speakers_due? {
            self.room_timers.set(router_key, Some(due));
        }
        Ok(())
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

    /// Evaluates who speaks in the rooms that are due.
    pub(super) fn update_speakers(&mut self, now: Instant) {
        while let Some(key) = self.room_timers.pop_due(now) {
            let Some(router) = self.routers.get_mut(key) else { continue };
            self.at_work = Some(key);
            if let Some(speakers) = router.speakers.update(now) {
                self.events.push(Event::ActiveSpeakers { room: router.room, speakers });
            }
            let due = router.speakers.due();
            self.room_timers.set(key, (due != Instant::NEVER).then_some(due));
        }
    }
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
