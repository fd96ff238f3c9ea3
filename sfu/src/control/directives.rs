//! Encoder directives: what a publication's sender is asked to encode, and what it said to that.

mod check;

use super::ids::publication_text;
use super::outbox::Outgoing;
use super::{Control, ControlError, RoomState};
use crate::lock::lock;
use crate::text::clip;
use sfu_core::command::Command;
use sfu_core::event::ReferenceNews;
use sfu_core::ids::PublicationId;
use sfu_proto::v1::server_message::Body;
use sfu_proto::v1::{
    EncoderDirective, EncoderDirectiveAck, EncodingDirective, LongTermReference, ReferenceDirective,
    ReferenceDirectiveAck,
};
use std::collections::HashMap;
use std::sync::Mutex;

/// A directive that names no time to live holds this long.
const DEFAULT_TTL_MS: u32 = 10_000;
/// Longest detail of an answer that is kept.
const MAX_DETAIL: usize = 1_024;
/// Most encodings of an answer that are kept, and the longest of their names.
const MAX_APPLIED: usize = 8;
const MAX_NAME: usize = 32;

/// The latest directive of each publication.
#[derive(Debug, Default)]
pub(crate) struct Directives(Mutex<HashMap<PublicationId, Latest>>);

/// The latest directive of one publication.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latest {
    pub(crate) directive: EncoderDirective,
    /// The answer to it, or, until there is one, to the last one that was answered. It is what the client says; what
    /// arrives is seen by the workers.
    pub(crate) ack: Option<EncoderDirectiveAck>,
    /// Version of the last directive on references, and of the last of these that was answered.
    references: u64,
    references_answered: u64,
}

impl Directives {
    /// The latest directive of `publication`.
    pub(crate) fn latest(&self, publication: PublicationId) -> Option<Latest> {
        lock(&self.0).get(&publication).cloned()
    }

    /// Takes the client's answer over, unless a newer directive is on its way.
    pub(super) fn acknowledge(&self, publication: PublicationId, ack: &EncoderDirectiveAck) {
        if let Some(latest) = lock(&self.0).get_mut(&publication)
            && latest.directive.version == ack.version
        {
            tracing::debug!(
                publication = ack.publication_id,
                version = ack.version,
                outcome = ack.outcome,
                "directive"
            );
            latest.ack = Some(bounded(ack));
        }
    }

    /// Takes the client's answer to a directive on references over, unless that was never sent, or answered before.
    pub(super) fn acknowledge_references(&self, publication: PublicationId, ack: &ReferenceDirectiveAck) {
        if let Some(latest) = lock(&self.0).get_mut(&publication)
            && (latest.references_answered + 1..=latest.references).contains(&ack.version)
        {
            latest.references_answered = ack.version;
            tracing::debug!(?publication, version = ack.version, outcome = ack.outcome, "reference directive");
        }
    }

    /// A directive on references, with its version.
    fn record_references(&self, publication: PublicationId, news: ReferenceNews) -> ReferenceDirective {
        let mut all = lock(&self.0);
        let latest = all.entry(publication).or_default();
        latest.references += 1;
        ReferenceDirective {
            publication_id: publication_text(publication),
            version: latest.references,
            acknowledged: news.acknowledged.map(u32::from),
            refused: news.refused.map(u32::from),
            recover: news.recover,
        }
    }

    pub(super) fn forget(&self, ended: &[PublicationId]) {
        let mut all = lock(&self.0);
        ended.iter().for_each(|publication| drop(all.remove(publication)));
    }

    /// Gives the directive its version.
    fn record(&self, publication: PublicationId, mut directive: EncoderDirective) -> EncoderDirective {
        let mut all = lock(&self.0);
        let latest = all.entry(publication).or_default();
        directive.publication_id = publication_text(publication);
        directive.version = latest.directive.version + 1;
        if directive.ttl_ms == 0 {
            directive.ttl_ms = DEFAULT_TTL_MS;
        }
        latest.directive = directive.clone();
        directive
    }
}

/// An answer with no more in it than is kept: the client may say what it likes.
fn bounded(ack: &EncoderDirectiveAck) -> EncoderDirectiveAck {
    let applied = ack.applied.iter().take(MAX_APPLIED).map(|encoding| EncodingDirective {
        rid: clip(&encoding.rid, MAX_NAME),
        scalability_mode: clip(&encoding.scalability_mode, MAX_NAME),
        ..encoding.clone()
    });
    EncoderDirectiveAck {
        detail: clip(&ack.detail, MAX_DETAIL),
        publication_id: clip(&ack.publication_id, MAX_NAME),
        applied: applied.collect(),
        applied_parity: ack.applied_parity.iter().take(MAX_APPLIED).cloned().collect(),
        ..*ack
    }
}

impl Control {
    /// Refuses a directive that `publication` cannot follow.
    pub(super) fn check_directive(
        state: &RoomState,
        publication: PublicationId,
        directive: &EncoderDirective,
    ) -> Result<(), ControlError> {
        let published = state.roster.publisher(publication).and_then(|owner| owner.publication(publication));
        check::check(directive, published.ok_or_else(ControlError::no_publication)?)
    }

    /// The sender of `publication` keeps a frame as a long-term reference.
    pub(super) fn mark_reference(
        &self,
        state: &mut RoomState,
        publication: PublicationId,
        reference: &LongTermReference,
    ) -> Result<(), ControlError> {
        let [frame, by] = [reference.frame, reference.by].map(u16::try_from);
        let (Ok(frame), Ok(by)) = (frame, by) else {
            return Err(ControlError::bad_message("Frames have numbers of 16 bits."));
        };
        let publisher = state.roster.publisher(publication).ok_or_else(ControlError::no_publication)?;
        let worker = publisher.worker();
        state.roster.order(worker, Command::MarkReference { publication, frame, by });
        Ok(())
    }

    /// Tells the sender of `publication` what became of its long-term references.
    pub(super) fn direct_references(&self, state: &RoomState, publication: PublicationId, news: ReferenceNews) {
        let owner = state.publisher(publication).filter(|owner| owner.has_signalling());
        if let Some(owner) = owner {
            let directive = self.directives.record_references(publication, news);
            owner.outbox.push(Outgoing::new(Body::ReferenceDirective(directive)));
        }
    }

    /// Asks the sender of `publication` to encode as `directive` says. Gives the directive with its version.
    pub(crate) fn direct_encoder(
        &self,
        state: &RoomState,
        publication: PublicationId,
        directive: EncoderDirective,
    ) -> Result<EncoderDirective, ControlError> {
        let owner = state.publisher(publication).ok_or_else(ControlError::no_publication)?;
        let directive = self.directives.record(publication, directive);
        if owner.has_signalling() {
            owner.outbox.push(Outgoing::new(Body::EncoderDirective(directive.clone())));
        }
        Ok(directive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_grow_and_old_answers_are_ignored() {
        let directives = Directives::default();
        let publication = PublicationId(1);
        let first = directives.record(publication, EncoderDirective::default());
        let second = directives.record(publication, EncoderDirective { ttl_ms: 5, ..EncoderDirective::default() });
        assert_eq!((first.version, first.ttl_ms, second.version, second.ttl_ms), (1, DEFAULT_TTL_MS, 2, 5));
        let ack = |version| EncoderDirectiveAck { version, ..EncoderDirectiveAck::default() };
        directives.acknowledge(publication, &ack(1));
        assert!(directives.latest(publication).unwrap().ack.is_none());
        directives.acknowledge(publication, &ack(2));
        directives.record(publication, EncoderDirective::default());
        assert_eq!(directives.latest(publication).unwrap().ack.unwrap().version, 2, "the last that was answered");
        let much = EncoderDirectiveAck {
            version: 3,
            applied: vec![EncodingDirective { rid: "f".repeat(1_000), ..EncodingDirective::default() }; 1_000],
            ..EncoderDirectiveAck::default()
        };
        directives.acknowledge(publication, &much);
        let kept = directives.latest(publication).unwrap().ack.unwrap().applied;
        assert!(kept.len() == MAX_APPLIED && kept[0].rid.len() <= MAX_NAME, "no more than is needed");
        directives.forget(&[publication]);
        assert!(directives.latest(publication).is_none());
    }

    #[test]
    fn answers_to_what_was_never_asked_are_ignored() {
        let directives = Directives::default();
        let publication = PublicationId(1);
        let news = ReferenceNews { acknowledged: Some(65_535), refused: None, recover: true };
        let answered = |directives: &Directives| directives.latest(publication).unwrap().references_answered;
        for version in 1..=3 {
            let directive = directives.record_references(publication, news);
            assert_eq!((directive.version, directive.acknowledged, directive.recover), (version, Some(65_535), true));
        }
        for (version, then) in [(9, 0), (2, 2), (1, 2), (u64::MAX, 2), (3, 3)] {
            directives.acknowledge_references(
                publication,
                &ReferenceDirectiveAck { version, ..ReferenceDirectiveAck::default() },
            );
            assert_eq!(answered(&directives), then, "{version}");
        }
        directives.acknowledge_references(PublicationId(2), &ReferenceDirectiveAck::default());
        assert!(directives.latest(PublicationId(2)).is_none());
    }
}
