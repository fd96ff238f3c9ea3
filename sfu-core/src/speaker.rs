//! Who speaks, by the loudness that senders declare (RFC 6464).

use crate::ids::PublicationId;
use sfu_rtc::time::{Duration, Instant};

/// Limits of the detection of speakers.
#[derive(Clone, PartialEq, Debug)]
pub struct SpeakerConfig {
    /// How often loudness is evaluated: short enough that the video shown follows a speaker within a word or two.
    pub interval: Duration,
    /// Someone begins to speak above this loudness, in decibels below full scale: quiet speech into a near microphone.
    pub begin_level: u8,
    /// And has stopped below this: pauses between words, and background noise behind noise suppression.
    pub end_level: u8,
    /// Share of the newest interval in the smoothed loudness: about three intervals of memory bridge the pauses
    /// between words.
    pub smoothing: f32,
    /// Another becomes the loudest only by this factor, so that two who talk at once do not alternate.
    pub overtake: f32,
    /// Most speakers named; a grid shows no more of them at once.
    pub max_speakers: usize,
}

impl Default for SpeakerConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(300),
            begin_level: 40,
            end_level: 52,
            smoothing: 0.4,
            overtake: 1.3,
            max_speakers: 8,
        }
    }
}

/// A level that means digital silence.
const SILENCE: u8 = 127;

/// Decides who speaks in one room.
#[derive(Debug)]
pub(crate) struct SpeakerDetector {
    config: SpeakerConfig,
    sources: Vec<Source>,
    /// As last reported, loudest first.
    reported: Vec<PublicationId>,
    /// Reused for every evaluation.
    speaking: Vec<(PublicationId, f32)>,
    /// When loudness is evaluated next; [`Instant::NEVER`] while nobody is audible.
    due: Instant,
}

#[derive(Debug)]
struct Source {
    id: PublicationId,
    /// Amplitudes of the running interval.
    sum: f32,
    packets: u32,
    /// Amplitude from 0 to 1.
    loudness: f32,
    speaking: bool,
}

impl SpeakerDetector {
    pub(crate) fn new(config: SpeakerConfig) -> Self {
        Self { config, sources: Vec::new(), reported: Vec::new(), speaking: Vec::new(), due: Instant::NEVER }
    }

    /// Begins to listen to a publication; the number is its place for [`Self::on_level`].
    pub(crate) fn add(&mut self, id: PublicationId) {
        self.sources.push(Source { id, sum: 0.0, packets: 0, loudness: 0.0, speaking: false });
    }

    /// The publication is gone.
    pub(crate) fn remove(&mut self, now: Instant, id: PublicationId) {
        let before = self.sources.len();
        self.sources.retain(|source| source.id != id);
        if before != self.sources.len() && self.reported.contains(&id) {
            self.due = now;
        }
    }

    /// The publication fell silent by order.
    pub(crate) fn mute(&mut self, now: Instant, id: PublicationId) {
        if let Some(source) = self.sources.iter_mut().find(|source| source.id == id) {
            (source.sum, source.packets, source.loudness) = (0.0, 0, 0.0);
            self.due = self.due.min(now);
        }
    }

    /// A packet of `id` with the byte of the audio-level extension: bit 7 voice activity, then decibels below full
    /// scale.
    pub(crate) fn on_level(&mut self, now: Instant, id: PublicationId, level: u8) {
        let level = level & SILENCE;
        let Some(source) = self.sources.iter_mut().find(|source| source.id == id) else { return };
        source.packets += 1;
        if level < SILENCE {
            source.sum += amplitude(level);
            if self.due == Instant::NEVER {
                self.due = now + self.config.interval;
            }
        }
    }

    /// When [`Self::update`] will have something to do; [`Instant::NEVER`] while everyone is silent.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Whether the publication was among those that spoke at the last evaluation.
    pub(crate) fn speaks(&self, id: PublicationId) -> bool {
        self.reported.contains(&id)
    }

    /// Those who spoke at the last evaluation, the loudest first.
    pub(crate) fn speaking(&self) -> &[PublicationId] {
        &self.reported
    }

    /// Evaluates loudness. Who speaks, loudest first, if that has changed.
    pub(crate) fn update(&mut self, now: Instant) -> Option<Vec<(PublicationId, f32)>> {
        if now < self.due {
            return None;
        }
        let (begin, end) = (amplitude(self.config.begin_level), amplitude(self.config.end_level));
        let mut audible = false;
        for source in &mut self.sources {
            let heard = if source.packets == 0 { 0.0 } else { source.sum / source.packets as f32 };
            source.loudness += (heard - source.loudness) * self.config.smoothing;
            (source.sum, source.packets) = (0.0, 0);
            source.speaking = source.loudness > if source.speaking { end } else { begin };
            audible |= source.speaking || heard > 0.0;
        }
        self.due = if audible { now + self.config.interval } else { Instant::NEVER };
        self.report()
    }

    fn report(&mut self) -> Option<Vec<(PublicationId, f32)>> {
        let Self { speaking, reported, sources, config, .. } = self;
        speaking.clear();
        speaking.extend(sources.iter().filter(|source| source.speaking).map(|source| (source.id, source.loudness)));
        // The one on top stays there until someone is clearly louder.
        let top = reported.first().copied();
        let rank = |&(id, loudness): &(PublicationId, f32)| {
            if Some(id) == top { loudness * config.overtake } else { loudness }
        };
        speaking.sort_unstable_by(|a, b| rank(b).total_cmp(&rank(a)).then(a.0.cmp(&b.0)));
        speaking.truncate(config.max_speakers);
        let same_top = speaking.first().map(|speaker| speaker.0) == top;
        let same_set = speaking.len() == reported.len() && speaking.iter().all(|speaker| reported.contains(&speaker.0));
        if same_top && same_set {
            return None;
        }
        reported.clear();
        reported.extend(speaking.iter().map(|speaker| speaker.0));
        Some(speaking.iter().map(|&(id, amplitude)| (id, loudness(amplitude))).collect())
    }
}

/// What is reported as zero loudness: the quiet of a room, in decibels below full scale.
const QUIET: f32 = 60.0;

/// Loudness from 0 to 1, as people perceive it, of an amplitude from 0 to 1.
fn loudness(amplitude: f32) -> f32 {
    (1.0 + 20.0 * amplitude.log10() / QUIET).clamp(0.0, 1.0)
}

/// Amplitude from 0 to 1 of a level in decibels below full scale.
fn amplitude(level: u8) -> f32 {
    10_f32.powf(-f32::from(level) / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PublicationId = PublicationId(1);
    const B: PublicationId = PublicationId(2);

    /// Feeds packets every 20 ms from `from` to `to` (ms) with the levels of A and B; what was reported.
    fn talk(detector: &mut SpeakerDetector, from: u64, to: u64, a: u8, b: u8) -> Vec<Vec<PublicationId>> {
        let mut reports = Vec::new();
        for ms in (from..to).step_by(20) {
            let now = Instant::from_millis(ms);
            detector.on_level(now, A, a);
            detector.on_level(now, B, b);
            if let Some(report) = detector.update(now) {
                reports.push(report.into_iter().map(|(id, _)| id).collect());
            }
        }
        reports
    }

    fn detector() -> SpeakerDetector {
        let mut detector = SpeakerDetector::new(SpeakerConfig::default());
        detector.add(A);
        detector.add(B);
        detector
    }

    #[test]
    fn a_speaker_is_found_soon_and_forgotten_after_a_while() {
        let mut detector = detector();
        assert_eq!(talk(&mut detector, 0, 700, 20, 127), [[A]]);
        assert_eq!(talk(&mut detector, 700, 1_100, 127, 127), [[PublicationId(0); 0]; 0], "a pause between words");
        assert_eq!(talk(&mut detector, 1_100, 6_000, 127, 127), [[PublicationId(0); 0]]);
        assert_eq!(detector.due(), Instant::NEVER, "silence costs nothing");
    }

    #[test]
    fn two_who_talk_at_once_do_not_alternate() {
        let mut detector = detector();
        talk(&mut detector, 0, 1_200, 25, 127);
        assert_eq!(talk(&mut detector, 1_200, 5_000, 25, 24), [vec![A, B]]);
        assert_eq!(talk(&mut detector, 5_000, 8_000, 30, 15), [vec![B, A]]);
    }

    #[test]
    fn noise_is_not_speech_and_the_muted_do_not_speak() {
        let mut detector = detector();
        assert!(talk(&mut detector, 0, 3_000, 60, 70).is_empty());
        talk(&mut detector, 3_000, 4_000, 20, 127);
        let now = Instant::from_millis(4_000);
        detector.mute(now, A);
        assert_eq!(detector.update(now), Some(Vec::new()));
        talk(&mut detector, 4_000, 5_000, 20, 127);
        let now = Instant::from_millis(5_000);
        detector.remove(now, A);
        assert_eq!(detector.update(now), Some(Vec::new()));
    }
}
