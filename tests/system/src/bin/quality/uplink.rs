//! Somebody publishes over an uplink that loses packets, and our client watches nearby: how many pictures do not come.

use crate::client::{Client, Told, server_behind_relay, video};
use anyhow::{Context, Result, bail};
use serde_json::json;
use sfu_system_tests::{Relay, Scenario, Server, list};
use std::time::Duration;

/// In ms.
pub(crate) const ROUND_TRIP: u64 = 80;
/// Each tenth packet on the way up is lost once the stream flows.
const LOSS: &str = "--loss-up 10%";
const WATCHED: Duration = Duration::from_secs(60);
/// Left out at both ends: joining, and what is on its way.
const EDGE: Duration = Duration::from_secs(3);
const CAPTURE: (u32, u32, u32) = (640, 360, 30);
const BITRATE: &str = "1000";
const COUNTERS: [&str; 3] = ["sfu_rtp_lost_packets_total", "sfu_nacks_sent_total", "sfu_fec_recovered_packets_total"];

/// Our own client, then Chromium by its codecs.
const PUBLISHERS: [(&str, Option<&str>); 3] =
    [("client", None), ("chromium-h264", Some("h264")), ("chromium-vp8", Some("vp8"))];

/// Measures the publishers of these names, all where there are none, by each way of repair.
pub(crate) fn run(wanted: &[String], repairs: &[String], round_trip: u64) -> Result<()> {
    let names = PUBLISHERS.map(|(name, _)| name);
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("there are {}, not {unknown}", names.join(", "));
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let delay = format!("--delay {}us", round_trip * 500);
    println!("publisher      repair    sent  missing %  not decoded %  freezes   lost  asked  by parity");
    for (publisher, codec) in PUBLISHERS.into_iter().filter(|(name, _)| is_wanted(name)) {
        for repair in repairs {
            let outcome = match codec {
                Some(codec) => chromium(codec, repair, &delay)?,
                None => client(repair, &delay)?,
            };
            println!("{publisher:<14} {repair:<7}{outcome}");
        }
    }
    Ok(())
}

fn chromium(codec: &str, repair: &str, delay: &str) -> Result<String> {
    let scenario = Scenario::begin(&format!("uplink-{codec}-{repair}"))?;
    let server = Server::start_configured(scenario.name(), 1, &[("SFU_REPAIR__MODE", repair)])?;
    let mut relay = Relay::start(server.media_port())?;
    relay.set(delay)?;
    let (width, height, fps) = CAPTURE;
    let parameters = json!({
        "server": server.url(), "room": "uplink", "relay": relay.address().to_string(), "codec": codec,
        "seconds": WATCHED.as_secs(), "capture": { "width": width, "height": height, "fps": fps },
    });
    let mut viewer = None;
    let result = scenario.run("uplink", &parameters, |line| match line {
        "JOINED" => viewer = Some(watch(&server)),
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

fn client(repair: &str, delay: &str) -> Result<String> {
    let scenario = Scenario::begin(&format!("uplink-client-{repair}"))?;
    let (server, mut relay) = server_behind_relay(&scenario, &[("SFU_REPAIR__MODE", repair)])?;
    relay.set(delay)?;
    let url = server.url().replace("http", "ws");
    let (width, height, fps) = (CAPTURE.0.to_string(), CAPTURE.1.to_string(), CAPTURE.2.to_string());
    let capture = ["--width", &*width, "--height", &*height, "--fps", &*fps];
    let join = ["--server", &*url, "--room", "uplink", "--bitrate", BITRATE];
    let publisher = Client::start(&[&["publish"][..], &join, &capture].concat())?;
    let viewer = watch(&server)?;
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

/// A counter of the viewer's video.
fn counter(seen: &Told, name: &str) -> Counter {
    seen.iter().filter_map(|(at, report)| Some((*at, video(report)?[name].as_f64()?))).collect()
}

/// Our client beside the server.
fn watch(server: &Server) -> Result<Client> {
    let url = server.url().replace("http", "ws");
    Client::start(&["subscribe", "--server", &url, "--room", "uplink", "--interval", "100ms"])
}

/// A row: of the pictures that were `sent`, how many did not come, and how many were not decoded.
fn outcome(server: &Server, sent: &Counter, received: &Counter, seen: &Told) -> Result<String> {
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
