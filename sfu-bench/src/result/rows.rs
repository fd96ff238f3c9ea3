//! What is told of a result, row by row: the same in the table and in the report.

use super::{Quantiles, RunResult};
use crate::run::{Limit, LimitStep};

/// A name and its value.
pub(crate) type Row = (&'static str, String);

impl RunResult {
    /// What was counted. What seldom happens has a row only where it did.
    pub(crate) fn counts(&self) -> Vec<Row> {
        let per_second = |packets: u64| format!("{:.0}", packets as f64 / self.seconds.max(1e-9));
        let some = |count: u64| if count > 0 { count.to_string() } else { String::new() };
        let all_read = self.scenario.all_read();
        let forwarded = if all_read { String::new() } else { format!("{:.0}", self.forwarded_per_second) };
        let mut rows = vec![
            ("participants / joins", format!("{} / {}", self.participants, self.joins)),
            ("failed joins / connections", format!("{} / {}", self.join_failures, self.connection_failures)),
            ("left and replaced", some(self.churned)),
            ("packets in / out", format!("{} / {}", self.packets_in, self.packets_out)),
            ("packets/s in", per_second(self.packets_in)),
            ("packets/s out", per_second(self.packets_out)),
            ("packets/s forwarded, as the server counts", forwarded),
            ("bytes per packet", format!("{:.0}", self.packet_size)),
            ("loss / of sound", format!("{} / {}", percent(self.loss), percent(self.audio_loss))),
            ("lost or left out", percent(self.skipped)),
            ("repaired", some(self.repaired)),
            ("duplicates / reordered", format!("{} / {}", self.duplicates, self.reordered)),
            ("frames / freezes", format!("{} / {}", self.frames, self.freezes)),
            ("seconds frozen", if self.freezes > 0 { format!("{:.1}", self.frozen_seconds) } else { String::new() }),
            ("seconds without any packet", some(self.silent_seconds)),
            ("keyframe requests", self.keyframe_requests.to_string()),
            ("generator cores", format!("{:.3}", self.generator_cores)),
        ];
        if let Some(server) = &self.server {
            let per_packet = (self.packets_out > 0).then(|| format!("{:.2} µs", server.cpu_per_packet_us));
            rows.push(("server CPU per packet", per_packet.unwrap_or_default()));
            rows.push(("server cores", format!("{:.3}", server.cores)));
            rows.push(("server memory", format!("{:.1} MiB", server.rss as f64 / f64::from(1 << 20))));
            rows.push(("  per participant", format!("{:.1} kB", server.rss_per_participant / 1e3)));
        }
        rows.retain(|(_, value)| !value.is_empty());
        rows
    }

    /// How long things took; those that happened.
    pub(crate) fn times(&self) -> impl Iterator<Item = (&'static str, &Quantiles)> {
        let times = [
            ("latency, video", &self.latency_ms),
            ("latency, sound", &self.audio_latency_ms),
            ("join to answer", &self.join_ms),
            ("join to connection", &self.connect_ms),
            ("join to first frame", &self.first_frame_ms),
            ("request to keyframe", &self.keyframe_ms),
            ("switch of source or layer", &self.switch_ms),
            ("generator's lateness", &self.generator_lateness_ms),
        ];
        times.into_iter().filter(|(_, quantiles)| quantiles.count > 0)
    }
}

impl Limit {
    /// Headings of the steps' cells.
    pub(crate) fn headings(&self) -> [&str; 5] {
        [&self.of, "packets/s", "loss", "p99", "CPU/packet"]
    }

    /// What was found, and within which bounds.
    pub(crate) fn verdict(&self) -> String {
        let bounds = format!("loss ≤ {} %, p99 ≤ {} ms", self.bounds.max_loss * 100.0, self.bounds.max_p99_ms);
        let at_least = if self.at_least { "at least " } else { "" };
        format!("largest within bounds ({bounds}): {at_least}{} {}", self.found, self.of)
    }
}

impl LimitStep {
    /// As many cells as there are headings.
    pub(crate) fn cells(&self) -> [String; 5] {
        [
            self.number.to_string(),
            format!("{:.0}", self.packets_out_per_second),
            percent(self.loss),
            format!("{:.1} ms", self.p99_ms),
            self.cpu_per_packet_us.map_or_else(|| "–".to_owned(), |cpu| format!("{cpu:.2} µs")),
        ]
    }

    /// What was out of bounds, if anything was.
    pub(crate) fn verdict(&self) -> &str {
        self.exceeded.as_deref().unwrap_or("within bounds")
    }
}

fn percent(share: f64) -> String {
    format!("{:.3} %", share * 100.0)
}
