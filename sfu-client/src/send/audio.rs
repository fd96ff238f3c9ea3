//! Sound: a packet of 20, 40 or 60 ms as often, with its loudness (RFC 6464).

use super::{Packetizer, RedConfig, Redundancy, SendCounters};
use crate::capture::{AudioSource, SAMPLE_RATE};
use crate::encode::{FRAME_SAMPLES, OpusConfig, OpusEncoder, PacketTime};
use crate::peer::{AUDIO_LEVEL, RtpSink};
use crate::voice::{VoiceConfig, VoiceProcessor};
use anyhow::{Context, Result};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// Sound is captured in steps of this.
const TICK: Duration = Duration::from_millis(20);
/// Samples of the longest packet.
const MOST: usize = PacketTime::Ms60.samples();

/// What to send.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AudioSettings {
    /// How to encode.
    pub opus: OpusConfig,
    /// Older sound that goes along, where the far side takes RED.
    pub red: RedConfig,
    /// What is done to the sound before.
    pub voice: VoiceConfig,
}

/// Changes a running audio stream, from its next packet on.
#[derive(Clone, Debug)]
pub struct AudioControl {
    settings: Arc<watch::Sender<AudioSettings>>,
    takes_red: bool,
}

impl AudioControl {
    /// Goes on with other settings.
    pub fn set(&self, settings: AudioSettings) {
        self.settings.send_replace(settings);
    }

    /// Whether the far side takes RED.
    pub const fn takes_red(&self) -> bool {
        self.takes_red
    }
}

/// A running audio stream.
pub struct AudioSender {
    control: AudioControl,
    counters: Arc<SendCounters>,
    /// Until it has ended.
    task: Option<JoinHandle<Result<()>>>,
}

impl AudioSender {
    /// Begins to send `source` over `sink`, which must be negotiated.
    ///
    /// # Errors
    /// Where the far side rejected the stream, or the encoder refuses the settings.
    pub async fn start(sink: RtpSink, source: Box<dyn AudioSource>, settings: AudioSettings) -> Result<Self> {
        let format = sink.format().await?;
        let counters = Arc::new(SendCounters::default());
        let encoder = OpusEncoder::new(&settings.opus)?;
        let voice = VoiceProcessor::new(settings.voice);
        let (changes, settings) = watch::channel(settings);
        let stream = Stream {
            packetizer: Packetizer::new(sink.ssrc(), &format),
            encoder,
            redundancy: Redundancy::new(format.payload_type),
            red_payload_type: format.red_payload_type,
            level_id: format.extension(AUDIO_LEVEL),
            voice,
            settings,
        };
        let control = AudioControl { settings: Arc::new(changes), takes_red: format.red_payload_type.is_some() };
        let task = tokio::spawn(send(sink, stream, source, Arc::clone(&counters)));
        Ok(Self { control, counters, task: Some(task) })
    }

    /// Changes the running stream.
    pub fn control(&self) -> AudioControl {
        self.control.clone()
    }

    /// What has been sent.
    pub fn counters(&self) -> Arc<SendCounters> {
        Arc::clone(&self.counters)
    }

    /// Waits for the end: the source's or a failure.
    ///
    /// # Errors
    /// What made it fail.
    pub async fn finished(&mut self) -> Result<()> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let result = task.await;
        self.task = None;
        result.context("the audio task broke down")?
    }
}

impl Drop for AudioSender {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}

async fn send(
    sink: RtpSink,
    mut stream: Stream,
    mut source: Box<dyn AudioSource>,
    counters: Arc<SendCounters>,
) -> Result<()> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut samples, mut played) = ([0; MOST], [0; FRAME_SAMPLES]);
    let (mut timestamp, mut filled) = (0u32, 0);
    // The first tick is now; what it brings was heard in the time before.
    sink.captured_from(Instant::now() - TICK, stream.packetizer.first_timestamp(), SAMPLE_RATE);
    loop {
        ticks.tick().await;
        let frame = &mut samples[filled..filled + FRAME_SAMPLES];
        if !source.fill(frame)? {
            return Ok(());
        }
        let has_played = source.played(&mut played)?;
        stream.process(frame, if has_played { &played } else { &[] })?;
        filled += FRAME_SAMPLES;
        if filled < stream.packet_samples() {
            continue;
        }
        let packet = stream.packet(&samples[..filled], timestamp)?;
        let bytes = packet.payload.len() as u64;
        sink.write(packet).await?;
        counters.add(1, bytes);
        timestamp = timestamp.wrapping_add(filled as u32);
        filled = 0;
    }
}

/// From samples to packets.
struct Stream {
    packetizer: Packetizer,
    encoder: OpusEncoder,
    redundancy: Redundancy,
    red_payload_type: Option<u8>,
    level_id: Option<u8>,
    voice: VoiceProcessor,
    settings: watch::Receiver<AudioSettings>,
}

impl Stream {
    /// Treats 20 ms of sound, as the settings have it now.
    fn process(&mut self, samples: &mut [i16], played: &[i16]) -> Result<()> {
        // Its sender may be gone; what it said last holds.
        if self.settings.has_changed().unwrap_or(false) {
            let settings = self.settings.borrow_and_update();
            self.encoder.configure(&settings.opus)?;
            self.voice.configure(settings.voice);
        }
        self.voice.process(samples, played)
    }

    /// Samples that fill a packet.
    fn packet_samples(&self) -> usize {
        self.settings.borrow().opus.packet_time.samples()
    }

    fn packet(&mut self, samples: &[i16], timestamp: u32) -> Result<rtp::Packet> {
        let red = self.settings.borrow().red;
        let payload = self.encoder.encode(samples)?;
        let mut packet = match self.red_payload_type {
            Some(payload_type) if red.generations > 0 => {
                let redundant = self.redundancy.wrap(&payload, timestamp, red);
                self.packetizer.redundant_sound(redundant, timestamp, payload_type)
            }
            _ => self.packetizer.sound(payload.clone(), timestamp),
        };
        self.redundancy.remember(payload, timestamp);
        if let Some(id) = self.level_id {
            let level = Bytes::copy_from_slice(&[audio_level(samples)]);
            packet.header.set_extension(id, level).context("cannot write the audio level")?;
        }
        Ok(packet)
    }
}

/// The one-byte value of RFC 6464: voice activity in the upper bit, below it the loudness in -dBov, 127 for silence.
fn audio_level(samples: &[i16]) -> u8 {
    let squares: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    let rms = (squares / samples.len().max(1) as f64).sqrt() / f64::from(i16::MAX);
    let level = if rms > 0.0 { (-20.0 * rms.log10()).round().clamp(0.0, 127.0) as u8 } else { 127 };
    // Louder than -50 dBov counts as voice: generated sound has no noise floor.
    let voice = if level < 50 { 0x80 } else { 0 };
    voice | level
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loudness_in_decibels_below_overload() {
        assert_eq!(audio_level(&[0; 960]), 127);
        assert_eq!(audio_level(&[i16::MAX; 960]), 0x80);
        assert_eq!(audio_level(&[3277; 960]), 0x80 | 20);
        assert_eq!(audio_level(&[10; 960]), 70);
    }
}
