//! Sections that hold plots.

use super::axis::{Axis, Scale};
use super::plot::{BLUE, GREEN, GREY, HALF, Line, ORANGE, Plot, WIDE, bars, legend};
use super::section;
use crate::result::{FloorRatio, RunResult, Sample};

/// Share of packets that the latency plot begins and ends with; what is beyond is in the table.
const SHOWN: (f64, f64) = (0.001, 0.9995);

/// How the one-way latency is distributed.
pub(super) fn latency(result: &RunResult) -> String {
    let lines: Vec<Line<'_>> =
        [("video", BLUE, &result.latency_distribution), ("sound", ORANGE, &result.audio_latency_distribution)]
            .into_iter()
            .filter(|(.., points)| !points.is_empty())
            .map(|(name, colour, points)| Line {
                name,
                colour,
                points: points.iter().map(|(ms, share)| (*ms, share * 100.0)).collect(),
                broken: false,
            })
            .collect();
    if lines.is_empty() {
        return section("Latency", "No packet arrived.", "");
    }
    let within = |line: &Line<'_>, share: f64| {
        line.points.iter().find(|(_, percent)| *percent >= share * 100.0).map_or(1.0, |(ms, _)| *ms)
    };
    let low = lines.iter().map(|line| within(line, SHOWN.0)).fold(f64::MAX, f64::min);
    let high = lines.iter().map(|line| within(line, SHOWN.1)).fold(0.0, f64::max);
    let x = Axis::between(Scale::Log, low * 0.9, high * 1.1);
    let y = Axis::between(Scale::Linear, 0.0, 100.0);
    let mut plot = Plot::new(WIDE, x, y, "milliseconds (logarithmic)", " %").name_x();
    lines.iter().for_each(|line| plot.line(line));
    let entries: Vec<_> = lines.iter().map(|line| (line.name, line.colour)).collect();
    let quantiles = if result.latency_ms.count > 0 { &result.latency_ms } else { &result.audio_latency_ms };
    for (name, ms, percent) in [("p50", quantiles.p50, 50.0), ("p99", quantiles.p99, 99.0)] {
        plot.point(ms, percent, lines[0].colour, &format!("{name} {ms:.2} ms"));
    }
    let content = legend(&entries) + &plot.finish("Distribution of the one-way latency");
    section("One-way latency", "Share of packets that took no longer, from publisher to subscriber.", &content)
}

/// What happened second by second.
pub(super) fn over_time(result: &RunResult) -> Option<String> {
    let samples = &result.samples;
    if samples.len() < 2 {
        return None;
    }
    let mut plots = vec![
        timeline(
            samples,
            "Packets per second",
            "",
            &[
                ("to subscribers", BLUE, |s| Some(s.packets_out_per_second)),
                ("from publishers", ORANGE, |s| Some(s.packets_in_per_second)),
            ],
        ),
        timeline(
            samples,
            "Latency",
            " ms",
            &[("99 %", ORANGE, |s| Some(s.p99_ms)), ("median", BLUE, |s| Some(s.p50_ms))],
        ),
        timeline(samples, "Lost or left out", " %", &[("packets", ORANGE, |s| Some(s.loss * 100.0))]),
    ];
    if samples.iter().all(|sample| sample.server_cores.is_some()) {
        plots.push(timeline(samples, "Server's CPU", "", &[("cores", BLUE, |s| s.server_cores)]));
        let mebibytes = |s: &Sample| s.server_rss.map(|rss| rss as f64 / f64::from(1 << 20));
        plots.push(timeline(samples, "Server's memory", "", &[("MiB", GREEN, mebibytes)]));
    }
    plots.extend(cpu(result));
    Some(format!("<div class='pair'>{}</div>", plots.concat()))
}

type Value = fn(&Sample) -> Option<f64>;

fn timeline(samples: &[Sample], title: &str, unit: &str, values: &[(&str, &str, Value)]) -> String {
    let lines: Vec<Line<'_>> = values
        .iter()
        .map(|(name, colour, value)| Line {
            name,
            colour,
            points: samples.iter().filter_map(|sample| Some((sample.at, value(sample)?))).collect(),
            broken: true,
        })
        .collect();
    let x = Axis::between(Scale::Linear, 0.0, samples.last().map_or(1.0, |sample| sample.at));
    let y = Axis::from_zero(lines.iter().flat_map(|line| line.points.iter().map(|(_, y)| *y)));
    let mut plot = Plot::new(HALF, x, y, "seconds", unit).name_x();
    lines.iter().for_each(|line| plot.line(line));
    let entries: Vec<_> = values.iter().map(|(name, colour, _)| (*name, *colour)).collect();
    section(title, "", &(legend(&entries) + &plot.finish(&format!("{title} over time"))))
}

/// What each thread used.
fn cpu(result: &RunResult) -> Option<String> {
    let server = result.server.as_ref()?;
    let mut rows: Vec<(String, f64, &str)> =
        server.busy_threads().map(|(name, cores)| (name.clone(), *cores, BLUE)).collect();
    rows.sort_by(|one, other| other.1.total_cmp(&one.1));
    rows.push((format!("generator ({})", result.generator_threads), result.generator_cores, GREY));
    Some(section(
        "CPU by thread",
        "Cores that the server's threads used, and the load's generators.",
        &bars(&rows, "CPU by thread"),
    ))
}

/// What a packet must cost, and what it cost.
pub(super) fn floor(floor: &FloorRatio, result: &RunResult) -> String {
    const BAR: f64 = 44.0;
    let cost = result.server.as_ref().map(|server| server.cpu_per_packet_us * 1e3);
    let longest = floor.send.last().map_or(1, |(run, _)| *run) as f64;
    let x = Axis::between(Scale::Log, 0.75, longest * 1.35);
    let y = Axis::from_zero(floor.send.iter().map(|(_, cost)| *cost).chain(cost));
    let mut plot = Plot::new(WIDE, x, y, "datagrams per message (run length)", "");
    for (run, cost) in &floor.send {
        plot.bar(*run as f64, *cost, BAR, GREY, &format!("runs of {run}: {cost:.0} ns"));
        plot.bar(*run as f64, floor.seal, BAR, "#93a1b1", &format!("header and seal: {:.0} ns", floor.seal));
        plot.name_x_at(*run as f64, &run.to_string());
    }
    let mut explanation = format!(
        "Nanoseconds of CPU that sealing and sending one packet takes on this machine, measured between the windows of \
         the run; slices differ by {:.1} %.",
        floor.spread * 100.0
    );
    if let Some((server, cost)) = floor.server.zip(cost) {
        plot.difference(server.mean_run, server.floor, cost, ORANGE);
        plot.point(server.mean_run, cost, ORANGE, &format!("server {cost:.0} ns"));
        explanation += &format!(
            " The server's runs were {:.1} long, for which the floor is {:.0} ns: {:.2} times the floor ({:.2} to {:.2}).",
            server.mean_run, server.floor, server.ratio, server.lowest, server.highest
        );
        if let Some((floor, ratio)) = server.floor_at_rate.zip(server.ratio_at_rate) {
            explanation += &format!(
                " Sent at the load's rate instead of back to back, the same takes {floor:.0} ns: {ratio:.2} times that."
            );
        }
    }
    let entries = [("header and seal", "#93a1b1"), ("send", GREY), ("the server", ORANGE)];
    section("Against the floor", &explanation, &(legend(&entries) + &plot.finish("Cost per packet by run length")))
}
