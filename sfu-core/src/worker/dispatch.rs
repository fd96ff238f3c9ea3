//! From a datagram to the transport that it is for, and from there to the publication that it belongs to.

use super::Worker;
use crate::slab::Key;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ice;
use sfu_rtc::net::{DatagramKind, NetworkPath};
use sfu_rtc::time::Instant;
use sfu_rtc::transport::{Received, ReceivedRtp};

impl Worker {
    /// Finds the transport, lets it classify and open the datagram, and passes on what comes out of it.
    pub(super) fn dispatch(&mut self, now: Instant, path: &NetworkPath, data: &mut [u8]) -> Result<(), DropReason> {
        if data.is_empty() {
            return Err(DropReason::Unclassified);
        }
        let kind = DatagramKind::of(data);
        let is_check = kind == Some(DatagramKind::Stun) && !ice::is_answer(data);
        let key = if is_check {
            let key = self.find_by_check(now, path, data)?;
            self.await_proof(path, key);
            key
        } else {
            self.paths.by_path(path).ok_or(DropReason::UnvalidatedAddress)?
        };
        let peer = self.peers.get_mut(key).filter(|peer| !peer.closing).ok_or(DropReason::UnvalidatedAddress)?;
        self.at_work = Some(peer.router);
        let received = peer.transport.handle_datagram(now, path, data);
        // What media changes for its sender as a rule can wait until it is due.
        if !matches!(received, Received::Rtp(_)) || peer.transport.wants_drain() {
            peer.schedule(key, &mut self.dirty);
        }
        // Media may be what proves a path.
        let may_report = !kind.is_some_and(DatagramKind::is_media) || peer.transport.has_event();
        let handled = match received {
            Received::Rtp(received) => {
                let section = received.section;
                let handled = self.on_rtp(now, key, &received);
                self.on_recovered(now, key);
                self.bring_timer_forward(now, key, section);
                handled
            }
            Received::Parity { section, completes } => {
                self.on_recovered(now, key);
                self.on_parity(now, key, (section, completes));
                self.bring_timer_forward(now, key, section);
                Ok(())
            }
            Received::OverLimit(received) => {
                self.on_over_limit(key, &received);
                Err(DropReason::IngressLimit)
            }
            Received::Rtcp(compound) => {
                self.on_rtcp(now, key, compound);
                Ok(())
            }
            Received::Nothing => Ok(()),
            Received::Dropped(reason) => Err(reason),
        };
        if is_check {
            self.bind_path(now, path, key);
        }
        if may_report {
            self.handle_transport_events(now, key);
        }
        handled
    }

    /// After media of a peer on one section: feedback on it, reports, or requests for repair may be due sooner than its
    /// timer says.
    fn bring_timer_forward(&mut self, now: Instant, key: Key, section: usize) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let publication = peer.inbound.get(section).copied().flatten();
        let publication = publication.and_then(|key| self.routers.get(peer.router)?.publications.get(key));
        let requests = publication.map_or(Instant::NEVER, |publication| publication.poll_timeout());
        let feedback = peer.transport.feedback_timeout().unwrap_or(Instant::NEVER);
        let due = requests.min(peer.report_due);
        if due <= now {
            peer.schedule(key, &mut self.dirty);
        }
        self.peer_timers.bring_forward(key, due.min(feedback));
    }

    /// A packet of `publisher`: to its publication, and so to all who get it.
    fn on_rtp(&mut self, now: Instant, publisher: Key, received: &ReceivedRtp<'_>) -> Result<(), DropReason> {
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
        if publication.uplink_parity.is_some() {
            self.plan_uplink(now, publisher, key);
        }
        self.schedule_fan_out(now, (router_key, key), loudness)
    }

    /// What came back from a publisher's parity goes the way of what came.
    fn on_recovered(&mut self, now: Instant, publisher: Key) {
        let mut buffer = std::mem::take(&mut self.recovered);
        while let Some(peer) = self.peers.get_mut(publisher)
            && let Some(received) = peer.transport.take_recovered(now, &mut buffer)
        {
            if let Err(reason) = self.on_rtp(now, publisher, &received) {
                self.drops.count(reason);
            }
        }
        self.recovered = buffer;
    }

    /// Parity of what `publisher` sends on a section came, and what it gave was taken.
    fn on_parity(&mut self, now: Instant, publisher: Key, (section, completes): (usize, bool)) {
        let Some(peer) = self.peers.get(publisher) else { return };
        let Some(key) = peer.inbound.get(section).copied().flatten() else { return };
        let publication = self.routers.get_mut(peer.router).and_then(|router| router.publications.get_mut(key));
        if let Some(publication) = publication {
            publication.on_parity(now, completes);
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
        let (due, id, kind) = (publication.due(), publication.id, publication.kind);
        let is_new = due != Instant::NEVER && !publication.set_listed(true);
        let speakers_due = loudness.map(|level| level.and_then(|level| router.on_audio_level(now, id, level)));
        self.fan_outs.schedule(kind, due);
        if is_new {
            self.fan_outs.add(kind, router_key, key);
        }
        if let Some(due) = speakers_due? {
            self.room_timers.set(router_key, Some(due));
        }
        Ok(())
    }

    /// A packet of `publisher` that is dropped, since it sends too much.
    fn on_over_limit(&mut self, publisher: Key, received: &ReceivedRtp<'_>) {
        let Some(peer) = self.peers.get(publisher) else { return };
        let Some(key) = peer.inbound.get(received.section).copied().flatten() else { return };
        let publication = self.routers.get_mut(peer.router).and_then(|router| router.publications.get_mut(key));
        if let Some(publication) = publication {
            publication.refuse(received);
        }
    }
}
