//! RTCP: reports of publishers and requests of subscribers in, our requests and reports out. With a report goes the new
//! share of each slot in the subscriber's bandwidth.

use super::Worker;
use crate::qos::SlotDemand;
use crate::slab::Key;
use sfu_rtc::ids::Ssrc;
use sfu_rtc::media::MediaKind;
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

    fn on_sender_report(&mut self, now: Instant, sender: Key, report: &SenderReport<'_>) {
        let Some(peer) = self.peers.get(sender) else { return };
        let (router, published) = (peer.router, peer.publications.len());
        let clock = self.clock;
        for index in 0..published {
            let key = self.peers.get(sender).and_then(|peer| peer.publications.get(index).copied());
            let (mut ctx, routers) = self.split(now);
            let publications = routers.get_mut(router).map(|router| &mut router.publications);
            if let Some(publication) = key.and_then(|key| publications?.get_mut(key)) {
                publication.on_sender_report(&clock, report, &mut ctx);
            }
        }
    }

    fn on_nack(&mut self, now: Instant, peer: Key, nack: &Nack<'_>) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.received.nacks += nack.seqs().count() as u64;
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

    /// Sends a publisher the NACKs and keyframe requests that are due.
    pub(super) fn send_requests(&mut self, now: Instant, key: Key) {
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

    /// Sends receiver and sender reports to a peer, and shares out its bandwidth.
    pub(super) fn send_reports(&mut self, now: Instant, key: Key) {
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

    /// Shares out the bandwidth of one subscriber. False where there is nothing to share: without an estimate nothing
    /// is limited.
    fn allocate(&mut self, now: Instant, key: Key) -> bool {
        let Some(peer) = self.peers.get(key) else { return false };
        let Some(estimate) = peer.transport.estimate() else { return false };
        let router = peer.router;
        let places: Vec<_> = peer.slots.iter().flatten().filter_map(|slot| slot.place.carried()).collect();
        let (ctx, routers) = self.split(now);
        let Some(router_ref) = routers.get(router) else { return false };
        let demands: Vec<_> = places
            .iter()
            .map(|(publication, index)| {
                let mut demand = SlotDemand::default();
                if let Some(publication) = router_ref.publications.get(*publication) {
                    publication.wanted_rates(*index as usize, &ctx, &mut demand.layers);
                    demand.urgent = publication.kind == MediaKind::Audio;
                }
                demand
            })
            .collect();
        let mut granted = Vec::with_capacity(demands.len());
        self.allocator.allocate(Some(estimate), &demands, &mut granted);
        let (mut ctx, routers) = self.split(now);
        let Some(router) = routers.get_mut(router) else { return false };
        for ((publication, index), granted) in places.iter().zip(granted) {
            if let Some(publication) = router.publications.get_mut(*publication) {
                publication.grant(*index as usize, granted, &mut ctx);
            }
        }
        !places.is_empty()
    }
}
