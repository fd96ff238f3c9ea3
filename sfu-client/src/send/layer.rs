//! One encoding of a capture: scale, treat, code.

use super::control::{Shape, VideoControl};
use super::video::{VideoSettings, VideoStats};
use crate::encode::{EncodedFrame, EncoderConfig, EncoderStats, KeptPicture, ReferenceKeeper, VideoEncoder};
use crate::frame::VideoFrame;
use crate::overlay::Overlay;
use crate::peer::VideoCodec;
use crate::preprocess::{Preprocessor, Scaler};
use anyhow::Result;
use sfu_rtc::units::Bitrate;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// An encoded picture with its time.
pub(super) struct Picture {
    pub(super) codec: VideoCodec,
    pub(super) encoded: EncodedFrame,
    pub(super) size: (usize, usize),
    pub(super) timestamp: u32,
}

/// What was captured, and when.
pub(super) struct Captured<'a> {
    pub(super) picture: &'a VideoFrame,
    /// Its number.
    pub(super) frame: u32,
    /// Since the first.
    pub(super) elapsed: Duration,
    /// What is burned in.
    pub(super) overlay: Option<Overlay>,
}

/// The pictures of a source.
#[derive(Clone, Copy)]
pub(super) struct Format {
    pub(super) size: (usize, usize),
    pub(super) frame_rate: f64,
}

/// The far side's wishes for one encoding.
pub(super) struct Wishes {
    pub(super) control: Arc<VideoControl>,
    pub(super) keyframe_requests: Arc<AtomicU64>,
}

/// The state of one encoding, on the capture thread.
pub(super) struct Layer {
    source: Format,
    settings: VideoSettings,
    control: Arc<VideoControl>,
    preprocessor: Preprocessor,
    encoder: VideoEncoder,
    /// What former encoders have done.
    encoder_before: EncoderStats,
    /// To the size that is sent, where that is another.
    scaler: Option<Scaler>,
    /// What is coded.
    picture: VideoFrame,
    shape: Shape,
    keyframe_requests: Arc<AtomicU64>,
    /// Requests that were answered.
    keyframes_answered: u64,
    keeper: ReferenceKeeper,
    kept: mpsc::Sender<KeptPicture>,
    stats: Arc<Mutex<VideoStats>>,
    /// Bitrate that the encoder has.
    bitrate: Bitrate,
}

impl Layer {
    pub(super) fn new(
        source: Format,
        settings: VideoSettings,
        wishes: Wishes,
        kept: mpsc::Sender<KeptPicture>,
    ) -> Result<Self> {
        let Wishes { control, keyframe_requests } = wishes;
        let (bitrate, shape) = (control.bitrate(), control.shape());
        let size = Scaler::size(source.size, f64::from(shape.scale_millis) / 1_000.0);
        Ok(Self {
            source,
            preprocessor: Preprocessor::new(settings.preprocess),
            encoder: encoder(&settings, shape, (size, source.frame_rate), bitrate)?,
            settings,
            control,
            encoder_before: EncoderStats::default(),
            scaler: scaler(source.size, size)?,
            picture: VideoFrame::new(size.0, size.1)?,
            shape,
            keyframe_requests,
            keyframes_answered: 0,
            keeper: ReferenceKeeper::default(),
            kept,
            stats: Arc::default(),
            bitrate,
        })
    }

    /// What has been done to pictures.
    pub(super) fn stats(&self) -> Arc<Mutex<VideoStats>> {
        Arc::clone(&self.stats)
    }

    /// Whether picture `frame` is coded.
    pub(super) fn wants(&self, frame: u32) -> bool {
        if !self.control.is_active() {
            self.control.request_keyframe();
            return false;
        }
        self.control.keeps(frame, self.source.frame_rate)
    }

    /// Codes a picture; `None` where it is left out.
    pub(super) fn produce(&mut self, captured: &Captured<'_>) -> Result<Option<Picture>> {
        self.apply_control()?;
        let (elapsed, picture) = (captured.elapsed, &mut self.picture);
        match &mut self.scaler {
            // Its planes are of one size: the picture was made for the source, or it would have a scaler.
            None => picture.data_mut().copy_from_slice(captured.picture.data()),
            Some(scaler) => scaler.scale(captured.picture, picture)?,
        }
        self.preprocessor.process(picture);
        if let Some(overlay) = captured.overlay {
            overlay.draw(picture);
        }
        self.keeper.before(&mut self.encoder, elapsed)?;
        let encoded = self.encoder.encode(picture, elapsed)?;
        let size = (picture.width(), picture.height());
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = VideoStats {
            size,
            preprocess: self.preprocessor.stats(),
            encoder: self.encoder_before + self.encoder.stats(),
        };
        let Some(encoded) = encoded else { return Ok(None) };
        // The packetizer numbers the same pictures, in the same order.
        if let Some(kept) = self.keeper.after(&encoded, elapsed).filter(|_| self.shape.long_term) {
            // One that the far side is not told of is of no use, and does no harm.
            let _ = self.kept.try_send(kept);
        }
        // The 90 kHz clock wraps every 13 hours, as RTP's does.
        let timestamp = (elapsed.as_micros() * 9 / 100) as u32;
        Ok(Some(Picture { codec: self.shape.codec, encoded, size, timestamp }))
    }

    fn apply_control(&mut self) -> Result<()> {
        let shape = self.control.shape();
        if shape != self.shape {
            self.reshape(shape)?;
        }
        let bitrate = self.control.bitrate();
        if bitrate != self.bitrate {
            self.encoder.set_bitrate(bitrate)?;
            self.bitrate = bitrate;
        }
        let requests = self.keyframe_requests.load(Ordering::Relaxed);
        if self.control.take_keyframe() || requests != self.keyframes_answered {
            self.keyframes_answered = requests;
            self.encoder.force_keyframe();
        }
        for (news, answer) in self.control.take_news() {
            // Who told it may be gone.
            let _ = answer.send(self.keeper.hear(&mut self.encoder, news)?);
        }
        Ok(())
    }

    /// Begins anew in another size, codec or number of layers, where that is another.
    fn reshape(&mut self, shape: Shape) -> Result<()> {
        let size = Scaler::size(self.source.size, f64::from(shape.scale_millis) / 1_000.0);
        let size_before = (self.picture.width(), self.picture.height());
        let before = std::mem::replace(&mut self.shape, shape);
        if size == size_before && (Shape { scale_millis: shape.scale_millis, ..before }) == shape {
            return Ok(());
        }
        let next = encoder(&self.settings, shape, (size, self.source.frame_rate), self.bitrate)?;
        self.keeper.restart();
        self.encoder_before = self.encoder_before + std::mem::replace(&mut self.encoder, next).stats();
        if size != size_before {
            self.scaler = scaler(self.source.size, size)?;
            self.picture = VideoFrame::new(size.0, size.1)?;
        }
        Ok(())
    }
}

fn scaler(from: (usize, usize), to: (usize, usize)) -> Result<Option<Scaler>> {
    (from != to).then(|| Scaler::new(from, to)).transpose()
}

fn encoder(
    settings: &VideoSettings,
    shape: Shape,
    ((width, height), frame_rate): ((usize, usize), f64),
    bitrate: Bitrate,
) -> Result<VideoEncoder> {
    let (skip_frames, temporal_layers) = (settings.skip_frames, shape.temporal_layers);
    let long_term = shape.long_term;
    let config = EncoderConfig {
        width,
        height,
        frame_rate,
        bitrate,
        skip_frames,
        temporal_layers,
        long_term,
        screen: settings.screen,
        ..Default::default()
    };
    VideoEncoder::new(shape.codec, config, settings.rate, settings.effort)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Scene, SceneKind, VideoSource};
    use crate::decode::{Decoder, H264Decoder};

    struct Capture {
        source: Scene,
        layer: Layer,
        control: Arc<VideoControl>,
    }

    impl Capture {
        fn new(kind: SceneKind) -> Self {
            let settings = VideoSettings::default();
            let control = Arc::new(VideoControl::new(&settings, vec![VideoCodec::H264], true));
            let source = Scene::of(kind, 640, 360, 30.0).unwrap();
            let format = Format { size: source.size(), frame_rate: source.frame_rate() };
            let wishes = Wishes { control: Arc::clone(&control), keyframe_requests: Arc::default() };
            let layer = Layer::new(format, settings, wishes, mpsc::channel(1).0).unwrap();
            Self { source, layer, control }
        }

        fn picture(&mut self, frame: u32) -> EncodedFrame {
            let mut picture = VideoFrame::new(640, 360).unwrap();
            self.source.draw(frame, &mut picture).unwrap();
            assert!(self.layer.wants(frame));
            let elapsed = Duration::from_millis(u64::from(frame) * 33);
            let overlay = Some(Overlay::new(1, frame, elapsed));
            let captured = Captured { picture: &picture, frame, elapsed, overlay };
            self.layer.produce(&captured).unwrap().expect("a picture").encoded
        }
    }

    #[test]
    fn a_new_size_begins_with_a_keyframe_and_goes_on() {
        let mut capture = Capture::new(SceneKind::Moving);
        let mut decoder = H264Decoder::new().unwrap();
        let steps = [(1.0, 640, true), (1.0, 640, false), (2.0, 320, true), (2.0, 320, false), (0.0, 640, true)];
        for (frame, (factor, width, keyframe)) in steps.into_iter().enumerate() {
            capture.control.set_scale(factor);
            let encoded = capture.picture(frame as u32);
            assert_eq!(encoded.keyframe, keyframe, "picture {frame}");
            let decoded = decoder.decode(&encoded.data).unwrap().unwrap();
            assert_eq!((decoded.width(), decoded.height()), (width, width * 9 / 16));
            assert_eq!(Overlay::read(&decoded).map(|overlay| overlay.frame), Some(frame as u32));
        }
        assert_eq!(capture.layer.stats.lock().unwrap().size, (640, 360));
    }

    #[test]
    fn what_is_sent_of_a_dark_room_is_lighter_and_of_a_lit_one_as_it_was() {
        for (kind, brightened) in [(SceneKind::Dark, 5), (SceneKind::Talking, 0)] {
            let mut capture = Capture::new(kind);
            for frame in 0..5 {
                capture.picture(frame);
            }
            let stats = capture.layer.stats.lock().unwrap().preprocess;
            assert_eq!((stats.pictures, stats.brightened), (5, brightened), "{kind:?}");
        }
    }
}
