//! Sections that hold tables.

use super::{date, escape, section};
use crate::result::{Quantiles, Row, RunResult};
use crate::run::{Limit, LimitStep};

/// How long things took.
pub(super) fn times(result: &RunResult) -> String {
    let row = |(name, q): (&str, &Quantiles)| {
        let cells: String = [q.p50, q.p95, q.p99, q.p999, q.max].iter().map(|ms| format!("<td>{ms:.2}</td>")).collect();
        format!("<tr><td>{}</td>{cells}<td>{}</td></tr>", escape(name), q.count)
    };
    let rows: String = result.times().map(row).collect();
    let head = "<tr><th></th><th>p50</th><th>p95</th><th>p99</th><th>p99.9</th><th>max</th><th>count</th></tr>";
    section("Times", "Milliseconds.", &format!("<table>{head}{rows}</table>"))
}

/// What was counted, and what it cost.
pub(super) fn counts(result: &RunResult) -> String {
    section("Counts", "", &pairs(&result.counts()))
}

/// The search for the largest load.
pub(super) fn limit(limit: &Limit) -> String {
    let cells = |tag: &str, cells: &[String]| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect()
    };
    let row = |step: &LimitStep| {
        format!("<tr>{}<td class='text'>{}</td></tr>", cells("td", &step.cells()), escape(step.verdict()))
    };
    let rows: String = limit.steps.iter().map(row).collect();
    let head = cells("th", &limit.headings().map(str::to_owned));
    let explanation = format!("{}. The rest of this report is about that load.", limit.verdict());
    section("Largest load", &explanation, &format!("<table><tr>{head}<th></th></tr>{rows}</table>"))
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

fn pairs(rows: &[Row]) -> String {
    let row = |(name, value): &Row| format!("<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(value));
    format!("<table>{}</table>", rows.iter().map(row).collect::<String>())
}
