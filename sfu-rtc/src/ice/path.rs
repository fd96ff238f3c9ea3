//! One path to the peer, how far it is proven, and the checks that were seen on paths.

use super::config::IceConfig;
use super::stun::TransactionId;
use crate::net::NetworkPath;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

/// First wait for an answer of ours before a check is sent again; it doubles (RFC 8489 section 6.2.1).
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// A peer whose path another one claims has so long to answer.
const CHALLENGE: Duration = Duration::from_secs(2);

/// How we know that the peer receives on a path. The better proof is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Proof {
    /// A check of the peer came from there. Whoever knows the password can send it with any source address.
    Checked,
    /// Authentic SRTP, SRTCP or a handshake came from there. For a peer that answers no checks.
    Media,
    /// The peer answered a check that we sent there.
    Answered,
}

/// A path on which the peer has sent a check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) path: NetworkPath,
    /// Number of the credentials that its latest check was made with.
    pub(super) generation: u64,
    /// Number of those that a check of ours was last answered with.
    answered: Option<u64>,
    pub(super) proof: Proof,
    /// When the peer's latest new check came.
    pub(super) checked: Instant,
    /// When the peer last answered or sent something authentic: its consent to get more.
    consent: Option<Instant>,
    /// Since when another peer claims the path, and nothing authentic has come.
    challenged: Option<Instant>,
    /// Bytes that came, and that we sent, while no check of ours is answered.
    received: u64,
    sent: u64,
    last_check: Option<Instant>,
    pub(super) next_check: Instant,
    wait: Duration,
}

impl Path {
    pub(super) fn new(path: NetworkPath, generation: u64, now: Instant) -> Self {
        Self {
            path,
            generation,
            answered: None,
            proof: Proof::Checked,
            checked: now,
            consent: None,
            challenged: None,
            received: 0,
            sent: 0,
            last_check: None,
            next_check: now,
            wait: FIRST_WAIT,
        }
    }

    /// The peer sent a new check.
    pub(super) fn on_check(&mut self, generation: u64, now: Instant) {
        self.generation = generation;
        self.checked = now;
        if !self.is_confirmed() {
            // The peer is there, so an answer to ours can be had (a triggered check, RFC 8445 section 7.3.1.4).
            let soonest = self.last_check.map_or(now, |last| now.max(last + FIRST_WAIT));
            self.next_check = self.next_check.min(soonest);
        }
    }

    pub(super) fn on_received(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(bytes as u64);
    }

    /// We respond with so many bytes.
    pub(super) fn on_reply(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes as u64);
    }

    /// Proof came, and with it consent. True where it is a better one than before.
    pub(super) fn prove(&mut self, proof: Proof, now: Instant) -> bool {
        self.consent = Some(now);
        self.challenged = None;
        let better = proof > self.proof;
        self.proof = self.proof.max(proof);
        better
    }

    /// A check is due now, if the last was answered.
    pub(super) fn measure(&mut self, now: Instant) {
        if self.is_confirmed() {
            self.next_check = self.next_check.min(now);
        }
    }

    /// When it last had consent, or else a check.
    pub(super) fn last_heard(&self) -> Instant {
        self.consent.unwrap_or(self.checked)
    }

    /// Whether the peer answered with the credentials in use, so that only consent is left to be renewed.
    fn is_confirmed(&self) -> bool {
        self.answered == Some(self.generation)
    }

    pub(super) fn is_usable(&self) -> bool {
        self.proof > Proof::Checked
    }

    /// Another peer claims the path: whether this one is still there is asked at once, unless it was heard just now.
    pub(super) fn challenge(&mut self, now: Instant) {
        if self.challenged.is_none() && self.last_heard() + CHALLENGE <= now {
            self.challenged = Some(now);
            self.wait = FIRST_WAIT;
            self.next_check = now;
        }
    }

    /// Whether checks of ours are in vain: for some time, or for a short one while another peer claims the path.
    pub(super) fn is_doubted(&self, now: Instant, config: &IceConfig) -> bool {
        let challenged = self.challenged.is_some_and(|at| at + CHALLENGE <= now);
        challenged || self.last_heard() + config.consent_interval * 3 <= now
    }

    pub(super) fn expires(&self, config: &IceConfig) -> Instant {
        self.last_heard() + config.consent_timeout
    }

    /// Takes `bytes` from what may be sent; false where they may not. `credit` is what the transport has beyond.
    pub(super) fn spend(&mut self, bytes: usize, config: &IceConfig, credit: &mut u64) -> bool {
        if self.proof == Proof::Answered {
            return true;
        }
        let bytes = bytes as u64;
        let allowed = self.allowed(config);
        let Some(left) = credit.checked_sub(bytes.saturating_sub(allowed)) else { return false };
        // What the credit pays for is not the path's.
        self.sent += bytes.min(allowed);
        *credit = left;
        true
    }

    /// Whether [`Self::spend`] would take them.
    pub(super) fn allows(&self, bytes: usize, config: &IceConfig, credit: u64) -> bool {
        self.proof == Proof::Answered || bytes as u64 <= self.allowed(config).saturating_add(credit)
    }

    fn allowed(&self, config: &IceConfig) -> u64 {
        self.received.saturating_mul(config.amplification).saturating_sub(self.sent)
    }

    /// A check of ours is due and leaves, or may not. `spread` from 0 to 255.
    pub(super) fn schedule(&mut self, now: Instant, config: &IceConfig, spread: u8) {
        self.last_check = Some(now);
        let wait = self.wait;
        self.wait = (self.wait * 2).min(config.consent_interval);
        self.next_check = match self.is_confirmed() && self.challenged.is_none() {
            true => config.next_consent(now, spread),
            false => now + wait,
        };
    }

    /// A check of ours with the credentials of this number was answered.
    pub(super) fn on_answer(&mut self, now: Instant, config: &IceConfig, generation: u64, spread: u8) {
        self.answered = Some(generation);
        if self.is_confirmed() {
            self.wait = FIRST_WAIT;
            self.next_check = config.next_consent(now, spread);
        }
    }
}

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

/// The latest checks of the peer, by transaction id and path, so that a recorded one that comes again changes nothing.
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
