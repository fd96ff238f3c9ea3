//! Shares a subscriber's path out among its slots, by the policy that was configured.

use super::Worker;
use crate::qos::SlotDemand;
use crate::slab::Key;
use sfu_rtc::media::MediaKind;
use sfu_rtc::time::Instant;

impl Worker {
    /// Shares the path to one subscriber out anew. False where there is nothing to share: without an estimate nothing is
    /// limited.
    pub(super) fn allocate(&mut self, now: Instant, key: Key) -> bool {
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
