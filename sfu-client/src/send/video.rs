//! Pictures: a thread captures and encodes in step with the clock, a task packetizes and sends.

use super::{Packetizer, SendCounters};
use crate::capture::VideoSource;
use crate::clock::unix_now;
use crate::encode::{EffortMode, EncodedFrame, EncoderStats, H264Config, RateMode, VideoEncoder};
use crate::frame::VideoFrame;
use crate::overlay::Overlay;
use crate::peer::{RtpSink, random_u32};
use crate::preprocess::{PreprocessConfig, PreprocessStats, Preprocessor, Scaler};
use anyhow::{Context, Result};
use sfu_rtc::units::Bitrate;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Encoded pictures that may wait for the network: beyond these the oldest picture is too old to be of use.
const QUEUE: usize = 4;

/// What to send.
#[derive(Clone, Debug)]
pub struct VideoSettings {
    /// Bitrate of the encoder.
    pub bitrate: Bitrate,
    /// Burn frame number and clock into the pictures.
    pub overlay: bool,
    /// Let the codec's own rate control leave pictures out where the bitrate cannot be kept otherwise. Ours has a
    /// setting of its own.
    pub skip_frames: bool,
    /// Who keeps the bitrate.
    pub rate: RateMode,
    /// How much the encoder tries.
    pub effort: EffortMode,
    /// What is done to pictures before they are coded.
    pub preprocess: PreprocessConfig,
    /// End after so many pictures.
    pub frames: Option<u32>,
}

impl Default for VideoSettings {
    fn default() -> Self {
        Self {
            bitrate: Bitrate::from_kbps(1_000),
            overlay: true,
            skip_frames: false,
            rate: RateMode::default(),
            effort: EffortMode::default(),
            preprocess: PreprocessConfig::default(),
            frames: None,
        }
    }
}

/// Changes the encoder while it runs.
#[derive(Debug)]
pub struct VideoControl {
    bitrate: AtomicU64,
    /// Most pictures per second, in thousandths; 0: as many as the source has.
    frame_rate_millis: AtomicU32,
    /// How much smaller than the source's pictures are, in thousandths.
    scale_millis: AtomicU32,
    active: AtomicBool,
    keyframe: AtomicBool,
    stopped: AtomicBool,
}

impl VideoControl {
    fn new(bitrate: Bitrate) -> Self {
        Self {
            bitrate: AtomicU64::new(bitrate.as_bps()),
            frame_rate_millis: AtomicU32::new(0),
            scale_millis: AtomicU32::new(1_000),
            active: AtomicBool::new(true),
            keyframe: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        }
    }

    /// Sets the bitrate.
    pub fn set_bitrate(&self, bitrate: Bitrate) {
        self.bitrate.store(bitrate.as_bps(), Ordering::Relaxed);
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

    /// Sends nothing while false; begins with a keyframe again.
    pub fn set_active(&self, active: bool) {
        self.active.store(active, Ordering::Relaxed);
    }

    /// Makes the next picture a keyframe.
    pub fn request_keyframe(&self) {
        self.keyframe.store(true, Ordering::Relaxed);
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether picture `frame` falls to the bounded frame rate. Counted in whole source frames, so that the pace is
    /// even: of `rate` frames per second every picture whose share rolls over is kept.
    fn keeps(&self, frame: u32, rate: f64) -> bool {
        let bound = f64::from(self.frame_rate_millis.load(Ordering::Relaxed)) / 1000.0;
        if bound == 0.0 || bound >= rate {
            return true;
        }
        let share = |frame: f64| (frame * bound / rate).floor();
        share(f64::from(frame) + 1.0) > share(f64::from(frame))
    }
}

/// What has been done to pictures so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VideoStats {
    /// Width and height of the last one.
    pub size: (usize, usize),
    /// Before they were coded.
    pub preprocess: PreprocessStats,
    /// When they were coded.
    pub encoder: EncoderStats,
}

/// A running video stream.
pub struct VideoSender {
    control: Arc<VideoControl>,
    counters: Arc<SendCounters>,
    stats: Arc<Mutex<VideoStats>>,
    done: mpsc::Receiver<Result<()>>,
}

impl VideoSender {
    /// Begins to send `source` over `sink`, which must be negotiated.
    ///
    /// # Errors
    /// Where the far side rejected the stream, or the encoder refuses the settings.
    pub async fn start(sink: RtpSink, source: Box<dyn VideoSource>, settings: VideoSettings) -> Result<Self> {
        let format = sink.format().await?;
        let control = Arc::new(VideoControl::new(settings.bitrate));
        let counters = Arc::new(SendCounters::default());
        let (pictures, queue) = mpsc::channel(QUEUE);
        let producer = Producer::new(source, settings, Arc::clone(&control), sink.keyframe_requests(), pictures)?;
        let stats = Arc::clone(&producer.stats);
        thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || producer.run())
            .context("cannot start the capture thread")?;
        let packetizer = Packetizer::new(sink.ssrc(), &format);
        let (done_out, done) = mpsc::channel(1);
        let task = send(sink, packetizer, queue, Arc::clone(&counters));
        tokio::spawn(async move {
            let result = task.await;
            let _ = done_out.send(result).await;
        });
        Ok(Self { control, counters, stats, done })
    }

    /// Changes the running encoder.
    pub fn control(&self) -> Arc<VideoControl> {
        Arc::clone(&self.control)
    }

    /// What has been sent.
    pub fn counters(&self) -> Arc<SendCounters> {
        Arc::clone(&self.counters)
    }

    /// What has been done to pictures.
    pub fn stats(&self) -> VideoStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end: the source's, the wanted number of pictures, or a failure.
    ///
    /// # Errors
    /// What made it fail.
    pub async fn finished(&mut self) -> Result<()> {
        self.done.recv().await.unwrap_or(Ok(()))
    }
}

impl Drop for VideoSender {
    fn drop(&mut self) {
        self.control.stop();
    }
}

/// An encoded picture with its time.
struct Picture {
    encoded: EncodedFrame,
    timestamp: u32,
}

/// The capture thread's state.
struct Producer {
    source: Box<dyn VideoSource>,
    settings: VideoSettings,
    control: Arc<VideoControl>,
    preprocessor: Preprocessor,
    encoder: VideoEncoder,
    /// What former encoders have done.
    encoder_before: EncoderStats,
    /// As the source draws it.
    drawn: VideoFrame,
    /// To the size that is sent, where that is another.
    scaled: Option<(Scaler, VideoFrame)>,
    scale_millis: u32,
    keyframe_requests: Arc<AtomicU64>,
    /// Requests that were answered.
    keyframes_answered: u64,
    pictures: mpsc::Sender<Result<Picture>>,
    stats: Arc<Mutex<VideoStats>>,
    /// Bitrate that the encoder has.
    bitrate: Bitrate,
    /// Names this publisher in the overlay.
    id: u32,
}

impl Producer {
    fn new(
        source: Box<dyn VideoSource>,
        settings: VideoSettings,
        control: Arc<VideoControl>,
        keyframe_requests: Arc<AtomicU64>,
        pictures: mpsc::Sender<Result<Picture>>,
    ) -> Result<Self> {
        let size = source.size();
        let bitrate = settings.bitrate;
        let encoder = encoder(&settings, size, source.frame_rate(), bitrate)?;
        Ok(Self {
            source,
            preprocessor: Preprocessor::new(settings.preprocess),
            settings,
            control,
            encoder,
            encoder_before: EncoderStats::default(),
            drawn: VideoFrame::new(size.0, size.1)?,
            scaled: None,
            scale_millis: 1_000,
            keyframe_requests,
            keyframes_answered: 0,
            pictures,
            stats: Arc::default(),
            bitrate,
            id: random_u32(),
        })
    }

    fn run(mut self) {
        let start = Instant::now();
        let interval = Duration::from_secs_f64(1.0 / self.source.frame_rate());
        for frame in 0..self.settings.frames.unwrap_or(u32::MAX) {
            let due = start + interval * frame;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.control.stopped.load(Ordering::Relaxed) {
                return;
            }
            let result = match self.produce(frame, start) {
                Ok(Produced::Nothing) => continue,
                Ok(Produced::End) => return,
                Ok(Produced::Picture(picture)) => Ok(picture),
                Err(error) => Err(error),
            };
            let failed = result.is_err();
            // Where the network is behind, the capture waits with it: the source paces, nothing is lost silently.
            if self.pictures.blocking_send(result).is_err() || failed {
                return;
            }
        }
    }

    fn produce(&mut self, frame: u32, start: Instant) -> Result<Produced> {
        if !self.source.draw(frame, &mut self.drawn)? {
            return Ok(Produced::End);
        }
        if !self.control.active.load(Ordering::Relaxed) {
            self.control.request_keyframe();
            return Ok(Produced::Nothing);
        }
        if !self.control.keeps(frame, self.source.frame_rate()) {
            return Ok(Produced::Nothing);
        }
        // The clock of capture: what is done from here on counts as latency.
        let (elapsed, captured) = (start.elapsed(), unix_now());
        self.apply_control()?;
        let picture = match &mut self.scaled {
            None => &mut self.drawn,
            Some((scaler, scaled)) => {
                scaler.scale(&self.drawn, scaled)?;
                scaled
            }
        };
        self.preprocessor.process(picture);
        if self.settings.overlay {
            Overlay::new(self.id, frame, captured).draw(picture);
        }
        let encoded = self.encoder.encode(picture, elapsed)?;
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = VideoStats {
            size: (picture.width(), picture.height()),
            preprocess: self.preprocessor.stats(),
            encoder: self.encoder_before + self.encoder.stats(),
        };
        let Some(encoded) = encoded else { return Ok(Produced::Nothing) };
        // The 90 kHz clock wraps every 13 hours, as RTP's does.
        let timestamp = (elapsed.as_micros() * 9 / 100) as u32;
        Ok(Produced::Picture(Picture { encoded, timestamp }))
    }

    fn apply_control(&mut self) -> Result<()> {
        let scale_millis = self.control.scale_millis.load(Ordering::Relaxed);
        if scale_millis != self.scale_millis {
            self.scale_millis = scale_millis;
            self.resize(f64::from(scale_millis) / 1_000.0)?;
        }
        let bitrate = Bitrate::from_bps(self.control.bitrate.load(Ordering::Relaxed));
        if bitrate != self.bitrate {
            self.encoder.set_bitrate(bitrate)?;
            self.bitrate = bitrate;
        }
        let requests = self.keyframe_requests.load(Ordering::Relaxed);
        if self.control.keyframe.swap(false, Ordering::Relaxed) || requests != self.keyframes_answered {
            self.keyframes_answered = requests;
            self.encoder.force_keyframe();
        }
        Ok(())
    }
}

impl Producer {
    /// Begins anew in another size, where the factor makes one.
    fn resize(&mut self, factor: f64) -> Result<()> {
        let full = self.source.size();
        let size = Scaler::size(full, factor);
        if size == self.scaled.as_ref().map_or(full, |(scaler, _)| scaler.output_size()) {
            return Ok(());
        }
        let next = encoder(&self.settings, size, self.source.frame_rate(), self.bitrate)?;
        self.encoder_before = self.encoder_before + std::mem::replace(&mut self.encoder, next).stats();
        let scaler = Scaler::new(full, size)?;
        self.scaled = (size != full).then_some((scaler, VideoFrame::new(size.0, size.1)?));
        Ok(())
    }
}

fn encoder(
    settings: &VideoSettings,
    (width, height): (usize, usize),
    frame_rate: f64,
    bitrate: Bitrate,
) -> Result<VideoEncoder> {
    let skip_frames = settings.skip_frames;
    let config = H264Config { width, height, frame_rate, bitrate, skip_frames, ..Default::default() };
    VideoEncoder::new(config, settings.rate, settings.effort)
}

enum Produced {
    Picture(Picture),
    Nothing,
    End,
}

async fn send(
    sink: RtpSink,
    mut packetizer: Packetizer,
    mut queue: mpsc::Receiver<Result<Picture>>,
    counters: Arc<SendCounters>,
) -> Result<()> {
    while let Some(picture) = queue.recv().await {
        let picture = picture?;
        let packets = packetizer.h264(&picture.encoded.data, picture.timestamp)?;
        let bytes = packets.iter().map(|packet| packet.payload.len() as u64).sum();
        counters.add(packets.len() as u64, bytes, picture.encoded.keyframe);
        for packet in packets {
            sink.write(packet).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Scene, SceneKind};
    use crate::decode::H264Decoder;

    fn producer(kind: SceneKind) -> (Producer, Arc<VideoControl>) {
        let settings = VideoSettings::default();
        let control = Arc::new(VideoControl::new(settings.bitrate));
        let scene = Box::new(Scene::of(kind, 640, 360, 30.0).unwrap());
        let pictures = mpsc::channel(QUEUE).0;
        (Producer::new(scene, settings, Arc::clone(&control), Arc::default(), pictures).unwrap(), control)
    }

    fn picture(producer: &mut Producer, frame: u32) -> EncodedFrame {
        match producer.produce(frame, Instant::now()).unwrap() {
            Produced::Picture(picture) => picture.encoded,
            _ => panic!("no picture {frame}"),
        }
    }

    #[test]
    fn a_new_size_begins_with_a_keyframe_and_goes_on() {
        let (mut producer, control) = producer(SceneKind::Moving);
        let mut decoder = H264Decoder::new().unwrap();
        let steps = [(1.0, 640, true), (1.0, 640, false), (2.0, 320, true), (2.0, 320, false), (0.0, 640, true)];
        for (frame, (factor, width, keyframe)) in steps.into_iter().enumerate() {
            control.set_scale(factor);
            let encoded = picture(&mut producer, frame as u32);
            assert_eq!(encoded.keyframe, keyframe, "picture {frame}");
            let decoded = decoder.decode(&encoded.data).unwrap().unwrap();
            assert_eq!((decoded.width(), decoded.height()), (width, width * 9 / 16));
            assert_eq!(Overlay::read(&decoded).map(|overlay| overlay.frame), Some(frame as u32));
        }
        assert_eq!(producer.stats.lock().unwrap().size, (640, 360));
    }

    #[test]
    fn what_is_sent_of_a_dark_room_is_lighter_and_of_a_lit_one_as_it_was() {
        for (kind, brightened) in [(SceneKind::Dark, 5), (SceneKind::Talking, 0)] {
            let (mut producer, _) = producer(kind);
            for frame in 0..5 {
                picture(&mut producer, frame);
            }
            let stats = producer.stats.lock().unwrap().preprocess;
            assert_eq!((stats.pictures, stats.brightened), (5, brightened), "{kind:?}");
        }
    }

    #[test]
    fn a_bounded_frame_rate_keeps_an_even_share() {
        let control = VideoControl::new(Bitrate::ZERO);
        let kept = |control: &VideoControl| (0..300).filter(|frame| control.keeps(*frame, 30.0)).count();
        assert_eq!(kept(&control), 300);
        control.set_max_frame_rate(Some(10.0));
        assert_eq!(kept(&control), 100);
        assert_eq!((0..30).filter(|frame| control.keeps(*frame, 30.0)).collect::<Vec<_>>()[..3], [2, 5, 8]);
        control.set_max_frame_rate(None);
        assert_eq!(kept(&control), 300);
    }
}
