//! One run: join everybody, let the load settle, measure, leave.

use crate::floor::{self, Floor, FloorOptions};
use crate::generator::{BenchClock, Generator, ThreadResult};
use crate::join::{Joiner, Kept, Target};
use crate::measure::process::ProcessSample;
use crate::result::RunResult;
use crate::scenario::Scenario;
use anyhow::{Context, Result, bail};
use sfu_net::affinity;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How long a join may take before it counts as failed.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);
/// Signalling connections under way at once.
const MAX_JOINING: usize = 64;

/// How to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Where to.
    pub target: Target,
    /// Joins per second.
    pub join_rate: f64,
    /// Time between the last join and the measurement.
    pub settle: Duration,
    /// Time measured.
    pub duration: Duration,
    /// The server's process, whose CPU time and memory are measured.
    pub server_pid: Option<u32>,
    /// CPUs that the generators are pinned to, one thread each.
    pub cpus: Vec<usize>,
    /// Measures the floor before and after, with the same run length.
    pub with_floor: bool,
}

/// What a run is telling while it goes on.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

/// Runs `scenario`.
///
/// # Errors
/// Where nobody could join. Single failures are counted.
pub async fn run(scenario: &Scenario, options: &RunOptions, progress: Progress<'_>) -> Result<RunResult> {
    scenario.check()?;
    let floor_before = floor_if(options, progress)?;
    let clock = BenchClock::start();
    let generators: Vec<Generator> =
        options.cpus.iter().map(|cpu| Generator::start(clock, Some(*cpu))).collect::<Result<_>>()?;
    if generators.is_empty() {
        bail!("at least one generator CPU is needed");
    }
    let idle = sample(options)?;
    let load = Load { scenario, options, joiner: Joiner::new(options.target.clone(), clock), generators: &generators };
    let joined = load.join_all(progress).await?;
    sleep(options.settle).await;
    let before = sample(options)?;
    generators.iter().for_each(Generator::begin_measuring);
    let begun = Instant::now();
    load.measure(progress).await;
    let elapsed = begun.elapsed();
    let after = sample(options)?;
    let mut threads = ThreadResult::default();
    for generator in generators {
        threads.merge(&generator.finish()?);
    }
    for session in joined.sessions {
        session.leave().await;
    }
    let floor_after = floor_if(options, progress)?;
    let floors = floor_before.into_iter().chain(floor_after).collect();
    let server = before.zip(after).map(|(before, after)| after.since(&before));
    let rss_idle = idle.map(|idle| idle.rss);
    Ok(RunResult::new(scenario, elapsed, &joined.counts, &threads, server, rss_idle, floors))
}

/// How the joins went.
#[derive(Clone, Debug, Default)]
pub struct JoinCounts {
    /// Participants that joined.
    pub joined: usize,
    /// Participants that could not.
    pub failed: usize,
    /// What the first failure said.
    pub first_error: Option<String>,
    /// Join times: from the request to the server's answer.
    pub times: crate::measure::histogram::Histogram,
}

struct Joined {
    sessions: Vec<Kept>,
    counts: JoinCounts,
}

struct Load<'a> {
    scenario: &'a Scenario,
    options: &'a RunOptions,
    joiner: Joiner,
    generators: &'a [Generator],
}

impl Load<'_> {
    async fn join_all(&self, progress: Progress<'_>) -> Result<Joined> {
        let plans = self.scenario.participants(self.joiner.per_stream());
        let interval = Duration::from_secs_f64(1.0 / self.options.join_rate.max(0.1));
        let mut counts = JoinCounts::default();
        let mut sessions = Vec::new();
        // Publishers first: over WHEP there is nothing to play before somebody publishes.
        let (publishers, others): (Vec<_>, Vec<_>) = plans.into_iter().partition(|plan| plan.publishes);
        for wave in [publishers, others] {
            let mut waiting = futures_util::stream::FuturesOrdered::new();
            let mut next = Instant::now();
            for plan in &wave {
                sleep_until(next).await;
                next += interval;
                waiting.push_back(self.join_one(plan));
                if waiting.len() >= MAX_JOINING {
                    Self::collect(&mut waiting, &mut counts, &mut sessions, 1).await;
                }
                progress(&format!("{} joined, {} failed", counts.joined, counts.failed));
            }
            let rest = waiting.len();
            Self::collect(&mut waiting, &mut counts, &mut sessions, rest).await;
        }
        if counts.joined == 0 {
            bail!("nobody could join: {}", counts.first_error.as_deref().unwrap_or("the scenario is empty"));
        }
        Ok(Joined { sessions, counts })
    }

    async fn join_one(&self, plan: &crate::scenario::ParticipantPlan) -> Result<(Kept, Duration)> {
        let group = &self.scenario.group[plan.group];
        let begun = Instant::now();
        let joined = tokio::time::timeout(JOIN_PATIENCE, self.joiner.join(plan, group)).await;
        let (kept, peer) = joined.context("the server did not answer the join in time")??;
        let index =
            self.generators.iter().enumerate().min_by_key(|(_, generator)| generator.peers()).map_or(0, |g| g.0);
        self.generators[index].add(peer);
        Ok((kept, begun.elapsed()))
    }

    async fn collect(
        waiting: &mut (impl futures_util::Stream<Item = Result<(Kept, Duration)>> + Unpin),
        counts: &mut JoinCounts,
        sessions: &mut Vec<Kept>,
        count: usize,
    ) {
        use futures_util::StreamExt;
        for _ in 0..count {
            match waiting.next().await {
                Some(Ok((kept, time))) => {
                    counts.joined += 1;
                    counts.times.record(time);
                    sessions.push(kept);
                }
                Some(Err(error)) => {
                    counts.failed += 1;
                    counts.first_error.get_or_insert_with(|| format!("{error:#}"));
                }
                None => return,
            }
        }
    }

    /// Waits while the load runs, and says what flows.
    async fn measure(&self, progress: Progress<'_>) {
        let end = Instant::now() + self.options.duration;
        let mut before = self.totals();
        while Instant::now() < end {
            sleep(Duration::from_secs(1).min(end - Instant::now())).await;
            let now = self.totals();
            let (sent, received) = (now.0 - before.0, now.1 - before.1);
            progress(&format!("{} connected, {sent} packets/s sent, {received} received", now.2));
            before = now;
        }
    }

    fn totals(&self) -> (u64, u64, u64) {
        self.generators.iter().map(Generator::live).fold((0, 0, 0), |(sent, received, connected), live| {
            let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
            (sent + load(&live.sent), received + load(&live.received), connected + load(&live.connected))
        })
    }
}

fn sample(options: &RunOptions) -> Result<Option<ProcessSample>> {
    let read = |pid| ProcessSample::read(pid).with_context(|| format!("cannot look at the server's process {pid}"));
    options.server_pid.map(read).transpose()
}

/// The floor needs two CPUs and an unpinned thread of its own.
fn floor_if(options: &RunOptions, progress: Progress<'_>) -> Result<Option<Floor>> {
    if !options.with_floor {
        return Ok(None);
    }
    progress("measuring the floor");
    let thread = std::thread::spawn(|| {
        let cpus = affinity::allowed_cpus();
        let (sender_cpu, receiver_cpu) = (cpus.first().copied(), cpus.last().copied());
        floor::measure(&FloorOptions { sender_cpu, receiver_cpu, ..FloorOptions::default() }, |_| ())
    });
    thread.join().map_err(|_| anyhow::anyhow!("the floor's thread panicked"))?.map(Some)
}
