//! Long-term references: pictures that encoder and decoders keep, so that a picture which refers to one that everybody has
//! does what a keyframe does, for the price of a usual picture.
//!
//! Of those that the encoder keeps one is *acknowledged*: all decoders have it. Another is the *candidate*, of which that is
//! not known yet. A keyframe is taken for acknowledged; who has lost it needs another keyframe in any case.

use super::layers::Layering;
use anyhow::Result;

/// Which picture a picture needs, and which it keeps.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct References {
    /// How many pictures back the one is that it refers to; 0 of a keyframe.
    pub refers: u16,
    /// How many pictures back the one is that becomes the candidate with this one; 0: itself. Who has lost this picture
    /// does not keep the candidate, even if it has that.
    pub marks: Option<u16>,
    /// It refers to the acknowledged picture, so as to recover.
    pub recovers: bool,
}

impl References {
    /// Of a picture that stands there, where nothing is kept for long.
    pub fn of(layering: Layering) -> Self {
        Self { refers: u16::from(layering.reference), marks: None, recovers: false }
    }
}

/// What is asked of an encoder that keeps long-term references.
pub trait LongTermReferences {
    /// Makes a candidate as soon as it can: with the next picture, unless there is one, or that picture recovers. Says so
    /// in [`References::marks`].
    ///
    /// # Errors
    /// Where the codec refuses it.
    fn mark(&mut self) -> Result<()>;

    /// Whether all have the candidate: it then takes the place of the acknowledged picture, else it is forgotten. Without
    /// a candidate, nothing.
    ///
    /// # Errors
    /// Where the codec refuses it.
    fn settle(&mut self, held: bool) -> Result<()>;

    /// Lets the next picture refer to the acknowledged one.
    ///
    /// # Errors
    /// Where the codec refuses it.
    fn recover(&mut self) -> Result<()>;
}

#[cfg(test)]
mod tests;
