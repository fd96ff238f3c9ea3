//! Which path leads to which transport.
//!
//! Checks of connectivity name their transport, so they are found by user name fragment (RFC 8445 section 7.3);
//! everything else counts only from a path that such a check came from, and is found by the path. A path that a peer
//! has proven is its own.

use super::{SeededMap, Worker};
use crate::slab::Key;
use foldhash::fast::FixedState;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ice;
use sfu_rtc::net::NetworkPath;
use sfu_rtc::time::Instant;

/// Transports by path and by user name fragment.
#[derive(Debug)]
pub(super) struct PathTable {
    by_path: SeededMap<NetworkPath, Key>,
    by_ufrag: SeededMap<String, Key>,
    /// Datagrams come in trains, so the next is often from where the last was.
    last: Option<(NetworkPath, Key)>,
}

impl PathTable {
    pub(super) fn new(state: FixedState) -> Self {
        Self { by_path: SeededMap::with_hasher(state.clone()), by_ufrag: SeededMap::with_hasher(state), last: None }
    }

    /// The transport behind a path, without remembering it as the last.
    pub(super) fn look_up(&self, path: &NetworkPath) -> Option<Key> {
        self.by_path.get(path).copied()
    }

    /// The transport behind a path.
    pub(super) fn by_path(&mut self, path: &NetworkPath) -> Option<Key> {
        if let Some((last, key)) = &self.last
            && last == path
        {
            return Some(*key);
        }
        let key = self.look_up(path)?;
        self.last = Some((*path, key));
        Some(key)
    }

    pub(super) fn by_ufrag(&self, ufrag: &str) -> Option<Key> {
        self.by_ufrag.get(ufrag).copied()
    }

    pub(super) fn add_ufrag(&mut self, ufrag: &str, key: Key) {
        self.by_ufrag.insert(ufrag.to_owned(), key);
    }

    pub(super) fn remove_ufrag(&mut self, ufrag: &str, key: Key) {
        if self.by_ufrag.get(ufrag) == Some(&key) {
            self.by_ufrag.remove(ufrag);
        }
    }

    fn add_path(&mut self, path: NetworkPath, key: Key) {
        self.by_path.insert(path, key);
        self.last = None;
    }

    pub(super) fn remove_path(&mut self, path: &NetworkPath, key: Key) {
        if self.by_path.get(path) == Some(&key) {
            self.by_path.remove(path);
        }
        self.last = None;
    }
}

impl Worker {
    /// The transport that a check names. Where another one holds the path, that one has to lose it first.
    pub(super) fn find_by_check(&mut self, now: Instant, path: &NetworkPath, data: &[u8]) -> Result<Key, DropReason> {
        let ufrag = ice::ufrag_of(data).ok_or(DropReason::StunMalformed)?;
        let key = self.paths.by_ufrag(ufrag).ok_or(DropReason::StunUnknownUser)?;
        let Some(holder_key) = self.paths.look_up(path).filter(|holder| *holder != key) else { return Ok(key) };
        let holder = self.peers.get_mut(holder_key).filter(|holder| holder.transport.holds(now, path));
        let Some(holder) = holder else { return Ok(key) };
        holder.transport.challenge(now, path);
        holder.schedule(holder_key, &mut self.dirty);
        Err(DropReason::PathTaken)
    }

    /// Before a check is handled: where somebody else may be, a handshake waits for proof.
    pub(super) fn await_proof(&mut self, path: &NetworkPath, key: Key) {
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.transport.is_connected()) else { return };
        let is_taken = self.paths.look_up(path).is_some_and(|holder| holder != key);
        if is_taken || peer.claim.is_contested(path.remote) {
            peer.transport.await_proof();
        }
    }

    /// After a check: the path leads to the peer if the check was authentic.
    pub(super) fn bind_path(&mut self, now: Instant, path: &NetworkPath, key: Key) {
        let limit = self.config.max_paths.max(1);
        let Some(peer) = self.peers.get(key).filter(|peer| peer.transport.is_known(path)) else { return };
        let holder = self.paths.look_up(path);
        if holder == Some(key) {
            return;
        }
        let router = peer.router;
        if holder.is_some() {
            // Another peer's check came from there, and no proof.
            self.close_path(now, path);
            self.at_work = Some(router);
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.paths.len() >= limit {
            let selected = peer.transport.path();
            let oldest = peer.paths.iter().position(|path| Some(*path) != selected).unwrap_or(0);
            let oldest = peer.paths.remove(oldest);
            self.paths.remove_path(&oldest, key);
        }
        peer.paths.retain(|known| known != path);
        peer.paths.push(*path);
        self.paths.add_path(*path, key);
    }

    /// A connection of ICE-TCP closed.
    pub(super) fn close_path(&mut self, now: Instant, path: &NetworkPath) {
        let Some(key) = self.paths.by_path(path) else { return };
        self.paths.remove_path(path, key);
        let Some(peer) = self.peers.get_mut(key) else { return };
        self.at_work = Some(peer.router);
        peer.paths.retain(|known| known != path);
        peer.transport.on_path_closed(now, path);
        peer.schedule(key, &mut self.dirty);
        self.handle_transport_events(now, key);
    }
}
