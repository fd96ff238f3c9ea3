//! Whose turn it is: a room that has more to send than a batch holds does not keep the others waiting.
//!
//! Deficit round robin by room (M. Shreedhar, G. Varghese, 1995): what waits is served in the order in which it came; when
//! a batch gets full, the room at which that happened goes behind all others if it has had its share, and goes on first
//! with the next batch if not.

use crate::context::FULL_BATCH;
use crate::slab::Key;

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
