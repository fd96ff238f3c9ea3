//! RTCP: reports of publishers and requests of subscribers in, our requests and reports out.

use super::Worker;
use crate::context::Context;
use crate::publication::Publication;
use crate::slab::Key;
use sfu_rtc::ids::Ssrc;
use sfu_rtc::rtcp::{Nack, RtcpView, SenderReport};
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::transport::RtcpCompound;

/// Where the forwarder of a slot works.
struct SlotAddress {
    router: Key,
    publication: Key,
    index: u32,
    rtt: Duration,
}

impl Worker {
    /// Handles a compound packet of `peer`, but for what its transport has handled.
    pub(super) fn on_rtcp(&mut self, now: Instant, peer: Key, compound: RtcpCompound<'_>) {
        self.on_told(now, peer);
        for packet in compound.packets() {
            match packet {
                Ok(RtcpView::SenderReport(report)) => self.on_sender_report(now, peer, &report),
                Ok(RtcpView::Nack(nack)) => self.on_nack(now, peer, &nack),
                Ok(RtcpView::Pli(pli)) => self.on_keyframe_request(now, peer, pli.media),
                Ok(RtcpView::Fir(fir)) => fir.entries().for_each(|(ssrc, _)| self.on_keyframe_request(now, peer, ssrc)),
                // The transport has counted what is malformed.
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// What the feedback of `peer` said of frames, which its transport has read.
    fn on_told(&mut self, now: Instant, peer: Key) {
        let mut told = std::mem::take(&mut self.told);
        told.clear();
        if let Some(peer) = self.peers.get_mut(peer) {
            told.extend(peer.transport.told());
        }
        for of_section in told.chunk_by(|(a, _), (b, _)| a.section == b.section) {
            let Some((first, _)) = of_section.first() else { continue };
            let slot = self.peers.get(peer).and_then(|peer| {
                let slot = peer.slots.get(usize::from(first.section))?.as_ref()?;
                Some((peer.router, slot.place.carried()?))
            });
            let Some((router, (publication, index))) = slot else { continue };
            let (mut ctx, routers) = self.split(now);
            let publication = routers.get_mut(router).and_then(|router| router.publications.get_mut(publication));
            if let Some(publication) = publication {
                publication.on_told(index, of_section, &mut ctx);
            }
        }
        self.told = told;
    }

    fn on_sender_report(&mut self, now: Instant, sender: Key, report: &SenderReport<'_>) {
        let clock = self.clock;
        self.each_published(now, sender, |publication, ctx| publication.on_sender_report(&clock, report, ctx));
    }

    /// Lends each publication of a peer what it works with.
    fn each_published(&mut self, now: Instant, peer: Key, mut visit: impl FnMut(&mut Publication, &mut Context<'_>)) {
        let Some((router, published)) = self.peers.get(peer).map(|peer| (peer.router, peer.publications.len())) else {
            return;
        };
        for index in 0..published {
            let key = self.peers.get(peer).and_then(|peer| peer.publications.get(index).copied());
            let (mut ctx, routers) = self.split(now);
            let publications = routers.get_mut(router).map(|router| &mut router.publications);
            if let Some(publication) = key.and_then(|key| publications?.get_mut(key)) {
                visit(publication, &mut ctx);
            }
        }
    }

    fn on_nack(&mut self, now: Instant, peer: Key, nack: &Nack<'_>) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.received.nacks += nack.count();
        }
        let Some(slot) = self.slot_address(peer, nack.media) else { return };
        let (mut ctx, routers) = self.split(now);
        let Some(router) = routers.get_mut(slot.router) else { return };
        if let Some(publication) = router.publications.get_mut(slot.publication) {
            publication.on_nack(slot.index, nack.seqs(), slot.rtt, &mut ctx);
        }
    }

    fn on_keyframe_request(&mut self, now: Instant, peer: Key, media: Ssrc) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.received.keyframe_requests += 1;
        }
        let Some(slot) = self.slot_address(peer, media) else { return };
        let (mut ctx, routers) = self.split(now);
        let Some(router) = routers.get_mut(slot.router) else { return };
        if let Some(publication) = router.publications.get_mut(slot.publication) {
            publication.on_keyframe_request(slot.index, slot.rtt, &mut ctx);
        }
    }

    fn slot_address(&self, peer: Key, media: Ssrc) -> Option<SlotAddress> {
        let peer = self.peers.get(peer)?;
        let (publication, index) = peer.slot_of(media)?.place.carried()?;
        Some(SlotAddress { router: peer.router, publication, index, rtt: peer.transport.rtt_or_default() })
    }

    /// Sends a publisher the NACKs and keyframe requests that are due, and what became of its references.
    pub(super) fn send_requests(&mut self, now: Instant, key: Key) {
        self.each_published(now, key, |publication, ctx| publication.judge_due_references(ctx));
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

    /// Sends receiver and sender reports to a peer. Its bandwidth is shared out anew with them: what streams take changes,
    /// and what had to wait may have waited long enough. What its path carries is remembered.
    pub(super) fn send_reports(&mut self, now: Instant, key: Key) {
        let mut active = self.share_out(now, key);
        self.record_rate(now, key);
        let Self { peers, routers, config, clock, .. } = self;
        let Some(peer) = peers.get_mut(key) else { return };
        let Some(router) = routers.get_mut(peer.router) else { return };
        let mut sends = false;
        for publication in &peer.publications {
            if let Some(publication) = router.publications.get_mut(*publication) {
                sends |= publication.send_reports(now, peer.transport.feedback());
            }
        }
        if sends {
            peer.transport.refresh_rtt(now);
        }
        active |= sends;
        let rtt = peer.transport.rtt_or_default();
        for (section, slot) in peer.slots.iter().enumerate() {
            let Some((publication, index)) = slot.as_ref().and_then(|slot| slot.place.carried()) else { continue };
            let Some(publication) = router.publications.get_mut(publication) else { continue };
            publication.keep_for(index, rtt, now, config);
            let report = publication.report_for(index, now, clock);
            if let Some((ntp, rtp)) = report {
                peer.transport.send_report(section, ntp, rtp);
                active = true;
            }
        }
        peer.report_due = if active { config.next_report(now) } else { Instant::NEVER };
    }
}
