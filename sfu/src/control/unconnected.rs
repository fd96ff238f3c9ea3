//! Sessions whose media have not connected yet. They cost the one who makes them nothing, so they have small limits of
//! their own, and where one is met, or a room or the server is full, the oldest gives way: of those of the address that
//! has the most. Who has connected once is outside of all this.

use super::Control;
use super::room::{Room, RoomState};
use crate::config::LimitsConfig;
use crate::lock::lock;
use sfu_core::ids::RoomId;
use sfu_proto::v1::LeaveReason;
use sfu_room::ParticipantId;
use sfu_rtc::net::Neighbourhood;
use sfu_rtc::time::{Duration, Instant};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// In a full room, one of an address with more than so many gives way to another address at once.
const CROWD: usize = 8;

#[cfg(test)]
mod tests;

/// What the one is told who gives way.
pub(super) const GAVE_WAY: &str = "Your media never connected, and others wanted to enter.";

/// Where a session comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Origin {
    /// `None`: not limited.
    pub(crate) address: Option<Neighbourhood>,
    /// Names its token; `None` without one.
    pub(crate) token: Option<u64>,
}

/// A session that gives way, and its room.
pub(super) type GivesWay = (Arc<Room>, ParticipantId);

/// All of them. Its lock is held for a moment only, with or without a room's.
#[derive(Debug)]
pub(super) struct Unconnected {
    most: usize,
    most_per_address: usize,
    most_per_token: usize,
    /// Who is still connecting honestly has done so by then.
    honest: Duration,
    /// The oldest first.
    sessions: Mutex<BTreeMap<ParticipantId, Waiting>>,
    gave_way: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    room: Arc<Room>,
    origin: Origin,
    since: Instant,
}

/// The oldest of the address that has the most.
fn oldest<'a>(group: impl Iterator<Item = (&'a ParticipantId, &'a Waiting)> + Clone) -> Option<GivesWay> {
    let counts = count(group.clone());
    let most = counts.values().max()?;
    let mut of_most = group.filter(|(_, waiting)| counts[&waiting.origin.address] == *most);
    of_most.next().map(|(id, waiting)| (Arc::clone(&waiting.room), *id))
}

fn count<'a>(group: impl Iterator<Item = (&'a ParticipantId, &'a Waiting)>) -> HashMap<Option<Neighbourhood>, usize> {
    let mut counts = HashMap::new();
    group.for_each(|(_, waiting)| *counts.entry(waiting.origin.address).or_default() += 1);
    counts
}

impl Unconnected {
    pub(super) fn new(limits: &LimitsConfig) -> Self {
        Self {
            most: limits.unconnected_sessions,
            most_per_address: limits.unconnected_sessions_per_address,
            most_per_token: limits.unconnected_sessions_per_token,
            honest: Duration::from_secs(limits.connect_seconds) / 2,
            sessions: Mutex::default(),
            gave_way: AtomicU64::new(0),
        }
    }

    /// `id` has to connect from now on. Who gives way for it, and counts no more.
    pub(super) fn enter(&self, id: ParticipantId, room: &Arc<Room>, origin: Origin, now: Instant) -> Vec<GivesWay> {
        let mut sessions = lock(&self.sessions);
        sessions.entry(id).or_insert_with(|| Waiting { room: Arc::clone(room), origin, since: now });
        let limits: [(&dyn Fn(Origin) -> bool, usize); 3] = [
            (&|of| of.token.is_some() && of.token == origin.token, self.most_per_token),
            (&|of| of.address.is_some() && of.address == origin.address, self.most_per_address),
            (&|_| true, self.most),
        ];
        let mut give_way = Vec::new();
        for (is_of, most) in limits {
            let group = sessions.iter().filter(|(_, waiting)| is_of(waiting.origin));
            if group.clone().count() > most
                && let Some((room, id)) = oldest(group)
            {
                sessions.remove(&id);
                give_way.push((room, id));
            }
        }
        give_way
    }

    /// `id` has connected, or its session is over.
    pub(super) fn leave(&self, id: ParticipantId) {
        lock(&self.sessions).remove(&id);
    }

    /// Who gives way to a newcomer of `address` where `room` is full, or the server: who had time to connect, or comes
    /// in a crowd from elsewhere. Two who come at once do not put each other out.
    pub(super) fn first(&self, room: Option<RoomId>, address: Option<Neighbourhood>, now: Instant) -> Option<GivesWay> {
        let sessions = lock(&self.sessions);
        let here = sessions.iter().filter(|(_, waiting)| room.is_none_or(|room| waiting.room.id == room));
        let counts = count(here.clone());
        let crowded = |of: &Origin| of.address != address && counts[&of.address] > CROWD;
        oldest(here.filter(|(_, it)| now - it.since >= self.honest || crowded(&it.origin)))
    }

    /// One gave way.
    pub(super) fn count_gone(&self) {
        self.gave_way.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there are, and how many gave way so far.
    pub(super) fn figures(&self) -> (usize, u64) {
        (lock(&self.sessions).len(), self.gave_way.load(Ordering::Relaxed))
    }
}

impl Control {
    /// Whom limits per address count one at `address` for: nobody where that is this machine, or a proxy that does not
    /// say for whom it speaks.
    pub(super) fn limited(&self, address: Option<IpAddr>) -> Option<Neighbourhood> {
        address.filter(|ip| !self.config.exempts(*ip)).map(Neighbourhood::of)
    }

    /// The participant has to connect from now on, where it never has. Who gives way for it: their sessions end when
    /// no room is locked.
    pub(super) fn await_connection(&self, room: &Arc<Room>, state: &RoomState, id: ParticipantId) -> Vec<GivesWay> {
        match state.participants.get(&id) {
            Some(it) if !it.has_connected => self.unconnected.enter(id, room, it.origin, self.clock.now()),
            _ => Vec::new(),
        }
    }

    /// Ends the session of one that gives way, unless it has connected meanwhile.
    pub(super) fn give_way(&self, (room, id): GivesWay) {
        let mut state = room.lock();
        if state.participants.get(&id).is_some_and(|participant| !participant.has_connected) {
            self.unconnected.count_gone();
            self.end_session(&room, &mut state, id, LeaveReason::ConnectionLost, GAVE_WAY);
        }
    }
}
