//! Pictures: a thread captures and encodes in step with the clock, a task packetizes and sends.

use super::{Packetizer, SendCounters};
use crate::capture::VideoSource;
use crate::clock::unix_now;
use crate::encode::{
    EffortMode, EncodedFrame, EncoderConfig, EncoderStats, KeptPicture, RateMode, ReferenceKeeper, ReferenceNews,
    VideoEncoder,
};
use crate::frame::VideoFrame;
use crate::overlay::Overlay;
use crate::peer::{DEPENDENCY_DESCRIPTOR, RtpSink, SinkFormat, VideoCodec, random_u32};
use crate::preprocess::{PreprocessConfig, PreprocessStats, Preprocessor, Scaler};
use anyhow::{Context, Result, ensure};
use sfu_rtc::units::Bitrate;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Encoded pictures that may wait for the network: beyond these the oldest picture is too old to be of use.
const QUEUE: usize = 4;
/// News of references that may wait for the next picture.
const MAX_NEWS: usize = 64;
/// Pictures that are kept of which the far side is not yet told.
const MAX_KEPT: usize = 64;
/// Temporal layers that every codec can make.
const MAX_LAYERS: u8 = 3;

/// What to send.
#[derive(Clone, Debug)]
pub struct VideoSettings {
    /// Codec to begin with.
    pub codec: VideoCodec,
    /// Temporal layers to begin with, 1 to 3.
    pub temporal_layers: u8,
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
    /// Keep long-term references (H.264 without temporal layers), where the far side takes dependency descriptors: it may
    /// then ask for a picture that recovers, instead of a keyframe.
    pub long_term: bool,
    /// End after so many pictures.
    pub frames: Option<u32>,
}

impl VideoSettings {
    /// What to offer: the codec to begin with, and those that can be changed to.
    pub fn codecs(&self) -> Vec<VideoCodec> {
        let others = VideoCodec::ALL.into_iter().filter(|codec| *codec != self.codec && codec.is_built_in());
        [self.codec].into_iter().chain(others).collect()
    }
}

impl Default for VideoSettings {
    fn default() -> Self {
        Self {
            codec: VideoCodec::H264,
            temporal_layers: 1,
            bitrate: Bitrate::from_kbps(1_000),
            overlay: true,
            skip_frames: false,
            rate: RateMode::default(),
            effort: EffortMode::default(),
            preprocess: PreprocessConfig::default(),
            long_term: false,
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
struct Shape {
    codec: VideoCodec,
    temporal_layers: u8,
    scale_millis: u32,
    long_term: bool,
}

impl VideoControl {
    /// Begins as `settings` say; `codecs` can be changed to.
    fn new(settings: &VideoSettings, codecs: Vec<VideoCodec>, can_keep: bool) -> Self {
        let codec = codecs.iter().position(|codec| *codec == settings.codec).unwrap_or(0);
        Self {
            bitrate: AtomicU64::new(settings.bitrate.as_bps()),
            codecs,
            // Four at most.
            codec: AtomicU8::new(codec as u8),
            temporal_layers: AtomicU8::new(settings.temporal_layers.clamp(1, MAX_LAYERS)),
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

    fn shape(&self) -> Shape {
        Shape {
            codec: self.codec(),
            temporal_layers: self.temporal_layers(),
            scale_millis: self.scale_millis.load(Ordering::Relaxed),
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
    kept: Option<mpsc::Receiver<KeptPicture>>,
    done: mpsc::Receiver<Result<()>>,
}

impl VideoSender {
    /// Begins to send `source` over `sink`, which must be negotiated.
    ///
    /// # Errors
    /// Where the far side rejected the stream, or the encoder refuses the settings.
    pub async fn start(sink: RtpSink, source: Box<dyn VideoSource>, settings: VideoSettings) -> Result<Self> {
        let format = sink.format().await?;
        let can_keep = format.extension(DEPENDENCY_DESCRIPTOR).is_some();
        let control = Arc::new(VideoControl::new(&settings, usable(&format, settings.codec)?, can_keep));
        let counters = Arc::new(SendCounters::default());
        let (pictures, queue) = mpsc::channel(QUEUE);
        let (kept_out, kept) = mpsc::channel(MAX_KEPT);
        let requests = sink.keyframe_requests();
        let producer = Producer::new(source, settings, Arc::clone(&control), requests, (pictures, kept_out))?;
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
        Ok(Self { control, counters, stats, kept: Some(kept), done })
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

    /// The long-term references that are kept, from now on; once only.
    pub fn take_kept(&mut self) -> Option<mpsc::Receiver<KeptPicture>> {
        self.kept.take()
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
    codec: VideoCodec,
    encoded: EncodedFrame,
    size: (usize, usize),
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
    shape: Shape,
    keyframe_requests: Arc<AtomicU64>,
    /// Requests that were answered.
    keyframes_answered: u64,
    pictures: mpsc::Sender<Result<Picture>>,
    keeper: ReferenceKeeper,
    kept: mpsc::Sender<KeptPicture>,
    stats: Arc<Mutex<VideoStats>>,
    /// Bitrate that the encoder has.
    bitrate: Bitrate,
    /// Names this publisher in the overlay.
    id: u32,
    /// The first picture of those that look like the last one, and its overlay, which all of them keep.
    shown: Option<(u32, Overlay)>,
}

impl Producer {
    fn new(
        source: Box<dyn VideoSource>,
        settings: VideoSettings,
        control: Arc<VideoControl>,
        keyframe_requests: Arc<AtomicU64>,
        (pictures, kept): (mpsc::Sender<Result<Picture>>, mpsc::Sender<KeptPicture>),
    ) -> Result<Self> {
        let size = source.size();
        let bitrate = settings.bitrate;
        let shape = Shape { scale_millis: 1_000, ..control.shape() };
        let encoder = encoder(&settings, shape, size, source.frame_rate(), bitrate)?;
        Ok(Self {
            source,
            preprocessor: Preprocessor::new(settings.preprocess),
            settings,
            control,
            encoder,
            encoder_before: EncoderStats::default(),
            drawn: VideoFrame::new(size.0, size.1)?,
            scaled: None,
            shape,
            keyframe_requests,
            keyframes_answered: 0,
            pictures,
            keeper: ReferenceKeeper::default(),
            kept,
            stats: Arc::default(),
            bitrate,
            id: random_u32(),
            shown: None,
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
            let since = self.source.shown_since(frame);
            let shown = self.shown.filter(|(shown, _)| *shown == since);
            let (_, overlay) =
                *self.shown.insert(shown.unwrap_or_else(|| (since, Overlay::new(self.id, frame, captured))));
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
        let Some(encoded) = encoded else { return Ok(Produced::Nothing) };
        // The packetizer numbers the same pictures, in the same order.
        if let Some(kept) = self.keeper.after(&encoded, elapsed).filter(|_| self.shape.long_term) {
            // One that the far side is not told of is of no use, and does no harm.
            let _ = self.kept.try_send(kept);
        }
        // The 90 kHz clock wraps every 13 hours, as RTP's does.
        let timestamp = (elapsed.as_micros() * 9 / 100) as u32;
        Ok(Produced::Picture(Picture { codec: self.shape.codec, encoded, size, timestamp }))
    }

    fn apply_control(&mut self) -> Result<()> {
        let shape = self.control.shape();
        if shape != self.shape {
            self.reshape(shape)?;
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
        let news = std::mem::take(&mut *self.control.news.lock().unwrap_or_else(PoisonError::into_inner));
        for (news, answer) in news {
            // Who told it may be gone.
            let _ = answer.send(self.keeper.hear(&mut self.encoder, news)?);
        }
        Ok(())
    }
}

impl Producer {
    /// Begins anew in another size, codec or number of layers, where that is another.
    fn reshape(&mut self, shape: Shape) -> Result<()> {
        let full = self.source.size();
        let size = Scaler::size(full, f64::from(shape.scale_millis) / 1_000.0);
        let size_before = self.scaled.as_ref().map_or(full, |(scaler, _)| scaler.output_size());
        let before = std::mem::replace(&mut self.shape, shape);
        if size == size_before && (Shape { scale_millis: shape.scale_millis, ..before }) == shape {
            return Ok(());
        }
        let next = encoder(&self.settings, shape, size, self.source.frame_rate(), self.bitrate)?;
        self.keeper.restart();
        self.encoder_before = self.encoder_before + std::mem::replace(&mut self.encoder, next).stats();
        if size != size_before {
            let scaler = Scaler::new(full, size)?;
            self.scaled = (size != full).then_some((scaler, VideoFrame::new(size.0, size.1)?));
        }
        Ok(())
    }
}

fn encoder(
    settings: &VideoSettings,
    shape: Shape,
    (width, height): (usize, usize),
    frame_rate: f64,
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
        ..Default::default()
    };
    VideoEncoder::new(shape.codec, config, settings.rate, settings.effort)
}

/// The codecs that both sides have.
fn usable(format: &SinkFormat, wanted: VideoCodec) -> Result<Vec<VideoCodec>> {
    let codecs = format.video.iter().map(|(codec, _)| *codec).filter(|codec| codec.is_built_in());
    let codecs: Vec<_> = codecs.collect();
    ensure!(codecs.contains(&wanted), "the server does not take {}", wanted.name());
    Ok(codecs)
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
        let packets = packetizer.picture(picture.codec, &picture.encoded, picture.size, picture.timestamp)?;
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
    use crate::decode::{Decoder, H264Decoder};

    fn producer(kind: SceneKind) -> (Producer, Arc<VideoControl>) {
        let settings = VideoSettings::default();
        let control = Arc::new(VideoControl::new(&settings, vec![VideoCodec::H264], true));
        let scene = Box::new(Scene::of(kind, 640, 360, 30.0).unwrap());
        let out = (mpsc::channel(QUEUE).0, mpsc::channel(MAX_KEPT).0);
        (Producer::new(scene, settings, Arc::clone(&control), Arc::default(), out).unwrap(), control)
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
        let control = VideoControl::new(&VideoSettings::default(), vec![VideoCodec::H264], true);
        let kept = |control: &VideoControl| (0..300).filter(|frame| control.keeps(*frame, 30.0)).count();
        assert_eq!(kept(&control), 300);
        control.set_max_frame_rate(Some(10.0));
        assert_eq!(kept(&control), 100);
        assert_eq!((0..30).filter(|frame| control.keeps(*frame, 30.0)).collect::<Vec<_>>()[..3], [2, 5, 8]);
        control.set_max_frame_rate(None);
        assert_eq!(kept(&control), 300);
    }
}
