//! Who speaks, and who spoke last.

use crate::ParticipantId;

/// So many participants are remembered as having spoken, for slots that follow speakers.
const RECENT_SPEAKERS: usize = 32;

/// The speakers of a room.
#[derive(Debug, Default)]
pub(crate) struct Speakers {
    /// Who speaks now, loudest first.
    now: Vec<(ParticipantId, f32)>,
    /// Who spoke last, latest first.
    recent: Vec<ParticipantId>,
}

impl Speakers {
    pub(crate) fn now(&self) -> &[(ParticipantId, f32)] {
        &self.now
    }

    /// These speak now, the loudest first; who is named twice counts as loud as named first.
    pub(crate) fn set(&mut self, heard: impl IntoIterator<Item = (ParticipantId, f32)>) {
        self.now.clear();
        for (id, level) in heard {
            if self.now.iter().all(|(speaker, _)| *speaker != id) {
                self.now.push((id, level));
            }
        }
        for (id, _) in self.now.iter().rev() {
            self.recent.retain(|recent| recent != id);
            self.recent.insert(0, *id);
        }
        self.recent.truncate(RECENT_SPEAKERS);
    }

    /// Place among those who spoke last; `usize::MAX` for who never did.
    pub(crate) fn place(&self, id: ParticipantId) -> usize {
        self.recent.iter().position(|recent| *recent == id).unwrap_or(usize::MAX)
    }

    pub(crate) fn forget(&mut self, id: ParticipantId) {
        self.now.retain(|(speaker, _)| *speaker != id);
        self.recent.retain(|speaker| *speaker != id);
    }
}
