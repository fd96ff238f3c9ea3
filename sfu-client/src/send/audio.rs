//! Sound: a packet of 20 ms every 20 ms, with its loudness (RFC 6464).

use super::{Packetizer, SendCounters};
use crate::capture::AudioSource;
use crate::encode::{FRAME_SAMPLES, OpusConfig, OpusEncoder};
use crate::peer::{AUDIO_LEVEL, RtpSink};
use anyhow::{Context, Result};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// What to send.
#[derive(Clone, Debug, Default)]
pub struct AudioSettings {
    /// How to encode.
    pub opus: OpusConfig,
}

/// A running audio stream.
pub struct AudioSender {
    counters: Arc<SendCounters>,
    task: JoinHandle<Result<()>>,
}

impl AudioSender {
    /// Begins to send `source` over `sink`, which must be negotiated.
    ///
    /// # Errors
    /// Where the far side rejected the stream, or the encoder refuses the settings.
    pub async fn start(sink: RtpSink, source: Box<dyn AudioSource>, settings: AudioSettings) -> Result<Self> {
        let format = sink.format().await?;
        let packetizer = Packetizer::new(sink.ssrc(), &format);
        let encoder = OpusEncoder::new(&settings.opus)?;
        let counters = Arc::new(SendCounters::default());
        let level = format.extension(AUDIO_LEVEL);
        let task = tokio::spawn(send(sink, packetizer, encoder, source, level, Arc::clone(&counters)));
        Ok(Self { counters, task })
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
        (&mut self.task).await.context("the audio task broke down")?
    }
}

impl Drop for AudioSender {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send(
    sink: RtpSink,
    mut packetizer: Packetizer,
    mut encoder: OpusEncoder,
    mut source: Box<dyn AudioSource>,
    level_id: Option<u8>,
    counters: Arc<SendCounters>,
) -> Result<()> {
    let mut ticks = interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut samples = [0; FRAME_SAMPLES];
    let mut timestamp = 0u32;
    loop {
        ticks.tick().await;
        if !source.fill(&mut samples)? {
            return Ok(());
        }
        let payload = encoder.encode(&samples)?;
        let bytes = payload.len() as u64;
        let mut packet = packetizer.sound(payload, timestamp);
        if let Some(id) = level_id {
            let level = Bytes::copy_from_slice(&[audio_level(&samples)]);
            packet.header.set_extension(id, level).context("cannot write the audio level")?;
        }
        sink.write(packet).await?;
        counters.add(1, bytes, false);
        timestamp = timestamp.wrapping_add(FRAME_SAMPLES as u32);
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
