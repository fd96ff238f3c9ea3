//! Publications: what a participant's sending sections carry, as others see it.

use super::Control;
use super::auth::check_text;
use super::error::ControlError;
use super::participant::Participant;
use super::room::{Room, RoomState};
use super::translate;
use crate::text::clip;
use sfu_core::ids::PublicationId;
use sfu_proto::v1::Publish;
use sfu_room::{ParticipantId, Publication};
use sfu_rtc::ids::Mid;
use sfu_rtc::media::{Direction, MediaSection};

/// Longest label of a publication.
const MAX_LABEL: usize = 256;

/// What somebody will publish, once a request is carried out. Making it changes nothing.
#[derive(Clone, Debug)]
pub(super) struct PublishPlan {
    /// All publications afterwards.
    after: Vec<Publication>,
    /// Those that the request names, in its order.
    pub(super) named: Vec<Publication>,
}

/// Every sending section, as a WHIP client means it.
pub(super) fn everything(sections: &[MediaSection]) -> Vec<Publish> {
    sections
        .iter()
        .filter(|section| section.direction == Direction::Receive)
        .map(|section| Publish { mid: section.mid.to_string(), ..Publish::default() })
        .collect()
}

impl Control {
    /// Plans to publish `wanted` where `sections` are negotiated and `known` is published. Publications whose section
    /// carries nothing any more end. Publishing again changes source and label.
    pub(super) fn plan_publications(
        &self,
        sections: &[MediaSection],
        known: &[Publication],
        wanted: &[Publish],
    ) -> Result<PublishPlan, ControlError> {
        let alive = |publication: &&Publication| receiving(sections, &publication.mid).is_some();
        let mut after: Vec<Publication> = known.iter().filter(alive).cloned().collect();
        let mut named: Vec<Publication> = Vec::new();
        for publish in wanted {
            let section = Mid::new(&publish.mid).and_then(|mid| receiving(sections, &mid)).ok_or_else(|| {
                ControlError::not_found(format!("No section with mid `{}` that sends was negotiated.", publish.mid))
            })?;
            if named.iter().any(|publication| publication.mid == section.mid) {
                let text = format!("The section with mid `{}` is to be published twice.", section.mid);
                return Err(ControlError::bad_message(text));
            }
            let source = translate::source_in(publish.source(), section.kind);
            check_text("label", &publish.label)?;
            let label = clip(&publish.label, MAX_LABEL);
            if let Some(known) = after.iter_mut().find(|known| known.mid == section.mid) {
                (known.source, known.label) = (source, label);
                named.push(known.clone());
                continue;
            }
            self.check_publications(after.len() + 1)?;
            let publication = Publication {
                id: self.ids.publication(),
                mid: section.mid,
                kind: section.kind,
                source,
                label,
                muted: publish.muted,
                codec: None,
                rids: section.rids.clone(),
            };
            after.push(publication.clone());
            named.push(publication);
        }
        Ok(PublishPlan { after, named })
    }

    /// Refuses more publications than a participant may have.
    pub(super) fn check_publications(&self, count: usize) -> Result<(), ControlError> {
        let limit = self.config.limits.publications_per_participant;
        if count <= limit {
            return Ok(());
        }
        let text = format!(
            "A participant may publish {limit} things (limits.publications_per_participant); unpublish one first."
        );
        Err(ControlError::limit(text))
    }

    /// Carries a plan out. Whether it changed anything, of which others have to be told.
    pub(super) fn carry_out(&self, state: &mut RoomState, id: ParticipantId, plan: PublishPlan) -> bool {
        let changed = state.roster.member(id).is_some_and(|member| member.publications() != plan.after);
        let ended = state.roster.set_publications(id, plan.after);
        state.enforce_caps(id);
        self.directives.forget(&ended);
        changed
    }

    /// Ends a publication of `owner`.
    pub(super) fn unpublish(
        &self,
        room: &Room,
        state: &mut RoomState,
        owner: ParticipantId,
        id: PublicationId,
    ) -> Result<(), ControlError> {
        if !state.roster.unpublish(owner, id) {
            return Err(ControlError::no_publication());
        }
        self.directives.forget(&[id]);
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
        if state.roster.publisher(id).is_none() {
            return Err(ControlError::no_publication());
        }
        if let Some(owner) = state.roster.set_muted(id, muted) {
            state.announce(owner);
            room.replan(state);
        }
        Ok(())
    }
}

/// The section `mid`, where its peer sends on it.
fn receiving<'a>(sections: &'a [MediaSection], mid: &Mid) -> Option<&'a MediaSection> {
    sections.iter().find(|section| section.mid == *mid && section.direction == Direction::Receive)
}

pub(super) fn may_publish(participant: &Participant) -> Result<(), ControlError> {
    if participant.grants.publish {
        Ok(())
    } else {
        Err(ControlError::forbidden("The token does not allow publishing."))
    }
}
