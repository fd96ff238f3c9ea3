//! Replicas: publications that are fed by another worker, their origin; and the messages from worker to worker.

use super::Worker;
use crate::ids::{PublicationId, RoomId, TransportId, WorkerId};
use crate::publication::{Publication, Source};
use crate::relay::{RelayBody, RelayMessage, Upstream};
use crate::slab::Key;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::Rid;
use sfu_rtc::media::MediaKind;
use sfu_rtc::time::{Duration, Instant};
use std::collections::VecDeque;

/// How soon an interest that found no room in the queue is sent again.
const INTEREST_RETRY: Duration = Duration::from_millis(20);

impl Worker {
    /// Takes what another worker has handed over.
    pub fn handle_relay(&mut self, now: Instant, from: WorkerId, message: RelayMessage) {
        if let Err(reason) = self.take_relayed(now, from, message) {
            self.drops.count(reason);
        }
        self.at_work = None;
    }

    /// Hands `take` the messages that wait for each other worker. It empties the list as far as it
    /// can; what it leaves goes on waiting, and packets that find no room any more are dropped. To be called after
    /// whatever may make something wait: best before [`Self::poll_transmit`], so that the others work meanwhile, and
    /// again after it.
    pub fn poll_relay(&mut self, now: Instant, mut take: impl FnMut(WorkerId, &mut VecDeque<RelayMessage>)) {
        self.update_origins(now);
        self.at_work = None;
        self.relays.hand_over(&mut take);
    }

    pub(super) fn relay_to(&mut self, now: Instant, id: PublicationId, to: WorkerId) -> Option<()> {
        let (router, key) = *self.publications.get(&id)?;
        self.at_work = Some(router);
        let (mut ctx, routers) = self.split(now);
        routers.get_mut(router)?.publications.get_mut(key)?.relay_to(to, &mut ctx).then_some(())
    }

    pub(super) fn stop_relay(&mut self, id: PublicationId, to: WorkerId) -> Option<()> {
        let (router, key) = *self.publications.get(&id)?;
        self.at_work = Some(router);
        self.routers.get_mut(router)?.publications.get_mut(key)?.stop_relay(to).then_some(())
    }

    pub(super) fn open_relay(
        &mut self,
        room: RoomId,
        id: PublicationId,
        (origin, sender): (WorkerId, TransportId),
        (kind, rids): (MediaKind, &[Rid]),
    ) -> Option<()> {
        let router_key = *self.rooms.get(&room)?;
        self.at_work = Some(router_key);
        if self.publications.contains_key(&id) {
            return None;
        }
        let router = self.routers.get_mut(router_key)?;
        let relay = self.relays.insert(Upstream::new(origin, id, router_key));
        let publication =
            router.publications.insert(Box::new(Publication::relayed(id, (relay, sender), (kind, rids), &self.config)));
        if kind == MediaKind::Audio {
            router.speakers.add(id);
        }
        self.relays.get_mut(relay)?.publication = Some(publication);
        self.publications.insert(id, (router_key, publication));
        self.relays.wake(relay);
        Some(())
    }

    /// The relay of a publication that ends: its origin need not go on.
    pub(super) fn close_relay(&mut self, relay: Key) {
        if let Some(upstream) = self.relays.remove(relay) {
            self.relays.push(upstream.origin, upstream.id, RelayBody::Left);
        }
    }

    fn take_relayed(&mut self, now: Instant, from: WorkerId, message: RelayMessage) -> Result<(), DropReason> {
        let RelayMessage { publication: id, body } = message;
        let Some(&(router_key, key)) = self.publications.get(&id) else {
            // It may be gone, or not be there yet: a command is on its way, and the state is sent again then.
            return if body.is_media() { Err(DropReason::NotPublished) } else { Ok(()) };
        };
        self.at_work = Some(router_key);
        let (mut ctx, routers) = self.split(now);
        let publication = routers.get_mut(router_key).and_then(|router| router.publications.get_mut(key));
        let publication = publication.ok_or(DropReason::NotPublished)?;
        let heard = match body {
            RelayBody::Packet(packet) if publication.is_relayed() => {
                ctx.relays.packets_in += 1;
                let level = publication.receive_relayed(&packet, &mut ctx);
                self.schedule_expiry(now, router_key, key);
                level
            }
            RelayBody::Level(level) => Ok(Some(level)),
            RelayBody::Skipped(skipped) => publication.skip_relayed(skipped, &mut ctx),
            RelayBody::Muted(muted) => {
                self.set_muted(now, id, muted);
                return Ok(());
            }
            RelayBody::Offered => {
                self.offered(router_key, key);
                return Ok(());
            }
            other => return publication.on_relay(from, other, &mut ctx),
        };
        self.schedule_fan_out(now, (router_key, key), heard)
    }

    /// A packet came by relay: what is held of it will be let go in time.
    fn schedule_expiry(&mut self, now: Instant, router: Key, publication: Key) {
        if let Some(relay) = self.relay_of(router, publication)
            && let Some(upstream) = self.relays.get_mut(relay)
            && upstream.expiry == Instant::NEVER
        {
            upstream.expiry = now + self.config.history;
            self.relays.wake(relay);
        }
    }

    /// The origin begins to relay: it is sent our interest, whatever it was sent before.
    fn offered(&mut self, router: Key, publication: Key) {
        if let Some(relay) = self.relay_of(router, publication)
            && let Some(upstream) = self.relays.get_mut(relay)
        {
            upstream.sent_interest = None;
            self.relays.wake(relay);
        }
    }

    /// The relay that feeds a publication; `None` where it is gone, or a transport feeds it.
    fn relay_of(&self, router: Key, publication: Key) -> Option<Key> {
        match self.routers.get(router)?.publications.get(publication)?.source {
            Source::Relay(relay) => Some(relay),
            Source::Peer(_) => None,
        }
    }

    /// Sends origins our interest and keyframe requests.
    pub(super) fn update_origins(&mut self, now: Instant) {
        while let Some(relay) = self.relays.take_dirty() {
            self.update_origin(now, relay);
        }
    }

    /// Sends one origin what changed, and sets the relay's timer.
    fn update_origin(&mut self, now: Instant, relay: Key) -> Option<()> {
        let upstream = self.relays.get_mut(relay)?;
        let (router, key, origin, id) = (upstream.router, upstream.publication?, upstream.origin, upstream.id);
        let (sent, mut expiry) = (upstream.sent_interest, upstream.expiry);
        self.at_work = Some(router);
        let (ctx, routers) = self.split(now);
        let publication = routers.get_mut(router)?.publications.get_mut(key)?;
        let interest = publication.interest();
        let mut due = Instant::NEVER;
        let known = sent == Some(interest) || ctx.relays.push(origin, id, RelayBody::Wanted(interest));
        if !known {
            due = now + INTEREST_RETRY;
        }
        while let Some(layer) = publication.take_keyframe_request(&ctx) {
            ctx.relays.push(origin, id, RelayBody::Keyframe { layer });
        }
        if expiry <= now {
            expiry = if publication.expire(now) { now + ctx.config.history } else { Instant::NEVER };
        }
        due = due.min(publication.keyframes_due()).min(expiry);
        let upstream = self.relays.get_mut(relay)?;
        (upstream.sent_interest, upstream.expiry) = (known.then_some(interest), expiry);
        self.relays.set_timer(relay, due);
        Some(())
    }
}
