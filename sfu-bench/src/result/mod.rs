//! What a run found, as numbers for machines and as a table for people.

mod against_floor;
mod over_time;
mod rows;
mod settings;
mod table;

pub use against_floor::{AgainstFloor, FloorRatio};
pub use over_time::Sample;
pub(crate) use rows::Row;
pub use settings::Settings;

use crate::generator::Interval;
use crate::measure::histogram::Histogram;
use crate::measure::process::ProcessUse;
use crate::measure::share;
use crate::run::{Limit, Outcome, RunOptions};
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
    /// Share of one core by thread name, of those that used any.
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
    /// Packets per second that the server forwarded: those received or, where somebody did not look, those it counted.
    #[serde(default)]
    pub forwarded_per_second: f64,
    /// RTP packets per second that the server sent, as it counts them, with repair and padding; `None` where it does not tell.
    pub rtp_per_second: Option<f64>,
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
    /// Distribution of the one-way latency of video: milliseconds, and the share that did not exceed them.
    pub latency_distribution: Vec<(f64, f64)>,
    /// Distribution of the one-way latency of sound.
    pub audio_latency_distribution: Vec<(f64, f64)>,
    /// Second by second.
    pub samples: Vec<Sample>,
    /// How and where it came about.
    pub settings: Settings,
}

impl RunResult {
    /// Draws up the result.
    pub fn new(options: &RunOptions, run: Outcome) -> Self {
        let Outcome { scenario, joins, measurement: run, rss_idle, limit } = run;
        let mut all = Interval::default();
        run.windows.iter().for_each(|window| all.merge(&window.interval));
        let measured = &all.measured;
        let elapsed: Duration = run.windows.iter().map(|window| window.length).sum();
        let seconds = elapsed.as_secs_f64();
        let forwarded = run.windows.iter().map(|window| window.forwarded).sum::<u64>();
        let rtp = run.windows.iter().map(|window| window.rtp).sum::<Option<u64>>();
        let used = run.windows.iter().filter_map(|window| window.server.clone()).reduce(|mut sum, used| {
            sum.merge(&used);
            sum
        });
        let server = used.map(|used| ServerUse::new(&used, elapsed, forwarded, rss_idle, run.participants));
        Self {
            scenario,
            seconds,
            participants: run.participants,
            joins: joins.joined,
            join_failures: joins.failed,
            connection_failures: run.whole.failed,
            first_error: joins.first_error,
            packets_in: all.sent,
            packets_out: measured.packets,
            packets_out_per_second: measured.packets as f64 / seconds.max(1e-9),
            forwarded_per_second: forwarded as f64 / seconds.max(1e-9),
            rtp_per_second: rtp.map(|rtp| rtp as f64 / seconds.max(1e-9)),
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
            generator_was_the_limit: all.generator_was_the_limit(elapsed, run.threads),
            silent_seconds: measured.silent,
            ended_early: run.ended_early,
            limit,
            floor: FloorRatio::new(&run.floors, &run.windows),
            latency_distribution: measured.latency.distribution(),
            audio_latency_distribution: measured.audio_latency.distribution(),
            samples: run.seconds.iter().map(Sample::new).collect(),
            settings: Settings::new(options),
        }
    }
}

impl ServerUse {
    fn new(used: &ProcessUse, elapsed: Duration, packets: u64, rss_idle: Option<u64>, participants: usize) -> Self {
        let share = |cpu: Duration| cpu.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
        let threads = used.by_thread.iter().map(|(name, cpu)| (name.clone(), share(*cpu)));
        let cpu: Duration = used.by_thread.values().sum();
        Self {
            cpu_per_packet_us: used.cost_per_packet(packets) / 1e3,
            cores: share(cpu),
            cores_by_thread: threads.filter(|(_, share)| *share > 0.0).collect(),
            rss: used.rss,
            rss_per_participant: rss_idle.map_or(0.0, |idle| used.rss as f64 - idle as f64)
                / participants.max(1) as f64,
        }
    }

    /// The threads that are worth a line for people, with their shares of one core.
    pub(crate) fn busy_threads(&self) -> impl Iterator<Item = &(String, f64)> {
        self.cores_by_thread.iter().filter(|(_, share)| *share >= 0.001)
    }
}

/// A result with something in every part, for tests.
#[cfg(test)]
pub(crate) fn example() -> RunResult {
    use crate::floor::Floor;
    use crate::join::Target;
    use crate::run::{JoinCounts, Measurement, Second, Window};

    let mut interval = Interval { sent: 450, ..Interval::default() };
    interval.measured.packets = 45_000;
    interval.measured.bytes = 45_000_000;
    interval.measured.lost = 5;
    interval.measured.skipped = 5;
    for micros in 1..2_000 {
        interval.measured.latency.record(Duration::from_micros(micros));
        interval.measured.audio_latency.record(Duration::from_micros(micros / 2));
    }
    let cpu = Duration::from_millis(90);
    let used = ProcessUse { cpu, by_thread: [("worker-0".to_owned(), cpu)].into(), rss: 50 << 20 };
    let send = vec![(1, 2_600.0), (6, 1_400.0), (16, 1_000.0)];
    let floor = Floor { seal: 200.0, send, send_at_rate: vec![(1, 4_000.0), (6, 2_000.0)], receive: 900.0 };
    let second = |end: u64| {
        let mut second = Second::default();
        (second.end, second.length) = (Duration::from_secs(end), Duration::from_secs(1));
        (second.interval, second.used) = (interval.clone(), Some(used.clone()));
        second
    };
    let seconds = (1..6).map(second).collect();
    let length = Duration::from_secs(1);
    let window =
        Window { interval, length, server: Some(used), mean_run: Some(6.0), forwarded: 45_000, rtp: Some(50_000) };
    let measurement = Measurement {
        windows: vec![window],
        floors: vec![floor.clone(), floor],
        seconds,
        threads: 1,
        participants: 201,
        ..Measurement::default()
    };
    let options = RunOptions {
        target: Target::Native { server: "ws://127.0.0.1:7880".to_owned(), token: "secret".to_owned() },
        join_rate: 50.0,
        settle: Duration::from_secs(2),
        duration: Duration::from_secs(1),
        server_pid: None,
        metrics_url: None,
        cpus: vec![1],
        with_floor: true,
        find_limit: None,
    };
    let scenario = Scenario::of(crate::scenario::Group::default());
    let joins = JoinCounts::default();
    RunResult::new(&options, Outcome { scenario, joins, measurement, rss_idle: Some(20 << 20), limit: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_survives_as_json_and_holds_no_secret() {
        let result = example();
        let json = serde_json::to_string(&result).unwrap();
        assert!(!json.contains("secret"));
        let back: RunResult = serde_json::from_str(&json).unwrap();
        assert_eq!((back.packets_out, back.samples.len()), (result.packets_out, 5));
        assert!((back.server.unwrap().cpu_per_packet_us - 2.0).abs() < 1e-9);
        assert!((back.floor.unwrap().server.unwrap().ratio - 2_000.0 / 1_400.0).abs() < 1e-9);
    }

    #[test]
    fn a_window_that_was_over_before_it_began_has_numbers() {
        let server = ServerUse::new(&ProcessUse::default(), Duration::ZERO, 0, None, 0);
        let json = serde_json::to_string(&server).unwrap();
        assert_eq!(serde_json::from_str::<ServerUse>(&json).unwrap(), server, "JSON has no NaN");
    }

    #[test]
    fn a_thread_that_did_little_is_in_the_figures_and_not_in_the_table() {
        let by_thread = [("idle", 0), ("rare", 500), ("busy", 900_000)];
        let by_thread = by_thread.map(|(name, micros)| (name.to_owned(), Duration::from_micros(micros)));
        let used = ProcessUse { by_thread: by_thread.into(), ..ProcessUse::default() };
        let server = ServerUse::new(&used, Duration::from_secs(1), 1, None, 1);
        assert_eq!(server.cores_by_thread, [("busy".to_owned(), 0.9), ("rare".to_owned(), 0.000_5)]);
        assert_eq!(server.cores, 0.9 + 0.000_5);
        let table = RunResult { server: Some(server), ..example() }.to_string();
        assert!(table.contains("busy") && !table.contains("rare"), "{table}");
    }

    #[test]
    fn the_table_says_what_is_wrong() {
        let mut result = example();
        assert!(!result.to_string().contains("The generator was the limit"));
        result.generator_was_the_limit = true;
        result.ended_early = Some("interrupted".to_owned());
        let table = result.to_string();
        assert!(table.contains("The generator was the limit") && table.contains("ended early after 1 s: interrupted"));
    }
}
