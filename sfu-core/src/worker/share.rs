//! Shares out a subscriber's bandwidth among its slots: when the estimate or what could be sent has changed, and with
//! each report.

use super::Worker;
use crate::command::Role;
use crate::forwarder::Grant;
use crate::ids::TransportId;
use crate::publication::Publication;
use crate::qos::{Allocation, Importance, LayerId, SlotDemand};
use crate::slab::Key;
use arrayvec::ArrayVec;
use sfu_rtc::media::MediaKind;
use sfu_rtc::time::Instant;
use sfu_rtc::units::Bitrate;

/// Most speakers who count as such.
const MAX_SPEAKERS: usize = 8;

/// Reused for every subscriber.
#[derive(Default, Debug)]
pub(super) struct Shares {
    /// Publication and index of the forwarder, for each demand.
    places: Vec<(Key, u32)>,
    demands: Vec<SlotDemand>,
    granted: Vec<usize>,
}

impl Worker {
    /// Shares out the bandwidth of one subscriber where that is due.
    pub(super) fn share_out_if_due(&mut self, now: Instant, key: Key) {
        let due = self.peers.get(key).map(|peer| peer.share.due(peer.estimate()));
        if due.is_some_and(|due| due <= now) {
            self.share_out(now, key);
        }
    }

    /// Shares out the bandwidth of one subscriber. False where that need not be done again: without an estimate nothing
    /// is limited.
    pub(super) fn share_out(&mut self, now: Instant, key: Key) -> bool {
        let mut shares = std::mem::take(&mut self.shares);
        self.gather_demands(now, key, &mut shares);
        let limited = self.grant_shares(now, key, &mut shares);
        let active = limited && !shares.places.is_empty();
        self.shares = shares;
        active
    }

    fn gather_demands(&self, now: Instant, key: Key, shares: &mut Shares) {
        let Shares { places, demands, .. } = shares;
        places.clear();
        demands.clear();
        let Some(peer) = self.peers.get(key) else { return };
        let Some(router) = self.routers.get(peer.router) else { return };
        let sender = |id| self.publications.get(id).and_then(|(_, key)| Some(router.publications.get(*key)?.sender));
        let speakers: ArrayVec<TransportId, MAX_SPEAKERS> =
            router.speakers.speaking().iter().filter_map(sender).take(MAX_SPEAKERS).collect();
        for slot in peer.slots.iter().flatten() {
            let Some((place, index)) = slot.place.carried() else { continue };
            let Some(publication) = router.publications.get(place) else { continue };
            if let Some(demand) = demand(publication, index, speakers.contains(&publication.sender), now) {
                places.push((place, index));
                demands.push(demand);
            }
        }
    }

    /// False where there is no estimate.
    fn grant_shares(&mut self, now: Instant, key: Key, shares: &mut Shares) -> bool {
        let Shares { places, demands, granted } = shares;
        let Some(peer) = self.peers.get_mut(key) else { return false };
        let (router, estimate) = (peer.router, peer.estimate());
        let allocation = self.allocator.allocate(now, estimate, demands, &mut peer.share.history, granted);
        peer.share.done(now, estimate, allocation);
        let most = peer.caps.bitrate.unwrap_or(Bitrate::MAX);
        peer.transport.set_demand(estimate.map(|_| demand_on(&allocation).min(most)));
        let (mut ctx, routers) = self.split(now);
        let Some(router) = routers.get_mut(router) else { return false };
        for (((place, index), demand), granted) in places.iter().zip(&*demands).zip(&*granted) {
            let grant = match granted.checked_sub(1) {
                _ if estimate.is_none() => Grant::All,
                Some(top) => Grant::UpTo(demand.layers[top].id),
                // What is not wanted now begins at the bottom.
                None if demand.layers.is_empty() => Grant::UpTo(LayerId::LOWEST),
                None => Grant::Nothing,
            };
            if let Some(publication) = router.publications.get_mut(*place) {
                publication.grant(*index as usize, grant, &mut ctx);
            }
        }
        estimate.is_some()
    }
}

/// What a path is probed for: all that is wanted, and the headroom without which the next layer is not granted.
fn demand_on(allocation: &Allocation) -> Bitrate {
    allocation.wanted.max(allocation.next_step.map_or(Bitrate::ZERO, |step| step.at))
}

/// What a subscriber could be sent of a publication.
fn demand(publication: &Publication, index: u32, speaks: bool, now: Instant) -> Option<SlotDemand> {
    let forwarder = publication.forwarder(index)?;
    let preference = forwarder.preference;
    let role = if speaks { preference.role.max(Role::Speaker) } else { preference.role };
    let importance = Importance {
        audio: publication.kind == MediaKind::Audio,
        priority: preference.priority,
        role,
        area: preference.tile.map_or(0, |tile| tile.area()),
    };
    let layers = publication.ladder(index as usize, now);
    let attainable = publication.attainable(index as usize);
    Some(SlotDemand { slot: forwarder.section, publication: publication.id, importance, layers, attainable })
}
