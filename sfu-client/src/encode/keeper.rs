//! Which pictures a sender keeps as long-term references, and what it does with what the far side says of them.
//!
//! A picture that recovers is the best to keep: who got it can decode it, whatever was lost before. So the next candidate is
//! marked right behind it; without losses, each half second. While the far side says nothing of a candidate there is no
//! other.

use super::EncodedFrame;
use super::video::VideoEncoder;
use anyhow::Result;
use sfu_rtc::rtp::extension::dependency_descriptor::MAX_DIFF;
use std::time::Duration;

/// Without losses, a candidate is made so often.
const INTERVAL: Duration = Duration::from_millis(500);
/// A candidate of which nothing is said for so long is given up: what was said is lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the far side says of references. Pictures have the numbers of the dependency descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ReferenceNews {
    /// Everybody has this picture.
    pub acknowledged: Option<u16>,
    /// Somebody lacks this one.
    pub refused: Option<u16>,
    /// The next picture is to recover.
    pub recover: bool,
}

/// A picture that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeptPicture {
    /// Its number.
    pub number: u16,
    /// Number of the picture with which it is kept from now on.
    pub by: u16,
}

/// The references of one stream.
#[derive(Clone, Debug, Default)]
pub struct ReferenceKeeper {
    /// Number of the next picture. Those on the wire are its low bits.
    next: u64,
    acknowledged: u64,
    /// Of which nothing is known, and since when.
    candidate: Option<(u64, Duration)>,
    /// When one was made last.
    marked: Duration,
    /// The last picture has recovered.
    recovered: bool,
}

impl ReferenceKeeper {
    /// Takes what the far side says. False where the encoder keeps no references, or no longer those: a keyframe comes then.
    ///
    /// # Errors
    /// Where the codec refuses it.
    pub fn hear(&mut self, encoder: &mut VideoEncoder, news: ReferenceNews) -> Result<bool> {
        if let Some((candidate, _)) = self.candidate
            && let Some(held) = verdict(candidate as u16, news)
            && let Some(references) = encoder.long_term()
        {
            references.settle(held)?;
            self.candidate = None;
            self.acknowledged = if held { candidate } else { self.acknowledged };
        }
        if !news.recover {
            return Ok(encoder.long_term().is_some());
        }
        // What it takes to say how far back a reference is has an end.
        let is_near = self.next - self.acknowledged <= u64::from(MAX_DIFF);
        let recovers = is_near && encoder.recover();
        if !recovers {
            encoder.force_keyframe();
        }
        Ok(recovers)
    }

    /// Before a picture is coded at `now`.
    ///
    /// # Errors
    /// Where the codec refuses it.
    pub fn before(&mut self, encoder: &mut VideoEncoder, now: Duration) -> Result<()> {
        let Some(references) = encoder.long_term() else { return Ok(()) };
        if self.candidate.is_some_and(|(_, since)| now.saturating_sub(since) > PATIENCE) {
            self.candidate = None;
            references.settle(false)?;
        }
        let is_due = self.recovered || now.saturating_sub(self.marked) >= INTERVAL;
        if is_due && self.candidate.is_none() && self.next > 0 {
            references.mark()?;
        }
        Ok(())
    }

    /// A picture was coded at `now`. What is kept with it.
    pub fn after(&mut self, picture: &EncodedFrame, now: Duration) -> Option<KeptPicture> {
        let number = self.next;
        self.next += 1;
        let references = picture.references;
        self.recovered =
            references.recovers || self.recovered && references.marks.is_none() && self.candidate.is_some();
        let kept = if picture.keyframe {
            (self.acknowledged, self.candidate, self.marked) = (number, None, now);
            number
        } else {
            let kept = number.saturating_sub(references.marks?.into());
            (self.candidate, self.marked) = (Some((kept, now)), now);
            kept
        };
        Some(KeptPicture { number: kept as u16, by: number as u16 })
    }

    /// Another encoder goes on: nothing of the former is kept.
    pub fn restart(&mut self) {
        (self.candidate, self.recovered) = (None, false);
    }
}

/// What is said of a candidate, if anything.
fn verdict(candidate: u16, news: ReferenceNews) -> Option<bool> {
    let held = (news.acknowledged == Some(candidate)).then_some(true);
    held.or_else(|| (news.refused == Some(candidate)).then_some(false))
}
