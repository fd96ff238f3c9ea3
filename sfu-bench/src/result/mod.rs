//! What a run found, as numbers for machines and as a table for people.

mod against_floor;
mod table;

pub use against_floor::FloorRatio;

use crate::generator::Interval;
use crate::measure::histogram::Histogram;
use crate::measure::process::ProcessUse;
use crate::run::{JoinCounts, Limit, Measurement};
use crate::scenario::Scenario;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Quantiles of a duration, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many there were.
    pub count: u64,
    /// Half were shorter.
    pub p50: f64,
    /// 95 % were shorter.
    pub p95: f64,
    /// 99 % were shorter.
    pub p99: f64,
    /// 99.9 % were shorter.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl From<&Histogram> for Quantiles {
    fn from(histogram: &Histogram) -> Self {
        let at = |share| histogram.quantile(share).unwrap_or_default().as_secs_f64() * 1e3;
        let max = histogram.max().as_secs_f64() * 1e3;
        Self { count: histogram.count(), p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max }
    }
}

/// What the server used while the load was measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServerUse {
    /// Microseconds of CPU per packet that arrived at a subscriber.
    pub cpu_per_packet_us: f64,
    /// Share of one core.
    pub cores: f64,
    /// Share of one core by thread name.
    pub cores_by_thread: Vec<(String, f64)>,
    /// Resident memory at the end, in bytes.
    pub rss: u64,
    /// Growth of resident memory since before the first join, per participant, in bytes.
    pub rss_per_participant: f64,
}

/// What one run found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunResult {
    /// What was run.
    pub scenario: Scenario,
    /// Seconds measured.
    pub seconds: f64,
    /// Participants at the end of the measured time.
    pub participants: usize,
    /// Participants that joined.
    pub joins: usize,
    /// Participants that could not join.
    pub join_failures: usize,
    /// Participants that joined and never connected, or lost the connection.
    pub connection_failures: u64,
    /// What the first failed join was told.
    pub first_error: Option<String>,
    /// RTP packets sent to the server.
    pub packets_in: u64,
    /// RTP packets received from the server.
    pub packets_out: u64,
    /// Packets per second received from the server.
    pub packets_out_per_second: f64,
    /// Bytes per packet received, headers included.
    pub packet_size: f64,
    /// Share of packets that never arrived, 0 to 1.
    pub loss: f64,
    /// Share of packets that subscribers did not get between two that they got of the same source, 0 to 1: those lost,
    /// and those that the server left out.
    pub skipped: f64,
    /// Share of sound that never arrived, 0 to 1.
    pub audio_loss: f64,
    /// Packets that were lost and came again when asked for.
    pub repaired: u64,
    /// Participants who left and were replaced.
    pub churned: u64,
    /// Packets that arrived twice.
    pub duplicates: u64,
    /// Packets that arrived after a later one.
    pub reordered: u64,
    /// Packets without a stamp of this bench.
    pub foreign: u64,
    /// Complete video frames.
    pub frames: u64,
    /// Freezes as webrtc-stats counts them.
    pub freezes: u64,
    /// Seconds frozen, all receivers together.
    pub frozen_seconds: f64,
    /// Keyframes asked of publishers.
    pub keyframe_requests: u64,
    /// One-way latency of video through the server.
    pub latency_ms: Quantiles,
    /// One-way latency of sound through the server.
    pub audio_latency_ms: Quantiles,
    /// Signalling: from the request to the answer.
    pub join_ms: Quantiles,
    /// From the request to the connection.
    pub connect_ms: Quantiles,
    /// From the request to the first whole frame.
    pub first_frame_ms: Quantiles,
    /// From the request for a keyframe to its last packet.
    pub keyframe_ms: Quantiles,
    /// From the last packet of a source or layer to the first whole frame of that which took its place.
    pub switch_ms: Quantiles,
    /// What the server used.
    pub server: Option<ServerUse>,
    /// How late the generator sent frames.
    pub generator_lateness_ms: Quantiles,
    /// Share of one core that the generators used.
    pub generator_cores: f64,
    /// Threads that generated.
    pub generator_threads: usize,
    /// Whether the generator, not the server, was the limit: it was late, or had no time left.
    pub generator_was_the_limit: bool,
    /// Seconds in which a subscriber received nothing, over all subscribers.
    pub silent_seconds: u64,
    /// Why the run ended before its time, if it did.
    pub ended_early: Option<String>,
    /// The search for the largest load.
    pub limit: Option<Limit>,
    /// The floor of the same run.
    pub floor: Option<FloorRatio>,
}

impl RunResult {
    /// Draws up the result; `rss_idle` is the server's memory before the first join.
    pub fn new(scenario: &Scenario, joins: &JoinCounts, run: &Measurement, rss_idle: Option<u64>) -> Self {
        let mut all = Interval::default();
        run.windows.iter().for_each(|window| all.merge(&window.interval));
        let measured = &all.measured;
        let elapsed: Duration = run.windows.iter().map(|window| window.length).sum();
        let seconds = elapsed.as_secs_f64();
        let used = run.windows.iter().filter_map(|window| window.server.clone()).reduce(|mut sum, used| {
            sum.merge(&used);
            sum
        });
        let server = used.map(|used| ServerUse::new(&used, elapsed, measured.packets, rss_idle, run.participants));
        Self {
            scenario: scenario.clone(),
            seconds,
            participants: run.participants,
            joins: joins.joined,
            join_failures: joins.failed,
            connection_failures: run.whole.failed,
            first_error: joins.first_error.clone(),
            packets_in: all.sent,
            packets_out: measured.packets,
            packets_out_per_second: measured.packets as f64 / seconds.max(1e-9),
            packet_size: measured.bytes as f64 / measured.packets.max(1) as f64,
            loss: share(measured.lost, measured.packets),
            skipped: share(measured.skipped, measured.packets),
            audio_loss: share(measured.audio_lost, measured.audio_packets),
            repaired: measured.repaired,
            churned: run.churned,
            duplicates: measured.duplicates,
            reordered: measured.reordered,
            foreign: measured.foreign,
            frames: measured.frames,
            freezes: measured.freezes,
            frozen_seconds: measured.frozen.as_secs_f64(),
            keyframe_requests: all.keyframe_requests,
            latency_ms: (&measured.latency).into(),
            audio_latency_ms: (&measured.audio_latency).into(),
            join_ms: (&joins.times).into(),
            connect_ms: (&run.whole.connect).into(),
            first_frame_ms: (&run.whole.measured.first_frame).into(),
            keyframe_ms: (&measured.keyframe).into(),
            switch_ms: (&measured.switch).into(),
            server,
            generator_lateness_ms: (&all.lateness).into(),
            generator_cores: all.cpu.as_secs_f64() / seconds.max(1e-9),
            generator_threads: run.threads,
            generator_was_the_limit: generator_was_the_limit(&all, elapsed, run.threads),
            silent_seconds: measured.silent,
            ended_early: run.ended_early.clone(),
            limit: None,
            floor: FloorRatio::new(&run.floors, &run.windows),
        }
    }
}

/// Whether the generator, not the server, was the limit: it was late, or had no time left.
pub(crate) fn generator_was_the_limit(interval: &Interval, length: Duration, threads: usize) -> bool {
    /// A frame's worth of lateness shows in every latency.
    const LATE: Duration = Duration::from_millis(10);
    const FULL: f64 = 0.95;
    let late = interval.lateness.quantile(0.99).unwrap_or_default() > LATE;
    late || interval.cpu.as_secs_f64() > FULL * threads.max(1) as f64 * length.as_secs_f64()
}

/// `part` of `part` and `rest`.
pub(crate) fn share(part: i64, rest: u64) -> f64 {
    let part = part.max(0) as f64;
    part / (part + rest as f64).max(1.0)
}

impl ServerUse {
    fn new(used: &ProcessUse, elapsed: Duration, packets: u64, rss_idle: Option<u64>, participants: usize) -> Self {
        let share = |cpu: Duration| cpu.as_secs_f64() / elapsed.as_secs_f64();
        let threads = used.by_thread.iter().map(|(name, cpu)| (name.clone(), share(*cpu)));
        let cpu: Duration = used.by_thread.values().sum();
        Self {
            cpu_per_packet_us: used.cost_per_packet(packets) / 1e3,
            cores: share(cpu),
            cores_by_thread: threads.filter(|(_, share)| *share >= 0.001).collect(),
            rss: used.rss,
            rss_per_participant: rss_idle.map_or(0.0, |idle| used.rss as f64 - idle as f64)
                / participants.max(1) as f64,
        }
    }
}
