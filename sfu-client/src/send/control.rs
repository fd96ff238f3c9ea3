//! What can be changed of a running encoder.

use super::load::LoadStep;
use super::video::VideoSettings;
use crate::encode::ReferenceNews;
use crate::peer::VideoCodec;
use sfu_rtc::units::Bitrate;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::oneshot;

/// News of references that may wait for the next picture.
const MAX_NEWS: usize = 64;
/// Temporal layers that every codec can make.
const MAX_LAYERS: u8 = 3;

/// Changes the encoder while it runs.
#[derive(Debug)]
pub struct VideoControl {
    bitrate: AtomicU64,
    /// Most that there is room for on the way to the far side.
    room: AtomicU64,
    /// What the machine can follow, in thousandths: share of the source's pictures, and how much smaller they are.
    load_frame_rate_millis: AtomicU32,
    load_scale_millis: AtomicU32,
    /// Most pictures per second, in thousandths; 0: as many as the source has.
    frame_rate_millis: AtomicU32,
    /// How much smaller than the source's pictures are, in thousandths.
    scale_millis: AtomicU32,
    /// Codecs that both sides have, and which of them is wanted.
    codecs: Vec<VideoCodec>,
    codec: AtomicU8,
    temporal_layers: AtomicU8,
    active: AtomicBool,
    keyframe: AtomicBool,
    /// Long-term references can be kept, and are to be.
    can_keep: bool,
    keeps: AtomicBool,
    /// What was said of them and is not yet done, and what to say to that.
    news: Mutex<VecDeque<(ReferenceNews, oneshot::Sender<bool>)>>,
    stopped: AtomicBool,
}

/// What makes another encoder.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) codec: VideoCodec,
    pub(super) temporal_layers: u8,
    pub(super) scale_millis: u32,
    pub(super) long_term: bool,
}

impl VideoControl {
    /// Begins as `settings` say; `codecs` can be changed to.
    pub(super) fn new(settings: &VideoSettings, codecs: Vec<VideoCodec>, can_keep: bool) -> Self {
        let codec = codecs.iter().position(|codec| *codec == settings.codec).unwrap_or(0);
        Self {
            bitrate: AtomicU64::new(settings.bitrate.as_bps()),
            room: AtomicU64::new(u64::MAX),
            codecs,
            // Four at most.
            codec: AtomicU8::new(codec as u8),
            temporal_layers: AtomicU8::new(settings.temporal_layers.clamp(1, MAX_LAYERS)),
            load_frame_rate_millis: AtomicU32::new(1_000),
            load_scale_millis: AtomicU32::new(1_000),
            frame_rate_millis: AtomicU32::new(0),
            scale_millis: AtomicU32::new(1_000),
            active: AtomicBool::new(true),
            keyframe: AtomicBool::new(false),
            can_keep,
            keeps: AtomicBool::new(settings.long_term),
            news: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Sets the bitrate.
    pub fn set_bitrate(&self, bitrate: Bitrate) {
        self.bitrate.store(bitrate.as_bps(), Ordering::Relaxed);
    }

    /// Says what there is room for on the way to the far side, whatever else is asked for. Zero: nothing is sent, until there
    /// is room again, which begins with a keyframe.
    pub(crate) fn set_room(&self, room: Bitrate) {
        self.room.store(room.as_bps(), Ordering::Relaxed);
    }

    /// What is to be sent, where there is room for it; zero where nobody wants it.
    pub(crate) fn wanted(&self) -> Bitrate {
        let is_wanted = self.active.load(Ordering::Relaxed);
        if is_wanted { Bitrate::from_bps(self.bitrate.load(Ordering::Relaxed)) } else { Bitrate::ZERO }
    }

    /// Whether less is sent than is wanted, for want of room.
    pub fn is_short_of_room(&self) -> bool {
        self.wanted().as_bps() > self.room.load(Ordering::Relaxed)
    }

    /// Says what the machine can follow, whatever else is asked for.
    pub(super) fn set_load(&self, step: LoadStep) {
        self.load_frame_rate_millis.store((step.frame_rate * 1_000.0) as u32, Ordering::Relaxed);
        self.load_scale_millis.store((step.scale * 1_000.0) as u32, Ordering::Relaxed);
    }

    /// Of what is wanted, the share of pictures that the machine can follow, and how much smaller they are: 1 and 1 where
    /// it can follow.
    pub fn load(&self) -> (f32, f32) {
        let load = [&self.load_frame_rate_millis, &self.load_scale_millis];
        let [frame_rate, scale] = load.map(|millis| millis.load(Ordering::Relaxed) as f32 / 1_000.0);
        (frame_rate, scale)
    }

    /// Whether there are fewer or smaller pictures than are wanted, as the machine cannot follow.
    pub fn is_short_of_time(&self) -> bool {
        self.load() != (1.0, 1.0)
    }

    /// Bounds the pictures per second; `None` lifts the bound.
    pub fn set_max_frame_rate(&self, rate: Option<f32>) {
        let millis = rate.map_or(0, |rate| (rate.clamp(0.1, 1000.0) * 1000.0) as u32);
        self.frame_rate_millis.store(millis, Ordering::Relaxed);
    }

    /// Sends pictures that are a `factor` smaller on each side than the source's; 1 or less: as large.
    pub fn set_scale(&self, factor: f32) {
        let factor = if factor.is_finite() { factor.clamp(1.0, 1_000.0) } else { 1.0 };
        self.scale_millis.store((factor * 1_000.0) as u32, Ordering::Relaxed);
    }

    /// How much smaller than the source's pictures are.
    pub(crate) fn scale(&self) -> f32 {
        self.scale_millis.load(Ordering::Relaxed) as f32 / 1_000.0 * self.load().1
    }

    /// Goes on in another codec, which begins with a keyframe; false where one of the sides lacks it.
    pub fn set_codec(&self, codec: VideoCodec) -> bool {
        let found = self.codecs.iter().position(|known| *known == codec);
        if let Some(index) = found {
            self.codec.store(index as u8, Ordering::Relaxed);
        }
        found.is_some()
    }

    /// Codec that is wanted.
    pub fn codec(&self) -> VideoCodec {
        let index = usize::from(self.codec.load(Ordering::Relaxed));
        self.codecs.get(index).copied().unwrap_or(VideoCodec::H264)
    }

    /// Makes so many temporal layers, beginning with a keyframe; false where that many cannot be made.
    pub fn set_temporal_layers(&self, layers: u8) -> bool {
        let can = (1..=MAX_LAYERS).contains(&layers);
        if can {
            self.temporal_layers.store(layers, Ordering::Relaxed);
        }
        can
    }

    /// Temporal layers that are wanted.
    pub fn temporal_layers(&self) -> u8 {
        self.temporal_layers.load(Ordering::Relaxed)
    }

    /// Keeps long-term references, where they can be kept, or not; beginning with a keyframe.
    pub fn set_long_term(&self, keeps: bool) {
        self.keeps.store(keeps, Ordering::Relaxed);
    }

    /// Whether long-term references are kept.
    pub fn keeps_references(&self) -> bool {
        let wanted = self.can_keep && self.keeps.load(Ordering::Relaxed);
        wanted && self.codec() == VideoCodec::H264 && self.temporal_layers() == 1
    }

    /// Tells what has become of long-term references. Whether that is carried out is known before the next picture: false
    /// where a keyframe comes instead.
    pub fn tell_references(&self, news: ReferenceNews) -> oneshot::Receiver<bool> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() == MAX_NEWS {
            waiting.pop_front();
        }
        waiting.push_back((news, answer));
        answered
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            codec: self.codec(),
            temporal_layers: self.temporal_layers(),
            scale_millis: (self.scale() * 1_000.0) as u32,
            long_term: self.keeps_references(),
        }
    }

    /// Sends nothing while false; begins with a keyframe again.
    pub fn set_active(&self, active: bool) {
        self.active.store(active, Ordering::Relaxed);
    }

    /// Makes the next picture a keyframe.
    pub fn request_keyframe(&self) {
        self.keyframe.store(true, Ordering::Relaxed);
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed) && self.room.load(Ordering::Relaxed) > 0
    }

    /// Bitrate that the encoder is to have.
    pub fn bitrate(&self) -> Bitrate {
        Bitrate::from_bps(self.bitrate.load(Ordering::Relaxed).min(self.room.load(Ordering::Relaxed)))
    }

    /// Whether a keyframe was asked for since this was asked last.
    pub(super) fn take_keyframe(&self) -> bool {
        self.keyframe.swap(false, Ordering::Relaxed)
    }

    /// What was said of references since this was asked last.
    pub(super) fn take_news(&self) -> VecDeque<(ReferenceNews, oneshot::Sender<bool>)> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether picture `frame` falls to the bounded frame rate. Counted in whole source frames, so that the pace is
    /// even: of `rate` frames per second every picture whose share rolls over is kept.
    pub(super) fn keeps(&self, frame: u32, rate: f64) -> bool {
        let wanted = f64::from(self.frame_rate_millis.load(Ordering::Relaxed)) / 1000.0;
        let wanted = if wanted > 0.0 { wanted } else { rate };
        let bound = wanted.min(rate * f64::from(self.load().0));
        if bound >= rate {
            return true;
        }
        let share = |frame: f64| (frame * bound / rate).floor();
        share(f64::from(frame) + 1.0) > share(f64::from(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_frame_rate_keeps_an_even_share() {
        let control = VideoControl::new(&VideoSettings::default(), vec![VideoCodec::H264], true);
        let kept = |control: &VideoControl| (0..300).filter(|frame| control.keeps(*frame, 30.0)).count();
        assert_eq!(kept(&control), 300);
        control.set_max_frame_rate(Some(10.0));
        assert_eq!(kept(&control), 100);
        assert_eq!((0..30).filter(|frame| control.keeps(*frame, 30.0)).collect::<Vec<_>>()[..3], [2, 5, 8]);
        control.set_max_frame_rate(None);
        assert_eq!(kept(&control), 300);
    }

    #[test]
    fn what_the_machine_can_follow_bounds_what_is_wanted() {
        let control = VideoControl::new(&VideoSettings::default(), vec![VideoCodec::H264], true);
        let kept = |control: &VideoControl| (0..300).filter(|frame| control.keeps(*frame, 30.0)).count();
        control.set_load(LoadStep { frame_rate: 0.5, scale: 1.5 });
        assert_eq!((kept(&control), control.shape().scale_millis, control.is_short_of_time()), (150, 1_500, true));
        control.set_max_frame_rate(Some(10.0));
        control.set_scale(2.0);
        assert_eq!((kept(&control), control.shape().scale_millis), (100, 3_000));
        control.set_load(LoadStep { frame_rate: 1.0, scale: 1.0 });
        assert_eq!((kept(&control), control.shape().scale_millis, control.is_short_of_time()), (100, 2_000, false));
    }
}
