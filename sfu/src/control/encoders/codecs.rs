//! The codec that a sender is asked for where somebody in the room cannot decode the one that it chose: of those that it
//! has, the first that everybody else can decode.

use crate::control::participant::Participant;
use crate::control::room::RoomState;
use sfu_core::ids::PublicationId;
use sfu_room::{ParticipantId, Publication};
use sfu_rtc::media::{Codec, Direction, MediaKind, MediaSection};
use std::collections::HashMap;

/// By publication; those that come in the codec of their sender's choice are not there.
#[derive(Debug, Default)]
pub(super) struct Codecs(HashMap<PublicationId, Asked>);

#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The sender's choice.
    own: Codec,
    codec: Codec,
}

impl Codecs {
    /// What the sender of a publication is to be asked for.
    pub(super) fn asked(&self, publication: PublicationId) -> Option<Codec> {
        self.0.get(&publication).map(|asked| asked.codec)
    }
}

impl RoomState {
    /// Chooses anew for all who publish video, as they and those who may watch them are now.
    pub(super) fn choose_codecs(&mut self) {
        let before = std::mem::take(&mut self.encoders.codecs.0);
        let publications = self.roster.members().flat_map(|member| {
            let video = member.publications().iter().filter(|publication| publication.kind == MediaKind::Video);
            video.map(move |publication| (member.id(), publication))
        });
        let mut lacking: HashMap<Codec, Vec<ParticipantId>> = HashMap::new();
        let choose = |(sender, publication): (ParticipantId, &Publication)| {
            let seen = publication.codec?;
            let own = before.get(&publication.id).map_or(seen, |asked| asked.own);
            let mut all_have = |codec: &Codec| {
                let lacking = lacking.entry(*codec).or_insert_with(|| self.lacking(*codec));
                lacking.iter().all(|id| *id == sender)
            };
            let codec =
                if all_have(&own) { own } else { self.offered(sender, publication).find(all_have).unwrap_or(own) };
            (codec != own || seen != own).then_some((publication.id, Asked { own, codec }))
        };
        self.encoders.codecs.0 = publications.filter_map(choose).collect();
    }

    /// Who has sections for others' video, and none for this codec.
    fn lacking(&self, codec: Codec) -> Vec<ParticipantId> {
        let lacks = |participant: &Participant| {
            let is_sent =
                |section: &&MediaSection| section.kind == MediaKind::Video && section.direction == Direction::Send;
            let mut sections = participant.sections().iter().filter(is_sent).peekable();
            let has = |section: &MediaSection| section.formats.iter().any(|format| format.codec == codec);
            sections.peek().is_some() && !sections.any(has)
        };
        self.participants.iter().filter(|(_, participant)| lacks(participant)).map(|(id, _)| *id).collect()
    }

    /// The codecs that a sender has for a publication, as it prefers them.
    fn offered(&self, sender: ParticipantId, publication: &Publication) -> impl Iterator<Item = Codec> {
        let sections = self.participants.get(&sender).map_or(&[][..], Participant::sections);
        let its = sections.iter().filter(|section| section.mid == publication.mid);
        its.flat_map(|section| section.formats.iter()).map(|format| format.codec)
    }
}
