//! What a subscriber wants in its slots.

use super::Control;
use super::error::ControlError;
use super::ids::parse_publication;
use super::room::{Room, RoomState};
use super::translate;
use sfu_core::ids::PublicationId;
use sfu_proto::v1::Subscribe;
use sfu_room::{Member, ParticipantId, Slot, Subscription};

impl Control {
    /// Puts into one slot what is wanted there.
    pub(super) fn subscribe(
        &self,
        room: &Room,
        state: &mut RoomState,
        me: ParticipantId,
        subscribe: &Subscribe,
    ) -> Result<(), ControlError> {
        let publication = wanted_publication(state, subscribe)?;
        let participant = state.participants.get(&me).zip(state.roster.member(me));
        let (participant, member) = participant.ok_or_else(|| ControlError::not_found("The session is over."))?;
        if !participant.grants.subscribe {
            return Err(ControlError::forbidden("The token does not allow subscribing."));
        }
        let slot = find_slot(member, &subscribe.mid, publication)?;
        let subscription = match publication {
            _ if subscribe.none => Subscription::Nothing,
            Some(id) => Subscription::Publication(id),
            None => Subscription::Auto,
        };
        let (mid, preference) = (slot.mid, translate::preference_in(subscribe));
        if (&slot.subscription, slot.requested) == (&subscription, preference) {
            return Ok(());
        }
        participant.budget.subscription(self.clock.now())?;
        room.plan_encoders_soon(state);
        if state.roster.subscribe(me, &mid, subscription, preference) {
            state.tell_slots(me);
        }
        Ok(())
    }
}

fn wanted_publication(state: &RoomState, subscribe: &Subscribe) -> Result<Option<PublicationId>, ControlError> {
    if subscribe.publication_id.is_empty() {
        return Ok(None);
    }
    let id = parse_publication(&subscribe.publication_id).ok_or_else(ControlError::no_publication)?;
    state.publisher(id).map(|_| Some(id)).ok_or_else(ControlError::no_publication)
}

fn find_slot<'a>(member: &'a Member, mid: &str, publication: Option<PublicationId>) -> Result<&'a Slot, ControlError> {
    let found = if mid.is_empty() {
        member.slots().iter().find(|slot| publication.is_some() && slot.current == publication)
    } else {
        member.slots().iter().find(|slot| slot.mid.as_str() == mid)
    };
    found.ok_or_else(|| {
        ControlError::not_found(if mid.is_empty() {
            "No slot carries that publication; name a slot by its mid.".into()
        } else {
            format!("There is no slot with mid `{mid}`; slots are the receive-only sections of the last Offer.")
        })
    })
}
