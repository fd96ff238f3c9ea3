//! An audio track: packets to sound.

use super::{JitterBuffer, JitterConfig, ReceivedFrame};
use crate::decode::OpusDecoder;
use crate::encode::FRAME_SAMPLES;
use crate::peer::{RemoteTrack, TrackFormat};
use crate::record::AudioRecorder;
use crate::stats::StreamStats;
use anyhow::Result;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest sleep while nothing is due.
const IDLE: Duration = Duration::from_secs(1);
/// Lost packets that are concealed; what is longer is silence, not speech.
const MAX_CONCEALED: u64 = 10;

/// Receives `track` until it ends.
///
/// # Errors
/// Where the decoder cannot be started, or the recording not be written.
pub async fn receive_audio(
    track: RemoteTrack,
    stats: Arc<StreamStats>,
    mut recorder: Option<AudioRecorder>,
) -> Result<()> {
    let mut buffer = JitterBuffer::new(JitterConfig::audio());
    let mut decoder = OpusDecoder::new()?;
    loop {
        let deadline = buffer.deadline().unwrap_or_else(|| Instant::now() + IDLE);
        tokio::select! {
            packet = track.read() => {
                let Some(packet) = packet else { break };
                let now = Instant::now();
                let format = track.format(packet.header.payload_type);
                stats.on_packet(now, &packet, format);
                if format == Some(TrackFormat::Opus) {
                    buffer.push(now, packet);
                }
            }
            () = tokio::time::sleep_until(deadline.into()) => {}
        }
        while let Some(frame) = buffer.pop(Instant::now()) {
            stats.on_frame(buffer.counters(), false);
            play(&frame, &mut decoder, &stats, recorder.as_mut())?;
        }
        stats.on_counters(buffer.counters());
    }
    recorder.map_or(Ok(()), AudioRecorder::finish)
}

fn play(
    frame: &ReceivedFrame,
    decoder: &mut OpusDecoder,
    stats: &StreamStats,
    mut recorder: Option<&mut AudioRecorder>,
) -> Result<()> {
    for _ in 0..frame.lost_before.min(MAX_CONCEALED) {
        let concealed = decoder.conceal(FRAME_SAMPLES)?;
        if let Some(recorder) = recorder.as_deref_mut() {
            recorder.write_sound(concealed)?;
        }
    }
    for payload in &frame.payloads {
        if let Some(recorder) = recorder.as_deref_mut() {
            recorder.write_coded(frame.timestamp, payload)?;
        }
        match decoder.decode(payload) {
            Ok(samples) => {
                stats.on_sound(Instant::now(), samples);
                if let Some(recorder) = recorder.as_deref_mut() {
                    recorder.write_sound(samples)?;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a packet of sound was not decoded");
                stats.on_decode_error();
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
