//! Pictures: a thread captures and encodes in step with the clock, once or, with simulcast, in several sizes; a task for
//! each encoding packetizes and sends.

use super::control::VideoControl;
use super::layer::{Captured, Format, Layer, Picture, Wishes};
use super::load::LoadMeter;
use super::{Packetizer, SendCounters, Sent};
use crate::capture::VideoSource;
use crate::clock::unix_now;
use crate::encode::{Effort, EffortMode, EncoderStats, KeptPicture, RateControlConfig, RateMode};
use crate::frame::VideoFrame;
use crate::overlay::Overlay;
use crate::peer::{DEPENDENCY_DESCRIPTOR, MediaKind, RtpSink, SinkFormat, VideoCodec, random_u32};
use crate::preprocess::{PreprocessConfig, PreprocessStats};
use anyhow::{Context, Result, ensure};
use sfu_rtc::units::Bitrate;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Encoded pictures that may wait for the network: beyond these the oldest picture is too old to be of use.
const QUEUE: usize = 4;
/// Pictures that are kept of which the far side is not yet told.
const MAX_KEPT: usize = 64;
/// Encodings of simulcast, smallest first, as the web page names them, and how much smaller each side is than the source's.
const SIMULCAST: [(&str, f32); 3] = [("q", 4.0), ("h", 2.0), ("f", 1.0)];
/// Most of them.
pub const MAX_ENCODINGS: usize = SIMULCAST.len();
/// Pixels grow with the square of a side, needed bits a little slower; the page reckons so too.
const BITRATE_EXPONENT: f32 = 1.66;
/// No encoding gets less, unless the source itself does.
const LEAST_BITRATE: Bitrate = Bitrate::from_kbps(60);

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
    /// How much the encoder tries. Where that follows the machine, a machine that cannot follow at the least effort gets fewer
    /// pictures, and then smaller ones.
    pub effort: EffortMode,
    /// The pictures are those of a screen, not of a camera.
    pub screen: bool,
    /// What is done to pictures before they are coded.
    pub preprocess: PreprocessConfig,
    /// Keep long-term references (H.264 without temporal layers), where the far side takes dependency descriptors: it may
    /// then ask for a picture that recovers, instead of a keyframe.
    pub long_term: bool,
    /// Encodings of the same pictures, 1 to 3 (simulcast): the largest as the other settings have it, each other one half
    /// as wide and high as the next. A server forwards to everybody the one that fits. Several need the native signalling
    /// or a server that takes RIDs (RFC 8853), and exclude long-term references and parity.
    pub simulcast: u8,
    /// End after so many pictures.
    pub frames: Option<u32>,
}

/// One of the encodings that settings ask for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct EncodingSettings {
    /// Its RID; empty where it is the only one.
    pub rid: &'static str,
    /// How much smaller each side is than the source's.
    pub scale: f32,
    /// Bitrate of its encoder.
    pub bitrate: Bitrate,
}

impl VideoSettings {
    /// For a screen: each page is sharp, and may take longer to code than pictures are apart, as none follows it soon. In
    /// AV1 where it is built in, which codes text in a fifth of the bits.
    pub fn of_screen() -> Self {
        let codec = if VideoCodec::Av1.is_built_in() { VideoCodec::Av1 } else { VideoCodec::H264 };
        let rate = RateMode::Own(RateControlConfig::screen());
        let preprocess = PreprocessConfig { denoise: false, low_light: false };
        Self { codec, screen: true, rate, effort: EffortMode::Fixed(Effort::Medium), preprocess, ..Self::default() }
    }

    /// The encodings, smallest first.
    pub fn encodings(&self) -> Vec<EncodingSettings> {
        let count = usize::from(self.simulcast).clamp(1, MAX_ENCODINGS);
        if count == 1 {
            return vec![EncodingSettings { rid: "", scale: 1.0, bitrate: self.bitrate }];
        }
        let encoding = |&(rid, scale): &(&'static str, f32)| {
            let share = f64::from(scale.powf(-BITRATE_EXPONENT));
            let bitrate = (self.bitrate * share).max(LEAST_BITRATE.min(self.bitrate));
            EncodingSettings { rid, scale, bitrate }
        };
        SIMULCAST[MAX_ENCODINGS - count..].iter().map(encoding).collect()
    }

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
            screen: false,
            preprocess: PreprocessConfig::default(),
            long_term: false,
            simulcast: 1,
            frames: None,
        }
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

/// One encoding of a running video stream.
pub struct RunningEncoding {
    /// Its RID; empty where it is the only one.
    pub rid: &'static str,
    /// Changes its encoder.
    pub control: Arc<VideoControl>,
    /// What has been sent of it.
    pub counters: Arc<SendCounters>,
    stats: Arc<Mutex<VideoStats>>,
}

impl RunningEncoding {
    /// What has been done to its pictures.
    pub fn stats(&self) -> VideoStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running video stream.
pub struct VideoSender {
    /// Smallest first; at least one.
    encodings: Vec<RunningEncoding>,
    kept: Option<mpsc::Receiver<KeptPicture>>,
    done: mpsc::Receiver<Result<()>>,
}

impl VideoSender {
    /// Begins to send `source` over `sink`, which must be negotiated, in one encoding.
    ///
    /// # Errors
    /// Where the far side rejected the stream, or the encoder refuses the settings.
    pub async fn start(sink: RtpSink, source: Box<dyn VideoSource>, settings: VideoSettings) -> Result<Self> {
        Self::start_encodings(vec![sink], source, VideoSettings { simulcast: 1, ..settings }).await
    }

    /// Begins to send `source` over `sinks`, which must be negotiated, one for each of [`VideoSettings::encodings`].
    ///
    /// # Errors
    /// Where the far side rejected the stream, the encoder refuses the settings, or there are other than as many sinks.
    pub async fn start_encodings(
        sinks: Vec<RtpSink>,
        source: Box<dyn VideoSource>,
        settings: VideoSettings,
    ) -> Result<Self> {
        let wanted = settings.encodings();
        ensure!(wanted.len() == sinks.len(), "{} encodings need as many sinks", wanted.len());
        ensure!(wanted.len() == 1 || !settings.long_term, "long-term references need a single encoding");
        let (kept_out, kept) = mpsc::channel(MAX_KEPT);
        // Each task says once how it ended.
        let (done_out, done) = mpsc::channel(sinks.len());
        let format = Format { size: source.size(), frame_rate: source.frame_rate() };
        let begun = Instant::now();
        let (mut encodings, mut layers) = (Vec::new(), Vec::new());
        for (sink, EncodingSettings { rid, scale, bitrate }) in sinks.into_iter().zip(wanted) {
            let negotiated = sink.format().await?;
            let settings = VideoSettings { bitrate, ..settings.clone() };
            let can_keep = negotiated.extension(DEPENDENCY_DESCRIPTOR).is_some();
            let control = Arc::new(VideoControl::new(&settings, usable(&negotiated, settings.codec)?, can_keep));
            control.set_scale(scale);
            let wishes = Wishes { control: Arc::clone(&control), keyframe_requests: sink.keyframe_requests() };
            let layer = Layer::new(format, settings, wishes, kept_out.clone())?;
            let counters = Arc::new(SendCounters::default());
            encodings.push(RunningEncoding { rid, control, counters: Arc::clone(&counters), stats: layer.stats() });
            let (pictures, queue) = mpsc::channel(QUEUE);
            layers.push((layer, pictures));
            let (packetizer, done) = (Packetizer::new(sink.ssrc(), &negotiated), done_out.clone());
            sink.captured_from(begun, packetizer.first_timestamp(), MediaKind::Video.clock_rate());
            tokio::spawn(async move {
                let result = send(sink, packetizer, queue, counters).await;
                let _ = done.send(result).await;
            });
        }
        let controls = encodings.iter().map(|encoding| Arc::clone(&encoding.control)).collect();
        let drawn = VideoFrame::new(format.size.0, format.size.1)?;
        let (frames, id) = (settings.frames, random_u32());
        let overlay = settings.overlay.then_some(id);
        let load = matches!(settings.effort, EffortMode::UpTo(_)).then(LoadMeter::default);
        let capture = Capture { source, format, frames, overlay, load, layers, controls, drawn, shown: None };
        thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || capture.run(begun))
            .context("cannot start the capture thread")?;
        Ok(Self { encodings, kept: Some(kept), done })
    }

    /// What is sent, smallest first.
    pub fn encodings(&self) -> &[RunningEncoding] {
        &self.encodings
    }

    /// Changes the running encoder, of several the largest.
    pub fn control(&self) -> Arc<VideoControl> {
        Arc::clone(&self.largest().control)
    }

    /// What has been sent in all. Pictures are those of the encoding that has most.
    pub fn sent(&self) -> Sent {
        let sum = |sum: Sent, encoding: &RunningEncoding| {
            let sent = encoding.counters.read();
            Sent {
                frames: sum.frames.max(sent.frames),
                packets: sum.packets + sent.packets,
                bytes: sum.bytes + sent.bytes,
                keyframes: sum.keyframes + sent.keyframes,
                keyframe_bytes: sum.keyframe_bytes + sent.keyframe_bytes,
                recovery_bytes: sum.recovery_bytes + sent.recovery_bytes,
            }
        };
        self.encodings.iter().fold(Sent::default(), sum)
    }

    /// What has been done to pictures, in the largest encoding.
    pub fn stats(&self) -> VideoStats {
        self.largest().stats()
    }

    fn largest(&self) -> &RunningEncoding {
        &self.encodings[self.encodings.len() - 1]
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
        while let Some(result) = self.done.recv().await {
            result?;
        }
        Ok(())
    }
}

impl Drop for VideoSender {
    fn drop(&mut self) {
        self.encodings.iter().for_each(|encoding| encoding.control.stop());
    }
}

/// Where the pictures of one encoding go.
type Queue = mpsc::Sender<Result<Picture>>;

/// The capture thread's state.
struct Capture {
    source: Box<dyn VideoSource>,
    format: Format,
    /// End after so many.
    frames: Option<u32>,
    /// Names this publisher in the overlay, where there is one.
    overlay: Option<u32>,
    /// What pictures take of the machine, where they follow it.
    load: Option<LoadMeter>,
    layers: Vec<(Layer, Queue)>,
    controls: Vec<Arc<VideoControl>>,
    /// As the source draws it.
    drawn: VideoFrame,
    /// The first picture of those that look like the last one, and its overlay, which all of them keep.
    shown: Option<(u32, Overlay)>,
}

impl Capture {
    fn run(mut self, start: Instant) {
        let interval = Duration::from_secs_f64(1.0 / self.format.frame_rate);
        for frame in 0..self.frames.unwrap_or(u32::MAX) {
            let due = start + interval * frame;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.controls.iter().any(|control| control.is_stopped()) {
                return;
            }
            let begun = Instant::now();
            let drawn = self.source.draw(frame, &mut self.drawn);
            if let Some(load) = self.load.as_mut().filter(|_| !self.source.waits()) {
                load.drawn(begun.elapsed());
            }
            match drawn {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // The first is told of it; the others end with it.
                    let _ = self.layers[0].1.blocking_send(Err(error));
                    return;
                }
            }
            if !self.code(frame, start) {
                return;
            }
        }
    }

    /// Codes a picture in each encoding that wants it; false at the end.
    fn code(&mut self, frame: u32, start: Instant) -> bool {
        // The clock of capture: what is done from here on counts as latency.
        let (elapsed, captured) = (start.elapsed(), unix_now());
        let overlay = self.overlay.map(|id| self.overlay(id, frame, captured));
        let captured = Captured { picture: &self.drawn, frame, elapsed, overlay };
        let mut coding = Duration::ZERO;
        for (layer, queue) in &mut self.layers {
            if !layer.wants(captured.frame) {
                continue;
            }
            let begun = Instant::now();
            let produced = layer.produce(&captured).transpose();
            coding += begun.elapsed();
            let Some(result) = produced else { continue };
            let failed = result.is_err();
            // Where the network is behind, the capture waits with it: the source paces, nothing is lost silently.
            if queue.blocking_send(result).is_err() || failed {
                return false;
            }
        }
        if let Some(step) = self.load.as_mut().and_then(|load| load.coded(elapsed, coding)) {
            self.controls.iter().for_each(|control| control.set_load(step));
        }
        true
    }

    fn overlay(&mut self, id: u32, frame: u32, captured: Duration) -> Overlay {
        let since = self.source.shown_since(frame);
        let shown = self.shown.filter(|(shown, _)| *shown == since);
        self.shown.insert(shown.unwrap_or_else(|| (since, Overlay::new(id, frame, captured)))).1
    }
}

/// The codecs that both sides have.
fn usable(format: &SinkFormat, wanted: VideoCodec) -> Result<Vec<VideoCodec>> {
    let codecs = format.video.iter().map(|(codec, _)| *codec).filter(|codec| codec.is_built_in());
    let codecs: Vec<_> = codecs.collect();
    ensure!(codecs.contains(&wanted), "the server does not take {}", wanted.name());
    Ok(codecs)
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
        counters.add(packets.len() as u64, bytes);
        counters.note(bytes, picture.encoded.keyframe, picture.encoded.references.recovers);
        for packet in packets {
            sink.write(packet).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_of_simulcast_halve_and_share_the_bits_as_the_page_does() {
        let settings =
            |simulcast| VideoSettings { simulcast, bitrate: Bitrate::from_kbps(1_500), ..Default::default() };
        let names = |simulcast| settings(simulcast).encodings().iter().map(|one| one.rid).collect::<Vec<_>>();
        assert_eq!((names(0), names(1), names(2), names(9)), (vec![""], vec![""], vec!["h", "f"], vec!["q", "h", "f"]));
        let three = settings(3).encodings();
        assert_eq!(three.iter().map(|one| one.scale).collect::<Vec<_>>(), [4.0, 2.0, 1.0]);
        // 150, 474 and 1,498 kbit/s are the page's for 180, 360 and 720 lines.
        assert_eq!(three.iter().map(|one| one.bitrate.as_kbps()).collect::<Vec<_>>(), [150, 474, 1_500]);
        let few = VideoSettings { bitrate: Bitrate::from_kbps(50), ..settings(3) };
        assert_eq!(few.encodings()[0].bitrate, few.bitrate);
    }
}
