//! An audio track: packets to sound, at the pace of the clock.

use super::{JitterBuffer, JitterConfig, Playout, PlayoutConfig, StreamSync};
use crate::capture::SAMPLE_RATE;
use crate::peer::{RemoteTrack, TrackFormat};
use crate::record::AudioRecorder;
use crate::stats::StreamStats;
use anyhow::Result;
use sfu_rtc::codec::red;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Sound is played in steps of this, as sound cards take it.
const STEP: Duration = Duration::from_millis(10);
/// Samples of a step.
const STEP_SAMPLES: usize = SAMPLE_RATE as usize / 100;

/// Receives `track` until it ends; plays it together with pictures where `sync` says how.
///
/// # Errors
/// Where the decoder cannot be started, or the recording not be written.
pub async fn receive_audio(
    track: RemoteTrack,
    stats: Arc<StreamStats>,
    sync: Option<StreamSync>,
    recorder: Option<AudioRecorder>,
) -> Result<()> {
    let mut receiver = Receiver::new(stats, sync, recorder)?;
    // Nothing is played before the first packet.
    let mut ticks = None;
    let mut last = Instant::now();
    loop {
        tokio::select! {
            // What has come is there for the step that is due.
            biased;
            packet = track.read() => {
                let Some(packet) = packet else { break };
                let format = track.format(packet.header.payload_type);
                receiver.on_packet(Instant::now(), packet, format);
                ticks.get_or_insert_with(ticks_of_steps);
            }
            now = tick(&mut ticks) => {
                receiver.play(now)?;
                last = now;
            }
        }
    }
    while !receiver.playout.is_empty() {
        last += STEP;
        receiver.play(last)?;
    }
    receiver.recorder.map_or(Ok(()), AudioRecorder::finish)
}

/// Steps that were missed are played at once: the recording has no holes, and the buffer sees an even pace.
fn ticks_of_steps() -> Interval {
    let mut ticks = interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

/// When the next step was due.
async fn tick(ticks: &mut Option<Interval>) -> Instant {
    match ticks {
        Some(ticks) => ticks.tick().await.into_std(),
        None => pending().await,
    }
}

struct Receiver {
    playout: Playout,
    /// Counts packets, and puts those that are recorded as they came in order.
    order: JitterBuffer,
    stats: Arc<StreamStats>,
    sync: Option<StreamSync>,
    recorder: Option<AudioRecorder>,
    samples: [i16; STEP_SAMPLES],
}

impl Receiver {
    fn new(stats: Arc<StreamStats>, sync: Option<StreamSync>, recorder: Option<AudioRecorder>) -> Result<Self> {
        Ok(Self {
            playout: Playout::new(&PlayoutConfig::default())?,
            order: JitterBuffer::new(JitterConfig::audio()),
            stats,
            sync,
            recorder,
            samples: [0; STEP_SAMPLES],
        })
    }

    fn on_packet(&mut self, now: Instant, mut packet: rtp::Packet, format: Option<TrackFormat>) {
        self.stats.on_packet(now, &packet, format);
        if let Some(sync) = &mut self.sync {
            sync.on_packet(packet.header.ssrc);
        }
        match format {
            Some(TrackFormat::Opus) => self.playout.push(now, packet.header.timestamp, packet.payload.clone()),
            Some(TrackFormat::OpusRed) => {
                self.playout.push_red(now, packet.header.timestamp, &packet.payload);
                // What is damaged counts as padding.
                packet.payload = packet.payload.slice(red::primary(&packet.payload).unwrap_or_default());
            }
            _ => return,
        }
        self.order.push(now, packet);
    }

    /// Plays one step.
    fn play(&mut self, now: Instant) -> Result<()> {
        let offset = self.sync.as_mut().zip(self.playout.position());
        if let Some(offset) = offset.and_then(|(sync, position)| sync.on_sound(position, now)) {
            self.playout.shift(now, offset);
        }
        self.playout.pull(now, &mut self.samples);
        self.stats.on_sound(Instant::now(), &self.samples, self.playout.stats());
        if let Some(recorder) = &mut self.recorder {
            recorder.write_sound(&self.samples)?;
        }
        while let Some(frame) = self.order.pop(now) {
            self.stats.on_frame(self.order.counters(), false);
            for payload in &frame.payloads {
                if let Some(recorder) = &mut self.recorder {
                    recorder.write_coded(frame.timestamp, payload)?;
                }
            }
        }
        self.stats.on_counters(self.order.counters());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
