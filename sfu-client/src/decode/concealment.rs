//! Concealment of lost sound: what was heard last goes on, repeated at its pitch, and fades to the background.
//!
//! It is waveform substitution as in ITU-T G.711 Appendix I. That keeps the last milliseconds back to blend them into
//! what it makes up; here they have been played already, so the made-up sound is bent to begin where they ended.

use super::comfort_noise::ComfortNoise;
use crate::capture::SAMPLE_RATE;

const MS: usize = SAMPLE_RATE as usize / 1000;
/// Shortest repeated segment: hiss repeated faster than this hums. Every higher pitch has a multiple up to [`MAX_LAG`].
const MIN_LAG: usize = 10 * MS;
/// Longest repeated segment: one period of 50 Hz, lower than voices go.
const MAX_LAG: usize = 20 * MS;
/// How much of the last sound is compared with what came a lag earlier.
const WINDOW: usize = 20 * MS;
/// Time in which one made-up waveform becomes another: short against a period, long against a click.
const BLEND: usize = 5 * MS / 2;
/// Made-up sound is as loud as the last for so long, as in G.711 Appendix I.
const SUSTAIN: usize = 10 * MS;
/// Only the background is left from here on: speech is not predictable for longer, and a held vowel sounds like a machine.
const SILENCE: usize = 80 * MS;
/// Start of what is decoded after a gap that is not played. A decoder overlaps its frames by so much (RFC 6716 section
/// 4.3.7), there with sound that it has not got.
const DISCARDED: usize = 5 * MS / 2;
/// Time in which made-up sound gives way to decoded sound.
const JOIN: usize = 5 * MS;

/// Fills the gaps in one stream of sound.
pub(super) struct Concealment {
    /// The last sound played, of constant length.
    history: Vec<i16>,
    /// The segment that is repeated; empty unless there is a gap, or its end has yet to be joined.
    segment: Vec<f32>,
    /// From the segment's first value to the one that would have followed the last sound.
    offset: f32,
    /// Samples made up since the gap began.
    made: usize,
    /// Decoded samples joined since the gap ended.
    joined: usize,
    background: ComfortNoise,
}

impl Concealment {
    pub(super) fn new() -> Self {
        Self {
            history: vec![0; MAX_LAG + WINDOW],
            segment: Vec::new(),
            offset: 0.0,
            made: 0,
            joined: 0,
            background: ComfortNoise::new(),
        }
    }

    /// Says that sound is missing from here on.
    pub(super) fn begin(&mut self) {
        self.joined = 0;
        if self.segment.is_empty() {
            let last = &self.history[self.history.len() - WINDOW..];
            let lag = lag(&self.history, last);
            self.segment = segment(&self.history, lag);
            self.offset = f32::from(last[WINDOW - 1]) - f32::from(self.history[self.history.len() - 1 - lag]);
            self.made = 0;
        }
    }

    /// Makes up the missing sound.
    pub(super) fn conceal(&mut self, samples: &mut [i16]) {
        self.begin();
        samples.fill_with(|| self.next() as i16);
        self.remember(samples);
    }

    /// Whether the made-up sound has faded to the background.
    pub(super) fn is_silent(&self) -> bool {
        !self.segment.is_empty() && self.made >= SILENCE
    }

    /// Takes decoded sound on its way to be played, and joins it to what was made up before it.
    pub(super) fn accept(&mut self, samples: &mut [i16]) {
        self.background.learn(samples);
        if !self.segment.is_empty() {
            for sample in samples.iter_mut().take(DISCARDED + JOIN - self.joined) {
                let share = self.joined.saturating_sub(DISCARDED) as f32 / JOIN as f32;
                *sample = (f32::from(*sample) * share + self.next() * (1.0 - share)) as i16;
                self.joined += 1;
            }
            if self.joined == DISCARDED + JOIN {
                self.segment.clear();
            }
        }
        self.remember(samples);
    }

    fn next(&mut self) -> f32 {
        let offset = self.offset * (1.0 - self.made as f32 / BLEND as f32).max(0.0);
        let faded = self.made.saturating_sub(SUSTAIN) as f32 / (SILENCE - SUSTAIN) as f32;
        let sample = (self.segment[self.made % self.segment.len()] + offset) * (1.0 - faded).max(0.0);
        self.made += 1;
        sample + self.background.next() * faded.min(1.0)
    }

    fn remember(&mut self, samples: &[i16]) {
        let length = self.history.len();
        let new = &samples[samples.len().saturating_sub(length)..];
        self.history.drain(..new.len());
        self.history.extend_from_slice(new);
    }
}

/// How long ago the sound was most like `last`, the end of `history`.
fn lag(history: &[i16], last: &[i16]) -> usize {
    let start = history.len() - last.len();
    let likeness = |lag: usize| {
        let earlier = &history[start - lag..][..last.len()];
        let (mut product, mut energy) = (0, 1);
        for (a, b) in earlier.iter().zip(last) {
            product += i64::from(*a) * i64::from(*b);
            energy += i64::from(*a) * i64::from(*a);
        }
        product as f64 / (energy as f64).sqrt()
    };
    let likest = (MIN_LAG..=MAX_LAG).map(|lag| (lag, likeness(lag))).max_by(|a, b| a.1.total_cmp(&b.1));
    likest.map_or(MAX_LAG, |(lag, _)| lag)
}

/// The last `lag` samples, their end blended into what came before their start, so that they can be repeated.
fn segment(history: &[i16], lag: usize) -> Vec<f32> {
    let start = history.len() - lag;
    let mut segment: Vec<f32> = history[start..].iter().copied().map(f32::from).collect();
    for (i, sample) in segment[lag - BLEND..].iter_mut().enumerate() {
        let share = (i + 1) as f32 / (BLEND + 1) as f32;
        *sample = *sample * (1.0 - share) + f32::from(history[start - BLEND + i]) * share;
    }
    segment
}

#[cfg(test)]
mod tests;
