//! Measures browsers on bad networks and a shared screen in real time; `scripts/quality` runs it. The figures are printed, and
//! stand in `test-results`. They are of use on a machine with time for six browsers.

mod client;
mod paths;
mod references;
mod uplink;

use anyhow::{Context, Result, bail, ensure};
use client::{Client, server_behind_relay, video};
use serde_json::{Value, json};
use sfu_system_tests::{Relay, Scenario, Server, results_folder, run_to_end};
use std::path::PathBuf;

const USAGE: &str = "\
quality [squeeze] [six] [screen] [references]: rooms of six with bad networks, a shared screen, and many who lose frames
quality paths [NAME...] [--repair MODE]... [--traces FOLDER]: one who watches another over a path
quality uplink [NAME...] [--repair MODE]... [--round-trip MS]: one who publishes over an uplink that loses each tenth packet";

/// What `repair.mode` can be; the first where none is given.
const REPAIRS: [&str; 2] = ["planner", "arq"];

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    match wanted.first().map(String::as_str) {
        Some("paths") => return run_paths(&wanted[1..]),
        Some("uplink") => return run_uplink(&wanted[1..]),
        Some("--help" | "-h") => {
            println!("{USAGE}");
            return Ok(());
        }
        _ => {}
    }
    let names = ["squeeze", "six", "screen", "references"];
    for name in if wanted.is_empty() { names.map(str::to_owned).to_vec() } else { wanted } {
        match name.as_str() {
            "squeeze" => squeeze()?,
            "six" => six()?,
            "screen" => screen()?,
            "references" => references::run()?,
            _ => bail!("there is no {name}\n{USAGE}"),
        }
    }
    Ok(())
}

fn run_paths(arguments: &[String]) -> Result<()> {
    let Options { names, repairs, traces, round_trip } = Options::parse(arguments)?;
    ensure!(round_trip.is_none(), "paths takes no --round-trip");
    paths::run(&names, &repairs, traces)
}

fn run_uplink(arguments: &[String]) -> Result<()> {
    let Options { names, repairs, traces, round_trip } = Options::parse(arguments)?;
    ensure!(traces.is_none(), "uplink takes no --traces");
    uplink::run(&names, &repairs, round_trip.unwrap_or(uplink::ROUND_TRIP))
}

/// `[NAME...] [--repair MODE...] [--traces FOLDER] [--round-trip MS]`.
struct Options {
    names: Vec<String>,
    repairs: Vec<String>,
    traces: Option<PathBuf>,
    round_trip: Option<u64>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let (mut names, mut repairs, mut traces, mut round_trip) = (Vec::new(), Vec::new(), None, None);
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--repair" => {
                    let mode = value()?;
                    ensure!(REPAIRS.contains(&mode.as_str()), "--repair is {}, not {mode}", REPAIRS.join(" or "));
                    repairs.push(mode.clone());
                }
                "--round-trip" => {
                    let millis = value()?;
                    round_trip = Some(millis.parse().with_context(|| format!("--round-trip {millis} is no number"))?);
                }
                "--traces" => traces = Some(std::path::absolute(value()?)?),
                _ => {
                    ensure!(!argument.starts_with('-'), "there is no option {argument}\n{USAGE}");
                    names.push(argument.clone());
                }
            }
        }
        if repairs.is_empty() {
            repairs.push(REPAIRS[0].to_owned());
        }
        Ok(Self { names, repairs, traces, round_trip })
    }
}

/// The server as it is shipped, but for how it plans rooms.
fn settings(planner: &str) -> Vec<(&str, &str)> {
    vec![("SFU_QOS__PLANNER", planner)]
}

/// The path to one of six becomes narrow for a while.
fn squeeze() -> Result<()> {
    let scenario = Scenario::begin("squeeze")?;
    let server = Server::start_configured(scenario.name(), 1, &settings("gso"))?;
    let mut relay = Relay::start(server.media_port())?;
    relay.set("--delay 20ms --rate-down 5Mbit --queue-down 300ms")?;
    let folder = results_folder()?.join("screenshots");
    std::fs::create_dir_all(&folder)?;
    let parameters = json!({
        "server": server.url(), "room": "squeeze", "relay": relay.address().to_string(), "narrowSeconds": 20,
        "wideSeconds": 20, "folder": folder,
    });
    let result = scenario.run("squeeze", &parameters, |line| {
        let rate = match line {
            "NARROW" => "400kbit",
            "WIDE" => "5Mbit",
            _ => return,
        };
        if let Err(error) = relay.set(&format!("--rate-down {rate}")) {
            println!("{error:#}");
        }
    })?;
    println!("{result:#}");
    Ok(())
}

fn mix(planner: &str) -> Result<Value> {
    let scenario = Scenario::begin(&format!("mix-{planner}"))?;
    let server = Server::start_configured(scenario.name(), 1, &settings(planner))?;
    // A slow path, a lossy one, and a slow uplink.
    let paths = ["--rate-down 300kbit", "--rate-down 800kbit --loss-down 3%", "--rate-up 600kbit"];
    let mut relays = Vec::new();
    for path in paths {
        let mut relay = Relay::start(server.media_port())?;
        relay.set(&format!("--delay 50ms --queue 300ms {path}"))?;
        relays.push(relay);
    }
    let paths = json!({
        "Dora": relays[0].address().to_string(), "Eva": relays[1].address().to_string(),
        "Fay": relays[2].address().to_string(),
    });
    let parameters = json!({
        "server": server.url(), "room": "mix", "paths": paths, "adminToken": server.token(&["--admin"])?,
        "settle": 20, "seconds": 40,
    });
    let result = scenario.run("mix", &parameters, |_| ())?;
    println!("planner {planner}: {result:#}");
    Ok(result)
}

/// Three of them are weak, with the room planned and not.
fn six() -> Result<()> {
    for planner in ["off", "gso"] {
        mix(planner)?;
    }
    Ok(())
}

/// Somebody shares pages of text, and another, whose path carries `rate`, compares what comes with what was shown.
fn pages(codec: &str, rate: &str) -> Result<()> {
    let scenario = Scenario::begin(&format!("screen-{codec}-{rate}"))?;
    let (server, mut relay) = server_behind_relay(&scenario, &settings("gso"))?;
    relay.set(&format!("--delay 25ms --rate-down {rate} --queue-down 300ms"))?;
    let url = server.url().replace("http", "ws");
    let native = ["--server", &*url, "--room", "screen"];
    let capture = ["publish", "--screen", "--scene", "pages", "--width", "1280", "--height", "720", "--fps", "15"];
    let encoding = ["--codec", codec, "--bitrate", "2500", "--duration", "90s"];
    let _publisher = Client::start(&[&capture[..], &encoding, &native].concat())?;
    let compare = ["subscribe", "--compare", "pages", "--compare-fps", "15", "--duration", "40s", "--json"];
    let output = run_to_end("sfu-client", &[&compare[..], &native].concat())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let summary: Value = serde_json::from_str(text.lines().last().context("a summary")?)?;
    let video = video(&summary).context("a picture")?;
    std::fs::write(results_folder()?.join(format!("{}.json", scenario.name())), serde_json::to_string_pretty(video)?)?;
    for page in video["likeness"]["stills"].as_array().context("pages")? {
        let seconds = |what: &str| page[what].as_f64().map_or("-".to_owned(), |ms| format!("{:.2}", ms / 1_000.0));
        let psnr = page["psnr_db"].as_f64().unwrap_or_default();
        let (shown, sharp) = (seconds("shown_after_ms"), seconds("sharp_after_ms"));
        println!("{codec:<6} {rate:<8} {:>6} {:>6} {shown:>8} {sharp:>8} {psnr:>7.1}", page["frame"], page["height"]);
    }
    Ok(())
}

/// A page is first seen while the path is being found out; those after it were turned.
fn screen() -> Result<()> {
    println!("codec  rate      frame  lines  shown s  38 dB s    dB");
    for codec in ["h264", "av1"] {
        for rate in ["1Mbit", "400kbit"] {
            pages(codec, rate)?;
        }
    }
    Ok(())
}
