//! The measured time: one window, or several with slices of the floor around them.

use super::floor_slices;
use super::joins::Load;
use super::metrics::SendCounters;
use super::{Progress, RunOptions};
use crate::floor::Floor;
use crate::generator::{Generator, Interval};
use crate::measure::process::{ProcessSample, ProcessUse};
use crate::measure::share;
use anyhow::{Context, Result};
use std::time::Duration;
use tokio::time::Instant;

/// Windows are about this long where the floor is interleaved.
const WINDOW: Duration = Duration::from_secs(3);
/// Most windows; more would mostly settle.
const MAX_WINDOWS: u32 = 5;
/// How long the load is looked at before a slice of the floor, which is to be like it.
const SAMPLE: Duration = Duration::from_millis(500);
/// From silence to a server that has sent what it had.
const DRAIN: Duration = Duration::from_millis(300);
/// From the load's return to a steady state.
const RESUME: Duration = Duration::from_secs(1);
/// Time between cuts: the grain of what is shown over time.
const SECOND: Duration = Duration::from_secs(1);
/// A server that forwards nothing for so many seconds is gone.
const QUIET_SECONDS: u32 = 3;

/// One window.
pub struct Window {
    /// What the generators saw.
    pub interval: Interval,
    /// Its length.
    pub length: Duration,
    /// What the server used.
    pub server: Option<ProcessUse>,
    /// Mean length of the runs that the server sent.
    pub mean_run: Option<f64>,
    /// Packets that the server forwarded: those that arrived or, where somebody did not look, those that it counts.
    pub forwarded: u64,
    /// RTP packets that the server sent, as it counts them, with repair and padding; `None` where it does not tell.
    pub rtp: Option<u64>,
}

/// All that was measured.
#[derive(Default)]
pub struct Measurement {
    /// In order.
    pub windows: Vec<Window>,
    /// Floors before, between and after the windows; none, or one more than there are windows.
    pub floors: Vec<Floor>,
    /// Second by second.
    pub seconds: Vec<Second>,
    /// From the first join to the end.
    pub whole: Interval,
    /// Generator threads.
    pub threads: usize,
    /// Why it ended early, if it did.
    pub ended_early: Option<String>,
    /// Participants at the end.
    pub participants: usize,
    /// Participants who left and were replaced.
    pub churned: u64,
}

impl Measurement {
    /// Measures while the load runs.
    pub(super) async fn take(&mut self, load: &Load<'_>, progress: Progress<'_>) -> Result<()> {
        let options = load.options;
        self.threads = load.generators.len();
        // What was until now counts for nothing but the connections.
        self.whole.merge(&cut(load.generators).await?);
        let count = if options.with_floor {
            (options.duration.as_secs_f64() / WINDOW.as_secs_f64()).floor().clamp(1.0, f64::from(MAX_WINDOWS)) as u32
        } else {
            1
        };
        let begun = Instant::now();
        for _ in 0..count {
            self.floor(load, progress).await?;
            if load.stop.is_stopped() {
                return Ok(());
            }
            let window = self.window(load, options.duration / count, begun, progress).await?;
            self.windows.push(window);
        }
        self.floor(load, progress).await
    }

    async fn floor(&mut self, load: &Load<'_>, progress: Progress<'_>) -> Result<()> {
        if !load.options.with_floor || load.stop.is_stopped() {
            return Ok(());
        }
        progress("measuring the floor");
        self.whole.merge(&cut(load.generators).await?);
        load.stop.sleep(SAMPLE).await;
        let sample = cut(load.generators).await?;
        load.pause(true);
        load.stop.sleep(DRAIN).await;
        self.floors.push(floor_slices::slice(load.options, load.connected(), &sample, SAMPLE).await?);
        self.whole.merge(&sample);
        load.pause(false);
        load.stop.sleep(RESUME).await;
        self.whole.merge(&cut(load.generators).await?);
        Ok(())
    }

    /// Measures for `length`, or until the run is to end.
    pub(super) async fn window(
        &mut self,
        load: &Load<'_>,
        length: Duration,
        begun: Instant,
        progress: Progress<'_>,
    ) -> Result<Window> {
        let options = load.options;
        let counters = SendCounters::read(options.metrics_url.as_deref()).await;
        let counted_from = Instant::now();
        self.whole.merge(&cut(load.generators).await?);
        let start = Instant::now();
        let mut second = Second { process: sample(options)?, ..Second::default() };
        let before = second.process.clone();
        let mut last = start;
        let mut interval = Interval::default();
        let mut quiet = 0;
        while start.elapsed() < length && !load.stop.is_stopped() {
            load.stop.sleep(SECOND.min(length.saturating_sub(start.elapsed()))).await;
            let part = cut(load.generators).await?;
            let now = Instant::now();
            interval.merge(&part);
            quiet = if part.sent > 0 && part.measured.packets == 0 { quiet + 1 } else { 0 };
            if quiet == QUIET_SECONDS {
                load.stop.stop("the server is gone, or forwards nothing: no packet came for three seconds");
            }
            // Who was told goodbye sends nothing, so that it is not quiet in that sense.
            if load.connected() == 0 && self.whole.failed + interval.failed > 0 {
                load.stop.stop("the server has ended every connection");
            }
            second = second.next(now - begun, now - last, part, load);
            progress(&second.describe(load));
            self.seconds.push(second.clone());
            last = now;
        }
        let used = before.zip(second.process).map(|(before, after)| after.since(&before));
        self.whole.merge(&interval);
        let after = SendCounters::read(options.metrics_url.as_deref()).await;
        let (window, counted_for) = (last - start, counted_from.elapsed());
        let counted = counters.zip(after);
        let mean_run = counted.and_then(|(before, after)| after.mean_run(&before));
        // The server was asked some moments before and after.
        let share = window.as_secs_f64() / counted_for.as_secs_f64().max(1e-9);
        let rtp = counted.map(|(before, after)| (after.rtp(&before) as f64 * share).round() as u64);
        let forwarded = if load.scenario.all_read() {
            interval.measured.packets
        } else {
            rtp.context("where only some read, the server's metrics must tell what it forwards (--metrics-url)")?
        };
        Ok(Window { interval, length: window, server: used, mean_run, forwarded, rtp })
    }
}

/// One second of the measured time.
#[derive(Clone, Default)]
pub struct Second {
    /// When it ended, since the measuring began.
    pub end: Duration,
    /// How long it was.
    pub length: Duration,
    /// What happened.
    pub interval: Interval,
    /// What the server used.
    pub used: Option<ProcessUse>,
    process: Option<ProcessSample>,
}

impl Second {
    /// The second after this one.
    fn next(&self, end: Duration, length: Duration, interval: Interval, load: &Load<'_>) -> Self {
        let process = load.options.server_pid.and_then(|pid| ProcessSample::read(pid).ok());
        if self.process.is_some() && process.is_none() {
            load.stop.stop("the server's process has ended");
        }
        let used = self.process.as_ref().zip(process.as_ref()).map(|(before, after)| after.since(before));
        Self { end, length, interval, used, process: process.or(self.process.clone()) }
    }

    /// As a line for somebody who watches.
    fn describe(&self, load: &Load<'_>) -> String {
        let measured = &self.interval.measured;
        let rate = |count: u64| count as f64 / self.length.as_secs_f64().max(1e-3);
        let mut latency = measured.latency.clone();
        latency.merge(&measured.audio_latency);
        format!(
            "{} of {} connected · {:.0} packets/s in, {:.0} out · loss {:.2} % · p99 {:.1} ms",
            load.connected(),
            load.members.borrow().all.len(),
            rate(self.interval.sent),
            rate(measured.packets),
            share(measured.skipped.max(measured.lost), measured.packets) * 100.0,
            latency.quantile(0.99).unwrap_or_default().as_secs_f64() * 1e3,
        )
    }
}

/// Ends the interval of all generators.
pub(super) async fn cut(generators: &[Generator]) -> Result<Interval> {
    let mut all = Interval::default();
    for part in futures_util::future::join_all(generators.iter().map(Generator::cut)).await {
        all.merge(&part?);
    }
    Ok(all)
}

/// The server's process, if it is known.
pub(super) fn sample(options: &RunOptions) -> Result<Option<ProcessSample>> {
    let read = |pid| ProcessSample::read(pid).with_context(|| format!("cannot look at the server's process {pid}"));
    options.server_pid.map(read).transpose()
}
