//! What a playout buffer has done, named as in W3C webrtc-stats (RTCInboundRtpStreamStats).

use super::MS;
use serde_json::{Value, json};

/// Counters since the start. Samples are of 48 kHz, mono.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PlayoutStats {
    /// `totalSamplesReceived`: all samples that were played, made up or not.
    pub total_samples: u64,
    /// `concealedSamples`: samples that were made up for sound that was not there, silent ones among them.
    pub concealed_samples: u64,
    /// `silentConcealedSamples`: of these, silence and comfort noise.
    pub silent_concealed_samples: u64,
    /// Of these, comfort noise in pauses that the sender has announced (DTX).
    pub comfort_noise_samples: u64,
    /// `concealmentEvents`: gaps that were concealed.
    pub concealment_events: u64,
    /// `insertedSamplesForDeceleration`: samples said more than once.
    pub inserted_samples_for_deceleration: u64,
    /// `removedSamplesForAcceleration`: samples left out.
    pub removed_samples_for_acceleration: u64,
    /// `jitterBufferEmittedCount`: samples decoded from packets and handed out.
    pub emitted_count: u64,
    /// Packets decoded.
    pub packets_decoded: u64,
    /// Packets that the decoder refused.
    pub decode_errors: u64,
    /// Packets that are no Opus or no RED.
    pub packets_damaged: u64,
    /// Packets that came too late, twice, or with a timestamp that is not to be believed.
    pub packets_discarded: u64,
    /// Of the decoded packets, those that had been lost and came by RED.
    pub packets_from_redundancy: u64,
    /// Lost packets that the next one carried once more (in-band FEC).
    pub packets_from_fec: u64,
    /// Sum over the emitted samples of how long each waited, in samples.
    delay: u128,
    /// Sum over the emitted samples of the target delay, in samples.
    target: u128,
}

impl PlayoutStats {
    pub(super) fn on_emitted(&mut self, samples: i64, waited: i64, target: i64) {
        let samples = samples.max(0).unsigned_abs();
        self.emitted_count += samples;
        self.delay += u128::from(samples) * u128::from(waited.max(0).unsigned_abs());
        self.target += u128::from(samples) * u128::from(target.max(0).unsigned_abs());
    }

    /// `jitterBufferDelay`: sum over the emitted samples of how long each waited, in seconds.
    pub fn jitter_buffer_delay(&self) -> f64 {
        self.delay as f64 / (MS as f64 * 1000.0)
    }

    /// `jitterBufferTargetDelay`: sum over the emitted samples of the target delay, in seconds.
    pub fn jitter_buffer_target_delay(&self) -> f64 {
        self.target as f64 / (MS as f64 * 1000.0)
    }

    /// How long a sample waited in the mean, in milliseconds.
    pub fn mean_delay_ms(&self) -> f64 {
        self.jitter_buffer_delay() * 1000.0 / self.emitted_count.max(1) as f64
    }

    /// Target delay in the mean, in milliseconds.
    pub fn mean_target_ms(&self) -> f64 {
        self.jitter_buffer_target_delay() * 1000.0 / self.emitted_count.max(1) as f64
    }

    /// Share of played samples that were made up, 0 to 1. Comfort noise does not count: it stands for no packet.
    pub fn concealed_share(&self) -> f64 {
        (self.concealed_samples - self.comfort_noise_samples) as f64 / self.total_samples.max(1) as f64
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "totalSamplesReceived": self.total_samples,
            "concealedSamples": self.concealed_samples,
            "silentConcealedSamples": self.silent_concealed_samples,
            "concealmentEvents": self.concealment_events,
            "insertedSamplesForDeceleration": self.inserted_samples_for_deceleration,
            "removedSamplesForAcceleration": self.removed_samples_for_acceleration,
            "jitterBufferEmittedCount": self.emitted_count,
            "jitterBufferDelay": self.jitter_buffer_delay(),
            "jitterBufferTargetDelay": self.jitter_buffer_target_delay(),
            "packetsDecoded": self.packets_decoded,
            "packetsDiscarded": self.packets_discarded,
            "packetsDamaged": self.packets_damaged,
            "packetsFromRedundancy": self.packets_from_redundancy,
            "packetsFromFec": self.packets_from_fec,
        })
    }
}
