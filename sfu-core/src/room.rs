//! One room on one worker: who is in it, and what is published.

use crate::ids::{PublicationId, RoomId, TransportId};
use crate::publication::Publication;
use crate::slab::{Key, Slab};
use crate::speaker::{SpeakerConfig, SpeakerDetector};
use sfu_rtc::time::Instant;

/// A room.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) room: RoomId,
    pub(crate) members: Vec<Key>,
    pub(crate) publications: Slab<Box<Publication>>,
    pub(crate) speakers: SpeakerDetector,
}

impl Router {
    pub(crate) fn new(room: RoomId, speakers: SpeakerConfig) -> Self {
        let speakers = SpeakerDetector::new(speakers);
        Self { room, members: Vec::new(), publications: Slab::default(), speakers }
    }

    /// Publishers who speak now.
    pub(crate) fn speaking(&self) -> Vec<TransportId> {
        let speaks = |publication: &Publication| self.speakers.speaks(publication.id);
        let speaking = self.publications.iter().filter(|(_, publication)| speaks(publication));
        speaking.map(|(_, publication)| publication.sender).collect()
    }

    /// A packet of a publication declares this audio level (RFC 6464). When the speakers are to be evaluated, where
    /// that changes by it.
    pub(crate) fn on_audio_level(&mut self, now: Instant, publication: PublicationId, level: u8) -> Option<Instant> {
        let before = self.speakers.due();
        self.speakers.on_level(now, publication, level);
        let due = self.speakers.due();
        (due != before).then_some(due)
    }
}
