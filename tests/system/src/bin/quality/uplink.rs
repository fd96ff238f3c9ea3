//! Somebody publishes over an uplink that loses packets, and our client watches nearby: how many pictures do not come.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sfu_system_tests::{Background, Relay, Scenario, Server, binary, list};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A round trip of 80 ms; each tenth packet on the way up is lost once the stream flows.
const DELAY: &str = "--delay 40ms";
const LOSS: &str = "--loss-up 10%";
const WATCHED: Duration = Duration::from_secs(60);
/// Left out at both ends: joining, and what is on its way.
const EDGE: Duration = Duration::from_secs(3);
const CAPTURE: (u32, u32, u32) = (640, 360, 30);
const BITRATE: &str = "1000";
/// The server, and where our own publisher is told that it is: the relay lies between.
const BEHIND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const BEFORE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const COUNTERS: [&str; 3] = ["sfu_rtp_lost_packets_total", "sfu_nacks_sent_total", "sfu_fec_recovered_packets_total"];

/// Our own client, then Chromium by its codecs.
const PUBLISHERS: [(&str, Option<&str>); 3] =
    [("client", None), ("chromium-h264", Some("h264")), ("chromium-vp8", Some("vp8"))];

/// Measures the publishers of these names, all where there are none, by each way of repair.
pub(crate) fn run(wanted: &[String], repairs: &[String]) -> Result<()> {
    let names = PUBLISHERS.map(|(name, _)| name);
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("there are {}, not {unknown}", names.join(", "));
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    println!("publisher      repair    sent  missing %  not decoded %  freezes   lost  asked  by parity");
    for (publisher, codec) in PUBLISHERS.into_iter().filter(|(name, _)| is_wanted(name)) {
        for repair in repairs {
            let outcome = match codec {
                Some(codec) => chromium(codec, repair)?,
                None => client(repair)?,
            };
            println!("{publisher:<14} {repair:<7}{outcome}");
        }
    }
    Ok(())
}

fn chromium(codec: &str, repair: &str) -> Result<String> {
    let scenario = Scenario::begin(&format!("uplink-{codec}-{repair}"))?;
    let server = Server::start_configured(scenario.name(), 1, &[("SFU_REPAIR__MODE", repair)])?;
    let mut relay = Relay::start(server.media_port())?;
    relay.set(DELAY)?;
    let (width, height, fps) = CAPTURE;
    let parameters = json!({
        "server": server.url(), "room": "uplink", "relay": relay.address().to_string(), "codec": codec,
        "seconds": WATCHED.as_secs(), "capture": { "width": width, "height": height, "fps": fps },
    });
    let mut viewer = None;
    let result = scenario.run("uplink", &parameters, |line| match line {
        "JOINED" => viewer = Some(Viewer::start(&server)),
        "BEGIN" => relay.set(LOSS).unwrap_or_else(|error| println!("{error:#}")),
        _ => {}
    })?;
    let seen = viewer.context("nobody joined")??.stop()?;
    let sent = list(&result, "sent")
        .iter()
        .filter_map(|sample| Some((Duration::from_millis(sample[0].as_u64()?), sample[1].as_f64()?)));
    let received = counter(&seen, "frames_received");
    outcome(&server, &sent.collect::<Vec<_>>(), &received, &seen)
}

fn client(repair: &str) -> Result<String> {
    let scenario = Scenario::begin(&format!("uplink-client-{repair}"))?;
    let (behind, before) = (BEHIND.to_string(), BEFORE.to_string());
    let settings = [
        ("SFU_REPAIR__MODE", repair),
        ("SFU_MEDIA__BIND", &behind),
        ("SFU_MEDIA__NODE_IPS", &before),
        ("SFU_HTTP__BIND", &behind),
    ];
    let server = Server::start_configured(scenario.name(), 1, &settings)?;
    let port = server.media_port();
    let mut relay = Relay::between((BEFORE, port).into(), (BEHIND, port).into())?;
    relay.set(DELAY)?;
    let url = server.url().replace("http", "ws");
    let (width, height, fps) = CAPTURE;
    let publisher = Command::new(binary("sfu-client")?)
        .args(["publish", "--server", &url, "--room", "uplink", "--bitrate", BITRATE])
        .args(["--width", &width.to_string(), "--height", &height.to_string(), "--fps", &fps.to_string()])
        .stdout(Stdio::null())
        .spawn()
        .context("starting sfu-client")?;
    let publisher = Background(publisher);
    let viewer = Viewer::start(&server)?;
    std::thread::sleep(EDGE);
    relay.set(LOSS)?;
    std::thread::sleep(WATCHED);
    let seen = viewer.stop()?;
    drop(publisher);
    // The pictures carry their numbers.
    outcome(&server, &counter(&seen, "last_frame_number"), &counter(&seen, "frame_numbers_read"), &seen)
}

/// A counter, by the time of the day.
type Counter = Vec<(Duration, f64)>;

/// How much it grew between two times.
fn grown(counter: &Counter, from: Duration, to: Duration) -> f64 {
    let at = |time| counter.iter().rfind(|(at, _)| *at <= time).map_or(0.0, |(_, count)| *count);
    at(to) - at(from)
}

/// What the viewer told of the video, over time.
type Seen = Vec<(Duration, Value)>;

fn counter(seen: &Seen, name: &str) -> Counter {
    seen.iter().filter_map(|(at, video)| Some((*at, video[name].as_f64()?))).collect()
}

/// A row: of the pictures that were `sent`, how many did not come, and how many were not decoded.
fn outcome(server: &Server, sent: &Counter, received: &Counter, seen: &Seen) -> Result<String> {
    let ends = [sent, received].map(|counter| counter.last().map(|(at, _)| *at));
    let begins = [sent, received].map(|counter| counter.first().map(|(at, _)| *at));
    let from = begins.into_iter().max().flatten().context("nothing was seen")? + EDGE;
    let to = ends.into_iter().min().flatten().context("nothing was seen")? - EDGE;
    let all = grown(sent, from, to);
    let missing = |counter: &Counter| 100.0 * (1.0 - grown(counter, from, to) / all.max(1.0));
    let [lost, asked, recovered] = COUNTERS.map(|name| server.total(name).unwrap_or_default());
    Ok(format!(
        "{all:>7.0} {:>10.2} {:>14.2} {:>8.0} {lost:>6} {asked:>6} {recovered:>10}",
        missing(received),
        missing(&counter(seen, "frames_decoded")),
        grown(&counter(seen, "freezes"), from, to),
    ))
}

/// `sfu-client subscribe` beside the server.
struct Viewer {
    program: Background,
    reading: JoinHandle<Seen>,
}

impl Viewer {
    fn start(server: &Server) -> Result<Self> {
        let url = server.url().replace("http", "ws");
        let mut program = Command::new(binary("sfu-client")?)
            .args(["subscribe", "--server", &url, "--room", "uplink", "--json", "--interval", "100ms"])
            .stdout(Stdio::piped())
            .spawn()
            .context("starting sfu-client")?;
        let lines = BufReader::new(program.stdout.take().context("it prints")?).lines();
        let reading = std::thread::spawn(move || lines.map_while(Result::ok).filter_map(|line| video(&line)).collect());
        Ok(Self { program: Background(program), reading })
    }

    fn stop(self) -> Result<Seen> {
        drop(self.program);
        self.reading.join().map_err(|_| anyhow::anyhow!("reading failed"))
    }
}

/// When a line came, and what it says of the video.
fn video(line: &str) -> Option<(Duration, Value)> {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let line: Value = serde_json::from_str(line).ok()?;
    let video = list(&line, "streams").iter().find(|stream| stream["kind"] == "video")?;
    Some((at, video.clone()))
}
