//! Whose turn it is to send: peers with something to send ([`DirtyList`]), and publications with something to forward
//! ([`FanOutList`]); audio first. A room that has more to send than a batch holds does not keep the others waiting.
//!
//! Deficit round robin by room (M. Shreedhar, G. Varghese, 1995): what waits is served in the order in which it came;
//! when a batch gets full, the room at which that happened goes behind all others if it has had its share, and goes on
//! first with the next batch if not.

use crate::slab::Key;
use sfu_rtc::media::MediaKind;
use sfu_rtc::time::Instant;
use std::collections::VecDeque;

/// Bytes at which a batch is full: what was sealed is still in the first caches when the kernel copies it, and its
/// owner gets to read what came in meanwhile.
pub(crate) const FULL_BATCH: usize = 96 * 1024;

/// What a room may send before others get their turn, in bytes: every batch has room for it.
pub(crate) const SHARE: usize = FULL_BATCH / 2;

/// The room whose turn it is.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Turn {
    room: Option<Key>,
    /// Bytes that it has sent in this turn.
    spent: usize,
}

impl Turn {
    /// `room` has sent so much. Work of one room that stands together counts together.
    pub(crate) fn record(&mut self, room: Key, bytes: usize) {
        if self.room != Some(room) {
            *self = Self { room: Some(room), spent: 0 };
        }
        self.spent += bytes;
    }

    /// The batch is full: puts what waits, as pairs of room and work, into the order in which it comes next. `spare` is
    /// memory.
    pub(crate) fn end_batch<L>(&mut self, waiting: &mut L, spare: &mut L)
    where
        L: Extend<(Key, Key)>,
        for<'l> &'l L: IntoIterator<Item = &'l (Key, Key)>,
    {
        let Some(room) = self.room else { return };
        let had_its_share = self.spent >= SHARE;
        for is_of_room in [!had_its_share, had_its_share] {
            spare.extend(waiting.into_iter().copied().filter(|(of, _)| (*of == room) == is_of_room));
        }
        std::mem::swap(waiting, spare);
        if had_its_share {
            *self = Self::default();
        }
    }
}

/// Peers that have something to do or to send, each once; those with audio to send first.
#[derive(Default, Debug)]
pub(crate) struct DirtyList {
    urgent: VecDeque<Key>,
    /// With their rooms, which take turns.
    normal: VecDeque<(Key, Key)>,
    spare: VecDeque<(Key, Key)>,
    turn: Turn,
}

impl DirtyList {
    /// A peer of `room` waits, which did not before.
    pub(crate) fn push(&mut self, room: Key, key: Key) {
        self.normal.push_back((room, key));
    }

    /// A peer with audio to send waits, which did not before.
    pub(crate) fn push_urgent(&mut self, key: Key) {
        self.urgent.push_back(key);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.normal.is_empty()
    }

    pub(crate) fn pop_urgent(&mut self) -> Option<Key> {
        self.urgent.pop_front()
    }

    /// The next peer, with its room.
    pub(crate) fn pop_normal(&mut self) -> Option<(Key, Key)> {
        let next = self.normal.pop_front();
        if next.is_none() {
            self.turn = Turn::default();
        }
        next
    }

    /// A peer of `room` that was popped has sent so much.
    pub(crate) fn record_sent(&mut self, room: Key, bytes: usize) {
        self.turn.record(room, bytes);
    }

    /// The batch is full.
    pub(crate) fn end_batch(&mut self) {
        self.spare.clear();
        self.turn.end_batch(&mut self.normal, &mut self.spare);
    }
}

/// The publications that wait.
#[derive(Default, Debug)]
pub(crate) struct FanOutList {
    audio: Waiting,
    video: Waiting,
}

/// Router and publication of each, in the order in which they began to wait, but for rooms that had their turn.
#[derive(Debug)]
struct Waiting {
    publications: Vec<(Key, Key)>,
    spare: Vec<(Key, Key)>,
    turn: Turn,
    due: Instant,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { publications: Vec::new(), spare: Vec::new(), turn: Turn::default(), due: Instant::NEVER }
    }
}

impl FanOutList {
    /// One more publication waits.
    pub(crate) fn add(&mut self, kind: MediaKind, router: Key, publication: Key) {
        self.of(kind).publications.push((router, publication));
    }

    /// One that waits is due then.
    pub(crate) fn schedule(&mut self, kind: MediaKind, due: Instant) {
        let waiting = self.of(kind);
        waiting.due = waiting.due.min(due);
    }

    /// When the first is due; [`Instant::NEVER`] while none waits.
    pub(crate) fn due(&self, kind: MediaKind) -> Instant {
        match kind {
            MediaKind::Audio => self.audio.due,
            MediaKind::Video => self.video.due,
        }
    }

    /// When the first of all is due; `None` while none waits.
    pub(crate) fn next(&self) -> Option<Instant> {
        Some(self.audio.due.min(self.video.due)).filter(|due| *due != Instant::NEVER)
    }

    /// Rebuilds the list from these: kind, router, publication, and when it is due.
    pub(crate) fn rebuild(&mut self, waiting: impl Iterator<Item = (MediaKind, Key, Key, Instant)>) {
        *self = Self::default();
        for (kind, router, publication, due) in waiting {
            self.add(kind, router, publication);
            self.schedule(kind, due);
        }
    }

    /// Takes all out, to be sorted; those that still wait come back by [`Self::give_back`].
    pub(crate) fn take(&mut self, kind: MediaKind) -> Vec<(Key, Key)> {
        let waiting = self.of(kind);
        waiting.due = Instant::NEVER;
        std::mem::take(&mut waiting.publications)
    }

    /// Those that still wait, in the vector that was taken, so that its memory is kept.
    pub(crate) fn give_back(&mut self, kind: MediaKind, publications: Vec<(Key, Key)>) {
        self.of(kind).publications = publications;
    }

    /// A publication of `room` has sent so much.
    pub(crate) fn record_sent(&mut self, kind: MediaKind, room: Key, bytes: usize) {
        self.of(kind).turn.record(room, bytes);
    }

    /// The batch is full, or had room for all. They have been given back.
    pub(crate) fn end_batch(&mut self, kind: MediaKind, is_full: bool) {
        let Waiting { publications, spare, turn, .. } = self.of(kind);
        if !is_full {
            *turn = Turn::default();
            return;
        }
        spare.clear();
        turn.end_batch(publications, spare);
    }

    fn of(&mut self, kind: MediaKind) -> &mut Waiting {
        match kind {
            MediaKind::Audio => &mut self.audio,
            MediaKind::Video => &mut self.video,
        }
    }
}
