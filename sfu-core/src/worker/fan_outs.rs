//! Publications that hold packets back for a moment, and when the first of them is due.

use crate::slab::Key;
use sfu_rtc::media::MediaKind;
use sfu_rtc::time::Instant;

/// What goes before what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Urgency {
    Sound,
    Picture,
}

impl From<MediaKind> for Urgency {
    fn from(kind: MediaKind) -> Self {
        match kind {
            MediaKind::Audio => Self::Sound,
            MediaKind::Video => Self::Picture,
        }
    }
}

/// The publications that wait.
#[derive(Default, Debug)]
pub(super) struct FanOutList {
    sound: Waiting,
    picture: Waiting,
}

/// Router and publication of each, in the order of their turns.
#[derive(Debug)]
struct Waiting {
    publications: Vec<(Key, Key)>,
    /// Those whose room has had its turn; empty but in [`FanOutList::give_back`].
    behind: Vec<(Key, Key)>,
    due: Instant,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { publications: Vec::new(), behind: Vec::new(), due: Instant::NEVER }
    }
}

impl FanOutList {
    /// One more publication waits.
    pub(super) fn add(&mut self, urgency: Urgency, router: Key, publication: Key) {
        self.of(urgency).publications.push((router, publication));
    }

    /// One that waits is due then.
    pub(super) fn note(&mut self, urgency: Urgency, due: Instant) {
        let waiting = self.of(urgency);
        waiting.due = waiting.due.min(due);
    }

    /// When the first is due; [`Instant::NEVER`] while none waits.
    pub(super) fn due(&self, urgency: Urgency) -> Instant {
        match urgency {
            Urgency::Sound => self.sound.due,
            Urgency::Picture => self.picture.due,
        }
    }

    /// When the first of all is due; `None` while none waits.
    pub(super) fn next(&self) -> Option<Instant> {
        Some(self.sound.due.min(self.picture.due)).filter(|due| *due != Instant::NEVER)
    }

    /// Begins anew with these: urgency, router, publication, and when it is due.
    pub(super) fn rebuild(&mut self, waiting: impl Iterator<Item = (Urgency, Key, Key, Instant)>) {
        *self = Self::default();
        for (urgency, router, publication, due) in waiting {
            self.add(urgency, router, publication);
            self.note(urgency, due);
        }
    }

    /// Takes all out, to be sorted; those that still wait come back by [`Self::give_back`].
    pub(super) fn take(&mut self, urgency: Urgency) -> Vec<(Key, Key)> {
        let waiting = self.of(urgency);
        waiting.due = Instant::NEVER;
        std::mem::take(&mut waiting.publications)
    }

    /// Those that still wait, in the vector that was taken, so that its memory is kept. Those of the room that has filled
    /// a batch go behind the others: a batch is a turn, so that no room waits for more than one of each other room.
    pub(super) fn give_back(&mut self, urgency: Urgency, mut publications: Vec<(Key, Key)>, filled: Option<Key>) {
        let waiting = self.of(urgency);
        if let Some(room) = filled {
            let behind = &mut waiting.behind;
            publications.retain(|publication| {
                let stays = publication.0 != room;
                if !stays {
                    behind.push(*publication);
                }
                stays
            });
            publications.append(behind);
        }
        waiting.publications = publications;
    }

    fn of(&mut self, urgency: Urgency) -> &mut Waiting {
        match urgency {
            Urgency::Sound => &mut self.sound,
            Urgency::Picture => &mut self.picture,
        }
    }
}
