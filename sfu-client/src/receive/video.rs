//! A video track: packets to frames in a task, frames to pictures in a thread.

use super::dependencies::Dependencies;
use super::parameter_sets::ParameterSets;
use super::{JitterBuffer, JitterConfig, ReceivedFrame, StreamSync, annex_b, is_keyframe, without_descriptors};
use crate::clock::unix_now;
use crate::decode::{Decoder, open_decoder};
use crate::overlay::Overlay;
use crate::peer::{RemoteTrack, TrackFormat, VideoCodec};
use crate::record::VideoRecorder;
use crate::stats::StreamStats;
use anyhow::{Context, Result};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Frames that may wait for the decoder: two seconds of them come at once when a long gap has been filled. Beyond these
/// it is too slow, and frames go until a keyframe comes.
const DECODER_QUEUE: usize = 64;
/// Longest sleep while nothing is due.
const IDLE: Duration = Duration::from_secs(1);

/// Receives `track` until it ends; decodes what was built in and counts (and records) the rest. Pictures are
/// shown as soon as they are decoded, or together with sound where `sync` says how.
///
/// # Errors
/// Where the decoder cannot be started, or the recording not be written.
pub async fn receive_video(
    track: RemoteTrack,
    stats: Arc<StreamStats>,
    sync: Option<StreamSync>,
    recorder: Option<VideoRecorder>,
) -> Result<()> {
    let (outcomes_out, mut outcomes) = mpsc::unbounded_channel();
    let (frames, queue) = mpsc::channel(DECODER_QUEUE);
    let worker = DecoderThread {
        frames: queue,
        outcomes: outcomes_out,
        stats: Arc::clone(&stats),
        sync,
        recorder,
        decoder: None,
        free: Instant::now(),
    };
    let thread = thread::Builder::new().name("decode".to_owned()).spawn(move || worker.run())?;
    let mut receiver = Receiver {
        buffer: JitterBuffer::new(if track.nack { JitterConfig::video() } else { JitterConfig::video_unasked() }),
        track,
        stats,
        frames,
        ssrc: None,
        waits_for_keyframe: true,
        parameter_sets: ParameterSets::default(),
        dependencies: Dependencies::default(),
    };
    loop {
        let deadline = receiver.buffer.deadline().unwrap_or_else(|| Instant::now() + IDLE);
        tokio::select! {
            packet = receiver.track.read() => match packet {
                Some(packet) => receiver.on_packet(packet),
                None => break,
            },
            Some(Outcome::Failed) = outcomes.recv() => {
                receiver.dependencies.forget();
                receiver.lose_sync();
            }
            () = tokio::time::sleep_until(deadline.into()) => {}
        }
        receiver.hand_out()?;
        receiver.send_feedback().await?;
    }
    // The thread ends when its queue does.
    drop(receiver);
    tokio::task::spawn_blocking(move || thread.join())
        .await
        .context("the decoder cannot be waited for")?
        .map_err(|_| anyhow::anyhow!("the decoder broke down"))?
}

struct Receiver {
    buffer: JitterBuffer,
    track: RemoteTrack,
    stats: Arc<StreamStats>,
    frames: mpsc::Sender<CodedFrame>,
    ssrc: Option<u32>,
    waits_for_keyframe: bool,
    parameter_sets: ParameterSets,
    /// Of streams whose packets have dependency descriptors.
    dependencies: Dependencies,
}

impl Receiver {
    fn on_packet(&mut self, packet: rtp::Packet) {
        let now = Instant::now();
        self.stats.on_packet(now, &packet, self.track.format(packet.header.payload_type));
        self.ssrc = Some(packet.header.ssrc);
        // Of VP9 and AV1, layers may be left out; what their frames need is more than is looked at here.
        let format = self.track.format(packet.header.payload_type);
        let is_simple = matches!(format, Some(TrackFormat::Video(VideoCodec::H264 | VideoCodec::Vp8)));
        if let Some(descriptor) = self.track.descriptor(&packet).filter(|_| is_simple) {
            self.dependencies.on_packet(&descriptor, (packet.header.sequence_number, packet.header.timestamp));
        }
        self.buffer.push(now, packet);
    }

    fn lose_sync(&mut self) {
        self.waits_for_keyframe = true;
        self.dependencies.lose();
        self.buffer.decoder_needs_keyframe();
    }

    /// The next frame. One that needs nothing of what is missing before it does not wait for that.
    fn next_frame(&mut self, now: Instant) -> Option<ReceivedFrame> {
        if let Some(frame) = self.buffer.pop(now) {
            return Some(frame);
        }
        let decodable: Option<u16> = self.dependencies.decodable().find(|first| self.buffer.is_whole(*first));
        self.buffer.skip_to(decodable?);
        self.buffer.pop(now)
    }

    /// Hands whole frames to the decoder.
    fn hand_out(&mut self) -> Result<()> {
        let Some(ssrc) = self.ssrc else { return Ok(()) };
        while let Some(mut frame) = self.next_frame(Instant::now()) {
            if frame.lost_before > 0 {
                self.lose_sync();
            }
            let Some(TrackFormat::Video(codec)) = self.track.format(frame.payload_type) else { continue };
            let has_sets = codec != VideoCodec::H264 || self.parameter_sets.complete(&mut frame);
            let keyframe = has_sets && is_keyframe(codec, &frame.payloads);
            self.stats.on_frame(self.buffer.counters(), keyframe);
            let can_decode = self.dependencies.take(frame.timestamp, frame.first);
            if keyframe || can_decode == Some(true) {
                self.waits_for_keyframe = false;
                self.buffer.decoder_has_keyframe();
            } else if can_decode == Some(false) {
                self.lose_sync();
            }
            if can_decode.is_none() && !self.waits_for_keyframe {
                self.dependencies.follow(keyframe);
            }
            if self.waits_for_keyframe {
                self.buffer.decoder_needs_keyframe();
                continue;
            }
            match self.frames.try_send(CodedFrame { ssrc, codec, keyframe, frame }) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => {
                    self.dependencies.leave_out();
                    self.lose_sync();
                }
                // Its own error is told when the thread is joined.
                Err(mpsc::error::TrySendError::Closed(_)) => anyhow::bail!("the decoder has stopped"),
            }
        }
        self.stats.on_counters(self.buffer.counters());
        self.stats.on_fec(self.track.fec(ssrc));
        Ok(())
    }

    async fn send_feedback(&mut self) -> Result<()> {
        let Some(ssrc) = self.ssrc else { return Ok(()) };
        let now = Instant::now();
        if self.stats.wishes_keyframe() {
            self.buffer.decoder_needs_keyframe();
        }
        let missing = self.buffer.nacks(now);
        if !missing.is_empty() {
            self.track.request_packets(ssrc, &missing).await?;
        }
        if self.buffer.ask_keyframe(now) {
            self.track.request_keyframe(ssrc).await?;
        }
        Ok(())
    }
}

struct CodedFrame {
    ssrc: u32,
    codec: VideoCodec,
    keyframe: bool,
    frame: ReceivedFrame,
}

enum Outcome {
    Failed,
}

struct DecoderThread {
    frames: mpsc::Receiver<CodedFrame>,
    outcomes: mpsc::UnboundedSender<Outcome>,
    stats: Arc<StreamStats>,
    sync: Option<StreamSync>,
    recorder: Option<VideoRecorder>,
    /// When it would have been free, if no picture had waited to be shown.
    free: Instant,
    /// For the codec that came last, if it was built in.
    decoder: Option<(VideoCodec, Box<dyn Decoder>)>,
}

impl DecoderThread {
    fn run(mut self) -> Result<()> {
        while let Some(coded) = self.frames.blocking_recv() {
            let unit = match coded.codec {
                VideoCodec::H264 => annex_b(&coded.frame.payloads),
                codec => without_descriptors(codec, &coded.frame.payloads),
            };
            if let Some(recorder) = &mut self.recorder {
                recorder.write_coded(coded.codec, coded.frame.timestamp, &coded.frame.payloads, unit.as_deref())?;
            }
            if coded.codec.is_built_in() {
                self.decode(&coded, unit.as_deref())?;
            }
        }
        self.recorder.map_or(Ok(()), VideoRecorder::finish)
    }

    fn decode(&mut self, coded: &CodedFrame, unit: Option<&[u8]>) -> Result<()> {
        let (codec, keyframe, begun) = (coded.codec, coded.keyframe, Instant::now());
        let decoder = match self.decoder.take() {
            Some((before, decoder)) if before == codec => decoder,
            _ => open_decoder(codec)?,
        };
        let (_, decoder) = self.decoder.insert((codec, decoder));
        let decoded = match unit {
            Some(unit) => decoder.decode(unit),
            None => Err(anyhow::anyhow!("a picture's packets do not fit together")),
        };
        match decoded {
            Ok(Some(picture)) => {
                self.await_sound(coded, begun.elapsed());
                let age = unix_now();
                let overlay = Overlay::read(&picture).map(|overlay| (overlay, overlay.age(age)));
                self.stats.on_picture(Instant::now(), &picture, overlay);
                // The others are recorded as they came.
                if let Some(recorder) = self.recorder.as_mut().filter(|_| codec == VideoCodec::H264) {
                    recorder.write_picture(&picture)?;
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, keyframe, "a picture was not decoded");
                self.stats.on_decode_error();
                // The receiver is gone only at the end.
                let _ = self.outcomes.send(Outcome::Failed);
            }
        }
        Ok(())
    }

    /// Waits until the picture of `coded`, which took `time` to decode, is to be shown.
    fn await_sound(&mut self, coded: &CodedFrame, time: Duration) {
        let Some(sync) = &mut self.sync else { return };
        let ready = self.free.max(coded.frame.completed) + time;
        self.free = ready;
        sync.on_packet(coded.ssrc);
        let shown = sync.show_at(coded.frame.timestamp, ready);
        thread::sleep(shown.saturating_duration_since(Instant::now()));
    }
}
