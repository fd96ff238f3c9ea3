//! A video encoder with everything that steers it: our rate control, or the codec's own.

use super::EncodedFrame;
use super::complexity::ComplexityMeter;
use super::effort::EffortControl;
use super::h264::{Effort, H264Config, H264Encoder, Quantizer};
use super::rate_control::{Plan, RateControl, RateControlConfig};
use crate::frame::VideoFrame;
use anyhow::Result;
use sfu_rtc::units::Bitrate;
use std::ops::Add;
use std::time::{Duration, Instant};

/// Who keeps the bitrate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RateMode {
    /// The codec's own rate control.
    Codec,
    /// Ours.
    Own(RateControlConfig),
}

impl Default for RateMode {
    fn default() -> Self {
        Self::Own(RateControlConfig::default())
    }
}

/// How much the encoder tries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EffortMode {
    /// As much as the slowest picture allows, up to this.
    UpTo(Effort),
    /// Always this.
    Fixed(Effort),
}

impl Default for EffortMode {
    fn default() -> Self {
        Self::UpTo(Effort::Medium)
    }
}

/// What an encoder has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EncoderStats {
    /// Pictures that were left out to keep the bitrate.
    pub skipped: u64,
    /// Pictures that were coded once more, for their size.
    pub coded_again: u64,
    /// Sum of the quantisers that we chose, over all pictures.
    pub quantizer_sum: u64,
    /// Time that all pictures took.
    pub encode_time: Duration,
    /// Time that the slowest picture took.
    pub slowest: Duration,
    /// Changes of effort.
    pub effort_changes: u64,
}

impl Add for EncoderStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            skipped: self.skipped + other.skipped,
            coded_again: self.coded_again + other.coded_again,
            quantizer_sum: self.quantizer_sum + other.quantizer_sum,
            encode_time: self.encode_time + other.encode_time,
            slowest: self.slowest.max(other.slowest),
            effort_changes: self.effort_changes + other.effort_changes,
        }
    }
}

/// A running encoder.
pub struct VideoEncoder {
    encoder: H264Encoder,
    meter: ComplexityMeter,
    control: Option<RateControl>,
    effort: Option<EffortControl>,
    /// From picture to picture, as configured.
    interval: Duration,
    keyframe: bool,
    stats: EncoderStats,
}

impl VideoEncoder {
    /// An encoder; its first picture is a keyframe. Who chooses quantisers and effort follows from `rate` and `effort`.
    ///
    /// # Errors
    /// Where the codec refuses the configuration.
    pub fn new(config: H264Config, rate: RateMode, effort: EffortMode) -> Result<Self> {
        let (quantizer, control) = match rate {
            RateMode::Codec => (Quantizer::Codec, None),
            RateMode::Own(own) => (Quantizer::Caller, Some(RateControl::new(own, config.bitrate, config.frame_rate))),
        };
        let (first, effort) = match effort {
            EffortMode::UpTo(most) => (Effort::Low, Some(EffortControl::new(most))),
            EffortMode::Fixed(effort) => (effort, None),
        };
        let interval = Duration::from_secs_f64(1.0 / config.frame_rate.clamp(0.1, 1_000.0));
        let encoder = H264Encoder::new(H264Config { quantizer, effort: first, ..config })?;
        let (meter, stats) = (ComplexityMeter::new(), EncoderStats::default());
        Ok(Self { encoder, meter, control, effort, interval, keyframe: false, stats })
    }

    /// Encodes a picture captured `elapsed` after the first; `None` where it was left out.
    ///
    /// # Errors
    /// Where the picture has another size than configured, or the codec fails.
    pub fn encode(&mut self, picture: &VideoFrame, elapsed: Duration) -> Result<Option<EncodedFrame>> {
        let begun = Instant::now();
        let encoded = self.encode_in_time(picture, elapsed)?;
        let time = begun.elapsed();
        self.stats.encode_time += time;
        self.stats.slowest = self.stats.slowest.max(time);
        if let Some(next) = self.effort.as_mut().and_then(|effort| effort.record(time, self.interval)) {
            self.encoder.set_effort(next)?;
            self.stats.effort_changes += 1;
        }
        Ok(encoded)
    }

    fn encode_in_time(&mut self, picture: &VideoFrame, elapsed: Duration) -> Result<Option<EncodedFrame>> {
        let millis = i64::try_from(elapsed.as_millis())?;
        let Some(control) = &mut self.control else {
            if std::mem::take(&mut self.keyframe) {
                self.encoder.force_keyframe()?;
            }
            let encoded = self.encoder.encode(picture, millis)?;
            self.stats.skipped += u64::from(encoded.is_none());
            return Ok(encoded);
        };
        let complexity = self.meter.measure(picture);
        let Some(mut plan) = control.plan(elapsed, complexity, self.keyframe) else {
            self.stats.skipped += 1;
            return Ok(None);
        };
        let mut encoded = encode(&mut self.encoder, picture, millis, &plan)?;
        while let Some(next) = control.again(elapsed, &plan, bits(&encoded)) {
            plan = next;
            encoded = encode(&mut self.encoder, picture, millis, &plan)?;
            self.stats.coded_again += 1;
        }
        control.sent(&plan, bits(&encoded));
        self.keyframe = false;
        self.stats.quantizer_sum += u64::from(plan.quantizer);
        Ok(encoded)
    }

    /// Makes the next picture a keyframe.
    pub const fn force_keyframe(&mut self) {
        self.keyframe = true;
    }

    /// Changes the bitrate of the running encoder: ours follows at once, the codec's own within 0.5 to 2 s.
    ///
    /// # Errors
    /// Where the codec refuses it.
    pub fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<()> {
        if let Some(control) = &mut self.control {
            control.set_bitrate(bitrate);
        }
        self.encoder.set_bitrate(bitrate)
    }

    /// What it has done.
    pub const fn stats(&self) -> EncoderStats {
        self.stats
    }
}

fn encode(encoder: &mut H264Encoder, picture: &VideoFrame, millis: i64, plan: &Plan) -> Result<Option<EncodedFrame>> {
    if plan.keyframe {
        encoder.force_keyframe()?;
    }
    encoder.set_quantizer(plan.quantizer)?;
    encoder.encode(picture, millis)
}

fn bits(encoded: &Option<EncodedFrame>) -> f64 {
    encoded.as_ref().map_or(0.0, |encoded| encoded.data.len() as f64 * 8.0)
}
