//! Pictures: a thread captures and encodes in step with the clock, a task packetizes and sends.

use super::{Packetizer, SendCounters};
use crate::capture::VideoSource;
use crate::clock::unix_now;
use crate::encode::{EncodedFrame, H264Config, H264Encoder};
use crate::frame::VideoFrame;
use crate::overlay::Overlay;
use crate::peer::{RtpSink, random_u32};
use anyhow::{Context, Result};
use sfu_rtc::units::Bitrate;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
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
    /// Leave pictures out where the bitrate cannot be kept otherwise.
    pub skip_frames: bool,
    /// End after so many pictures.
    pub frames: Option<u32>,
}

/// Changes the encoder while it runs.
#[derive(Debug)]
pub struct VideoControl {
    bitrate: AtomicU64,
    /// Most pictures per second, in thousandths; 0: as many as the source has.
    frame_rate_millis: AtomicU32,
    active: AtomicBool,
    keyframe: AtomicBool,
    stopped: AtomicBool,
}

impl VideoControl {
    fn new(bitrate: Bitrate) -> Self {
        Self {
            bitrate: AtomicU64::new(bitrate.as_bps()),
            frame_rate_millis: AtomicU32::new(0),
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

/// A running video stream.
pub struct VideoSender {
    control: Arc<VideoControl>,
    counters: Arc<SendCounters>,
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
        Ok(Self { control, counters, done })
    }

    /// Changes the running encoder.
    pub fn control(&self) -> Arc<VideoControl> {
        Arc::clone(&self.control)
    }

    /// What has been sent.
    pub fn counters(&self) -> Arc<SendCounters> {
        Arc::clone(&self.counters)
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
    encoder: H264Encoder,
    picture: VideoFrame,
    keyframe_requests: Arc<AtomicU64>,
    /// Requests that were answered.
    keyframes_answered: u64,
    pictures: mpsc::Sender<Result<Picture>>,
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
        let (width, height) = source.size();
        let encoder = H264Encoder::new(H264Config {
            width,
            height,
            frame_rate: source.frame_rate(),
            bitrate: settings.bitrate,
            skip_frames: settings.skip_frames,
            ..Default::default()
        })?;
        let picture = VideoFrame::new(width, height)?;
        let bitrate = settings.bitrate;
        Ok(Self {
            source,
            settings,
            control,
            encoder,
            picture,
            keyframe_requests,
            keyframes_answered: 0,
            pictures,
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
        if !self.source.draw(frame, &mut self.picture)? {
            return Ok(Produced::End);
        }
        if !self.control.active.load(Ordering::Relaxed) {
            self.control.request_keyframe();
            return Ok(Produced::Nothing);
        }
        if !self.control.keeps(frame, self.source.frame_rate()) {
            return Ok(Produced::Nothing);
        }
        self.apply_control()?;
        if self.settings.overlay {
            Overlay::new(self.id, frame, unix_now()).draw(&mut self.picture);
        }
        let elapsed = start.elapsed();
        let millis = i64::try_from(elapsed.as_millis())?;
        let Some(encoded) = self.encoder.encode(&self.picture, millis)? else { return Ok(Produced::Nothing) };
        // The 90 kHz clock wraps every 13 hours, as RTP's does.
        let timestamp = (elapsed.as_micros() * 9 / 100) as u32;
        Ok(Produced::Picture(Picture { encoded, timestamp }))
    }

    fn apply_control(&mut self) -> Result<()> {
        let bitrate = Bitrate::from_bps(self.control.bitrate.load(Ordering::Relaxed));
        if bitrate != self.bitrate {
            self.encoder.set_bitrate(bitrate)?;
            self.bitrate = bitrate;
        }
        let requests = self.keyframe_requests.load(Ordering::Relaxed);
        if self.control.keyframe.swap(false, Ordering::Relaxed) || requests != self.keyframes_answered {
            self.keyframes_answered = requests;
            self.encoder.force_keyframe()?;
        }
        Ok(())
    }
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
