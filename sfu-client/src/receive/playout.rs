//! The adaptive buffer of one stream of sound: packets in as they come, samples out at an even pace.
//!
//! In the manner of NetEq, libwebrtc's: the target delay follows how unevenly packets come ([`delay`]); sound is said a
//! little faster or slower, at the same pitch, until it is played with that delay ([`stretch`]); what is not there in
//! time is taken from in-band FEC or from redundancy, which the target delay leaves time for, or else concealed by the
//! decoder. Time is an argument. All times inside are in samples of 48 kHz; RTP timestamps are extended to 64 bits.

mod delay;
mod packets;
mod stats;
mod stretch;

pub use stats::PlayoutStats;

use super::lip_sync::Offset;
use crate::capture::SAMPLE_RATE;
use crate::decode::OpusDecoder;
use anyhow::Result;
use bytes::Bytes;
use delay::{DelayEstimator, STEP};
use packets::{Packets, Stored};
use std::time::{Duration, Instant};
use stretch::Stretch;

/// Samples in a millisecond.
const MS: i64 = SAMPLE_RATE as i64 / 1000;
/// Sound that is made up at a time: what comes meanwhile is played next.
const CHUNK: i64 = 10 * MS;
/// Sound is said faster where it is played this much later than its target.
const LATE: i64 = STEP;
/// Sound is said slower where it is played this much earlier than its target.
const EARLY: i64 = 10 * MS;
/// Time between two changes towards less delay, which nobody waits for.
const CALM: i64 = 100 * MS;
/// Beyond this much from the target, sound is changed at every packet, and where it is less like itself.
const URGENT: i64 = 60 * MS;
/// Likeness of the places that are joined.
const LIKE: f64 = 0.85;
/// The same where it is urgent.
const LIKE_URGENT: f64 = 0.5;
/// Sound that is played this much later than the largest target is left out: a burst after the network stood still.
const STALE: i64 = 200 * MS;
/// Without a packet for so long the stream has paused: what comes then begins anew.
const PAUSE: i64 = 2_000 * MS;

/// How a stream is played.
#[derive(Clone, Debug)]
pub struct PlayoutConfig {
    /// Share of sound that is to be there in time, 0 to 1.
    pub quantile: f64,
    /// What is left of the weight of a packet's delay after the next packet, 0 to 1.
    pub forgetting: f64,
    /// How long the delay of sound that came with later packets than its own is remembered.
    pub repair_memory: Duration,
    /// Least target delay.
    pub min_delay: Duration,
    /// Largest target delay.
    pub max_delay: Duration,
    /// Packets that are held at most, with redundant ones.
    pub capacity: usize,
}

impl Default for PlayoutConfig {
    fn default() -> Self {
        Self {
            quantile: 0.97,
            // 2 s of packets of 20 ms have 82 % of the weight.
            forgetting: 0.983,
            // Several bursts of loss, where there are some.
            repair_memory: Duration::from_secs(10),
            min_delay: Duration::from_millis(20),
            // RED can be 341 ms late (RFC 2198), and the network some.
            max_delay: Duration::from_millis(500),
            capacity: 256,
        }
    }
}

/// The buffer.
pub struct Playout {
    decoder: OpusDecoder,
    delay: DelayEstimator,
    packets: Packets,
    stretch: Stretch,
    /// Largest target delay.
    most: i64,
    /// Time zero.
    origin: Option<Instant>,
    /// Timestamp of what is decoded next; none before the stream has begun.
    next: Option<i64>,
    /// Samples to play, and how many of them have been.
    ready: Vec<i16>,
    taken: usize,
    /// Samples made up since something was decoded.
    made: i64,
    /// The sender has said that there is nothing to send (DTX).
    paused: bool,
    /// When sound may be said faster again.
    calm_until: i64,
    stats: PlayoutStats,
}

impl Playout {
    /// An empty buffer.
    ///
    /// # Errors
    /// Where no decoder can be made.
    pub fn new(config: &PlayoutConfig) -> Result<Self> {
        Ok(Self {
            decoder: OpusDecoder::new()?,
            delay: DelayEstimator::new(config),
            packets: Packets::new(config.capacity),
            stretch: Stretch::new(),
            most: ticks(config.max_delay.max(config.min_delay)),
            origin: None,
            next: None,
            ready: Vec::new(),
            taken: 0,
            made: 0,
            paused: false,
            calm_until: i64::MIN,
            stats: PlayoutStats::default(),
        })
    }

    /// What happened so far.
    pub const fn stats(&self) -> &PlayoutStats {
        &self.stats
    }

    /// The delay that sound is to be played with, against the fastest packets.
    pub fn target_delay(&self) -> Duration {
        Duration::from_micros(self.delay.target().unsigned_abs() * 1000 / MS.unsigned_abs())
    }

    /// Timestamp of the sound that is pulled next; none before the stream has begun.
    pub fn position(&self) -> Option<u32> {
        // The lower bits are those of the wire.
        self.place().map(|place| place as u32)
    }

    fn place(&self) -> Option<i64> {
        let left = (self.ready.len() - self.taken) as i64;
        self.next.map(|next| next + self.made - left)
    }

    /// Plays sound later than it is now, or as much sooner as the network allows, for pictures that belong to it.
    pub(super) fn shift(&mut self, now: Instant, offset: Offset) {
        let Some(place) = self.place() else { return };
        let now = self.time(now);
        let lag = self.delay.lag(now, place);
        self.delay.wait_for_pictures(match offset {
            Offset::Later(time) => lag + ticks(time),
            Offset::Sooner(time) => lag - ticks(time),
        });
    }

    /// Whether nothing that came is left to play.
    pub fn is_empty(&self) -> bool {
        // What is made up fills steps to their end, so that some of it is always left.
        let is_made_up = self.made > 0 || self.next.is_none();
        self.packets.is_empty() && (is_made_up || self.taken == self.ready.len())
    }

    /// Takes an Opus packet; an empty one is padding.
    pub fn push(&mut self, now: Instant, timestamp: u32, payload: Bytes) {
        if let Some((arrival, timestamp)) = self.arrive(now, timestamp) {
            self.insert(arrival, timestamp, payload, false);
        }
    }

    /// Takes a packet of RED (RFC 2198) whose blocks are Opus.
    pub fn push_red(&mut self, now: Instant, timestamp: u32, payload: &Bytes) {
        let Some(red) = sfu_rtc::codec::red::Red::parse(payload) else {
            self.stats.packets_damaged += 1;
            return;
        };
        let Some((arrival, timestamp)) = self.arrive(now, timestamp) else { return };
        for block in red.redundant.iter().filter(|block| block.payload_type == red.primary_payload_type) {
            let before = timestamp - i64::from(block.timestamp_offset);
            self.insert(arrival, before, payload.slice(block.range.clone()), true);
        }
        self.insert(arrival, timestamp, payload.slice(red.primary), false);
    }

    /// The next samples: all of `out` is filled.
    pub fn pull(&mut self, now: Instant, out: &mut [i16]) {
        let start = self.time(now);
        let mut filled = 0;
        while filled < out.len() {
            if self.taken == self.ready.len() {
                self.ready.clear();
                self.taken = 0;
                self.produce(start + filled as i64);
                self.stretch.remember(&self.ready);
            }
            let count = (self.ready.len() - self.taken).min(out.len() - filled);
            out[filled..filled + count].copy_from_slice(&self.ready[self.taken..self.taken + count]);
            self.taken += count;
            filled += count;
        }
        self.stats.total_samples += out.len() as u64;
    }

    fn time(&mut self, now: Instant) -> i64 {
        ticks(now.saturating_duration_since(*self.origin.get_or_insert(now)))
    }

    /// Arrival and extended timestamp, unless it is not to be believed.
    fn arrive(&mut self, now: Instant, timestamp: u32) -> Option<(i64, i64)> {
        let arrival = self.time(now);
        match self.packets.extend(timestamp) {
            packets::Extended::Known(timestamp) => Some((arrival, timestamp)),
            packets::Extended::Anew(timestamp) => {
                self.begin_anew();
                Some((arrival, timestamp))
            }
            packets::Extended::Doubtful => {
                self.stats.packets_discarded += 1;
                None
            }
        }
    }

    fn insert(&mut self, arrival: i64, timestamp: i64, payload: Bytes, redundant: bool) {
        if payload.is_empty() {
            return;
        }
        let Some(duration) = crate::decode::opus_duration(&payload) else {
            self.stats.packets_damaged += 1;
            return;
        };
        let duration = duration as i64;
        if !redundant {
            self.delay.on_packet(arrival, timestamp);
        }
        if !self.packets.is_new(timestamp) {
            self.stats.packets_discarded += u64::from(!redundant);
            return;
        }
        // How late it is counts even where it is too late: the next may then be in time.
        if redundant {
            self.delay.on_repair(arrival, timestamp);
        }
        let restored = self.decoder.fec(&payload).map(|samples| timestamp - samples as i64);
        if let Some(before) = restored.filter(|before| !self.packets.has_seen(*before)) {
            self.delay.on_repair(arrival, before);
        }
        if self.next.is_some_and(|next| timestamp < next) {
            self.stats.packets_discarded += u64::from(!redundant);
            return;
        }
        self.packets.insert(timestamp, Stored { arrival, duration, redundant, payload });
    }

    /// Fills the empty `ready` with at least one sample, which will be played at `now`.
    fn produce(&mut self, now: i64) {
        let Some(next) = self.next else { return self.wait(now) };
        let next = self.leave_out(now, next);
        match self.packets.first() {
            // A gap is also left where it would only keep what follows waiting.
            Some((timestamp, _))
                if timestamp - next <= self.made || self.delay.lag(now, timestamp) > self.delay.target() + LATE =>
            {
                self.play(now);
            }
            Some((timestamp, packet))
                if self.decoder.fec(&packet.payload).map(|fec| fec as i64) >= Some(timestamp - next) =>
            {
                self.play_fec(timestamp);
            }
            Some((timestamp, _)) => self.conceal((timestamp - next - self.made).min(CHUNK)),
            None if self.made >= PAUSE => {
                self.begin_anew();
                self.wait(now);
            }
            None => self.conceal(CHUNK),
        }
    }

    /// Before a stream: silence until the first packet has waited for the target delay.
    fn wait(&mut self, now: i64) {
        let Some((timestamp, _)) = self.packets.first() else { return self.ready.resize(CHUNK as usize, 0) };
        let early = self.delay.target() - self.delay.lag(now, timestamp);
        if early > 0 {
            self.ready.resize(early.min(CHUNK) as usize, 0);
        } else {
            self.next = Some(timestamp);
            self.play(now);
        }
    }

    /// Goes on with the first packet.
    fn play(&mut self, now: i64) {
        let Some((timestamp, packet)) = self.packets.take_first() else { return self.conceal(CHUNK) };
        self.next = Some(timestamp + packet.duration);
        let after_gap = std::mem::take(&mut self.made) > 0;
        self.paused = packet.payload.len() <= 2;
        match self.decoder.decode(&packet.payload) {
            Ok(samples) if !samples.is_empty() => self.ready.extend_from_slice(samples),
            _ => {
                self.stats.decode_errors += 1;
                self.conceal(packet.duration);
                self.made = 0;
                return;
            }
        }
        self.stats.packets_decoded += 1;
        self.stats.packets_from_redundancy += u64::from(packet.redundant);
        let target = self.delay.target();
        let waited = (now - packet.arrival).max(0);
        self.stats.on_emitted(packet.duration, waited, target);
        if !after_gap {
            self.adapt(now, timestamp, target);
        }
    }

    /// Says the frame at hand faster or slower, where it is too far from its target.
    fn adapt(&mut self, now: i64, timestamp: i64, target: i64) {
        let excess = self.delay.lag(now, timestamp) - target;
        let likeness = if excess.abs() > URGENT { LIKE_URGENT } else { LIKE };
        if excess > LATE && (now >= self.calm_until || excess > URGENT) {
            let removed = self.stretch.accelerate(&mut self.ready, likeness);
            self.stats.removed_samples_for_acceleration += removed as u64;
            self.calm_until = now + CALM;
        } else if excess < -EARLY {
            let inserted = self.stretch.decelerate(&mut self.ready, likeness);
            self.stats.inserted_samples_for_deceleration += inserted as u64;
        }
    }

    /// Goes on with what the first packet, of `timestamp`, carries of the one before it.
    fn play_fec(&mut self, timestamp: i64) {
        let Some((_, packet)) = self.packets.first() else { return self.conceal(CHUNK) };
        match self.decoder.decode_fec(&packet.payload) {
            Ok(samples) if !samples.is_empty() => {
                self.ready.extend_from_slice(samples);
                self.stats.packets_from_fec += 1;
                self.next = Some(timestamp);
                self.made = 0;
                self.paused = false;
            }
            _ => {
                self.stats.decode_errors += 1;
                self.conceal(CHUNK);
            }
        }
    }

    fn conceal(&mut self, samples: i64) {
        let samples = samples.max(1) as usize;
        if self.made == 0 && !self.paused {
            self.stats.concealment_events += 1;
        }
        match self.decoder.conceal(samples) {
            Ok(made) if !made.is_empty() => self.ready.extend_from_slice(made),
            _ => self.ready.resize(samples, 0),
        }
        let made = self.ready.len();
        self.made += made as i64;
        self.stats.concealed_samples += made as u64;
        if self.paused {
            self.stats.comfort_noise_samples += made as u64;
        }
        if self.paused || self.decoder.is_silent() {
            self.stats.silent_concealed_samples += made as u64;
        }
    }

    /// Leaves out what cannot be played any more: what came too late, and all but the newest of what waits for far too
    /// long. Returns the timestamp to go on with.
    fn leave_out(&mut self, now: i64, next: i64) -> i64 {
        let late = self.packets.drop_before(next);
        self.stats.packets_discarded += late;
        let Some((timestamp, _)) = self.packets.first() else { return next };
        if self.delay.lag(now, timestamp) <= self.most + STALE {
            return next;
        }
        let target = self.delay.target();
        while let Some((timestamp, _)) = self.packets.first() {
            if self.delay.lag(now, timestamp) <= target || self.packets.len() == 1 {
                self.next = Some(timestamp);
                return timestamp;
            }
            self.packets.take_first();
            self.stats.packets_discarded += 1;
        }
        next
    }

    /// Another stream, or the same after a pause.
    fn begin_anew(&mut self) {
        self.next = None;
        self.made = 0;
        self.paused = false;
        self.calm_until = i64::MIN;
        self.packets.clear();
        self.delay.begin_anew();
    }
}

/// In samples, bounded so that sums stay far from overflow.
fn ticks(time: Duration) -> i64 {
    let samples = time.as_nanos() * u128::from(SAMPLE_RATE) / 1_000_000_000;
    i64::try_from(samples).unwrap_or(i64::MAX >> 2).min(i64::MAX >> 2)
}

#[cfg(test)]
mod tests;
