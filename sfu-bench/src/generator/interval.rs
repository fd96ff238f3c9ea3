//! What happened at a generator between two cuts.

use crate::measure::histogram::Histogram;
use crate::peer::measured::Measured;
use std::time::Duration;

/// What happened between two cuts; intervals of one or several threads add up.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// What the peers received.
    pub measured: Measured,
    /// RTP packets that the peers sent.
    pub sent: u64,
    /// Keyframes that the publishers were asked for.
    pub keyframe_requests: u64,
    /// From the join's beginning to the connection.
    pub connect: Histogram,
    /// How late frames were sent: large values say that the generator was the limit.
    pub lateness: Histogram,
    /// CPU time of the thread.
    pub cpu: Duration,
    /// Peers whose connection failed, or came about and ended.
    pub failed: u64,
}

impl Interval {
    /// Adds what happened elsewhere or at another time.
    pub fn merge(&mut self, other: &Self) {
        self.measured.merge(&other.measured);
        self.sent += other.sent;
        self.keyframe_requests += other.keyframe_requests;
        self.connect.merge(&other.connect);
        self.lateness.merge(&other.lateness);
        self.cpu += other.cpu;
        self.failed += other.failed;
    }

    /// Whether the generator, not the server, was the limit for so long, with so many threads: it was late, or had no
    /// time left.
    pub fn generator_was_the_limit(&self, length: Duration, threads: usize) -> bool {
        /// A frame's worth of lateness shows in every latency.
        const LATE: Duration = Duration::from_millis(10);
        const FULL: f64 = 0.95;
        let late = self.lateness.quantile(0.99).unwrap_or_default() > LATE;
        late || self.cpu.as_secs_f64() > FULL * threads.max(1) as f64 * length.as_secs_f64()
    }
}
