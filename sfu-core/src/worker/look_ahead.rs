//! Fetches what a batch of datagrams will need.
//!
//! Between two packets of a peer its state has left the caches. Where many peers have sent something, waiting for the
//! memory of one after the other would cost more than the work; asked for together, all of it comes in the time of one.

use super::Worker;
use crate::slab::Key;
use arrayvec::ArrayVec;
use sfu_rtc::net::NetworkPath;
use sfu_rtc::prefetch::prefetch;

/// Peers of one batch; what is fetched for more would be gone before it is needed.
const MAX_PEERS: usize = 32;
/// Subscribers of a publication whose turn comes; a fan-out looks ahead for those that follow by itself.
const FIRST: usize = 4;

impl Worker {
    /// Fetches the state of those who sent the datagrams that are handed over next.
    pub fn look_ahead<'p>(&self, paths: impl Iterator<Item = &'p NetworkPath>) {
        let peers: ArrayVec<Key, MAX_PEERS> =
            paths.take(MAX_PEERS).filter_map(|path| self.demux.look_up(path)).collect();
        if peers.len() < 2 {
            return;
        }
        for peer in peers.iter().filter_map(|key| self.peers.get(*key)) {
            peer.transport.prefetch_inbound();
            prefetch(&peer.publications);
            prefetch(&peer.inbound);
        }
        for peer in peers.iter().filter_map(|key| self.peers.get(*key)) {
            peer.transport.prefetch_inbound_keys();
            prefetch(peer.inbound.as_slice());
            let Some(router) = self.routers.get(peer.router) else { continue };
            let publications = peer.publications.iter().filter_map(|key| router.publications.get(*key));
            publications.for_each(|publication| publication.prefetch());
        }
    }

    /// Fetches the first subscribers of the publications that wait, in the order in which one part leads to the next.
    pub(super) fn look_ahead_of_fan_out(&self, waiting: &[(Key, Key)]) {
        let subscribers = |distance: usize| {
            let (router, publication) = waiting.get(distance)?;
            let publication = self.routers.get(*router)?.publications.get(*publication)?;
            Some(publication.forwarders().iter().take(FIRST))
        };
        subscribers(3).into_iter().flatten().for_each(prefetch);
        for forwarder in subscribers(2).into_iter().flatten() {
            forwarder.prefetch();
            if let Some(peer) = self.peers.get(forwarder.subscriber) {
                peer.transport.prefetch();
            }
        }
        for forwarder in subscribers(1).into_iter().flatten() {
            if let Some(peer) = self.peers.get(forwarder.subscriber) {
                prefetch(&peer.report_due);
                peer.transport.prefetch_keys();
            }
        }
    }
}
