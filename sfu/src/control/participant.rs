//! One session of a participant, as the control plane holds it.

use super::auth::GrantClaims;
use super::budget::Budget;
use super::ids::{ParticipantId, publication_text};
use super::negotiation::Media;
use super::outbox::Outbox;
use super::slots::{Candidates, Wish};
use super::translate;
use super::unconnected::Origin;
use crate::worker_thread::WorkerHandle;
use sfu_core::command::LayerPreference;
use sfu_core::ids::PublicationId;
use sfu_proto::v1::{Grants, ParticipantInfo, PublicationInfo, SlotAssignment};
use sfu_rtc::ids::{Mid, Rid};
use sfu_rtc::media::{Codec, MediaKind};
use sfu_rtc::time::Instant;
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
    /// Whether its media have connected, now or before.
    pub(crate) has_connected: bool,
    /// Has its transport.
    pub(crate) worker: WorkerHandle,
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
    pub(crate) publications: Vec<Publication>,
    pub(crate) slots: Vec<Slot>,
    /// What may go into them, as it has been told.
    pub(crate) candidates: Arc<Candidates>,
    /// Last connection quality that the room was told.
    pub(crate) quality: Option<f32>,
}

/// Something that a participant publishes.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) id: PublicationId,
    pub(crate) mid: Mid,
    pub(crate) kind: MediaKind,
    pub(crate) source: sfu_proto::v1::Source,
    pub(crate) label: String,
    pub(crate) muted: bool,
    /// As seen in its packets.
    pub(crate) codec: Option<Codec>,
    pub(crate) rids: Vec<Rid>,
}

/// A receive section of a subscriber.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) mid: Mid,
    pub(crate) kind: MediaKind,
    /// Number among the slots of its kind.
    pub(crate) ordinal: usize,
    pub(crate) wish: Wish,
    pub(crate) preference: LayerPreference,
    pub(crate) current: Option<PublicationId>,
    /// Nothing of it can be sent, since the subscriber does not have its codec.
    pub(crate) unplayable: bool,
}

impl Participant {
    /// Whether others are told of it.
    pub(crate) fn is_visible(&self) -> bool {
        self.access != Access::Whep
    }

    /// Whether it is told anything: WHIP and WHEP have no way for it.
    pub(crate) fn is_told(&self) -> bool {
        self.access == Access::Signal
    }

    pub(crate) fn publication(&self, id: PublicationId) -> Option<&Publication> {
        self.publications.iter().find(|publication| publication.id == id)
    }

    pub(crate) fn publication_mut(&mut self, id: PublicationId) -> Option<&mut Publication> {
        self.publications.iter_mut().find(|publication| publication.id == id)
    }

    /// As others see it.
    pub(crate) fn info(&self) -> ParticipantInfo {
        ParticipantInfo {
            id: self.id.to_string(),
            identity: self.identity.to_string(),
            name: self.name.clone(),
            metadata: self.metadata.clone(),
            publications: self.publications.iter().map(Publication::info).collect(),
        }
    }

    /// The codecs that it publishes in: seen in its packets, or negotiated, before the first.
    pub(crate) fn codecs(&self) -> Vec<Codec> {
        let sections = self.media.as_ref().map_or(&[][..], |media| &media.sections);
        let negotiated = |mid: Mid| sections.iter().filter(move |section| section.mid == mid).flat_map(|s| &s.formats);
        let mut codecs: Vec<Codec> = Vec::new();
        for publication in &self.publications {
            match publication.codec {
                Some(codec) => codecs.push(codec),
                None => codecs.extend(negotiated(publication.mid).map(|format| format.codec)),
            }
        }
        codecs.sort_unstable();
        codecs.dedup();
        codecs
    }

    pub(crate) fn grants_info(&self) -> Grants {
        let GrantClaims { publish, subscribe, data, moderate, .. } = self.grants;
        Grants { publish, subscribe, data, moderate }
    }
}

impl Publication {
    /// As others see it.
    pub(crate) fn info(&self) -> PublicationInfo {
        PublicationInfo {
            id: publication_text(self.id),
            mid: self.mid.to_string(),
            kind: translate::kind(self.kind).into(),
            source: self.source.into(),
            label: self.label.clone(),
            muted: self.muted,
            codec: self.codec.map(|codec| codec.name().to_owned()).unwrap_or_default(),
            rids: self.rids.iter().map(Rid::to_string).collect(),
        }
    }
}

impl Slot {
    /// As its subscriber sees it; `publisher` is whose publication it carries.
    pub(crate) fn info(&self, publisher: Option<ParticipantId>) -> SlotAssignment {
        SlotAssignment {
            mid: self.mid.to_string(),
            publication_id: self.current.map(publication_text).unwrap_or_default(),
            participant_id: publisher.map(|id| id.to_string()).unwrap_or_default(),
            quality: translate::quality_out(self.preference.quality).into(),
            paused: self.preference.paused,
            unplayable: self.unplayable,
        }
    }
}
