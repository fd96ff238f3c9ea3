//! What happened second by second, for plots.

use crate::measure::share;
use crate::run::Second;
use serde::{Deserialize, Serialize};

/// One second of the measured time.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the measuring began, at the end of this one.
    pub at: f64,
    /// Packets per second sent to the server.
    pub packets_in_per_second: f64,
    /// Packets per second received from the server.
    pub packets_out_per_second: f64,
    /// Share of packets lost or left out.
    pub loss: f64,
    /// One-way latency that half of all packets did not exceed, in milliseconds.
    pub p50_ms: f64,
    /// One-way latency that 99 % of all packets did not exceed, in milliseconds.
    pub p99_ms: f64,
    /// Cores that the server used, where its process is known.
    pub server_cores: Option<f64>,
    /// The server's resident memory in bytes, where its process is known.
    pub server_rss: Option<u64>,
}

impl Sample {
    /// Of one second.
    pub fn new(second: &Second) -> Self {
        let measured = &second.interval.measured;
        let length = second.length.as_secs_f64().max(1e-3);
        let mut latency = measured.latency.clone();
        latency.merge(&measured.audio_latency);
        let at = |share| latency.quantile(share).unwrap_or_default().as_secs_f64() * 1e3;
        Self {
            at: second.end.as_secs_f64(),
            packets_in_per_second: second.interval.sent as f64 / length,
            packets_out_per_second: measured.packets as f64 / length,
            loss: share(measured.skipped.max(measured.lost), measured.packets),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            server_cores: second
                .used
                .as_ref()
                .map(|used| used.by_thread.values().map(std::time::Duration::as_secs_f64).sum::<f64>() / length),
            server_rss: second.used.as_ref().map(|used| used.rss),
        }
    }
}
