//! One room on one worker.

use crate::ids::RoomId;
use crate::publication::Publication;
use crate::slab::{Key, Slab};
use crate::speaker::{SpeakerConfig, SpeakerDetector};

/// A room: who is in it, and what is published.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) room: RoomId,
    pub(crate) members: Vec<Key>,
    pub(crate) publications: Slab<Publication>,
    pub(crate) speakers: SpeakerDetector,
}

impl Router {
    pub(crate) fn new(room: RoomId, speakers: SpeakerConfig) -> Self {
        let speakers = SpeakerDetector::new(speakers);
        Self { room, members: Vec::new(), publications: Slab::default(), speakers }
    }
}
