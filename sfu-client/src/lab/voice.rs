//! Voice over bad networks: encode, lose and delay packets, play them, and see what is left.

mod table;

use super::channel::{Channel, Path};
use crate::capture::{AudioSource, SAMPLE_RATE, Voice, WavReader};
use crate::encode::{OpusConfig, OpusEncoder, PacketTime};
use crate::receive::{Playout, PlayoutConfig, PlayoutStats};
use crate::record::{AudioRecorder, Outlets, RecordSettings};
use crate::send::{RedConfig, Redundancy};
use anyhow::{Result, ensure};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
pub use table::table;

/// Payload type of Opus within RED; any will do.
const OPUS: u8 = 111;
/// Loudness of the generated voice: 26 dB below overload, as P.862 wants it.
const LEVEL: f64 = 1_640.0;
/// Packets of 20 ms before the network turns bad: the buffer has to follow.
const GOOD: usize = 250;
/// Seconds that are not marked: the good ones, and two to follow.
#[cfg(feature = "pesq")]
const UNMARKED: usize = 7;
/// Samples of a step of the player.
const STEP: usize = SAMPLE_RATE as usize / 100;

/// What to measure.
#[derive(Clone, Debug)]
pub struct VoiceOptions {
    /// A WAV file to say, over and over, instead of the generated voice.
    pub wav: Option<PathBuf>,
    /// Seconds of sound, at least 8.
    pub seconds: usize,
    /// Of loss and jitter.
    pub seed: u64,
    /// Bits per second of Opus, without redundancy.
    pub bitrate: u32,
    /// Sound in one packet. Bursts of loss are as long in time, whatever it is.
    pub packet_time: PacketTime,
    /// Only networks whose name contains this.
    pub network: String,
    /// Only protections whose name contains this.
    pub protection: String,
    /// How the sound is played.
    pub playout: PlayoutConfig,
    /// Where to write what was said, and what was heard of it each time, as WAV.
    pub save: Option<PathBuf>,
}

impl Default for VoiceOptions {
    fn default() -> Self {
        Self {
            wav: None,
            seconds: 40,
            seed: 1,
            bitrate: 24_000,
            packet_time: PacketTime::default(),
            network: String::new(),
            protection: String::new(),
            playout: PlayoutConfig::default(),
            save: None,
        }
    }
}

/// Networks, by name.
const NETWORKS: [(&str, Channel); 6] = [
    ("clean", Channel { loss: 0.0, burst: 1.0, jitter_ms: 0.0 }),
    ("loss-2%", Channel { loss: 0.02, burst: 1.0, jitter_ms: 0.0 }),
    ("loss-10%", Channel { loss: 0.1, burst: 1.0, jitter_ms: 0.0 }),
    ("loss-20%", Channel { loss: 0.2, burst: 1.0, jitter_ms: 0.0 }),
    // Six packets of 20 ms.
    ("bursts-120ms-20%", Channel { loss: 0.2, burst: 6.0, jitter_ms: 0.0 }),
    ("jitter-60ms", Channel { loss: 0.0, burst: 1.0, jitter_ms: 60.0 }),
];

/// In-band FEC and RED, by name.
const PROTECTIONS: [(&str, bool, RedConfig); 6] = [
    ("none", false, RedConfig { generations: 0, spacing: 1 }),
    ("fec", true, RedConfig { generations: 0, spacing: 1 }),
    ("red-1", false, RedConfig { generations: 1, spacing: 1 }),
    ("red-2", false, RedConfig { generations: 2, spacing: 1 }),
    ("fec+red-1", true, RedConfig { generations: 1, spacing: 2 }),
    ("red-2-spread", false, RedConfig { generations: 2, spacing: 8 }),
];

/// What came of one network and one protection.
#[derive(Clone, Debug)]
pub struct VoiceResult {
    /// Network.
    pub network: &'static str,
    /// Protection.
    pub protection: &'static str,
    /// PESQ-WB (MOS-LQO); none without the feature `pesq`, or where it finds no speech.
    pub pesq: Option<f64>,
    /// PESQ for a telephone's band (MOS-LQO), likewise.
    pub pesq_narrow: Option<f64>,
    /// Bits per second of payload, redundancy with it.
    pub bitrate: f64,
    /// Time from when the network turned bad until the target delay was near the one that it ended with; none where it
    /// stayed as it was.
    pub followed: Option<Duration>,
    /// What the buffer has done.
    pub stats: PlayoutStats,
}

/// Measures every network with every protection.
///
/// # Errors
/// Where the file cannot be read, the options make no sense, or Opus fails.
pub fn measure(options: &VoiceOptions, mut progress: impl FnMut(&VoiceResult)) -> Result<Vec<VoiceResult>> {
    ensure!((8..=3_600).contains(&options.seconds), "between 8 and 3600 seconds can be measured");
    let said = said(options)?;
    save(options, "said", &said)?;
    let mut results = Vec::new();
    for (network, channel) in NETWORKS.into_iter().filter(|(name, _)| name.contains(&options.network)) {
        for (protection, fec, red) in PROTECTIONS.into_iter().filter(|(name, ..)| name.contains(&options.protection)) {
            let expected_loss = (channel.loss * 100.0) as u8;
            let (bitrate, packet_time) = (options.bitrate, options.packet_time);
            let opus = OpusConfig { bitrate, fec, expected_loss, packet_time, ..Default::default() };
            let packets = packets(&said, &opus, red)?;
            let (result, heard) = play(&said, &packets, red, channel, options)?;
            let result = VoiceResult { network, protection, ..result };
            save(options, &format!("{network}-{protection}"), &heard)?;
            progress(&result);
            results.push(result);
        }
    }
    Ok(results)
}

/// The sound, in whole packets.
fn said(options: &VoiceOptions) -> Result<Vec<i16>> {
    let mut source: Box<dyn AudioSource> = match &options.wav {
        Some(path) => Box::new(WavReader::open(path)?),
        None => Box::new(Voice::new(LEVEL)),
    };
    let mut said = vec![0; options.seconds * SAMPLE_RATE as usize];
    source.fill(&mut said)?;
    if options.wav.is_none() {
        // Words, with pauses.
        let pause = |second: f64| second % 2.4 > 2.0;
        for (number, sample) in said.iter_mut().enumerate() {
            if pause(number as f64 / f64::from(SAMPLE_RATE)) {
                *sample = 0;
            }
        }
    }
    Ok(said)
}

fn packets(said: &[i16], opus: &OpusConfig, red: RedConfig) -> Result<Vec<Bytes>> {
    let (mut encoder, mut redundancy) = (OpusEncoder::new(opus)?, Redundancy::new(OPUS));
    let timestamp = |number| timestamp(number, opus.packet_time);
    let frames = said.chunks_exact(opus.packet_time.samples()).enumerate();
    frames
        .map(|(number, frame)| {
            let payload = encoder.encode(frame)?;
            let redundant = redundancy.wrap(&payload, timestamp(number), red);
            redundancy.remember(payload.clone(), timestamp(number));
            Ok(if red.generations > 0 { redundant } else { payload })
        })
        .collect()
}

fn timestamp(number: usize, packet_time: PacketTime) -> u32 {
    (number * packet_time.samples()) as u32
}

/// Sends `packets` over `channel` to a player.
fn play(
    said: &[i16],
    packets: &[Bytes],
    red: RedConfig,
    channel: Channel,
    options: &VoiceOptions,
) -> Result<(VoiceResult, Vec<i16>)> {
    let start = Instant::now();
    let (timestamp, millis) = (|number| timestamp(number, options.packet_time), options.packet_time.millis() as usize);
    let good_packets = GOOD * 20 / millis;
    let good = Channel { loss: 0.0, burst: 1.0, jitter_ms: 0.0 };
    let channel = Channel { burst: (channel.burst * 20.0 / millis as f64).max(1.0), ..channel };
    let (mut before, mut after) = (Path::new(good, options.seed), Path::new(channel, options.seed));
    // By arrival in microseconds, then number.
    let mut arrivals = BTreeMap::new();
    for number in 0..packets.len() {
        let path = if number < good_packets { &mut before } else { &mut after };
        // Where packets are late by turns, the good network is as fast as the bad one in the mean.
        let early = if number < good_packets { channel.jitter_ms } else { 0.0 };
        if let Some(late) = path.send() {
            arrivals
                .insert((((number * millis) as f64 + late + early) * 1000.0) as u64 * 10_000 + number as u64, number);
        }
    }
    let mut playout = Playout::new(&options.playout)?;
    let mut heard = vec![0; said.len()];
    let mut targets = Vec::new();
    for (step, samples) in heard.chunks_exact_mut(STEP).enumerate() {
        let now = Duration::from_millis(10) * step as u32;
        let later = arrivals.split_off(&((now.as_micros() as u64 + 1) * 10_000));
        for (key, number) in std::mem::replace(&mut arrivals, later) {
            let arrival = start + Duration::from_micros(key / 10_000);
            if red.generations > 0 {
                playout.push_red(arrival, timestamp(number), &packets[number]);
            } else {
                playout.push(arrival, timestamp(number), packets[number].clone());
            }
        }
        playout.pull(start + now, samples);
        targets.push(playout.target_delay());
    }
    let bytes: usize = packets.iter().map(Bytes::len).sum();
    let marks = pesq(said, &heard);
    let result = VoiceResult {
        network: "",
        protection: "",
        pesq: marks.map(|(wide, _)| wide),
        pesq_narrow: marks.map(|(_, narrow)| narrow),
        bitrate: bytes as f64 * 8.0 * 1_000.0 / (packets.len() * millis) as f64,
        followed: followed(&targets),
        stats: *playout.stats(),
    };
    Ok((result, heard))
}

/// Writes `sound` as `name`.wav, where that is wanted.
fn save(options: &VoiceOptions, name: &str, sound: &[i16]) -> Result<()> {
    let Some(folder) = options.save.clone() else { return Ok(()) };
    let settings = RecordSettings { folder, coded: false, frame_rate: 0.0 };
    settings.prepare()?;
    let mut recorder = AudioRecorder::new(Some(&settings), name, Outlets::default())?;
    recorder.write_sound(sound)?;
    recorder.finish()
}

#[cfg(feature = "pesq")]
fn pesq(said: &[i16], heard: &[i16]) -> Option<(f64, f64)> {
    super::pesq::mark(said, heard, UNMARKED)
}

#[cfg(not(feature = "pesq"))]
fn pesq(_: &[i16], _: &[i16]) -> Option<(f64, f64)> {
    None
}

/// From when the network turned bad to the first target that is a step or less below the middle one of what followed.
fn followed(targets: &[Duration]) -> Option<Duration> {
    let (before, after) = targets.split_at_checked(GOOD * 2)?;
    let mut sorted = after.to_vec();
    sorted.sort_unstable();
    let wanted = sorted.get(sorted.len() / 2)?.saturating_sub(Duration::from_millis(20));
    if before.last()? >= &wanted {
        return None;
    }
    after.iter().position(|target| target >= &wanted).map(|steps| Duration::from_millis(10) * steps as u32)
}

#[cfg(test)]
mod tests;
