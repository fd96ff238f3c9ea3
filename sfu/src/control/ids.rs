//! Names of what the control plane holds: numbers inside, short texts outside.

use sfu_core::ids::{PublicationId, RoomId, TransportId};
use sfu_room::ParticipantId;
use std::sync::atomic::{AtomicU64, Ordering};

/// First letters, so that a person sees what a name names. `ParticipantId` writes its own.
const PARTICIPANT: char = 'p';
const PUBLICATION: char = 't';

/// A publication's name outside.
pub(crate) fn publication_text(id: PublicationId) -> String {
    format!("{PUBLICATION}_{:x}", id.0)
}

/// The publication with this name.
pub(crate) fn parse_publication(name: &str) -> Option<PublicationId> {
    parse(PUBLICATION, name).map(PublicationId)
}

/// The participant with this name.
pub(crate) fn parse_participant(name: &str) -> Option<ParticipantId> {
    parse(PARTICIPANT, name).map(ParticipantId)
}

fn parse(letter: char, name: &str) -> Option<u64> {
    let digits = name.strip_prefix(letter)?.strip_prefix('_')?;
    u64::from_str_radix(digits, 16).ok()
}

/// Hands out numbers that are unique in the process, and after a restart too.
pub(crate) struct Ids(AtomicU64);

impl Ids {
    /// Begins at the present second, with room for a million names per second of uptime.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(crate::clock::unix_time().as_secs() << 20))
    }

    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn participant(&self) -> ParticipantId {
        ParticipantId(self.next())
    }

    pub(crate) fn publication(&self) -> PublicationId {
        PublicationId(self.next())
    }

    pub(crate) fn room(&self) -> RoomId {
        RoomId(self.next())
    }

    pub(crate) fn transport(&self) -> TransportId {
        TransportId(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_back() {
        let ids = Ids::new();
        let (participant, publication) = (ids.participant(), ids.publication());
        assert_eq!(parse_participant(&participant.to_string()), Some(participant));
        assert_eq!(parse_publication(&publication_text(publication)), Some(publication));
        for bad in ["", "p", "p_", "p_zz", "t_+", &publication_text(publication), "p_10000000000000000"] {
            assert_eq!(parse_participant(bad), None, "{bad}");
        }
    }
}
