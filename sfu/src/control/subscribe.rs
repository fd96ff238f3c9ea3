//! What a subscriber wants in its slots.

use super::Control;
use super::error::ControlError;
use super::ids::{ParticipantId, parse_publication};
use super::participant::{Participant, Slot};
use super::publish::no_publication;
use super::room::{Room, RoomState};
use super::slots::Wish;
use super::translate;
use sfu_core::command::{Command, LayerPreference};
use sfu_core::ids::PublicationId;
use sfu_proto::v1::Subscribe;

impl Control {
    /// Carries out a wish for one slot.
    pub(super) fn subscribe(
        &self,
        room: &Room,
        state: &mut RoomState,
        me: ParticipantId,
        subscribe: &Subscribe,
    ) -> Result<(), ControlError> {
        let publication = wanted_publication(state, subscribe)?;
        let participant =
            state.participants.get_mut(&me).ok_or_else(|| ControlError::not_found("The session is over."))?;
        if !participant.grants.subscribe {
            return Err(ControlError::forbidden("The token does not allow subscribing."));
        }
        let slot = find_slot(participant, &subscribe.mid, publication)?;
        slot.wish = match publication {
            _ if subscribe.none => Wish::Nothing,
            Some(id) => Wish::Publication(id),
            None => Wish::Auto,
        };
        let preference =
            LayerPreference { quality: translate::quality_in(subscribe.quality()), paused: subscribe.paused };
        if slot.preference != preference {
            slot.preference = preference;
            let mid = slot.mid;
            if let Some(media) = &participant.media {
                participant.worker.send(Command::SetPreference { transport: media.transport, mid, preference });
            }
        }
        room.fill_own_slots(participant);
        Ok(())
    }
}

fn wanted_publication(state: &RoomState, subscribe: &Subscribe) -> Result<Option<PublicationId>, ControlError> {
    if subscribe.publication_id.is_empty() {
        return Ok(None);
    }
    let id = parse_publication(&subscribe.publication_id).ok_or_else(no_publication)?;
    state.publisher(id).map(|_| Some(id)).ok_or_else(no_publication)
}

fn find_slot<'a>(
    participant: &'a mut Participant,
    mid: &str,
    publication: Option<PublicationId>,
) -> Result<&'a mut Slot, ControlError> {
    let found = if mid.is_empty() {
        participant.slots.iter_mut().find(|slot| publication.is_some() && slot.current == publication)
    } else {
        participant.slots.iter_mut().find(|slot| slot.mid.as_str() == mid)
    };
    found.ok_or_else(|| {
        ControlError::not_found(if mid.is_empty() {
            "No slot carries that publication; name a slot by its mid.".into()
        } else {
            format!("There is no slot with mid `{mid}`; slots are the receive-only sections of the last Offer.")
        })
    })
}
