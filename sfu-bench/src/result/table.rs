//! The result as a table for people.

use super::RunResult;
use crate::run::Limit;
use std::fmt;

impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.3} %", share * 100.0);
        let row = |f: &mut fmt::Formatter<'_>, name: &str, value: String| writeln!(f, "{name:<30}{value:>16}");
        if let Some(limit) = &self.limit {
            writeln!(f, "{limit}\n")?;
        }
        row(f, "participants", self.participants.to_string())?;
        row(f, "failed joins / connections", format!("{} / {}", self.join_failures, self.connection_failures))?;
        row(f, "packets/s in", format!("{:.0}", self.packets_in as f64 / self.seconds))?;
        row(f, "packets/s out", format!("{:.0}", self.packets_out_per_second))?;
        row(f, "bytes per packet", format!("{:.0}", self.packet_size))?;
        row(f, "loss / of sound", format!("{} / {}", percent(self.loss), percent(self.audio_loss)))?;
        row(f, "lost or left out", percent(self.skipped))?;
        if self.repaired > 0 {
            row(f, "repaired", self.repaired.to_string())?;
        }
        if self.churned > 0 {
            row(f, "left and replaced", self.churned.to_string())?;
        }
        row(f, "duplicates / reordered", format!("{} / {}", self.duplicates, self.reordered))?;
        row(f, "frames / freezes", format!("{} / {}", self.frames, self.freezes))?;
        if self.silent_seconds > 0 {
            row(f, "seconds without any packet", self.silent_seconds.to_string())?;
        }
        row(f, "keyframe requests", self.keyframe_requests.to_string())?;
        writeln!(f, "\n{:<30}{:>9}{:>9}{:>9}{:>9}{:>9}", "milliseconds", "p50", "p95", "p99", "p99.9", "max")?;
        for (name, q) in [
            ("latency, video", &self.latency_ms),
            ("latency, sound", &self.audio_latency_ms),
            ("join to answer", &self.join_ms),
            ("join to connection", &self.connect_ms),
            ("join to first frame", &self.first_frame_ms),
            ("request to keyframe", &self.keyframe_ms),
            ("switch of source or layer", &self.switch_ms),
            ("generator's lateness", &self.generator_lateness_ms),
        ] {
            if q.count > 0 {
                writeln!(f, "{name:<30}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}", q.p50, q.p95, q.p99, q.p999, q.max)?;
            }
        }
        writeln!(f)?;
        if let Some(server) = &self.server {
            if self.packets_out > 0 {
                row(f, "server CPU per packet", format!("{:.2} us", server.cpu_per_packet_us))?;
            }
            row(f, "server cores", format!("{:.3}", server.cores))?;
            for (name, share) in &server.cores_by_thread {
                row(f, &format!("  {name}"), format!("{share:.3}"))?;
            }
            row(f, "server memory", format!("{:.1} MiB", server.rss as f64 / f64::from(1 << 20)))?;
            row(f, "  per participant", format!("{:.1} kB", server.rss_per_participant / 1e3))?;
        }
        row(f, "generator cores", format!("{:.3}", self.generator_cores))?;
        if let Some(floor) = &self.floor {
            writeln!(f, "\n{floor}")?;
        }
        if let Some(reason) = &self.ended_early {
            writeln!(f, "\nended early after {:.0} s: {reason}", self.seconds)?;
        }
        if let Some(error) = &self.first_error {
            writeln!(f, "\nfirst failed join: {error}")?;
        }
        if self.generator_was_the_limit {
            writeln!(
                f,
                "\nThe generator was the limit, not the server: use fewer participants or more generator CPUs."
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounds = &self.bounds;
        writeln!(f, "{:>12}{:>14}{:>10}{:>10}{:>12}", self.of, "packets/s", "loss", "p99", "CPU/packet")?;
        for step in &self.steps {
            let loss = format!("{:.3} %", step.loss * 100.0);
            let cpu = step.cpu_per_packet_us.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.2} us"));
            let verdict = step.exceeded.as_deref().unwrap_or("within bounds");
            let p99 = format!("{:.1} ms", step.p99_ms);
            writeln!(
                f,
                "{:>12}{:>14.0}{loss:>10}{p99:>10}{cpu:>12}   {verdict}",
                step.number, step.packets_out_per_second
            )?;
        }
        let bounds = format!("loss <= {} %, p99 <= {} ms", bounds.max_loss * 100.0, bounds.max_p99_ms);
        let at_least = if self.at_least { "at least " } else { "" };
        write!(f, "largest within bounds ({bounds}): {at_least}{} {}", self.found, self.of)
    }
}
