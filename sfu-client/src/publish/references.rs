//! Long-term references of what is published: the server is told which pictures are kept, and tells what became of them.

use crate::encode::{KeptPicture, ReferenceNews};
use crate::send::VideoSender;
use crate::signal::Session;
use sfu_proto::v1::{DirectiveOutcome, LongTermReference, MediaKind, ReferenceDirective, ReferenceDirectiveAck};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What is told is done before the next picture. Where none comes for so long, nothing is sent.
const NEXT_PICTURE: Duration = Duration::from_millis(250);

/// The pictures that are kept, on their way to the server.
pub(super) struct KeptReferences {
    /// The publication; empty where it has no name.
    publication: String,
    kept: Option<mpsc::Receiver<KeptPicture>>,
    /// Version of the last directive.
    version: u64,
}

impl KeptReferences {
    /// Of `video`, where the session has signalling that tells of references.
    pub(super) fn new(session: &Session, video: Option<&mut VideoSender>) -> Self {
        let published = session.published();
        let video = video.zip(published.into_iter().find(|publication| publication.kind() == MediaKind::Video));
        let (publication, kept) = match video {
            Some((video, publication)) => (publication.id, video.take_kept()),
            None => (String::new(), None),
        };
        Self { publication, kept, version: 0 }
    }

    /// The next picture that is kept.
    pub(super) async fn next(&mut self) -> KeptPicture {
        if let Some(kept) = &mut self.kept
            && let Some(picture) = kept.recv().await
        {
            return picture;
        }
        self.kept = None;
        std::future::pending().await
    }

    /// Tells the server of it.
    pub(super) async fn announce(&self, session: &Session, kept: KeptPicture) {
        let (frame, by) = (kept.number.into(), kept.by.into());
        session.keep(LongTermReference { publication_id: self.publication.clone(), frame, by }).await;
    }

    /// Does what the server says, and answers.
    pub(super) async fn obey(&mut self, session: &Session, video: Option<&VideoSender>, directive: ReferenceDirective) {
        let version = directive.version;
        let (outcome, detail) = match video.filter(|_| directive.publication_id == self.publication) {
            None => (DirectiveOutcome::Unsupported, "there is no such publication"),
            Some(_) if version <= self.version => (DirectiveOutcome::Stale, ""),
            Some(video) => {
                self.version = version;
                carry_out(video, &directive).await
            }
        };
        let ack = ReferenceDirectiveAck {
            publication_id: directive.publication_id,
            version,
            outcome: outcome.into(),
            detail: detail.to_owned(),
        };
        session.acknowledge_references(ack).await;
    }
}

async fn carry_out(video: &VideoSender, directive: &ReferenceDirective) -> (DirectiveOutcome, &'static str) {
    let control = video.control();
    let Some(news) = news(directive) else { return (DirectiveOutcome::Unsupported, "frames have numbers of 16 bits") };
    if !control.keeps_references() {
        // The server counts on a picture that others can decode.
        if news.recover {
            control.request_keyframe();
        }
        return (DirectiveOutcome::Unsupported, "no references are kept");
    }
    match timeout(NEXT_PICTURE, control.tell_references(news)).await {
        Ok(Ok(true)) => (DirectiveOutcome::Applied, ""),
        Ok(_) => (DirectiveOutcome::Clamped, "a keyframe comes instead"),
        Err(_) => (DirectiveOutcome::Clamped, "no picture is sent now"),
    }
}

fn news(directive: &ReferenceDirective) -> Option<ReferenceNews> {
    let number = |frame: Option<u32>| frame.map(u16::try_from).transpose().ok();
    let (acknowledged, refused) = (number(directive.acknowledged)?, number(directive.refused)?);
    Some(ReferenceNews { acknowledged, refused, recover: directive.recover })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_sixteen_bits_are_refused() {
        let directive = |acknowledged| ReferenceDirective { acknowledged, recover: true, ..Default::default() };
        let told = |acknowledged| ReferenceNews { acknowledged, refused: None, recover: true };
        assert_eq!(news(&directive(None)), Some(told(None)));
        assert_eq!(news(&directive(Some(65_535))), Some(told(Some(65_535))));
        assert_eq!(news(&directive(Some(65_536))), None);
    }
}
