//! What a room is told of itself: who is in it, what they publish, and what goes into whose slots.
//!
//! Changes are gathered and told together, in their newest state: at once where the room was quiet, else when an
//! interval is over that grows with the room, and with what the news before cost. So the work and the bytes of a room's
//! news are bounded however often its participants change. What must be told to one alone (the reply to a request, a
//! newcomer's whole roster) does not wait for the others.

use super::agenda::Agenda;
use super::outbox::Outgoing;
use super::participant::Participant;
use super::rate::Rate;
use super::room::{Room, RoomState};
use crate::config::Config;
use prost::Message as _;
use sfu_proto::v1::server_message::Body;
use sfu_proto::v1::{ParticipantInfo, RosterUpdate};
use sfu_room::ParticipantId;
use sfu_rtc::time::{Duration, Instant};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// The interval is longer by itself for each so many participants.
const GROWTH: u32 = 100;
/// Longer than this nobody waits for an entry's turn.
pub(super) const ENTRY_PATIENCE: Duration = Duration::from_secs(3);

/// How often rooms may be told news.
#[derive(Clone, Debug)]
pub(crate) struct NewsPace {
    interval: Duration,
    /// To all participants of a room.
    bytes_per_second: u32,
    data_bytes_per_second: u32,
    /// Into one room.
    joins_per_second: u32,
    agenda: Arc<Agenda>,
}

impl NewsPace {
    pub(super) fn new(config: &Config, agenda: &Arc<Agenda>) -> Self {
        Self {
            interval: Duration::from_millis(config.signal.news_interval_millis),
            bytes_per_second: config.limits.room_bytes_per_second.max(1),
            data_bytes_per_second: config.limits.room_data_bytes_per_second,
            joins_per_second: config.limits.room_joins_per_second,
            agenda: Arc::clone(agenda),
        }
    }

    pub(super) fn entries(&self, now: Instant) -> Entries {
        Entries::new(self.joins_per_second, self.bytes_per_second, now)
    }

    /// What those of one address may take of it.
    pub(super) fn entries_of_one_address(&self, now: Instant) -> Entries {
        let most = |rate: u32| (rate / 4 * 3).max(1);
        Entries::new(most(self.joins_per_second), most(self.bytes_per_second), now)
    }

    pub(super) fn data_rate(&self, now: Instant) -> Rate {
        Rate::with_burst(self.data_bytes_per_second, 1.0, now)
    }

    /// How long a room of so many is left alone that was sent so many bytes.
    fn pause(&self, participants: usize, bytes: usize) -> Duration {
        let growth = u32::try_from(participants).unwrap_or(u32::MAX) / GROWTH;
        let for_size = self.interval.saturating_mul(1 + growth);
        for_size.max(Duration::from_secs_f64(bytes as f64 / f64::from(self.bytes_per_second)))
    }

    /// Most bytes of roster at a time: a quarter of a second's worth.
    fn most_bytes(&self) -> usize {
        self.bytes_per_second as usize / 4
    }
}

/// How many may enter a room, and how much may be told of that.
#[derive(Debug)]
pub(super) struct Entries {
    joins: Rate,
    bytes: Rate,
}

impl Entries {
    /// Of joins not many at once: each is a millisecond of work, and what all then say goes to all.
    fn new(joins: u32, bytes: u32, now: Instant) -> Self {
        Self { joins: Rate::with_burst(joins, 1.0, now), bytes: Rate::new(bytes, now) }
    }

    /// Whether an entry of so many bytes need not wait too long.
    pub(super) fn admits(&self, bytes: usize, now: Instant) -> bool {
        self.joins.admits(1, ENTRY_PATIENCE, now) && self.bytes.admits(bytes, ENTRY_PATIENCE, now)
    }

    /// Takes so many turns for nothing.
    pub(super) fn charge(&mut self, turns: usize, now: Instant) {
        self.joins.reserve(turns, now);
    }

    /// Takes the turn of such an entry: how long it has to wait.
    pub(super) fn reserve(&mut self, bytes: usize, now: Instant) -> Duration {
        self.joins.reserve(1, now).max(self.bytes.reserve(bytes, now))
    }
}

/// What waits to be told.
#[derive(Debug)]
pub(super) struct News {
    /// Each once, in the order in which they changed.
    changed: VecDeque<ParticipantId>,
    left: Vec<ParticipantId>,
    /// Slots are to be filled anew.
    pub(super) replan: bool,
    /// Nothing is told before.
    next: Instant,
    /// The room stands in the agenda.
    waits: bool,
}

impl News {
    pub(super) fn new(now: Instant) -> Self {
        Self { changed: VecDeque::new(), left: Vec::new(), replan: false, next: now, waits: false }
    }

    /// Whether something waits to be told.
    #[cfg(test)]
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty() && !self.replan
    }

    /// Takes those who changed, as they are now: as many as `most` bytes let, but one at least.
    fn take_changed(
        &mut self,
        info: impl Fn(ParticipantId) -> Option<ParticipantInfo>,
        most: usize,
    ) -> Vec<ParticipantInfo> {
        let mut infos = Vec::new();
        let mut bytes = 0;
        while let Some(id) = self.changed.front() {
            if let Some(info) = info(*id) {
                bytes += info.encoded_len();
                if !infos.is_empty() && bytes > most {
                    break;
                }
                infos.push(info);
            }
            self.changed.pop_front();
        }
        infos
    }
}

impl RoomState {
    /// What `id` is like is news to the others.
    pub(super) fn announce(&mut self, id: ParticipantId) {
        if self.participants.get(&id).is_some_and(Participant::is_visible) && !self.news.changed.contains(&id) {
            self.news.changed.push_back(id);
        }
    }

    /// That `id` has left is news to the others.
    pub(super) fn announce_left(&mut self, id: ParticipantId) {
        self.news.changed.retain(|changed| *changed != id);
        self.news.left.push(id);
    }

    /// Tells the roster's changes to everybody else. How many bytes that were.
    fn tell_roster(&mut self, most_bytes: usize) -> usize {
        let recipients = self.participants.values().filter(|participant| participant.has_signalling()).count();
        let Self { news, participants, roster, .. } = self;
        let info = |id: ParticipantId| Some(participants.get(&id)?.info(roster.member(id)?));
        let infos = news.take_changed(info, most_bytes / recipients.max(1));
        let left: Vec<String> = self.news.left.drain(..).map(|id| id.to_string()).collect();
        if infos.is_empty() && left.is_empty() {
            return 0;
        }
        let changed: BTreeSet<&str> = infos.iter().map(|info| info.id.as_str()).collect();
        let update = |participants| Outgoing::new(Body::Roster(RosterUpdate { participants, left: left.clone() }));
        let shared = update(infos.clone());
        let mut bytes = 0;
        for participant in self.participants.values().filter(|participant| participant.has_signalling()) {
            let own = participant.id.to_string();
            // Nobody is told of itself.
            let message = if changed.contains(own.as_str()) {
                let others: Vec<ParticipantInfo> = infos.iter().filter(|info| info.id != own).cloned().collect();
                if others.is_empty() && left.is_empty() {
                    continue;
                }
                update(others)
            } else {
                Arc::clone(&shared)
            };
            bytes += message.proto().len();
            participant.outbox.push(message);
        }
        bytes
    }
}

impl Room {
    /// Tells the room what has changed: at once where it was quiet.
    pub(crate) fn tell(&self, state: &mut RoomState) {
        let now = self.clock.now();
        if state.news.is_empty() || state.news.waits {
            return;
        }
        if now >= state.news.next {
            self.tell_now(state, now);
        } else {
            self.wait(state);
        }
    }

    /// The agenda says that it is time.
    pub(super) fn tell_in_turn(&self) {
        let mut state = self.lock();
        state.news.waits = false;
        self.tell(&mut state);
    }

    fn tell_now(&self, state: &mut RoomState, now: Instant) {
        let pace = &self.pace;
        // First who there is, then what they have in the slots.
        let mut bytes = state.tell_roster(pace.most_bytes());
        if std::mem::take(&mut state.news.replan) {
            bytes += self.fill_slots(state);
        }
        state.news.next = now + pace.pause(state.participants.len(), bytes);
        if !state.news.is_empty() {
            self.wait(state);
        }
    }

    fn wait(&self, state: &mut RoomState) {
        state.news.waits = true;
        self.pace.agenda.put(state.news.next, self.id);
    }
}
