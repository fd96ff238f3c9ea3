//! The measured time: one window, or several with slices of the floor around them.

use super::floor_slices;
use super::joins::Load;
use super::metrics::SendCounters;
use super::{Progress, RunOptions};
use crate::floor::Floor;
use crate::generator::{Generator, Interval};
use crate::measure::process::{ProcessSample, ProcessUse};
use anyhow::{Context, Result};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Windows are about this long where the floor is interleaved.
const WINDOW: Duration = Duration::from_secs(3);
/// Most windows; more would mostly settle.
const MAX_WINDOWS: u32 = 5;
/// From silence to a server that has sent what it had.
const DRAIN: Duration = Duration::from_millis(300);
/// From the load's return to a steady state.
const RESUME: Duration = Duration::from_secs(1);
/// Time between cuts: the grain of what is shown over time.
const SECOND: Duration = Duration::from_secs(1);

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
}

/// All that was measured.
#[derive(Default)]
pub struct Measurement {
    /// In order.
    pub windows: Vec<Window>,
    /// Floors before, between and after the windows; none, or one more than there are windows.
    pub floors: Vec<Floor>,
    /// Second by second: when it ended since the measuring began, how long it was, and what happened.
    pub seconds: Vec<(Duration, Duration, Interval)>,
    /// From the first join to the end.
    pub whole: Interval,
    /// Generator threads.
    pub threads: usize,
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
        // What was until now counts for nothing but the connections, and says how large packets are.
        let settled = cut(load.generators).await?;
        self.whole.merge(&settled);
        let count = if options.with_floor {
            (options.duration.as_secs_f64() / WINDOW.as_secs_f64()).floor().clamp(1.0, f64::from(MAX_WINDOWS)) as u32
        } else {
            1
        };
        let begun = Instant::now();
        for _ in 0..count {
            self.floor(load, &settled, progress).await?;
            let window = self.window(load, options.duration / count, begun, progress).await?;
            self.windows.push(window);
        }
        self.floor(load, &settled, progress).await
    }

    async fn floor(&mut self, load: &Load<'_>, settled: &Interval, progress: Progress<'_>) -> Result<()> {
        if !load.options.with_floor {
            return Ok(());
        }
        progress("measuring the floor");
        load.pause(true);
        sleep(DRAIN).await;
        let receivers = load.generators.iter().map(Generator::connected).sum();
        let (packets, bytes) = (settled.measured.packets, settled.measured.bytes);
        self.floors.push(floor_slices::slice(load.options, receivers, packets, bytes).await?);
        load.pause(false);
        sleep(RESUME).await;
        self.whole.merge(&cut(load.generators).await?);
        Ok(())
    }

    async fn window(
        &mut self,
        load: &Load<'_>,
        length: Duration,
        begun: Instant,
        progress: Progress<'_>,
    ) -> Result<Window> {
        let options = load.options;
        let counters = SendCounters::read(options.metrics_url.as_deref()).await;
        self.whole.merge(&cut(load.generators).await?);
        let server = sample(options)?;
        let start = Instant::now();
        let mut last = start;
        let mut interval = Interval::default();
        while start.elapsed() < length {
            sleep(SECOND.min(length.saturating_sub(start.elapsed()))).await;
            let part = cut(load.generators).await?;
            let now = Instant::now();
            let seconds = (now - last).as_secs_f64();
            let rate = |count: u64| count as f64 / seconds;
            progress(&format!(
                "{} connected, {:.0} packets/s sent, {:.0} received",
                load.generators.iter().map(Generator::connected).sum::<u64>(),
                rate(part.sent),
                rate(part.measured.packets)
            ));
            interval.merge(&part);
            self.seconds.push((now - begun, now - last, part));
            last = now;
        }
        let used = server.zip(sample(options)?).map(|(before, after)| after.since(&before));
        self.whole.merge(&interval);
        let after = SendCounters::read(options.metrics_url.as_deref()).await;
        let mean_run = counters.zip(after).and_then(|(before, after)| after.mean_run(&before));
        Ok(Window { interval, length: last - start, server: used, mean_run })
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
