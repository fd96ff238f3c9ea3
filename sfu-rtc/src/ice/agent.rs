//! The agent of one transport.

use super::config::IceConfig;
use super::credentials::{IceCredentials, IceSecret};
use super::path::{Freshness, Path, Proof, SeenChecks};
use super::stun::{self, IceRole, StunClass, StunKey, StunMessage, StunWriter, TransactionId};
use crate::drop_reason::DropReason;
use crate::net::{NetworkPath, Protocol};
use crate::prefetch::prefetch;
use crate::time::{Duration, Instant};
use std::net::IpAddr;

/// What became of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IceEvent {
    /// A first path is proven, or one after all had expired.
    Connected(NetworkPath),
    /// The peer has moved to another path, and stays there.
    PathChanged(NetworkPath),
    /// The peer's consent has expired on all paths, or no check came at all.
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
/// Checks of ours that an answer may still come to.
const MAX_PENDING: usize = 16;
/// A check of ours is no larger, with names as everybody makes them, in bytes.
const LARGEST_CHECK: usize = 200;

/// ICE agent with one component. It says that it is lite, since it has one address, gathers nothing, and leaves it to
/// the peer to begin and to nominate (RFC 8445 sections 2.5 and 7.3). But it sends checks of its own:
///
/// A check that comes proves only that somebody knows the password, not that the peer receives where it says that it
/// comes from. So media goes to a path only when the peer has answered a check that we sent there. Where a peer answers
/// none, as lite ones do, authentic media from the path counts, but no more than [`IceConfig::amplification`] times the
/// bytes that came from there are sent. A handshake waits for a proof too, but where signalling came from the same address
/// (see [`Self::vouch`]). Of the paths that are proven, the one nominated last is selected, or else the
/// one proven first. Our checks also keep consent (RFC 7675), and measure the round trip.
#[derive(Debug)]
pub struct IceAgent {
    config: IceConfig,
    secret: IceSecret,
    /// Apart from what each datagram needs, since their keys are large.
    current: Box<Generation>,
    /// Credentials from before a restart, valid until a path is proven with the new ones.
    previous: Option<Box<Generation>>,
    /// At most [`MAX_PATHS`], the selected one first.
    paths: Vec<Path>,
    nominated: Option<NetworkPath>,
    selected: Option<NetworkPath>,
    limited: bool,
    reported: Option<NetworkPath>,
    /// When a change of path will have lasted for long enough to be reported, and whether it has.
    change_due: Option<Instant>,
    change_lasted: bool,
    /// When the wait for a first path ends.
    connect_by: Option<Instant>,
    gave_up: bool,
    /// Where signalling came from.
    vouched: Option<IpAddr>,
    credit: u64,
    seen: SeenChecks,
    /// At most [`MAX_PENDING`], the newest last.
    pending: Vec<PendingCheck>,
    sent_checks: u64,
    rtt: Option<Duration>,
}

#[derive(Debug)]
struct Generation {
    number: u64,
    local: IceCredentials,
    remote: Option<(IceCredentials, StunKey)>,
    key: StunKey,
}

/// A check of ours that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct PendingCheck {
    transaction: TransactionId,
    path: NetworkPath,
    generation: u64,
    sent: Instant,
    spread: u8,
}

impl Generation {
    fn new(number: u64, local: IceCredentials, remote: Option<IceCredentials>) -> Self {
        let key = StunKey::new(&local.pwd);
        let mut this = Self { number, local, remote: None, key };
        this.set_remote(remote);
        this
    }

    fn set_remote(&mut self, remote: Option<IceCredentials>) {
        self.remote = remote.map(|remote| {
            let key = StunKey::new(&remote.pwd);
            (remote, key)
        });
    }

    /// Whether a check with this user name is for these credentials.
    fn is_named(&self, username: &str) -> bool {
        username.split_once(':').is_some_and(|(checked, checking)| {
            checked == self.local.ufrag && self.remote.as_ref().is_none_or(|(remote, _)| remote.ufrag == checking)
        })
    }
}

impl IceAgent {
    /// An agent that waits for checks. Its own have transaction ids out of `secret`.
    pub fn new(config: IceConfig, local: IceCredentials, secret: &IceSecret, now: Instant) -> Self {
        Self {
            config,
            secret: secret.for_transport(&local),
            current: Box::new(Generation::new(0, local, None)),
            previous: None,
            paths: Vec::new(),
            nominated: None,
            selected: None,
            limited: false,
            reported: None,
            change_due: None,
            change_lasted: false,
            connect_by: Some(now + config.consent_timeout),
            gave_up: false,
            vouched: None,
            credit: config.credit,
            seen: SeenChecks::default(),
            pending: Vec::new(),
            sent_checks: 0,
            rtt: None,
        }
    }

    /// Sets the peer's credentials. Before, checks are accepted from whoever knows ours, and none are sent.
    pub fn set_remote(&mut self, remote: IceCredentials) {
        self.current.set_remote(Some(remote));
    }

    /// The peer's signalling came from `address`: TCP has proven that it receives there, so a handshake with it may begin
    /// there at its first check, a round trip earlier. Whoever forges a check's source address would otherwise have us
    /// begin a handshake of its own session with somebody else, who may take it for the one that it waits for.
    pub fn vouch(&mut self, address: Option<IpAddr>) {
        self.vouched = address.map(|ip| ip.to_canonical());
    }

    /// Whether the peer is known to receive at the address of `path` without an answer to a check of ours.
    fn is_vouched(&self, path: &NetworkPath) -> bool {
        path.protocol != Protocol::Udp || self.vouched == Some(path.remote.ip().to_canonical())
    }

    /// New credentials on both sides (RFC 8445 section 9). The old ones, and the path selected by them, stay in use
    /// until a path is proven with the new ones.
    pub fn restart(&mut self, local: IceCredentials, remote: IceCredentials) {
        let renewed = Box::new(Generation::new(self.current.number + 1, local, Some(remote)));
        let current = std::mem::replace(&mut self.current, renewed);
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
        match self.handle_message(now, path, message) {
            Ok(reply) => StunOutcome { reply, drop: None },
            Err(reason) => StunOutcome { reply: None, drop: Some(reason) },
        }
    }

    /// The next check of ours that is due, to be sent on its path.
    pub fn poll_check(&mut self, now: Instant) -> Option<(NetworkPath, Vec<u8>)> {
        while let Some(index) = self.paths.iter().position(|path| path.next_check <= now) {
            let number = self.sent_checks;
            self.sent_checks += 1;
            let (transaction, spread) = self.secret.transaction(number);
            let is_vouched = self.paths.get(index).is_some_and(|path| self.is_vouched(&path.path));
            let Self { paths, current, previous, config, credit, .. } = self;
            let path = paths.get_mut(index)?;
            path.schedule(now, config, spread);
            let generation = std::iter::once(&*current).chain(&*previous).find(|g| g.number == path.generation);
            // Of a path from before a restart that has taken effect nobody answers any more.
            let Some((generation, (remote, key))) = generation.and_then(|g| Some((g, g.remote.as_ref()?))) else {
                continue;
            };
            let check = StunWriter::new(StunClass::Request, &transaction)
                .username(&remote.ufrag, &generation.local.ufrag)
                .priority(stun::PEER_REFLEXIVE)
                .role(IceRole::Controlled(number))
                .finish(key);
            let credit = if is_vouched { credit } else { &mut 0 };
            if !path.spend(check.len(), config, credit) {
                continue;
            }
            let pending = PendingCheck { transaction, path: path.path, generation: path.generation, sent: now, spread };
            if self.pending.len() >= MAX_PENDING {
                self.pending.remove(0);
            }
            self.pending.push(pending);
            return Some((pending.path, check));
        }
        None
    }

    /// A datagram of so many bytes came on `path`. `None` where the peer has sent no check there, and so nothing else
    /// counts; otherwise what [`Self::on_authentic`] wants.
    pub fn on_datagram(&mut self, path: &NetworkPath, bytes: usize) -> Option<KnownPath> {
        let index = self.paths.iter().position(|known| known.path == *path)?;
        self.paths[index].on_received(bytes);
        Some(KnownPath(index))
    }

    /// The datagram that [`Self::on_datagram`] was asked of last was authentic: a packet of SRTP or SRTCP, or the end of
    /// a handshake. True where that proves the path, so that there may be an event.
    pub fn on_authentic(&mut self, now: Instant, path: KnownPath) -> bool {
        let Some(path) = self.paths.get_mut(path.0) else { return false };
        let renews = self.previous.is_some() && path.generation == self.current.number;
        let proves = path.prove(Proof::Media, now) || renews;
        if proves {
            let generation = path.generation;
            self.on_proof(now, generation);
        }
        proves
    }

    /// Whether the peer has sent a check on `path`, and not too long ago.
    pub fn is_known(&self, path: &NetworkPath) -> bool {
        self.find(path).is_some()
    }

    /// Whether it is proven that the peer is at `path`, and several checks of ours are not in vain since. After a peer
    /// that vanished, another may come from the same address and port.
    pub fn holds(&self, now: Instant, path: &NetworkPath) -> bool {
        self.find(path).is_some_and(|path| path.is_usable() && !path.is_doubted(now, &self.config))
    }

    /// Another peer's check came from `path`: checks whether this one is still there.
    pub fn challenge(&mut self, now: Instant, path: &NetworkPath) {
        if let Some(path) = self.paths.iter_mut().find(|known| known.path == *path) {
            path.challenge(now);
        }
    }

    /// When something authentic last came on `path`.
    pub fn last_heard(&self, path: &NetworkPath) -> Option<Instant> {
        self.find(path).map(|path| path.last_heard().max(path.checked))
    }

    /// Fetches where the paths are, for [`Self::prefetch_path`].
    pub(crate) fn prefetch(&self) {
        prefetch(&self.paths);
    }

    /// Fetches the path that [`Self::on_datagram`] looks at first.
    pub(crate) fn prefetch_path(&self) {
        prefetch(&self.paths[..self.paths.len().min(1)]);
    }

    /// Where [`Self::selected`] is kept.
    pub(crate) fn selected_ref(&self) -> &Option<NetworkPath> {
        &self.selected
    }

    /// The path to send media on.
    pub fn selected(&self) -> Option<NetworkPath> {
        self.selected
    }

    /// Where a handshake may begin: also on a path that is only vouched for, within what [`Self::may_send`] allows.
    pub fn handshake_path(&self) -> Option<NetworkPath> {
        let nominated = self.nominated.filter(|path| self.is_known(path) && self.is_vouched(path));
        let mut vouched = self.paths.iter().map(|path| path.path).filter(|path| self.is_vouched(path));
        self.selected.or(nominated).or_else(|| vouched.next())
    }

    /// Whether no check of ours is answered on the selected path, so that [`Self::may_send`] has to be asked.
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// Whether so many bytes, other than checks, may leave on `path` now; they count as sent.
    pub fn may_send(&mut self, path: &NetworkPath, bytes: usize) -> bool {
        let is_vouched = self.is_vouched(path);
        let Self { paths, config, credit, .. } = self;
        let path = paths.iter_mut().find(|known| known.path == *path && (is_vouched || known.is_usable()));
        path.is_some_and(|path| path.spend(bytes, config, credit))
    }

    /// Whether so many bytes of media may leave on the selected path now. A check of ours must find room then, or the
    /// limit would never end.
    pub fn may_send_media(&self, bytes: usize) -> bool {
        if !self.limited {
            return true;
        }
        let path = self.selected.as_ref().and_then(|path| self.find(path));
        path.is_some_and(|path| path.allows(bytes + LARGEST_CHECK, &self.config, self.credit))
    }

    /// The path no longer exists: its TCP connection is closed, or it is another peer's now.
    pub fn on_path_closed(&mut self, now: Instant, path: &NetworkPath) {
        self.paths.retain(|known| known.path != *path);
        self.reselect(now);
    }

    /// The round trip on the selected path that the latest answer showed, once.
    pub fn take_rtt(&mut self) -> Option<Duration> {
        self.rtt.take()
    }

    /// The round trip of the path in use is to be measured: its next check is due now, where the peer answers checks.
    pub fn measure(&mut self, now: Instant) {
        let selected = self.selected;
        if let Some(path) = self.paths.iter_mut().find(|path| Some(path.path) == selected) {
            path.measure(now);
        }
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<IceEvent> {
        match (self.reported, self.selected) {
            (Some(before), Some(path)) if before == path || !self.change_lasted => None,
            (Some(_), Some(path)) => {
                self.reported = Some(path);
                Some(IceEvent::PathChanged(path))
            }
            (None, Some(path)) => {
                self.reported = Some(path);
                Some(IceEvent::Connected(path))
            }
            (Some(_), None) => {
                self.reported = None;
                Some(IceEvent::Disconnected)
            }
            (None, None) => std::mem::take(&mut self.gave_up).then_some(IceEvent::Disconnected),
        }
    }

    /// Lets paths expire. Checks of ours that are due are to be polled.
    pub fn handle_timeout(&mut self, now: Instant) {
        let config = self.config;
        self.paths.retain(|path| path.expires(&config) > now);
        self.reselect(now);
        if self.change_due.is_some_and(|at| at <= now) {
            self.change_due = None;
            self.change_lasted = true;
        }
        if self.connect_by.is_some_and(|at| at <= now) {
            self.connect_by = None;
            self.gave_up = true;
        }
    }

    /// When [`Self::handle_timeout`] and [`Self::poll_check`] are due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let paths = self.paths.iter().map(|path| path.expires(&self.config).min(path.next_check));
        paths.chain(self.connect_by).chain(self.change_due).min()
    }

    fn find(&self, path: &NetworkPath) -> Option<&Path> {
        self.paths.iter().find(|known| known.path == *path)
    }

    fn handle_message(
        &mut self,
        now: Instant,
        path: &NetworkPath,
        message: &[u8],
    ) -> Result<Option<Vec<u8>>, DropReason> {
        let bytes = message.len();
        let message = StunMessage::parse(message).ok_or(DropReason::StunMalformed)?;
        if !message.fingerprint_fits() {
            return Err(DropReason::StunIntegrity);
        }
        match message.class {
            StunClass::Request => self.handle_check(now, path, &message, bytes).map(Some),
            StunClass::Indication => Ok(None),
            StunClass::Success | StunClass::Error => self.handle_answer(now, path, &message).map(|()| None),
        }
    }

    /// The response to a check, or why it is dropped. Whoever does not know our password gets no response, so that we
    /// cannot be used to reflect traffic.
    fn handle_check(
        &mut self,
        now: Instant,
        path: &NetworkPath,
        check: &StunMessage<'_>,
        bytes: usize,
    ) -> Result<Vec<u8>, DropReason> {
        let username = check.username.ok_or(DropReason::StunUnknownUser)?;
        let generation = std::iter::once(&self.current).chain(&self.previous).find(|g| g.is_named(username));
        let generation = generation.ok_or(DropReason::StunUnknownUser)?;
        if !check.is_authentic(&generation.key) {
            return Err(DropReason::StunIntegrity);
        }
        let freshness = self.seen.record(&check.transaction, path);
        if freshness == Freshness::Replayed {
            return Err(DropReason::StunReplay);
        }
        let number = generation.number;
        let refusal = refuse(check, &generation.key);
        let refused = refusal.is_some();
        let reply = refusal.unwrap_or_else(|| stun::response(&check.transaction, path.remote, &generation.key));
        if freshness == Freshness::New && !refused {
            self.on_new_check(now, path, number, check.use_candidate);
        }
        if let Some(known) = self.paths.iter_mut().find(|known| known.path == *path) {
            known.on_received(bytes);
            // Less than the check, so it needs no leave.
            known.on_reply(reply.len());
        }
        Ok(reply)
    }

    /// An answer to a check of ours is proof if it comes from where the check went (RFC 8445 section 7.2.5.2.1).
    fn handle_answer(&mut self, now: Instant, path: &NetworkPath, answer: &StunMessage<'_>) -> Result<(), DropReason> {
        let ours = |check: &PendingCheck| check.transaction == answer.transaction && check.path == *path;
        let index = self.pending.iter().position(ours).ok_or(DropReason::StunUnknownAnswer)?;
        let check = self.pending[index];
        let generation = std::iter::once(&self.current).chain(&self.previous).find(|g| g.number == check.generation);
        let key = generation.and_then(|generation| generation.remote.as_ref()).map(|(_, key)| key);
        if !answer.is_authentic(key.ok_or(DropReason::StunUnknownAnswer)?) {
            return Err(DropReason::StunIntegrity);
        }
        self.pending.remove(index);
        let Self { paths, config, .. } = self;
        let known = paths.iter_mut().find(|known| known.path == *path);
        let known = known.filter(|_| answer.class == StunClass::Success).ok_or(DropReason::StunUnknownAnswer)?;
        known.prove(Proof::Answered, now);
        known.on_answer(now, config, check.generation, check.spread);
        self.on_proof(now, check.generation);
        if self.selected == Some(*path) {
            self.rtt = Some(now.saturating_since(check.sent));
        }
        Ok(())
    }

    /// The peer sent a new check on `path`.
    fn on_new_check(&mut self, now: Instant, path: &NetworkPath, generation: u64, nominated: bool) {
        self.connect_by = None;
        self.gave_up = false;
        match self.paths.iter_mut().find(|known| known.path == *path) {
            Some(known) => known.on_check(generation, now),
            None => self.add_path(Path::new(*path, generation, now)),
        }
        if nominated {
            self.nominated = Some(*path);
            self.reselect(now);
        }
    }

    /// A path got a better proof, or proved credentials.
    fn on_proof(&mut self, now: Instant, generation: u64) {
        if generation == self.current.number {
            self.previous = None;
        }
        self.reselect(now);
    }

    /// Adds a path; where there is no room, the one least proven and not heard for the longest time goes.
    fn add_path(&mut self, path: Path) {
        if self.paths.len() >= MAX_PATHS {
            let spare = self.paths.iter().enumerate().filter(|(_, path)| Some(path.path) != self.selected);
            if let Some((stalest, _)) = spare.min_by_key(|(_, path)| (path.proof, path.last_heard())) {
                self.paths.swap_remove(stalest);
            }
        }
        self.paths.push(path);
    }

    /// Selects among the proven paths: the better proof first, then what the peer wants, then what is in use, then the
    /// path heard last.
    fn reselect(&mut self, now: Instant) {
        let usable = self.paths.iter().enumerate().filter(|(_, path)| path.is_usable());
        let best = usable.max_by_key(|(_, path)| {
            let named = Some(path.path);
            (path.proof, named == self.nominated, named == self.selected, path.last_heard())
        });
        let best = best.map(|(index, path)| (index, path.path, path.proof));
        if let Some((index, _, proof)) = best {
            self.limited = proof < Proof::Answered;
            self.paths.swap(0, index);
        }
        let before = std::mem::replace(&mut self.selected, best.map(|(_, path, _)| path));
        if before != self.selected {
            self.change_lasted = false;
            let changed = self.reported.is_some() && self.selected.is_some() && self.reported != self.selected;
            self.change_due = changed.then_some(now + self.config.path_change_delay);
        }
    }
}

/// A path as [`IceAgent::on_datagram`] found it.
#[derive(Clone, Copy, Debug)]
pub struct KnownPath(usize);

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
