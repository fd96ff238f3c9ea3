//! Where a subscriber's estimate begins: at what its path carried a while ago, where that is known.

use super::Worker;
use crate::slab::Key;
use sfu_rtc::time::Instant;
use std::net::IpAddr;

/// An estimate that is no further from where it began than this share has learned nothing: too little was sent.
const LEARNED: f64 = 0.1;
/// Of what was granted, so much is taken to be shown to be there: an estimate far above was not put to the test.
const SHOWN: f64 = 2.0;

impl Worker {
    /// A peer has connected from `address`: before anything is sent to it, its estimate begins anew.
    pub(super) fn begin_estimate(&mut self, now: Instant, key: Key, address: IpAddr) {
        let config = &self.config.transport.estimator;
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(usual) = config.start() else { return };
        let start = self.start_rates.start(now, address, peer.room, usual);
        if start != usual {
            peer.transport.set_estimator(now, config.clone().starting_at(start).build(now));
        }
        peer.began = peer.transport.estimate();
    }

    /// Remembers what a subscriber's path carries, once something has been learned of it.
    pub(super) fn record_rate(&mut self, now: Instant, key: Key) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let (Some(estimate), Some(path)) = (peer.transport.estimate(), peer.transport.path()) else { return };
        let Some(usual) = self.config.transport.estimator.start() else { return };
        let near = |began| estimate >= began * (1.0 - LEARNED) && estimate <= began * (1.0 + LEARNED);
        if peer.began.is_some_and(near) {
            return;
        }
        peer.began = None;
        let shown = estimate.min((peer.share.allocation.granted * SHOWN).max(usual));
        self.start_rates.record(now, path.remote.ip(), peer.room, shown);
    }
}
