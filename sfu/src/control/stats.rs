//! The workers' figures: asked for every few seconds, and whenever somebody wants them now.

use super::Control;
use crate::lock::lock;
use sfu_core::command::Command;
use sfu_core::event::WorkerStats;
use sfu_rtc::time::{Duration, Instant};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// How often the load of workers is measured, for placement.
const LOAD_INTERVAL: Duration = Duration::from_secs(2);
/// How often connection quality is measured: a worker looks at each of its peers for that, idle ones too.
const QUALITY_INTERVAL: Duration = Duration::from_secs(4);
/// A worker that does not answer within this time is left out.
const PATIENCE: Duration = Duration::from_millis(500);
/// So many may ask in this time without giving the workers more to do: /healthz and /metrics are open to everybody.
const CACHED_FOR: Duration = Duration::from_millis(500);
/// Upper bounds of the histogram buckets of handshake times, in seconds.
pub(crate) const HANDSHAKE_BUCKETS: [f64; 8] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Gathers figures.
pub(crate) struct StatsCollector {
    token: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<WorkerStats>>>,
    workers: Vec<Mutex<PerWorker>>,
    cached: tokio::sync::Mutex<Option<(Instant, Answers)>>,
}

/// What all workers answered.
pub(crate) type Answers = Arc<Vec<Option<WorkerStats>>>;

#[derive(Default)]
struct PerWorker {
    /// Thousandths of a core, over the last interval.
    load: u64,
    /// Microseconds of work when last looked at, and when that was.
    busy: Option<(u64, Instant)>,
    ice: Histogram,
    dtls: Histogram,
}

/// Counts of durations by bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// Per bucket of [`HANDSHAKE_BUCKETS`], not cumulative; longer ones are in `count` alone.
    pub(crate) buckets: [u64; HANDSHAKE_BUCKETS.len()],
    pub(crate) sum: f64,
    pub(crate) count: u64,
}

impl Histogram {
    fn add(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        if let Some(bucket) = HANDSHAKE_BUCKETS.iter().position(|limit| seconds <= *limit) {
            self.buckets[bucket] += 1;
        }
        self.sum += seconds;
        self.count += 1;
    }
}

impl StatsCollector {
    pub(super) fn new(workers: usize) -> Self {
        let workers = (0..workers).map(|_| Mutex::default()).collect();
        Self { token: AtomicU64::new(0), waiting: Mutex::default(), workers, cached: tokio::sync::Mutex::default() }
    }

    /// How busy a worker was over the last interval, in thousandths of a core.
    pub(super) fn load(&self, worker: usize) -> u64 {
        lock(&self.workers[worker]).load
    }

    /// A worker has worked for so many microseconds since it began.
    fn record_busy(&self, worker: usize, now: Instant, busy: u64) {
        let mut worker = lock(&self.workers[worker]);
        if let Some((before, at)) = worker.busy.replace((busy, now)) {
            let elapsed = u64::try_from((now - at).as_micros()).unwrap_or(u64::MAX).max(1);
            worker.load = (busy.saturating_sub(before).saturating_mul(1_000) / elapsed).min(1_000);
        }
    }

    /// Times of ICE and DTLS handshakes of a worker's transports.
    pub(crate) fn handshakes(&self, worker: usize) -> (Histogram, Histogram) {
        let worker = lock(&self.workers[worker]);
        (worker.ice.clone(), worker.dtls.clone())
    }

    pub(super) fn connected(&self, worker: usize, ice: Duration, dtls: Duration) {
        let mut worker = lock(&self.workers[worker]);
        worker.ice.add(ice);
        worker.dtls.add(dtls);
    }

    pub(super) fn answer(&self, token: u64, stats: WorkerStats) {
        if let Some(waiting) = lock(&self.waiting).remove(&token) {
            // Whoever asked may have lost patience.
            let _ = waiting.send(stats);
        }
    }
}

impl Control {
    /// The figures of all workers as they are now, or were half a second ago; `None` for a worker that does not
    /// answer.
    pub(crate) async fn worker_stats(&self) -> Answers {
        let mut cached = self.stats.cached.lock().await;
        let now = self.clock.now();
        if let Some((taken, answers)) = &*cached
            && now - *taken < CACHED_FOR
        {
            return Arc::clone(answers);
        }
        let answers = Arc::new(self.ask().await);
        *cached = Some((now, Arc::clone(&answers)));
        answers
    }

    async fn ask(&self) -> Vec<Option<WorkerStats>> {
        let mut answers = Vec::with_capacity(self.workers.len());
        for worker in self.workers.iter() {
            let token = self.stats.token.fetch_add(1, Ordering::Relaxed);
            let (sender, receiver) = oneshot::channel();
            lock(&self.stats.waiting).insert(token, sender);
            worker.send(Command::Stats { token });
            answers.push((token, receiver));
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut all = Vec::with_capacity(answers.len());
        for (token, answer) in answers {
            let stats = tokio::time::timeout_at(deadline, answer).await.ok().and_then(Result::ok);
            lock(&self.stats.waiting).remove(&token);
            all.push(stats);
        }
        all
    }

    /// Measures the load of all workers, for as long as the server runs.
    pub(crate) async fn watch_load(self: Arc<Self>) {
        let mut interval = tokio::time::interval(LOAD_INTERVAL);
        loop {
            interval.tick().await;
            for worker in self.workers.iter() {
                self.stats.record_busy(worker.index(), self.clock.now(), worker.thread_stats().busy_micros.get());
            }
        }
    }

    /// Tells rooms of their participants' connection quality, for as long as the server runs.
    pub(crate) async fn watch_quality(self: Arc<Self>) {
        let mut interval = tokio::time::interval(QUALITY_INTERVAL);
        let mut meter = super::quality::Meter::default();
        loop {
            interval.tick().await;
            let stats = self.ask().await;
            self.tell_quality(&mut meter, stats.iter().flatten());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_the_share_of_time_since_the_last_look() {
        let stats = StatsCollector::new(2);
        stats.record_busy(1, Instant::from_millis(1_000), 500_000);
        assert_eq!(stats.load(1), 0, "not known yet");
        stats.record_busy(1, Instant::from_millis(3_000), 1_500_000);
        assert_eq!((stats.load(0), stats.load(1)), (0, 500));
        stats.record_busy(1, Instant::from_millis(5_000), 1_500_000);
        assert_eq!(stats.load(1), 0);
    }

    #[test]
    fn durations_fall_into_their_buckets() {
        let mut histogram = Histogram::default();
        for millis in [5, 10, 11, 60_000] {
            histogram.add(Duration::from_millis(millis));
        }
        assert_eq!((histogram.buckets[0], histogram.buckets[1], histogram.count), (2, 1, 4));
    }
}
