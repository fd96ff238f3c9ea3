//! The codec that a sender is asked for where somebody in the room cannot decode the one that it chose: of those that it
//! has, the first that everybody else can decode.

use crate::control::participant::Participant;
use crate::control::room::RoomState;
use sfu_core::ids::PublicationId;
use sfu_room::{Member, ParticipantId, Publication};
use sfu_rtc::media::{Codec, Direction, MediaKind, MediaSection};
use std::collections::{BTreeSet, HashMap};

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
        let decoders = Decoders::of(self);
        let publications = self.roster.members().flat_map(|member| {
            let video = member.publications().iter().filter(|publication| publication.kind == MediaKind::Video);
            video.map(move |publication| (member, publication))
        });
        let choose = |(member, publication): (&Member, &Publication)| {
            let seen = publication.codec?;
            let own = before.get(&publication.id).map_or(seen, |asked| asked.own);
            let is_its = |section: &MediaSection| section.mid == publication.mid;
            let offered = self.participants.get(&member.id()).map(|sender| codecs(sender, is_its)).unwrap_or_default();
            let shared = || offered.iter().copied().find(|codec| decoders.all_but(member.id(), *codec));
            let codec = if decoders.all_but(member.id(), own) { own } else { shared().unwrap_or(own) };
            (codec != own || seen != own).then_some((publication.id, Asked { own, codec }))
        };
        self.encoders.codecs.0 = publications.filter_map(choose).collect();
    }
}

/// Who can decode what.
struct Decoders {
    of: HashMap<ParticipantId, BTreeSet<Codec>>,
    count: HashMap<Codec, usize>,
}

impl Decoders {
    fn of(room: &RoomState) -> Self {
        let is_sent = |section: &MediaSection| section.kind == MediaKind::Video && section.direction == Direction::Send;
        let decoded = |(id, participant): (&ParticipantId, &Participant)| {
            let codecs: BTreeSet<Codec> = codecs(participant, is_sent).into_iter().collect();
            (!codecs.is_empty()).then_some((*id, codecs))
        };
        let of: HashMap<_, _> = room.participants.iter().filter_map(decoded).collect();
        let mut count = HashMap::new();
        of.values().flatten().for_each(|codec| *count.entry(*codec).or_default() += 1);
        Self { of, count }
    }

    /// Whether everybody but its sender can decode a codec.
    fn all_but(&self, sender: ParticipantId, codec: Codec) -> bool {
        let own = self.of.get(&sender);
        let others = self.of.len() - usize::from(own.is_some());
        let of_sender = usize::from(own.is_some_and(|codecs| codecs.contains(&codec)));
        self.count.get(&codec).copied().unwrap_or(0) - of_sender == others
    }
}

/// The codecs of some of a participant's sections, in its order.
fn codecs(participant: &Participant, is_wanted: impl Fn(&MediaSection) -> bool) -> Vec<Codec> {
    let sections = participant.media.iter().flat_map(|media| &media.sections).filter(|section| is_wanted(section));
    sections.flat_map(|section| section.formats.iter()).map(|format| format.codec).collect()
}
