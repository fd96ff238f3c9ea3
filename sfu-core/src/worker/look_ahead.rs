//! Fetches into the caches what is needed soon.
//!
//! Between two packets of a peer its state has left the caches. Where many peers are worked for, waiting for the memory
//! of one after the other would cost more than the work; asked for together, all of it comes in the time of one. What
//! is behind a pointer can be fetched only once the pointer is there, so it takes several steps.

use super::Worker;
use crate::peer::Peer;
use crate::publication::{PublicationPart, SubscriberPart};
use crate::slab::Key;
use arrayvec::ArrayVec;
use sfu_rtc::net::NetworkPath;
use sfu_rtc::prefetch::prefetch;

/// Peers of one batch; what is fetched for more would be gone before it is needed.
const MAX_PEERS: usize = 32;
/// Subscribers that are fetched of a publication whose turn comes; its fan-out fetches the others.
const FIRST: usize = 4;

impl Worker {
    /// Fetches the state of those who sent the datagrams that are handed over next.
    pub fn look_ahead<'d>(&self, datagrams: impl Iterator<Item = (&'d NetworkPath, &'d [u8])>) {
        let sender = |path| Some(&**self.peers.get(self.paths.look_up(path)?)?);
        let known = datagrams.take(MAX_PEERS).filter_map(|(path, datagram)| Some((sender(path)?, datagram)));
        let peers: ArrayVec<_, MAX_PEERS> = known.collect();
        if peers.len() < 2 {
            return;
        }
        for (peer, _) in &peers {
            peer.transport.prefetch_inbound();
            prefetch(&peer.router);
            prefetch(&peer.inbound);
        }
        for (peer, _) in &peers {
            peer.transport.prefetch_inbound_keys();
            prefetch(peer.inbound.as_slice());
        }
        let publication = |(peer, datagram): &(&Peer, &[u8])| {
            let section = peer.transport.prefetch_source(datagram)?;
            let key = peer.inbound.get(section).copied().flatten()?;
            self.routers.get(peer.router)?.publications.get(key)
        };
        let publications: ArrayVec<_, MAX_PEERS> = peers.iter().filter_map(publication).collect();
        for part in
            [PublicationPart::Publication, PublicationPart::Streams, PublicationPart::Places, PublicationPart::Oldest]
        {
            publications.iter().for_each(|publication| publication.prefetch(part));
        }
    }

    /// Fetches the publications whose turn comes, and their first subscribers.
    pub(super) fn look_ahead_of_fan_out(&self, waiting: &[(Key, Key)]) {
        let publication = |distance: usize| {
            let (router, publication) = waiting.get(distance)?;
            self.routers.get(*router)?.publications.get(*publication)
        };
        if let Some(publication) = publication(4) {
            publication.prefetch(PublicationPart::Publication);
        }
        for (distance, part) in
            [(3, SubscriberPart::Forwarder), (2, SubscriberPart::Transport), (1, SubscriberPart::Keys)]
        {
            let forwarders = publication(distance).map_or(&[][..], |publication| publication.forwarders());
            forwarders.iter().take(FIRST).for_each(|forwarder| part.fetch(forwarder, &self.peers));
        }
    }
}
