//! Sections that hold tables.

use super::{date, escape, section};
use crate::result::{Quantiles, RunResult};
use crate::run::Limit;

/// How long things took.
pub(super) fn times(result: &RunResult) -> String {
    let row = |(name, q): (&str, &Quantiles)| {
        let cells: String = [q.p50, q.p95, q.p99, q.p999, q.max].iter().map(|ms| format!("<td>{ms:.2}</td>")).collect();
        format!("<tr><td>{name}</td>{cells}<td>{}</td></tr>", q.count)
    };
    let rows: String = [
        ("latency of video", &result.latency_ms),
        ("latency of sound", &result.audio_latency_ms),
        ("join to answer", &result.join_ms),
        ("join to connection", &result.connect_ms),
        ("join to first frame", &result.first_frame_ms),
        ("request to keyframe", &result.keyframe_ms),
        ("switch of source or layer", &result.switch_ms),
        ("generator’s lateness", &result.generator_lateness_ms),
    ]
    .into_iter()
    .filter(|(_, quantiles)| quantiles.count > 0)
    .map(row)
    .collect();
    let head = "<tr><th></th><th>p50</th><th>p95</th><th>p99</th><th>p99.9</th><th>longest</th><th>count</th></tr>";
    section("Times", "Milliseconds.", &format!("<table>{head}{rows}</table>"))
}

/// What was counted.
pub(super) fn counts(result: &RunResult) -> String {
    let percent = |share: f64| format!("{:.4} %", share * 100.0);
    let mut rows = vec![
        ("participants at the end, joins in all", format!("{}, {}", result.participants, result.joins)),
        ("joins and connections that failed", format!("{}, {}", result.join_failures, result.connection_failures)),
        ("packets in, out", format!("{}, {}", result.packets_in, result.packets_out)),
        ("bytes per packet", format!("{:.0}", result.packet_size)),
        ("lost", percent(result.loss)),
        ("lost or left out", percent(result.skipped)),
        ("sound lost", percent(result.audio_loss)),
        ("lost and sent again", result.repaired.to_string()),
        ("duplicates, out of order", format!("{}, {}", result.duplicates, result.reordered)),
        ("frames", result.frames.to_string()),
        ("freezes, seconds frozen", format!("{}, {:.1}", result.freezes, result.frozen_seconds)),
        ("keyframes asked of publishers", result.keyframe_requests.to_string()),
        ("participants who left and were replaced", result.churned.to_string()),
        ("seconds in which a subscriber got nothing", result.silent_seconds.to_string()),
    ];
    if let Some(server) = &result.server {
        rows.push(("server’s CPU per packet", format!("{:.3} µs", server.cpu_per_packet_us)));
        rows.push(("server’s cores", format!("{:.3}", server.cores)));
        rows.push(("server’s memory", format!("{:.1} MiB", server.rss as f64 / f64::from(1 << 20))));
    }
    section("Counts", "", &pairs(&rows))
}

/// The search for the largest load.
pub(super) fn limit(limit: &Limit) -> String {
    let row = |step: &crate::run::LimitStep| {
        let cpu = step.cpu_per_packet_us.map_or_else(|| "–".to_owned(), |cpu| format!("{cpu:.2} µs"));
        format!(
            "<tr><td>{}</td><td>{:.0}</td><td>{:.3} %</td><td>{:.1} ms</td><td>{cpu}</td><td class='text'>{}</td></tr>",
            step.number,
            step.packets_out_per_second,
            step.loss * 100.0,
            step.p99_ms,
            escape(step.exceeded.as_deref().unwrap_or("within bounds"))
        )
    };
    let rows: String = limit.steps.iter().map(row).collect();
    let head = format!(
        "<tr><th>{}</th><th>packets/s</th><th>lost</th><th>latency, 99 %</th><th>CPU per packet</th><th></th></tr>",
        escape(&limit.of)
    );
    let explanation = format!(
        "{}{} {} within loss ≤ {} % and 99 % of latencies ≤ {} ms. The rest of this report is about that load.",
        if limit.at_least { "At least " } else { "" },
        limit.found,
        limit.of,
        limit.bounds.max_loss * 100.0,
        limit.bounds.max_p99_ms
    );
    section("Largest load within bounds", &explanation, &format!("<table>{head}{rows}</table>"))
}

/// How and where it came about.
pub(super) fn settings(result: &RunResult) -> String {
    let settings = &result.settings;
    let rows = [
        ("target", settings.target.clone()),
        ("joins per second", settings.join_rate.to_string()),
        ("seconds to settle", settings.settle.to_string()),
        ("CPUs of the generators", format!("{:?}", settings.generator_cpus)),
        ("processor", format!("{} ({} CPUs)", settings.processor, settings.cpus)),
        ("kernel", format!("Linux {}", settings.kernel)),
        ("sfu-bench", settings.version.clone()),
        ("ended", date::utc(settings.time)),
    ];
    // A scenario of numbers and names is always TOML.
    let scenario = toml::to_string(&result.scenario).unwrap_or_default();
    let content = format!("{}<pre>{}</pre>", pairs(&rows), escape(scenario.trim_end()));
    section("Settings", "", &content)
}

fn pairs(rows: &[(&str, String)]) -> String {
    let row = |(name, value): &(&str, String)| format!("<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(value));
    format!("<table>{}</table>", rows.iter().map(row).collect::<String>())
}
