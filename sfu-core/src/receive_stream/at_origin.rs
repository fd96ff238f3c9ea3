//! A stream as the worker sees it that receives it from its publisher, and as its publisher was asked to send it.

use super::ReceiveStream;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;

/// How long what the origin reports holds: it is reported twice a second while packets arrive there.
const ORIGIN_LIFETIME: Duration = Duration::from_secs(2);

/// What another worker reports that receives the stream.
#[derive(Debug)]
pub(super) struct AtOrigin {
    rate: Bitrate,
    resolution: Option<(u16, u16)>,
    at: Instant,
}

impl ReceiveStream {
    /// Takes in what the origin reports. Whether the size is another than before.
    pub(crate) fn set_origin(&mut self, at: Instant, rate: Bitrate, resolution: Option<(u16, u16)>) -> bool {
        let before = self.resolution();
        self.origin = Some(AtOrigin { rate, resolution, at });
        self.resolution() != before
    }

    /// Its publisher was asked to send so much: it is believed to do so until it is seen not to.
    pub(crate) fn set_target(&mut self, target: Bitrate) {
        let factor = self.rates.set_target(target);
        if let Some(origin) = &mut self.origin {
            origin.rate = origin.rate * factor;
        }
    }

    /// What it usually takes to send it up to these layers inside. Where another worker receives it, the whole is known
    /// from there, and the parts are shares of what came from there.
    pub(crate) fn usual_rate(&self, now: Instant, spatial: u8, temporal: u8) -> Bitrate {
        let part = self.rates.up_to(spatial, temporal);
        let Some(origin) = &self.origin else { return part };
        let whole = self.rates.up_to(u8::MAX, u8::MAX);
        match now - origin.at > ORIGIN_LIFETIME {
            true => Bitrate::ZERO,
            false if part == whole => origin.rate,
            false => origin.rate * (part.as_bps() as f64 / whole.as_bps() as f64),
        }
    }

    /// Width and height, as the last keyframe said.
    pub(crate) fn resolution(&self) -> Option<(u16, u16)> {
        self.origin.as_ref().and_then(|origin| origin.resolution).or(self.tracker.resolution())
    }

    /// Whether nothing of it comes.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        match &self.origin {
            Some(origin) => now - origin.at > ORIGIN_LIFETIME,
            None => self.tracker.is_silent(now),
        }
    }
}
