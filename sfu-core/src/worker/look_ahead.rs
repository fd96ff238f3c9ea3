//! Fetches into the caches what is needed soon.
//!
//! Between two packets of a peer its state has left the caches. Where many peers are worked for, waiting for the memory
//! of one after the other would cost more than the work; asked for together, all of it comes in the time of one. What
//! is behind a pointer can be fetched only once the pointer is there, so it takes several steps.

use super::Worker;
use crate::forwarder::Forwarder;
use crate::room::Peer;
use crate::slab::{Key, Slab};
use arrayvec::ArrayVec;
use sfu_rtc::net::NetworkPath;
use sfu_rtc::prefetch::prefetch;

/// Peers of one batch; what is fetched for more would be gone before it is needed.
const MAX_PEERS: usize = 32;
/// Subscribers that are fetched of a publication whose turn comes; its fan-out fetches the others.
const FIRST: usize = 4;

/// What is fetched of a subscriber, in this order: one leads to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Forwarder,
    Transport,
    Keys,
}

/// What is fetched of a publication, in this order: one leads to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Publication,
    Streams,
    /// Where the histories name their oldest packets, which go next.
    Places,
    Oldest,
}

impl Part {
    /// Fetches this part of the subscriber that `forwarder` serves.
    pub(crate) fn fetch(self, forwarder: &Forwarder, peers: &Slab<Box<Peer>>) {
        let peer = || peers.get(forwarder.subscriber);
        match self {
            Self::Forwarder => prefetch(forwarder),
            Self::Transport => {
                forwarder.prefetch();
                if let Some(peer) = peer() {
                    peer.transport.prefetch();
                }
            }
            Self::Keys => {
                if let Some(peer) = peer() {
                    prefetch(&peer.report_due);
                    peer.transport.prefetch_keys(usize::from(forwarder.section));
                }
            }
        }
    }
}

impl Worker {
    /// Fetches the state of those who sent the datagrams that are handed over next.
    pub fn look_ahead<'p>(&self, paths: impl Iterator<Item = &'p NetworkPath>) {
        let peers: ArrayVec<Key, MAX_PEERS> =
            paths.take(MAX_PEERS).filter_map(|path| self.paths.look_up(path)).collect();
        if peers.len() < 2 {
            return;
        }
        for peer in peers.iter().filter_map(|key| self.peers.get(*key)) {
            peer.transport.prefetch_inbound();
            prefetch(&peer.router);
            prefetch(&peer.publications);
            prefetch(&peer.inbound);
        }
        for peer in peers.iter().filter_map(|key| self.peers.get(*key)) {
            peer.transport.prefetch_inbound_keys();
            prefetch(peer.publications.as_slice());
            prefetch(peer.inbound.as_slice());
        }
        for step in [Step::Publication, Step::Streams, Step::Places, Step::Oldest] {
            for peer in peers.iter().filter_map(|key| self.peers.get(*key)) {
                let Some(router) = self.routers.get(peer.router) else { continue };
                let publications = peer.publications.iter().filter_map(|key| router.publications.get(*key));
                publications.for_each(|publication| publication.prefetch(step));
            }
        }
    }

    /// Fetches the publications whose turn comes, and their first subscribers.
    pub(super) fn look_ahead_of_fan_out(&self, waiting: &[(Key, Key)]) {
        let publication = |distance: usize| {
            let (router, publication) = waiting.get(distance)?;
            self.routers.get(*router)?.publications.get(*publication)
        };
        if let Some(publication) = publication(4) {
            publication.prefetch(Step::Publication);
        }
        for (distance, part) in [(3, Part::Forwarder), (2, Part::Transport), (1, Part::Keys)] {
            let forwarders = publication(distance).map_or(&[][..], |publication| publication.forwarders());
            forwarders.iter().take(FIRST).for_each(|forwarder| part.fetch(forwarder, &self.peers));
        }
    }
}
