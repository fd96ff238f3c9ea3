//! The report on network scenarios: a table for each, and plots over time of each estimator.

use super::axis::{Axis, Scale};
use super::plot::{BLUE, GREEN, GREY, HALF, Line, ORANGE, Plot, WIDE, legend};
use super::{escape, page, section};
use crate::simulation::metrics::Metric;
use crate::simulation::record::{FlowRecord, FlowSample, Record};
use crate::simulation::results::{Outcome, Results, Summary, short};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Seconds from sample to sample of the rates, and of the queue.
const SAMPLE: f64 = 0.1;
const QUEUE_SAMPLES: usize = 10;

/// The report on `results`.
pub fn scenarios(results: &Results) -> String {
    let conditions = results.conditions;
    let lead =
        format!("Means over {} seeds, plots of the first; publishers: {:?}.", conditions.seeds, conditions.video);
    let mut body = format!("<h1>Network scenarios</h1><p class='soft'>{}</p>", escape(&lead));
    for outcomes in results.by_scenario() {
        let scenario = &outcomes[0].scenario;
        let title = format!("{} {}", scenario.number, scenario.name);
        body.push_str(&section(&title, scenario.about, &table(outcomes)));
        outcomes.iter().for_each(|outcome| body.push_str(&plots(outcome)));
    }
    page("Network scenarios", &body)
}

fn table(outcomes: &[Outcome]) -> String {
    let summaries: Vec<BTreeMap<Metric, Summary>> = outcomes.iter().map(Outcome::summaries).collect();
    let mut metrics: Vec<Metric> = summaries.iter().flat_map(|found| found.keys().copied()).collect();
    metrics.sort_unstable();
    metrics.dedup();
    let head: String = outcomes.iter().map(|outcome| format!("<th>{}</th>", escape(&outcome.column))).collect();
    let mut rows = format!("<tr><th></th><th>target</th>{head}</tr>");
    for metric in metrics {
        let (name, unit) = metric.label();
        let target = outcomes[0].target(metric);
        let bound = target.map(|target| target.to_string()).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(rows, "<tr><td>{} {unit}</td><td>{}</td>", escape(name), escape(&bound));
        for found in &summaries {
            let cell = found.get(&metric).map_or("-".to_owned(), |summary| {
                let mark = match target.map(|target| target.is_met(summary.mean)) {
                    Some(true) => " ✓",
                    Some(false) => " ✗",
                    None => "",
                };
                format!("{}{mark}", short(summary.mean))
            });
            let _ = write!(rows, "<td>{cell}</td>");
        }
        rows.push_str("</tr>");
    }
    format!("<table>{rows}</table>")
}

fn plots(outcome: &Outcome) -> String {
    let record = &outcome.record;
    let flows = record.flows.iter().enumerate();
    let rates: String = flows.map(|(n, flow)| rates(outcome, n, flow)).collect();
    let (queue, layers) = (queue(outcome), layers(outcome));
    format!("{rates}<div class='pair'>{queue}{layers}</div>")
}

fn line<'a>(name: &'a str, colour: &'a str, points: Vec<(f64, f64)>) -> Line<'a> {
    Line { name, colour, points, broken: false }
}

/// Samples as points, in Mbit/s.
fn over_time(samples: &[FlowSample], value: impl Fn(&FlowSample) -> Option<f64>) -> Vec<(f64, f64)> {
    let points = samples.iter().enumerate();
    points.filter_map(|(n, sample)| Some((n as f64 * SAMPLE, value(sample)? / 1e6))).collect()
}

fn time_axis(record: &Record) -> Axis {
    Axis::between(Scale::Linear, 0.0, record.length.as_secs_f64())
}

/// Capacity, estimate, what was sent, what arrived, and freezes of one flow.
fn rates(outcome: &Outcome, number: usize, flow: &FlowRecord) -> String {
    let record = &outcome.record;
    let top = 1.5 * record.demand * 1e-6;
    let capacity = record.capacity.iter().enumerate().filter(|(_, capacity)| capacity.is_finite());
    let capacity = capacity.map(|(n, capacity)| (n as f64 * SAMPLE, (capacity / 1e6).min(top))).collect();
    let lines = [
        line("capacity", GREY, capacity),
        line("sent", BLUE, over_time(&flow.samples, |sample| Some(sample.sent))),
        line("received", GREEN, over_time(&flow.samples, |sample| Some(sample.received))),
        line("estimate", ORANGE, over_time(&flow.samples, |sample| Some(sample.estimate?.min(top * 1e6)))),
    ];
    let y = Axis::from_zero(lines.iter().flat_map(|line| line.points.iter().map(|(_, y)| *y)));
    let mut plot = Plot::new(WIDE, time_axis(record), y, "seconds", " M").name_x();
    for (from, length) in &flow.freezes {
        plot.span(from.as_secs_f64(), (*from + *length).as_secs_f64(), "#fecaca", "frozen");
    }
    lines.iter().for_each(|line| plot.line(line));
    let mut entries: Vec<_> = lines.iter().map(|line| (line.name, line.colour)).collect();
    entries.push(("frozen", "#fecaca"));
    let title = format!("{}, {}: flow {}, Mbit/s", outcome.scenario.name, outcome.column, number + 1);
    section(&title, "", &(legend(&entries) + &plot.finish(&title)))
}

fn queue(outcome: &Outcome) -> String {
    let record = &outcome.record;
    let longest = |delays: &[std::time::Duration]| delays.iter().max().map_or(0.0, |delay| delay.as_secs_f64() * 1e3);
    let points = record.queue.chunks(QUEUE_SAMPLES).enumerate().map(|(n, delays)| (n as f64 * SAMPLE, longest(delays)));
    let lines = [line("queue", BLUE, points.collect())];
    let y = Axis::from_zero(lines[0].points.iter().map(|(_, y)| *y));
    let mut plot = Plot::new(HALF, time_axis(record), y, "seconds", " ms").name_x();
    plot.line(&lines[0]);
    section("Queue delay at the bottleneck", "", &plot.finish("Queue delay over time"))
}

/// The layer that each subscriber gets, 0 being none.
fn layers(outcome: &Outcome) -> String {
    const COLOURS: [&str; 4] = [BLUE, ORANGE, GREEN, GREY];
    let record = &outcome.record;
    let points = |flow: &FlowRecord| -> Vec<(f64, f64)> {
        flow.samples.iter().enumerate().map(|(n, sample)| (n as f64 * SAMPLE, f64::from(sample.layer))).collect()
    };
    let y = Axis::between(Scale::Linear, 0.0, 3.0);
    let mut plot = Plot::new(HALF, time_axis(record), y, "seconds", "").name_x();
    for (flow, colour) in record.flows.iter().zip(COLOURS.iter().cycle()) {
        plot.line(&line("layer", colour, points(flow)));
    }
    section("Layer", "", &plot.finish("Layer over time"))
}
