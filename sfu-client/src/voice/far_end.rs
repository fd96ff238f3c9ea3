//! What a loudspeaker plays beside a microphone, which hears it too.

use crate::capture::{AudioSource, SAMPLE_RATE};
use anyhow::Result;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Samples that wait at most, half a second: a player that is further ahead than that is no loudspeaker.
const MOST: usize = SAMPLE_RATE as usize / 2;

/// Takes what is played. Clones are of the same loudspeaker.
#[derive(Clone, Debug)]
pub struct FarEnd(Arc<Mutex<VecDeque<i16>>>);

/// Gives it to a microphone's echo canceller, as a source that never ends: silence where nothing is played.
#[derive(Debug)]
pub struct Played(FarEnd);

/// A loudspeaker: push what it plays into the first, and give the second to [`NearLoudspeaker`].
pub fn far_end() -> (FarEnd, Played) {
    let far_end = FarEnd(Arc::default());
    (far_end.clone(), Played(far_end))
}

impl FarEnd {
    /// These samples are played now: mono, [`SAMPLE_RATE`].
    pub fn push(&self, samples: &[i16]) {
        let mut queue = self.lock();
        queue.extend(samples);
        let excess = queue.len().saturating_sub(MOST);
        queue.drain(..excess);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<i16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AudioSource for Played {
    fn fill(&mut self, samples: &mut [i16]) -> Result<bool> {
        let mut queue = self.0.lock();
        for sample in samples {
            *sample = queue.pop_front().unwrap_or(0);
        }
        Ok(true)
    }
}

/// A microphone that hears a loudspeaker, and knows what that plays.
pub struct NearLoudspeaker {
    microphone: Box<dyn AudioSource>,
    loudspeaker: Box<dyn AudioSource>,
}

impl NearLoudspeaker {
    /// Of the microphone's sound and the loudspeaker's.
    pub fn new(microphone: Box<dyn AudioSource>, loudspeaker: Box<dyn AudioSource>) -> Self {
        Self { microphone, loudspeaker }
    }
}

impl AudioSource for NearLoudspeaker {
    fn fill(&mut self, samples: &mut [i16]) -> Result<bool> {
        self.microphone.fill(samples)
    }

    fn played(&mut self, samples: &mut [i16]) -> Result<bool> {
        self.loudspeaker.fill(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_played_comes_in_order_and_never_waits_for_long() {
        let (far_end, mut played) = far_end();
        far_end.push(&[1, 2, 3]);
        let mut samples = [9; 2];
        assert!(played.fill(&mut samples).unwrap() && samples == [1, 2]);
        assert!(played.fill(&mut samples).unwrap() && samples == [3, 0]);
        far_end.push(&vec![1; MOST * 3]);
        far_end.push(&[7]);
        assert_eq!(far_end.lock().len(), MOST);
        assert_eq!(far_end.lock().back(), Some(&7));
    }
}
