//! One browser that watches another over a path of the scenarios (`sfu-bench scenarios`), in real time.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sfu_system_tests::{Relay, Scenario, Server, number};
use std::path::{Path as File, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What the camera gives: what two cores encode, forward and decode without falling behind.
const CAPTURE: (u32, u32, u32) = (640, 360, 30);

/// A path: how it is at first, and what changes after so many milliseconds.
struct Path {
    name: &'static str,
    link: &'static str,
    changes: &'static [(u64, &'static str)],
    /// A recording by its name, with what it has of loss.
    recording: Option<&'static str>,
    seconds: u64,
    viewer: &'static str,
}

const BASE: Path = Path { name: "", link: "", changes: &[], recording: None, seconds: 60, viewer: "chromium" };

/// Scenarios 1, 7, 8, 9, 10 and 13; a narrow path; and loss without a bottleneck.
const PATHS: [Path; 15] = [
    Path {
        name: "steps",
        link: "--delay 50ms --queue-down 300ms --rate-down 1Mbit",
        changes: &[(40_000, "--rate-down 2.5Mbit"), (60_000, "--rate-down 600kbit"), (80_000, "--rate-down 1Mbit")],
        seconds: 100,
        ..BASE
    },
    Path { name: "lte-drive", link: RECORDED, recording: Some("mm-ATT-LTE-driving-2016"), seconds: 120, ..BASE },
    Path { name: "rail-4", link: RAIL, recording: Some("spark-pitree-hsr-trace4"), ..BASE },
    Path { name: "rail-11", link: RAIL, recording: Some("spark-pitree-hsr-trace11"), ..BASE },
    Path { name: "restaurant", link: RECORDED, recording: Some("spark-zhuge-rest-wifi-trace4"), ..BASE },
    Path { name: "office", link: RECORDED, recording: Some("spark-zhuge-office-wifi-trace8"), ..BASE },
    Path { name: "lossy-near", link: RECORDED, recording: Some("spark-hairpin-wifi-trace14"), ..BASE },
    Path {
        name: "lossy-far",
        link: "--delay 120ms --queue-down 250kB",
        recording: Some("spark-hairpin-wifi-trace14"),
        ..BASE
    },
    Path {
        name: "elevator",
        link: "--delay 50ms --queue-down 300ms --rate-down 3Mbit",
        changes: &[
            (20_000, "--loss 100%"),
            (21_500, "--loss 0%"),
            (50_000, "--rate-down 150kbit"),
            (58_000, "--rate-down 3Mbit"),
        ],
        seconds: 75,
        ..BASE
    },
    // One who gets a layer that just fits.
    Path { name: "narrow", link: "--delay 50ms --rate-down 400kbit --queue-down 300ms", ..BASE },
    Path { name: "narrow-loss-3", link: "--delay 50ms --rate-down 400kbit --queue-down 300ms --loss-down 3%", ..BASE },
    Path { name: "loss-5", link: "--delay 50ms --loss-down 5%", ..BASE },
    Path { name: "loss-15", link: "--delay 100ms --loss-down 15%", ..BASE },
    Path { name: "loss-5-firefox", link: "--delay 50ms --loss-down 5%", viewer: "firefox", ..BASE },
    Path { name: "loss-15-firefox", link: "--delay 100ms --loss-down 15%", viewer: "firefox", ..BASE },
];
const RECORDED: &str = "--delay 20ms --queue-down 250kB";
const RAIL: &str = "--delay 30ms --queue-down 250kB";

/// Parity that came and that the server sent, in packets, stands at the end.
const HEAD: &str =
    "path             repair   kbit/s   fps  freezes  frozen %  longest s  concealed %  rtx %  parity  of sent";

/// Names of the paths.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PATHS.iter().map(|path| path.name)
}

/// Measures the paths of these names, all where there are none, by each way of repair; recordings are in `traces`, and a
/// path whose recording is not there is skipped.
pub(crate) fn run(wanted: &[String], repairs: &[String], traces: Option<PathBuf>) -> Result<()> {
    if let Some(unknown) = wanted.iter().find(|name| !names().any(|known| known == *name)) {
        bail!("there are {}, not {unknown}", names().collect::<Vec<_>>().join(", "));
    }
    let is_wanted = |path: &&Path| wanted.is_empty() || wanted.iter().any(|name| name == path.name);
    println!("{HEAD}");
    for path in PATHS.iter().filter(is_wanted) {
        let recording = path.recording.map(|name| recorded(name, traces.as_deref())).transpose()?;
        if recording.as_ref().is_some_and(Option::is_none) {
            println!("{:<16} skipped: its recording is not in a folder given with --traces", path.name);
            continue;
        }
        for repair in repairs {
            let result = measure(path, repair, recording.clone().flatten().unwrap_or_default())?;
            println!("{}", row(path.name, repair, &result));
        }
    }
    Ok(())
}

/// Changes of a link, each after a time.
type Changes = Vec<(Duration, String)>;

/// The links of a recording; `None` where it is not there.
fn recorded(name: &str, traces: Option<&File>) -> Result<Option<Changes>> {
    let Some(folder) = traces else { return Ok(None) };
    let file = |ending: &str| Some(folder.join(format!("{name}.{ending}"))).filter(|file| file.exists());
    let Some(down) = file("down") else { return Ok(None) };
    let up = file("up").map(|up| format!("--trace-up {}", up.display())).unwrap_or_default();
    let mut changes = vec![(Duration::ZERO, format!("--trace-down {} {up}", down.display()))];
    if let Some(file) = file("rttloss.csv") {
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let loss = netsim::parse_loss(&text).with_context(|| format!("{} is not usable", file.display()))?;
        changes.extend(loss.into_iter().map(|(time, loss)| (time, format!("--loss-down {loss}"))));
    }
    Ok(Some(changes))
}

fn measure(path: &Path, repair: &str, recorded: Changes) -> Result<Value> {
    let scenario = Scenario::begin(&format!("path-{}-{repair}", path.name))?;
    let server = Server::start_configured(scenario.name(), 1, &[("SFU_REPAIR__MODE", repair)])?;
    let mut relay = Relay::start(server.media_port())?;
    relay.set(path.link)?;
    let (width, height, fps) = CAPTURE;
    let parameters = json!({
        "server": server.url(), "room": "path", "relay": relay.address().to_string(), "viewer": path.viewer,
        "codec": "vp8", "seconds": path.seconds, "capture": { "width": width, "height": height, "fps": fps },
    });
    let fixed = path.changes.iter().map(|(after, options)| (Duration::from_millis(*after), (*options).to_owned()));
    let changes: Changes = recorded.into_iter().chain(fixed).collect();
    let (begin, begun) = mpsc::channel();
    std::thread::scope(|scope| {
        let shaping = scope.spawn(|| shape(&mut relay, &changes, begun));
        let result = scenario.run("path", &parameters, |line| {
            if line == "BEGIN" {
                let _ = begin.send(Instant::now());
            }
        });
        drop(begin);
        shaping.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let mut result = result?;
        result["paritySent"] = server.total("sfu_fec_sent_packets_total")?.into();
        Ok(result)
    })
}

/// Changes the links from the moment on that comes through `begun`, until its other end is gone.
fn shape(relay: &mut Relay, changes: &Changes, begun: mpsc::Receiver<Instant>) -> Result<()> {
    let Ok(begun_at) = begun.recv() else { return Ok(()) };
    for (after, options) in changes {
        let wait = (begun_at + *after).saturating_duration_since(Instant::now());
        if begun.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
            return Ok(());
        }
        relay.set(options)?;
    }
    Ok(())
}

fn row(name: &str, repair: &str, result: &Value) -> String {
    let (video, packets) = (&result["video"], number(result, "packets").max(1.0));
    format!(
        "{name:<16} {repair:<8} {:>6.0} {:>5.1} {:>8.0} {:>9.2} {:>10.2} {:>12.2} {:>6.2} {:>7.0} {:>8.0}",
        number(result, "bitrate") / 1e3,
        video["fps"][0].as_f64().unwrap_or_default(),
        number(video, "freezes"),
        100.0 * number(video, "frozen") / number(result, "seconds"),
        number(video, "longest"),
        100.0 * number(&result["audio"], "concealed"),
        100.0 * number(result, "retransmitted") / packets,
        number(result, "parity"),
        number(result, "paritySent"),
    )
}
