//! What libvpx and libaom are told alike: bounds of their own rate control, times, keyframes and layers.

use super::EncodedFrame;
use super::codec::EncoderConfig;
use super::layers::Layering;
use super::references::References;
use crate::frame::VideoFrame;
use anyhow::{Result, ensure};
use bytes::Bytes;
use sfu_rtc::units::Bitrate;
use std::ffi::{c_int, c_uint};

/// Bounds of quantisers for the codec's own rate control, as WebRTC has them.
pub(super) const OWN_QUANTIZERS: (c_uint, c_uint) = (2, 56);
/// Fill of the codec's buffer, in milliseconds: capacity, at the start, and to aim at.
pub(super) const BUFFER: (c_uint, c_uint, c_uint) = (1_000, 500, 600);
/// Fill in percent below which the codec leaves pictures out, where it may.
pub(super) const DROP_BELOW: c_uint = 30;
/// Ticks of time stamps per second.
pub(super) const TICKS: c_int = 1_000;
/// Adaptive quantisation of which still parts are refined in turn.
pub(super) const CYCLIC_REFRESH: c_int = 3;
/// The bitrate that the codec is told where the caller chooses quantisers, and still parts are refined, in kbit/s: with it,
/// the codec takes the coarsest quantiser that it may.
pub(super) const NO_BITRATE: c_uint = 1;

/// Where the next picture stands in its stream.
pub(super) struct Steering {
    width: usize,
    height: usize,
    layers: u8,
    keyframe_interval: u32,
    /// In ticks.
    duration: u64,
    force_keyframe: bool,
    /// Where the next picture stands after its keyframe.
    position: u32,
    /// Time stamp of the last picture: the codecs want them to grow.
    last_time: i64,
}

/// What is asked of one picture.
pub(super) struct Order {
    pub(super) keyframe: bool,
    pub(super) layering: Layering,
    /// In ticks.
    pub(super) time: i64,
    /// In ticks.
    pub(super) duration: u64,
}

impl Steering {
    pub(super) fn new(config: &EncoderConfig) -> Self {
        Self {
            width: config.width,
            height: config.height,
            layers: config.temporal_layers,
            keyframe_interval: config.keyframe_interval,
            duration: (f64::from(TICKS) / config.frame_rate).round().clamp(1.0, 10_000.0) as u64,
            force_keyframe: false,
            position: 0,
            last_time: -1,
        }
    }

    pub(super) const fn force_keyframe(&mut self) {
        self.force_keyframe = true;
    }

    /// Temporal layer of the next picture, where that is no keyframe.
    pub(super) fn next_layer(&self) -> u8 {
        Layering::at(self.layers, self.position).layer
    }

    /// What to ask of `picture`, captured at `millis`.
    pub(super) fn next(&mut self, picture: &VideoFrame, millis: i64) -> Result<Order> {
        ensure!(
            (picture.width(), picture.height()) == (self.width, self.height),
            "a picture of {}x{} came to an encoder of {}x{}",
            picture.width(),
            picture.height(),
            self.width,
            self.height
        );
        let due = self.keyframe_interval > 0 && self.position >= self.keyframe_interval;
        let keyframe = self.force_keyframe || self.position == 0 || due;
        let layering = Layering::at(self.layers, if keyframe { 0 } else { self.position });
        self.last_time = millis.max(self.last_time + 1);
        Ok(Order { keyframe, layering, time: self.last_time, duration: self.duration })
    }

    /// What the codec made of `order`.
    pub(super) fn coded(&mut self, order: &Order, (data, keyframe): (Bytes, bool)) -> Option<EncodedFrame> {
        self.force_keyframe = false;
        let layering = if keyframe { Layering::at(self.layers, 0) } else { order.layering };
        self.position = if keyframe { 1 } else { self.position.wrapping_add(1).max(1) };
        let references = References::of(layering);
        (!data.is_empty()).then_some(EncodedFrame { data, keyframe, layering, references })
    }
}

pub(super) fn kilobits(bitrate: Bitrate) -> c_uint {
    c_uint::try_from(bitrate.as_bps() / 1_000).unwrap_or(c_uint::MAX).clamp(1, 1_000_000)
}
