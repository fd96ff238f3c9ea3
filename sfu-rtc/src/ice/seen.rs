//! The latest checks of the peer, so that a recorded one that comes again changes nothing.

use super::stun::TransactionId;
use crate::net::NetworkPath;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Checks remembered. A browser sends some ten a second at first, and one in seconds later on. What is replayed later
/// than that can only add a path, on which nothing is sent unless the peer answers there.
const MAX_SEEN: usize = 32;

/// What a check is to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Freshness {
    /// It was not here before.
    New,
    /// It came before on the same path: the peer missed the response.
    Again,
    /// It came before on another path.
    Replayed,
}

/// Transaction ids with their paths.
#[derive(Default, Debug)]
pub(super) struct SeenChecks(VecDeque<(TransactionId, u64)>);

impl SeenChecks {
    pub(super) fn record(&mut self, transaction: &TransactionId, path: &NetworkPath) -> Freshness {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let path = hasher.finish();
        match self.0.iter().find(|(known, _)| known == transaction) {
            Some((_, known)) if *known == path => Freshness::Again,
            Some(_) => Freshness::Replayed,
            None => {
                if self.0.len() >= MAX_SEEN {
                    self.0.pop_front();
                }
                self.0.push_back((*transaction, path));
                Freshness::New
            }
        }
    }
}
