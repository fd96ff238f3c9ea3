//! What a run found, as numbers for machines and as a table for people.

use crate::floor::Floor;
use crate::generator::ThreadResult;
use crate::measure::histogram::Histogram;
use crate::measure::process::ProcessUse;
use crate::run::JoinCounts;
use crate::scenario::Scenario;
use serde::{Deserialize, Serialize};
use std::fmt;
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

/// The floor of the same run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FloorRatio {
    /// Means of the floors before and after the run, in nanoseconds per packet, by run length.
    pub send: Vec<(usize, f64)>,
    /// How far the floors before and after differ, as a share.
    pub spread: f64,
}

/// What one run found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunResult {
    /// What was run.
    pub scenario: Scenario,
    /// Seconds measured.
    pub seconds: f64,
    /// Participants that joined.
    pub participants: usize,
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
    /// Share of packets that never arrived, 0 to 1.
    pub loss: f64,
    /// Share of sound that never arrived, 0 to 1.
    pub audio_loss: f64,
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
    /// What the server used.
    pub server: Option<ServerUse>,
    /// How late the generator sent frames.
    pub generator_lateness_ms: Quantiles,
    /// Share of one core that the generators used.
    pub generator_cores: f64,
    /// The floor of the same run.
    pub floor: Option<FloorRatio>,
}

impl RunResult {
    /// Draws up the result.
    pub fn new(
        scenario: &Scenario,
        elapsed: Duration,
        joins: &JoinCounts,
        threads: &ThreadResult,
        server: Option<ProcessUse>,
        rss_idle: Option<u64>,
        floors: Vec<Floor>,
    ) -> Self {
        let measured = &threads.measured;
        let seconds = elapsed.as_secs_f64();
        let share = |part: u64, rest: u64| part as f64 / (part + rest).max(1) as f64;
        let server = server.map(|used| ServerUse::new(&used, elapsed, measured.packets, rss_idle, joins.joined));
        Self {
            scenario: scenario.clone(),
            seconds,
            participants: joins.joined,
            join_failures: joins.failed,
            connection_failures: threads.failed,
            first_error: joins.first_error.clone(),
            packets_in: threads.sent,
            packets_out: measured.packets,
            packets_out_per_second: measured.packets as f64 / seconds,
            loss: share(measured.lost, measured.packets),
            audio_loss: share(measured.audio_lost, measured.audio_packets),
            duplicates: measured.duplicates,
            reordered: measured.reordered,
            foreign: measured.foreign,
            frames: measured.frames,
            freezes: measured.freezes,
            frozen_seconds: measured.frozen.as_secs_f64(),
            keyframe_requests: threads.keyframe_requests,
            latency_ms: (&measured.latency).into(),
            audio_latency_ms: (&measured.audio_latency).into(),
            join_ms: (&joins.times).into(),
            connect_ms: (&threads.connect).into(),
            first_frame_ms: (&measured.first_frame).into(),
            server,
            generator_lateness_ms: (&threads.lateness).into(),
            generator_cores: threads.cpu.as_secs_f64() / seconds,
            floor: FloorRatio::new(&floors),
        }
    }

    /// Whether the generator, not the server, was the limit: it was late, or had no time left.
    pub fn generator_was_the_limit(&self) -> bool {
        /// A frame's worth of lateness shows in every latency.
        const LATE_MS: f64 = 10.0;
        const FULL: f64 = 0.95;
        self.generator_lateness_ms.p99 > LATE_MS || self.generator_cores > FULL
    }
}

impl ServerUse {
    fn new(used: &ProcessUse, elapsed: Duration, packets: u64, rss_idle: Option<u64>, participants: usize) -> Self {
        let share = |cpu: Duration| cpu.as_secs_f64() / elapsed.as_secs_f64();
        let threads = used.by_thread.iter().map(|(name, cpu)| (name.clone(), share(*cpu)));
        let cpu: Duration = used.by_thread.values().sum();
        Self {
            cpu_per_packet_us: cpu.as_secs_f64() * 1e6 / packets.max(1) as f64,
            cores: share(cpu),
            cores_by_thread: threads.filter(|(_, share)| *share >= 0.001).collect(),
            rss: used.rss,
            rss_per_participant: rss_idle.map_or(0.0, |idle| used.rss as f64 - idle as f64)
                / participants.max(1) as f64,
        }
    }
}

impl FloorRatio {
    fn new(floors: &[Floor]) -> Option<Self> {
        let first = floors.first()?;
        let last = floors.last()?;
        let mean = |(one, other): (&(usize, f64), &(usize, f64))| (one.0, (one.1 + other.1) / 2.0);
        let send: Vec<_> = first.send.iter().zip(&last.send).map(mean).collect();
        let difference = |(one, other): (&(usize, f64), &(usize, f64))| (one.1 / other.1 - 1.0).abs();
        let spread = first.send.iter().zip(&last.send).map(difference).fold(0.0, f64::max);
        Some(Self { send, spread })
    }
}

impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.3} %", share * 100.0);
        let row = |f: &mut fmt::Formatter<'_>, name: &str, value: String| writeln!(f, "{name:<30}{value:>16}");
        row(f, "participants", self.participants.to_string())?;
        row(f, "failed joins / connections", format!("{} / {}", self.join_failures, self.connection_failures))?;
        row(f, "packets/s in", format!("{:.0}", self.packets_in as f64 / self.seconds))?;
        row(f, "packets/s out", format!("{:.0}", self.packets_out_per_second))?;
        row(f, "loss / of sound", format!("{} / {}", percent(self.loss), percent(self.audio_loss)))?;
        row(f, "duplicates / reordered", format!("{} / {}", self.duplicates, self.reordered))?;
        row(f, "frames / freezes", format!("{} / {}", self.frames, self.freezes))?;
        row(f, "keyframe requests", self.keyframe_requests.to_string())?;
        writeln!(f, "\n{:<30}{:>9}{:>9}{:>9}{:>9}{:>9}", "milliseconds", "p50", "p95", "p99", "p99.9", "max")?;
        for (name, q) in [
            ("latency, video", &self.latency_ms),
            ("latency, sound", &self.audio_latency_ms),
            ("join to answer", &self.join_ms),
            ("join to connection", &self.connect_ms),
            ("join to first frame", &self.first_frame_ms),
            ("generator's lateness", &self.generator_lateness_ms),
        ] {
            if q.count > 0 {
                writeln!(f, "{name:<30}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}", q.p50, q.p95, q.p99, q.p999, q.max)?;
            }
        }
        writeln!(f)?;
        if let Some(server) = &self.server {
            row(f, "server CPU per packet", format!("{:.2} us", server.cpu_per_packet_us))?;
            row(f, "server cores", format!("{:.3}", server.cores))?;
            for (name, share) in &server.cores_by_thread {
                row(f, &format!("  {name}"), format!("{share:.3}"))?;
            }
            row(f, "server memory", format!("{:.1} MiB", server.rss as f64 / f64::from(1 << 20)))?;
            row(f, "  per participant", format!("{:.1} kB", server.rss_per_participant / 1e3))?;
        }
        row(f, "generator cores", format!("{:.3}", self.generator_cores))?;
        if let Some(floor) = &self.floor {
            writeln!(f, "\nfloor of the same run, ns per packet (spread {})", percent(floor.spread))?;
            for (run, cost) in &floor.send {
                row(f, &format!("  runs of {run}"), format!("{cost:.0}"))?;
            }
        }
        if let Some(error) = &self.first_error {
            writeln!(f, "\nfirst failed join: {error}")?;
        }
        if self.generator_was_the_limit() {
            writeln!(
                f,
                "\nThe generator was the limit, not the server: use fewer participants or more generator CPUs."
            )?;
        }
        Ok(())
    }
}
