//! What is done to a microphone's sound before it is coded: echo of the loudspeaker and noise are taken out, and the level
//! is evened. Each stage can be switched while it runs.
//!
//! The stages are those of WebRTC's audio processing (AEC3, NS, AGC2) in the crate `sonora`. Sound comes in steps of
//! 10 ms, mono, 48 kHz; with every step goes what the loudspeaker played meanwhile. Before the echo canceller a long
//! filter of ours takes out what is linear of the echo: AEC3's is some 50 ms long, and the rest it can only hold down.

mod far_end;
mod long_echo;

pub use far_end::{FarEnd, NearLoudspeaker, far_end};

use crate::capture::SAMPLE_RATE;
use anyhow::{Context, Result};
use long_echo::LongEcho;
use sonora::config::{
    AdaptiveDigital, EchoCanceller, GainController2, MaxProcessingRate, NoiseSuppression, NoiseSuppressionLevel,
    Pipeline,
};
use sonora::{AudioProcessing, Config, StreamConfig};

/// Samples of a step: 10 ms.
pub const STEP_SAMPLES: usize = SAMPLE_RATE as usize / 100;

/// Which stages run. None by default: generated sound and files are sent as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VoiceConfig {
    /// Take out the echo of what the loudspeaker plays.
    pub echo: bool,
    /// Take out noise.
    pub noise: bool,
    /// Bring the voice to an even level.
    pub gain: bool,
}

impl VoiceConfig {
    /// Whether nothing is done.
    pub const fn is_off(self) -> bool {
        !self.echo && !self.noise && !self.gain
    }

    fn stages(self) -> Config {
        Config {
            pipeline: Pipeline {
                // Opus carries the whole band.
                maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz,
                ..Default::default()
            },
            echo_canceller: self.echo.then(EchoCanceller::default),
            // 18 dB less noise: at the default 12 it is still heard behind the level control.
            noise_suppression: self
                .noise
                .then(|| NoiseSuppression { level: NoiseSuppressionLevel::High, ..Default::default() }),
            gain_controller2: self
                .gain
                .then(|| GainController2 { adaptive_digital: Some(AdaptiveDigital::default()), ..Default::default() }),
            ..Default::default()
        }
    }
}

/// The stages of one microphone.
pub struct VoiceProcessor {
    config: VoiceConfig,
    processing: AudioProcessing,
    /// While echo is taken out.
    long_echo: Option<LongEcho>,
    /// A step as it came.
    before: [i16; STEP_SAMPLES],
}

impl VoiceProcessor {
    /// With these stages.
    pub fn new(config: VoiceConfig) -> Self {
        let format = StreamConfig::new(SAMPLE_RATE, 1);
        let builder = AudioProcessing::builder().config(config.stages());
        let processing = builder.capture_config(format).render_config(format).build();
        let long_echo = config.echo.then(LongEcho::new);
        Self { config, processing, long_echo, before: [0; STEP_SAMPLES] }
    }

    /// Goes on with other stages; those that stay keep what they have learned.
    pub fn configure(&mut self, config: VoiceConfig) {
        if self.config != config {
            self.config = config;
            self.processing.apply_config(config.stages());
            if !config.echo {
                self.long_echo = None;
            } else if self.long_echo.is_none() {
                self.long_echo = Some(LongEcho::new());
            }
        }
    }

    /// Processes whole steps in place; `played` is what the loudspeaker played meanwhile, as long as `samples`, or
    /// empty where there is none. What is left of less than a step stays as it is.
    ///
    /// # Errors
    /// Where the crate refuses, which it does for no sound of this format.
    pub fn process(&mut self, samples: &mut [i16], played: &[i16]) -> Result<()> {
        if self.config.is_off() {
            return Ok(());
        }
        let mut played = played.chunks_exact(STEP_SAMPLES);
        for step in samples.chunks_exact_mut(STEP_SAMPLES) {
            let step_played = played.next().filter(|_| self.config.echo);
            if let Some(played) = step_played {
                // What comes out is for loudspeakers whose sound is changed: ours is not.
                self.processing
                    .process_render_i16(played, &mut self.before)
                    .context("cannot take a loudspeaker's sound")?;
            }
            self.before.copy_from_slice(step);
            if let Some(long_echo) = &mut self.long_echo {
                long_echo.process(&mut self.before, step_played.unwrap_or(&[0; STEP_SAMPLES]));
            }
            self.processing.process_capture_i16(&self.before, step).context("cannot process a voice")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
