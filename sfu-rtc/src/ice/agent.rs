//! The agent of one transport.

use super::credentials::IceCredentials;
use super::stun::{IceRole, StunClass, StunKey, StunMessage, StunWriter};
use crate::drop_reason::DropReason;
use crate::net::NetworkPath;
use crate::time::{Duration, Instant};
use arrayvec::ArrayVec;

/// Limits of an [`IceAgent`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IceConfig {
    /// How long a path is used without a valid check: consent expires after 30 s (RFC 7675 section 5.1).
    pub consent_timeout: Duration,
}

impl Default for IceConfig {
    fn default() -> Self {
        Self { consent_timeout: Duration::from_secs(30) }
    }
}

/// What became of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IceEvent {
    /// A first path was found, or one after all had expired.
    Connected(NetworkPath),
    /// The peer moved to another path.
    PathChanged(NetworkPath),
    /// No path has had a valid check for the time of consent.
    Disconnected,
}

/// What to do after a STUN message.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StunOutcome {
    /// Response, to be sent back on the same path.
    pub reply: Option<Vec<u8>>,
    /// Why the message had no effect.
    pub drop: Option<DropReason>,
}

/// Paths kept per peer. A browser has a handful (address families, interfaces, UDP and TCP).
const MAX_PATHS: usize = 16;

/// ICE-lite agent with one component: it answers checks, and the peer nominates (RFC 8445 sections 2.5 and 7.3).
///
/// Only checks with the right credentials have an effect. A path on which one arrived is validated; the path that
/// the peer nominated last is selected, and before any nomination the path that was validated first.
#[derive(Debug)]
pub struct IceAgent {
    config: IceConfig,
    current: Generation,
    /// Credentials from before a restart, valid until the new ones are used.
    previous: Option<Generation>,
    paths: ArrayVec<ValidatedPath, MAX_PATHS>,
    selected: Option<NetworkPath>,
    reported: Option<NetworkPath>,
    /// When the wait for a first path ends.
    connect_by: Option<Instant>,
    gave_up: bool,
}

#[derive(Debug)]
struct Generation {
    local: IceCredentials,
    remote: Option<IceCredentials>,
    key: StunKey,
}

#[derive(Clone, Copy, Debug)]
struct ValidatedPath {
    path: NetworkPath,
    last_check: Instant,
}

impl Generation {
    fn new(local: IceCredentials, remote: Option<IceCredentials>) -> Self {
        let key = StunKey::new(&local.pwd);
        Self { local, remote, key }
    }

    /// Whether a check with this user name is for these credentials.
    fn is_named(&self, username: &str) -> bool {
        username.split_once(':').is_some_and(|(checked, checking)| {
            checked == self.local.ufrag && self.remote.as_ref().is_none_or(|remote| remote.ufrag == checking)
        })
    }
}

impl IceAgent {
    /// An agent that waits for checks.
    pub fn new(config: IceConfig, local: IceCredentials, now: Instant) -> Self {
        Self {
            config,
            current: Generation::new(local, None),
            previous: None,
            paths: ArrayVec::new(),
            selected: None,
            reported: None,
            connect_by: Some(now + config.consent_timeout),
            gave_up: false,
        }
    }

    /// Tells the peer's credentials. Before, checks are accepted from whoever knows ours.
    pub fn set_remote(&mut self, remote: IceCredentials) {
        self.current.remote = Some(remote);
    }

    /// New credentials on both sides (RFC 8445 section 9). The old ones, and the path selected by them, stay in use
    /// until a check with the new ones arrives.
    pub fn restart(&mut self, local: IceCredentials, remote: IceCredentials) {
        let current = std::mem::replace(&mut self.current, Generation::new(local, Some(remote)));
        // After a restart whose credentials were never used, the ones before are those in use.
        self.previous.get_or_insert(current);
    }

    /// Our credentials.
    pub fn local(&self) -> &IceCredentials {
        &self.current.local
    }

    /// User name fragments under which checks for this agent arrive: ours, and until a restart has taken effect
    /// also the former.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current).chain(&self.previous).map(|generation| generation.local.ufrag.as_str())
    }

    /// Handles a STUN message that arrived on `path`.
    pub fn handle_stun(&mut self, now: Instant, path: &NetworkPath, message: &[u8]) -> StunOutcome {
        match self.check(now, path, message) {
            Ok(reply) => StunOutcome { reply, drop: None },
            Err(reason) => StunOutcome { reply: None, drop: Some(reason) },
        }
    }

    /// Whether a check with our credentials has arrived on `path`, and not too long ago.
    pub fn is_validated(&self, path: &NetworkPath) -> bool {
        self.paths.iter().any(|validated| validated.path == *path)
    }

    /// Where [`Self::selected`] is kept.
    pub(crate) fn selected_ref(&self) -> &Option<NetworkPath> {
        &self.selected
    }

    /// The path to send on.
    pub fn selected(&self) -> Option<NetworkPath> {
        self.selected
    }

    /// The path no longer exists: its TCP connection is closed.
    pub fn path_closed(&mut self, path: &NetworkPath) {
        self.paths.retain(|validated| validated.path != *path);
        self.reselect();
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<IceEvent> {
        let selected = self.selected();
        if self.reported == selected {
            return std::mem::take(&mut self.gave_up).then_some(IceEvent::Disconnected);
        }
        let before = std::mem::replace(&mut self.reported, selected);
        Some(match (before, selected) {
            (None, Some(path)) => IceEvent::Connected(path),
            (Some(_), Some(path)) => IceEvent::PathChanged(path),
            (_, None) => IceEvent::Disconnected,
        })
    }

    /// Lets paths expire.
    pub fn handle_timeout(&mut self, now: Instant) {
        let timeout = self.config.consent_timeout;
        self.paths.retain(|validated| validated.last_check + timeout > now);
        self.reselect();
        if self.connect_by.is_some_and(|at| at <= now) {
            self.connect_by = None;
            self.gave_up = true;
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let expiries = self.paths.iter().map(|validated| validated.last_check + self.config.consent_timeout);
        expiries.chain(self.connect_by).min()
    }

    /// The response to a message, or why it is dropped. Whoever does not know our password gets no response, so that
    /// we cannot be used to reflect traffic.
    fn check(&mut self, now: Instant, path: &NetworkPath, message: &[u8]) -> Result<Option<Vec<u8>>, DropReason> {
        let check = StunMessage::parse(message).ok_or(DropReason::StunMalformed)?;
        match check.class {
            StunClass::Request => {}
            StunClass::Indication => return Ok(None),
            // We send no requests that these could answer.
            StunClass::Success | StunClass::Error => return Err(DropReason::StunMalformed),
        }
        if !check.fingerprint_fits() {
            return Err(DropReason::StunIntegrity);
        }
        let username = check.username.ok_or(DropReason::StunUnknownUser)?;
        let renewed = self.current.is_named(username);
        let generation = std::iter::once(&self.current).chain(&self.previous).find(|g| g.is_named(username));
        let key = &generation.ok_or(DropReason::StunUnknownUser)?.key;
        if !check.is_authentic(key) {
            return Err(DropReason::StunIntegrity);
        }
        if let Some(refusal) = refuse(&check, key) {
            return Ok(Some(refusal));
        }
        let reply = StunWriter::new(StunClass::Success, &check.transaction).mapped(path.remote).finish(key);
        if renewed {
            self.previous = None;
        }
        self.validated(now, path, check.use_candidate);
        Ok(Some(reply))
    }

    fn validated(&mut self, now: Instant, path: &NetworkPath, nominated: bool) {
        self.connect_by = None;
        self.gave_up = false;
        match self.paths.iter_mut().find(|validated| validated.path == *path) {
            Some(validated) => validated.last_check = now,
            None => self.add(ValidatedPath { path: *path, last_check: now }),
        }
        if nominated || self.selected.is_none() {
            self.selected = Some(*path);
        }
    }

    /// Adds a path; where there is no room, the one without a check for the longest time goes.
    fn add(&mut self, validated: ValidatedPath) {
        if self.paths.is_full() {
            let spare = self.paths.iter().enumerate().filter(|(_, v)| Some(v.path) != self.selected);
            if let Some((stalest, _)) = spare.min_by_key(|(_, v)| v.last_check) {
                self.paths.swap_remove(stalest);
            }
        }
        self.paths.push(validated);
    }

    /// Where the selected path is gone, the one with the latest check takes its place.
    fn reselect(&mut self) {
        if self.selected.is_some_and(|selected| self.is_validated(&selected)) {
            return;
        }
        let freshest = self.paths.iter().max_by_key(|validated| validated.last_check);
        self.selected = freshest.map(|validated| validated.path);
    }
}

/// Error response to an authentic check that cannot be served.
fn refuse(check: &StunMessage<'_>, key: &StunKey) -> Option<Vec<u8>> {
    let error = |code, reason| StunWriter::new(StunClass::Error, &check.transaction).error(code, reason);
    if !check.unknown.is_empty() {
        return Some(error(420, "Unknown Attribute").unknown(&check.unknown).finish(key));
    }
    // A lite agent is always controlled, so a peer that thinks it is controlled must change its role.
    let conflict = matches!(check.role, Some(IceRole::Controlled(_)));
    conflict.then(|| error(487, "Role Conflict").finish(key))
}

#[cfg(test)]
mod tests;
