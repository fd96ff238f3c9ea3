//! What leaves: work that is due is done, and what is ready is written to the batch.

use super::Worker;
use super::fan_outs::Urgency;
use crate::context::FULL_BATCH;
use crate::slab::Key;
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::time::Instant;

impl Worker {
    /// Fills `batch` with what is ready to leave: audio, then what peers have waiting, then the fan-out of video. To
    /// be called again, with an emptied batch, until nothing comes; what is received in between may overtake the rest.
    pub fn poll_transmit(&mut self, now: Instant, batch: &mut TransmitBatch) {
        self.fan_out(now, Urgency::Audio, batch);
        while batch.len() < FULL_BATCH {
            let Some(key) = self.dirty.pop_urgent() else { break };
            self.flush_urgent(now, key, batch);
        }
        self.flush_normal(now, batch);
        self.fan_out(now, Urgency::Video, batch);
        self.update_origins(now);
        self.at_work = None;
    }

    /// Lets peers write what they have waiting, room by room, as far as the batch has room: half of it, where video waits
    /// to be forwarded.
    fn flush_normal(&mut self, now: Instant, batch: &mut TransmitBatch) {
        let video_waits = self.fan_outs.due(Urgency::Video) <= now;
        let limit = if video_waits { FULL_BATCH.min(batch.len() + FULL_BATCH / 2) } else { FULL_BATCH };
        while batch.len() < limit {
            let Some((room, key)) = self.dirty.pop_normal() else { return };
            if let Some(peer) = self.peers.get_mut(key) {
                peer.dirty.normal = false;
                let before = batch.len();
                self.flush(now, key, batch);
                self.dirty.record_sent(room, batch.len() - before);
            }
        }
        self.dirty.end_batch();
    }

    /// Forwards what publications have received and need not hold any longer.
    fn fan_out(&mut self, now: Instant, urgency: Urgency, batch: &mut TransmitBatch) {
        if self.fan_outs.due(urgency) > now {
            return;
        }
        let mut waiting = self.fan_outs.take(urgency);
        let mut left = 0;
        for index in 0..waiting.len() {
            self.look_ahead_of_fan_out(&waiting[index..]);
            let before = batch.len();
            let due = self.fan_out_of(now, waiting[index], batch);
            if batch.len() != before {
                self.fan_outs.record_sent(urgency, waiting[index].0, batch.len() - before);
            }
            if due != Instant::NEVER {
                self.fan_outs.schedule(urgency, due);
                waiting[left] = waiting[index];
                left += 1;
            }
        }
        waiting.truncate(left);
        self.fan_outs.give_back(urgency, waiting);
        self.fan_outs.end_batch(urgency, batch.len() >= FULL_BATCH);
    }

    /// Forwards what one publication holds, as far as the batch has room. When the rest is due.
    fn fan_out_of(&mut self, now: Instant, (router_key, key): (Key, Key), batch: &mut TransmitBatch) -> Instant {
        self.at_work = Some(router_key);
        let (mut ctx, routers) = self.split(now);
        ctx.batch = Some(batch);
        let publication = routers.get_mut(router_key).and_then(|router| router.publications.get_mut(key));
        let Some(publication) = publication else { return Instant::NEVER };
        let oldest = publication.oldest();
        if !ctx.is_full() {
            publication.fan_out(&mut ctx);
        }
        let due = publication.due();
        if due == Instant::NEVER {
            publication.set_listed(false);
        }
        self.record_age(now, oldest);
        due
    }

    /// Lets a peer write its audio; the rest too, unless that waits for its turn.
    fn flush_urgent(&mut self, now: Instant, key: Key, batch: &mut TransmitBatch) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.dirty.urgent = false;
        if peer.dirty.normal {
            self.at_work = Some(peer.router);
            peer.transport.transmit_audio(now, batch);
        } else {
            self.flush(now, key, batch);
        }
    }

    /// Time has come; to be called at [`Self::poll_timeout`] or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.peer_timers.pop_due(now) {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            self.at_work = Some(peer.router);
            peer.transport.handle_timeout(now);
            self.dirty.add(key, peer);
            self.handle_transport_events(now, key);
        }
        self.update_speakers(now);
        self.relays.handle_timeout(now);
        self.at_work = None;
    }

    /// Does what is due for one peer, lets it write, and sets its timer.
    fn flush(&mut self, now: Instant, key: Key, batch: &mut TransmitBatch) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        self.at_work = Some(peer.router);
        if !peer.closing {
            if peer.report_due <= now {
                self.report(now, key);
            }
            self.request(now, key);
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.transport.poll_transmit(now, batch);
        if peer.closing {
            self.forget_peer(key);
            return;
        }
        let mut due = peer.transport.poll_timeout().unwrap_or(Instant::NEVER).min(peer.report_due);
        if !peer.publications.is_empty()
            && let Some(router) = self.routers.get(peer.router)
        {
            let publications = peer.publications.iter().filter_map(|key| router.publications.get(*key));
            due = publications.fold(due, |due, publication| due.min(publication.poll_timeout()));
        }
        self.peer_timers.set(key, (due != Instant::NEVER).then_some(due));
    }

    /// Asks a publisher for packets and keyframes that are due.
    fn request(&mut self, now: Instant, key: Key) {
        let Self { peers, routers, config, .. } = self;
        let Some(peer) = peers.get_mut(key) else { return };
        let Some(router) = routers.get_mut(peer.router) else { return };
        let rtt = peer.transport.rtt_or_default();
        for publication in &peer.publications {
            if let Some(publication) = router.publications.get_mut(*publication) {
                publication.send_requests(now, rtt, config, peer.transport.feedback());
            }
        }
    }

    /// Reports to a peer on what it sends and on what it gets, and shares its path out anew.
    fn report(&mut self, now: Instant, key: Key) {
        let mut active = self.allocate(now, key);
        let Self { peers, routers, config, clock, .. } = self;
        let Some(peer) = peers.get_mut(key) else { return };
        let Some(router) = routers.get_mut(peer.router) else { return };
        for publication in &peer.publications {
            if let Some(publication) = router.publications.get_mut(*publication) {
                active |= publication.send_reports(now, peer.transport.feedback());
            }
        }
        for (section, slot) in peer.slots.iter().enumerate() {
            let Some((publication, index)) = slot.as_ref().and_then(|slot| slot.place.carried()) else { continue };
            let report = router.publications.get(publication).and_then(|p| p.report_for(index, now, clock));
            if let Some((ntp, rtp)) = report {
                peer.transport.send_report(section, ntp, rtp);
                active = true;
            }
        }
        peer.report_due = if active { config.next_report(now) } else { Instant::NEVER };
    }
}
