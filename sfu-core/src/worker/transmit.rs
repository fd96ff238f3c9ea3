//! What leaves, in order: audio, what peers have queued, then the fan-out of video, room by room.

use super::Worker;
use crate::schedule::FULL_BATCH;
use crate::slab::Key;
use sfu_rtc::media::MediaKind;
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::time::Instant;

impl Worker {
    /// Fills `batch` with what is ready to leave: audio, then what peers have queued, then the fan-out of video. To
    /// be called again, with an emptied batch, until nothing comes; what is received in between may overtake the rest.
    pub fn poll_transmit(&mut self, now: Instant, batch: &mut TransmitBatch) {
        self.fan_out(now, MediaKind::Audio, batch);
        while batch.len() < FULL_BATCH {
            let Some(key) = self.dirty.pop_urgent() else { break };
            self.flush_urgent(now, key, batch);
        }
        self.flush_normal(now, batch);
        self.fan_out(now, MediaKind::Video, batch);
        self.update_origins(now);
        self.at_work = None;
    }

    /// Forwards what is due of all publications of one kind.
    fn fan_out(&mut self, now: Instant, kind: MediaKind, batch: &mut TransmitBatch) {
        if self.fan_outs.due(kind) > now {
            return;
        }
        let mut waiting = self.fan_outs.take(kind);
        let mut left = 0;
        for index in 0..waiting.len() {
            self.look_ahead_of_fan_out(&waiting[index..]);
            let before = batch.len();
            let due = self.fan_out_of(now, waiting[index], batch);
            if batch.len() != before {
                self.fan_outs.record_sent(kind, waiting[index].0, batch.len() - before);
            }
            if due != Instant::NEVER {
                self.fan_outs.schedule(kind, due);
                waiting[left] = waiting[index];
                left += 1;
            }
        }
        waiting.truncate(left);
        self.fan_outs.give_back(kind, waiting);
        self.fan_outs.end_batch(kind, batch.len() >= FULL_BATCH);
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

    /// Writes a peer's audio; the rest too, unless that waits for its turn.
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

    /// Writes what peers have queued, room by room, as far as there is space in the batch: half of it, where video
    /// waits to be forwarded.
    fn flush_normal(&mut self, now: Instant, batch: &mut TransmitBatch) {
        let video_waits = self.fan_outs.due(MediaKind::Video) <= now;
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

    /// Writes what one peer has queued, its RTCP that is due first, and sets its timer.
    fn flush(&mut self, now: Instant, key: Key, batch: &mut TransmitBatch) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        self.at_work = Some(peer.router);
        if !peer.closing {
            let (report, repair) = (peer.report_due <= now, peer.repair_due <= now);
            if report {
                self.send_reports(now, key);
            }
            if repair {
                self.plan_repair(now, key);
            }
            self.send_copies(now, key);
            self.share_out_if_due(now, key);
            self.send_requests(now, key);
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.transport.poll_transmit(now, batch);
        if peer.closing {
            self.forget_peer(key);
            return;
        }
        self.set_peer_timer(key);
    }
}
