//! Publications: what a participant's sending sections carry, as others see it.

use super::Control;
use super::auth::clip;
use super::error::ControlError;
use super::participant::{Participant, Publication};
use super::room::{Room, RoomState};
use super::spread::Source;
use super::translate;
use crate::control::ids::ParticipantId;
use sfu_core::ids::PublicationId;
use sfu_proto::v1::Publish;
use sfu_rtc::ids::Mid;
use sfu_rtc::media::{Direction, MediaSection};

/// Longest label of a publication.
const MAX_LABEL: usize = 256;

/// Every sending section, as a WHIP client means it.
pub(super) fn everything(participant: &Participant) -> Vec<Publish> {
    let sections = participant.media.iter().flat_map(|media| &media.sections);
    sections
        .filter(|section| section.direction == Direction::Receive)
        .map(|section| Publish { mid: section.mid.to_string(), ..Publish::default() })
        .collect()
}

impl Control {
    /// Publishes on one section. Publishing again changes source and label.
    pub(super) fn publish_on(
        &self,
        room: &Room,
        participant: &mut Participant,
        publish: &Publish,
    ) -> Result<Publication, ControlError> {
        if !participant.grants.publish {
            return Err(ControlError::forbidden("The token does not allow publishing."));
        }
        let (transport, section) = receiving_section(participant, &publish.mid)?;
        let (mid, kind, rids) = (section.mid, section.kind, section.rids.clone());
        let source = translate::source_in(publish.source(), kind);
        let label = clip(&publish.label, MAX_LABEL);
        if let Some(known) = participant.publications.iter_mut().find(|known| known.mid == mid) {
            (known.source, known.label) = (source, label);
            return Ok(known.clone());
        }
        let limit = self.config.limits.publications_per_participant;
        if participant.publications.len() >= limit {
            return Err(ControlError::limit(format!("A participant may publish {limit} things; unpublish one first.")));
        }
        let id = self.ids.publication();
        let origin = participant.worker.index();
        room.spread().publish(Source { id, origin, transport, mid, kind, rids: rids.clone() });
        if publish.muted {
            room.spread().set_muted(id, true);
        }
        let publication = Publication { id, mid, kind, source, label, muted: publish.muted, codec: None, rids };
        participant.publications.push(publication.clone());
        Ok(publication)
    }

    /// Ends publications whose section carries nothing any more. Whether there were any.
    pub(super) fn unpublish_dead(&self, room: &Room, participant: &mut Participant) -> bool {
        let before = participant.publications.len();
        let Some(media) = &participant.media else { return false };
        participant.publications.retain(|publication| {
            let alive = media.section(&publication.mid).is_some_and(|s| s.direction == Direction::Receive);
            if !alive {
                room.spread().unpublish(publication.id);
            }
            alive
        });
        participant.publications.len() != before
    }

    /// Ends a publication of `owner`.
    pub(super) fn unpublish(
        &self,
        room: &Room,
        state: &mut RoomState,
        owner: ParticipantId,
        id: PublicationId,
    ) -> Result<(), ControlError> {
        let participant = state.participants.get_mut(&owner).ok_or_else(no_publication)?;
        let at = participant.publications.iter().position(|p| p.id == id).ok_or_else(no_publication)?;
        participant.publications.remove(at);
        room.spread().unpublish(id);
        self.directives.forget(id);
        state.announce(owner);
        room.replan(state);
        Ok(())
    }

    /// Mutes or unmutes a publication, whoever asks; everybody else is told.
    pub(super) fn set_muted(
        &self,
        room: &Room,
        state: &mut RoomState,
        id: PublicationId,
        muted: bool,
    ) -> Result<(), ControlError> {
        let owner = state.publisher_mut(id).ok_or_else(no_publication)?;
        let owner_id = owner.id;
        let publication = owner.publication_mut(id).ok_or_else(no_publication)?;
        if publication.muted != muted {
            publication.muted = muted;
            room.spread().set_muted(id, muted);
            state.announce(owner_id);
            room.replan(state);
        }
        Ok(())
    }
}

pub(super) fn no_publication() -> ControlError {
    ControlError::not_found("There is no such publication; it may have ended.")
}

fn receiving_section<'a>(
    participant: &'a Participant,
    mid: &str,
) -> Result<(sfu_core::ids::TransportId, &'a MediaSection), ControlError> {
    let media = participant
        .media
        .as_ref()
        .ok_or_else(|| ControlError::bad_message("Nothing is negotiated yet; send an Offer first."))?;
    let section = Mid::new(mid).and_then(|mid| media.section(&mid)).filter(|s| s.direction == Direction::Receive);
    let section = section
        .ok_or_else(|| ControlError::not_found(format!("No section with mid `{mid}` that sends was negotiated.")))?;
    Ok((media.transport, section))
}
