//! One session of a participant, as the control plane holds it.

use super::auth::GrantClaims;
use super::budget::Budget;
use super::ids::publication_text;
use super::negotiation::Media;
use super::outbox::Outbox;
use super::translate;
use super::unconnected::Origin;
use sfu_core::event::PauseReason;
use sfu_proto::v1::{Grants, ParticipantInfo, PublicationInfo, SlotAssignment};
use sfu_room::{Member, ParticipantId, Publication, Slot};
use sfu_rtc::ids::Rid;
use sfu_rtc::media::{MediaSection, PayloadFormat};
use sfu_rtc::time::Instant;
use std::net::IpAddr;
use std::sync::Arc;

/// How a participant is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Native signalling.
    Signal,
    /// Publishes by WHIP.
    Whip,
    /// Plays by WHEP: sees, but is not seen.
    Whep,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) id: ParticipantId,
    pub(crate) identity: Arc<str>,
    pub(crate) name: String,
    pub(crate) metadata: String,
    pub(crate) client: String,
    pub(crate) grants: GrantClaims,
    pub(crate) access: Access,
    pub(crate) origin: Origin,
    /// Where its signalling came from last, as far as that is known.
    pub(crate) address: Option<IpAddr>,
    /// Whether its media have connected, now or before.
    pub(crate) has_connected: bool,
    /// Names the session to Resume, and to WHIP and WHEP as part of its URL.
    pub(crate) secret: String,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) budget: Arc<Budget>,
    /// Since when no WebSocket is attached.
    pub(crate) detached: Option<Instant>,
    /// Leaves slots empty until asked.
    pub(crate) manual_subscribe: bool,
    pub(crate) media: Option<Media>,
    /// Since when the media transport is lost; only for those who had one.
    pub(crate) media_lost: Option<Instant>,
    /// Last connection quality that the room was told.
    pub(crate) quality: Option<f32>,
}

impl Participant {
    /// Whether others are told of it.
    pub(crate) fn is_visible(&self) -> bool {
        self.access != Access::Whep
    }

    /// Whether it can be sent messages: WHIP and WHEP have no way for them.
    pub(crate) fn has_signalling(&self) -> bool {
        self.access == Access::Signal
    }

    /// As others see it; `member` is it in the roster.
    pub(crate) fn info(&self, member: &Member) -> ParticipantInfo {
        ParticipantInfo {
            id: self.id.to_string(),
            identity: self.identity.to_string(),
            name: self.name.clone(),
            metadata: self.metadata.clone(),
            publications: member.publications().iter().map(publication_info).collect(),
        }
    }

    /// Bytes of text of its own that others are told.
    pub(crate) fn text_bytes(&self) -> usize {
        self.name.len() + self.metadata.len()
    }

    /// Its media sections, as they were negotiated.
    pub(crate) fn sections(&self) -> &[MediaSection] {
        self.media.as_ref().map_or(&[], |media| &media.sections)
    }

    /// The formats that it publishes in: of the codec seen in its packets, or any negotiated, before the first.
    pub(crate) fn formats<'a>(&'a self, member: &'a Member) -> impl Iterator<Item = &'a PayloadFormat> {
        let sections = self.sections();
        member.publications().iter().flat_map(move |publication| {
            let formats =
                sections.iter().filter(|section| section.mid == publication.mid).flat_map(|s| s.formats.iter());
            formats.filter(|format| publication.codec.is_none_or(|codec| codec == format.codec))
        })
    }

    pub(crate) fn grants_info(&self) -> Grants {
        let GrantClaims { publish, subscribe, data, moderate, .. } = self.grants;
        Grants { publish, subscribe, data, moderate }
    }
}

/// A publication as others see it.
pub(super) fn publication_info(publication: &Publication) -> PublicationInfo {
    PublicationInfo {
        id: publication_text(publication.id),
        mid: publication.mid.to_string(),
        kind: translate::kind(publication.kind).into(),
        source: translate::source_out(publication.source).into(),
        label: publication.label.clone(),
        muted: publication.muted,
        codec: publication.codec.map(|codec| codec.name().to_owned()).unwrap_or_default(),
        rids: publication.rids.iter().map(Rid::to_string).collect(),
    }
}

/// A slot as its subscriber sees it; `publisher` is whose publication it carries.
pub(super) fn slot_info(slot: &Slot, publisher: Option<ParticipantId>) -> SlotAssignment {
    SlotAssignment {
        mid: slot.mid.to_string(),
        publication_id: slot.current.map(publication_text).unwrap_or_default(),
        participant_id: publisher.map(|id| id.to_string()).unwrap_or_default(),
        quality: translate::quality_out(slot.requested.quality).into(),
        paused: slot.requested.paused,
        unplayable: slot.pause == Some(PauseReason::Codec),
        pause_reason: translate::pause_reason(slot.pause).into(),
        layer_limit: translate::layer_limit(slot.limit).into(),
    }
}
