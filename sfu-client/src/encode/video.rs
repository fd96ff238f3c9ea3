//! A video encoder with everything that steers it: our rate control, or the codec's own.

use super::EncodedFrame;
use super::codec::{Effort, Encoder, EncoderConfig, Quantizer, open_encoder};
use super::complexity::ComplexityMeter;
use super::effort::EffortControl;
use super::rate_control::{Plan, RateControl, RateControlConfig};
use super::references::LongTermReferences;
use crate::frame::VideoFrame;
use crate::peer::VideoCodec;
use anyhow::Result;
use sfu_rtc::units::Bitrate;
use std::ops::Add;
use std::time::{Duration, Instant};

/// A picture is coded again only where that ends within this share of the time to the next: others have work too.
const IN_TIME: f64 = 0.8;

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
    /// Pictures at the finest quantiser that is allowed: better ones would look the same.
    pub finest: u64,
    /// Time that all pictures took.
    pub encode_time: Duration,
    /// Time that the slowest picture took.
    pub slowest: Duration,
    /// Changes of effort.
    pub effort_changes: u64,
    /// Pictures that referred to an acknowledged long-term reference, so as to recover.
    pub recovered: u64,
}

impl Add for EncoderStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            skipped: self.skipped + other.skipped,
            coded_again: self.coded_again + other.coded_again,
            quantizer_sum: self.quantizer_sum + other.quantizer_sum,
            finest: self.finest + other.finest,
            encode_time: self.encode_time + other.encode_time,
            slowest: self.slowest.max(other.slowest),
            effort_changes: self.effort_changes + other.effort_changes,
            recovered: self.recovered + other.recovered,
        }
    }
}

/// A running encoder.
pub struct VideoEncoder {
    encoder: Box<dyn Encoder>,
    meter: ComplexityMeter,
    control: Option<RateControl>,
    effort: Option<EffortControl>,
    /// From picture to picture, as configured.
    interval: Duration,
    keyframe: bool,
    /// The next picture is to recover.
    recovers: bool,
    stats: EncoderStats,
}

impl VideoEncoder {
    /// An encoder; its first picture is a keyframe. Who chooses quantisers and effort follows from `rate` and `effort`.
    ///
    /// # Errors
    /// Where the codec was not built in, or refuses the configuration.
    pub fn new(codec: VideoCodec, config: EncoderConfig, rate: RateMode, effort: EffortMode) -> Result<Self> {
        let quantizer = if rate == RateMode::Codec { Quantizer::Codec } else { Quantizer::Caller };
        let (first, effort) = match effort {
            EffortMode::UpTo(most) => (Effort::Low, Some(EffortControl::new(most))),
            EffortMode::Fixed(effort) => (effort, None),
        };
        let interval = Duration::from_secs_f64(1.0 / config.frame_rate.clamp(0.1, 1_000.0));
        let (bitrate, frame_rate) = (config.bitrate, config.frame_rate);
        let encoder = open_encoder(codec, EncoderConfig { quantizer, effort: first, ..config })?;
        let control = match rate {
            RateMode::Codec => None,
            RateMode::Own(own) => Some(RateControl::new(own, encoder.ladder(), bitrate, frame_rate)),
        };
        let (meter, stats) = (ComplexityMeter::new(), EncoderStats::default());
        Ok(Self { encoder, meter, control, effort, interval, keyframe: false, recovers: false, stats })
    }

    /// Encodes a picture captured `elapsed` after the first; `None` where it was left out.
    ///
    /// # Errors
    /// Where the picture has another size than configured, or the codec fails.
    pub fn encode(&mut self, picture: &VideoFrame, elapsed: Duration) -> Result<Option<EncodedFrame>> {
        let begun = Instant::now();
        let (encoded, cost) = self.encode_in_time(picture, elapsed)?;
        let time = begun.elapsed();
        self.stats.recovered += u64::from(encoded.as_ref().is_some_and(|encoded| encoded.references.recovers));
        self.stats.encode_time += time;
        self.stats.slowest = self.stats.slowest.max(time);
        if let Some(next) = self.effort.as_mut().and_then(|effort| effort.record(time, cost, self.interval)) {
            self.encoder.set_effort(next)?;
            self.stats.effort_changes += 1;
        }
        Ok(encoded)
    }

    /// The picture, and what it cost by the measure that effort goes by.
    fn encode_in_time(&mut self, picture: &VideoFrame, elapsed: Duration) -> Result<(Option<EncodedFrame>, f64)> {
        let millis = i64::try_from(elapsed.as_millis())?;
        let Some(control) = &mut self.control else {
            if std::mem::take(&mut self.keyframe) {
                self.encoder.force_keyframe()?;
            } else if std::mem::take(&mut self.recovers)
                && let Some(references) = self.encoder.long_term()
            {
                references.recover()?;
            }
            let encoded = self.encoder.encode(picture, millis)?;
            self.stats.skipped += u64::from(encoded.is_none());
            return Ok((encoded, 1.0));
        };
        let complexity = self.meter.measure(picture);
        let layer = if self.recovers { control.recovery_layer() } else { self.encoder.next_layer() };
        let Some(mut plan) = control.plan(elapsed, complexity, self.keyframe, layer) else {
            self.stats.skipped += 1;
            return Ok((None, complexity.samples));
        };
        let recovers = std::mem::take(&mut self.recovers) && !plan.keyframe;
        if let Some(references) = self.encoder.long_term().filter(|_| recovers) {
            references.recover()?;
        }
        // Looking at every sample takes time too.
        let cost = complexity.samples + if plan.keyframe { complexity.intra } else { complexity.inter };
        if let Some(next) = self.effort.as_mut().and_then(|effort| effort.foresee(cost, self.interval)) {
            self.encoder.set_effort(next)?;
            self.stats.effort_changes += 1;
        }
        let (begun, again_before) = (Instant::now(), self.stats.coded_again);
        let mut encoded = encode(&mut *self.encoder, picture, millis, &plan)?;
        // However large, one that recovers is smaller than the keyframe that would take its place.
        while !recovers && let Some(next) = control.again(elapsed, &plan, bits(&encoded)) {
            // Where the effort follows the time that pictures take, no picture is to make the next one late.
            let tries = self.stats.coded_again - again_before + 1;
            let each = begun.elapsed() / u32::try_from(tries).unwrap_or(u32::MAX);
            if self.effort.is_some() && begun.elapsed() + each > self.interval.mul_f64(IN_TIME) {
                break;
            }
            plan = next;
            encoded = encode(&mut *self.encoder, picture, millis, &plan)?;
            self.stats.coded_again += 1;
        }
        self.stats.finest += u64::from(control.is_finest(&plan));
        control.sent(&plan, bits(&encoded));
        self.keyframe = false;
        self.stats.quantizer_sum += u64::from(plan.quantizer);
        Ok((encoded, cost))
    }

    /// Makes the next picture a keyframe.
    pub const fn force_keyframe(&mut self) {
        self.keyframe = true;
    }

    /// Its long-term references, where it keeps any.
    pub fn long_term(&mut self) -> Option<&mut dyn LongTermReferences> {
        self.encoder.long_term()
    }

    /// Lets the next picture refer to the acknowledged long-term reference; false where it keeps none.
    pub fn recover(&mut self) -> bool {
        self.recovers = self.encoder.long_term().is_some();
        self.recovers
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

fn encode(encoder: &mut dyn Encoder, picture: &VideoFrame, millis: i64, plan: &Plan) -> Result<Option<EncodedFrame>> {
    if plan.keyframe {
        encoder.force_keyframe()?;
    }
    encoder.set_quantizer(plan.quantizer)?;
    encoder.encode(picture, millis)
}

fn bits(encoded: &Option<EncodedFrame>) -> f64 {
    encoded.as_ref().map_or(0.0, |encoded| encoded.data.len() as f64 * 8.0)
}
