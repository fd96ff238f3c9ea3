//! Publications that hold packets back for a moment, and when the first of them is due.

use crate::slab::Key;
use crate::turns::Turn;
use sfu_rtc::media::MediaKind;
use sfu_rtc::time::Instant;

/// What goes before what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Urgency {
    Audio,
    Video,
}

impl From<MediaKind> for Urgency {
    fn from(kind: MediaKind) -> Self {
        match kind {
            MediaKind::Audio => Self::Audio,
            MediaKind::Video => Self::Video,
        }
    }
}

/// The publications that wait.
#[derive(Default, Debug)]
pub(super) struct FanOutList {
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
    pub(super) fn add(&mut self, urgency: Urgency, router: Key, publication: Key) {
        self.of(urgency).publications.push((router, publication));
    }

    /// One that waits is due then.
    pub(super) fn schedule(&mut self, urgency: Urgency, due: Instant) {
        let waiting = self.of(urgency);
        waiting.due = waiting.due.min(due);
    }

    /// When the first is due; [`Instant::NEVER`] while none waits.
    pub(super) fn due(&self, urgency: Urgency) -> Instant {
        match urgency {
            Urgency::Audio => self.audio.due,
            Urgency::Video => self.video.due,
        }
    }

    /// When the first of all is due; `None` while none waits.
    pub(super) fn next(&self) -> Option<Instant> {
        Some(self.audio.due.min(self.video.due)).filter(|due| *due != Instant::NEVER)
    }

    /// Begins anew with these: urgency, router, publication, and when it is due.
    pub(super) fn rebuild(&mut self, waiting: impl Iterator<Item = (Urgency, Key, Key, Instant)>) {
        *self = Self::default();
        for (urgency, router, publication, due) in waiting {
            self.add(urgency, router, publication);
            self.schedule(urgency, due);
        }
    }

    /// Takes all out, to be sorted; those that still wait come back by [`Self::give_back`].
    pub(super) fn take(&mut self, urgency: Urgency) -> Vec<(Key, Key)> {
        let waiting = self.of(urgency);
        waiting.due = Instant::NEVER;
        std::mem::take(&mut waiting.publications)
    }

    /// Those that still wait, in the vector that was taken, so that its memory is kept.
    pub(super) fn give_back(&mut self, urgency: Urgency, publications: Vec<(Key, Key)>) {
        self.of(urgency).publications = publications;
    }

    /// A publication of `room` has sent so much.
    pub(super) fn record_sent(&mut self, urgency: Urgency, room: Key, bytes: usize) {
        self.of(urgency).turn.record(room, bytes);
    }

    /// The batch is full, or had room for all. They have been given back.
    pub(super) fn end_batch(&mut self, urgency: Urgency, is_full: bool) {
        let Waiting { publications, spare, turn, .. } = self.of(urgency);
        if !is_full {
            *turn = Turn::default();
            return;
        }
        spare.clear();
        turn.end_batch(publications, spare);
    }

    fn of(&mut self, urgency: Urgency) -> &mut Waiting {
        match urgency {
            Urgency::Audio => &mut self.audio,
            Urgency::Video => &mut self.video,
        }
    }
}
