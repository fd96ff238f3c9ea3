//! The report: one HTML file with everything in it, readable without a network and without scripts.

mod axis;
mod date;
mod plot;
mod plots;
mod scenarios;
mod tables;

pub use scenarios::scenarios;

use crate::result::RunResult;
use std::fmt::Write;

/// The page's style.
const STYLE: &str = include_str!("style.css");

/// The report on `result`.
pub fn html(result: &RunResult) -> String {
    let name = if result.scenario.name.is_empty() { "a scenario" } else { &result.scenario.name };
    let title = escape(&format!("Load test: {name}"));
    let settings = &result.settings;
    let lead = escape(&format!(
        "{} participants at {}, measured for {:.0} s, {}",
        result.participants,
        settings.target,
        result.seconds,
        date::utc(settings.time)
    ));
    let mut body = format!("<h1>{title}</h1><p class='soft'>{lead}</p>");
    for warning in warnings(result) {
        let _ = write!(body, "<div class='warning'>{}</div>", escape(&warning));
    }
    body.push_str(&cards(result));
    for section in [
        result.limit.as_ref().map(tables::limit),
        Some(plots::latency(result)),
        plots::over_time(result),
        result.floor.as_ref().map(|floor| plots::floor(floor, result)),
        Some(tables::times(result)),
        Some(tables::counts(result)),
        Some(tables::settings(result)),
    ] {
        body.push_str(&section.unwrap_or_default());
    }
    page(&title, &body)
}

/// A page of this title, which is HTML already.
fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>\
         <meta name='viewport' content='width=device-width, initial-scale=1'>\
         <title>{title}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )
}

/// What a reader must know before all figures.
fn warnings(result: &RunResult) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(reason) = &result.ended_early {
        warnings.push(format!("Ended early after {:.0} s: {reason}.", result.seconds));
    }
    if result.generator_was_the_limit {
        warnings
            .push("The generator was the limit, not the server: latencies and losses are partly its own.".to_owned());
    }
    let failed = result.join_failures as u64 + result.connection_failures;
    if failed > 0 {
        let reason = result.first_error.as_deref().map_or_else(String::new, |error| format!(" ({error})"));
        warnings.push(format!("{failed} joins or connections failed{reason}."));
    }
    warnings
}

/// The figures that matter most.
fn cards(result: &RunResult) -> String {
    let mut cards = Vec::new();
    cards.push(("packets/s to subscribers", format!("{:.0}", result.packets_out_per_second), ""));
    if let Some(limit) = &result.limit {
        cards.push(("largest load within bounds", limit.found.to_string(), ""));
    }
    if let Some(server) = &result.server {
        cards.push(("server CPU per packet", format!("{:.2}", server.cpu_per_packet_us), " µs"));
    }
    if let Some(server) = result.floor.as_ref().and_then(|floor| floor.server) {
        cards.push(("of the floor", format!("{:.2}", server.ratio), " ×"));
    }
    cards.push(("lost or left out", format!("{:.3}", result.loss.max(result.skipped) * 100.0), " %"));
    let latency = if result.latency_ms.count > 0 { &result.latency_ms } else { &result.audio_latency_ms };
    cards.push(("latency, median", format!("{:.2}", latency.p50), " ms"));
    cards.push(("latency, 99 %", format!("{:.2}", latency.p99), " ms"));
    if let Some(server) = result.server.as_ref().filter(|server| server.rss_per_participant > 0.0) {
        cards.push(("memory per participant", format!("{:.0}", server.rss_per_participant / 1e3), " kB"));
    }
    let card = |(name, value, unit): (&str, String, &str)| {
        format!(
            "<div class='card'><b>{}<small>{unit}</small></b><span class='soft'>{name}</span></div>",
            escape(&value)
        )
    };
    format!("<div class='cards'>{}</div>", cards.into_iter().map(card).collect::<String>())
}

/// A section with a heading and a line of explanation.
fn section(title: &str, explanation: &str, content: &str) -> String {
    let explanation =
        if explanation.is_empty() { String::new() } else { format!("<p class='soft'>{}</p>", escape(explanation)) };
    format!("<section><h2>{}</h2>{explanation}{content}</section>", escape(title))
}

/// Text as HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&#39;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
