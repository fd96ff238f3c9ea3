//! Many watch our client over paths that lose, ask for nothing that is missing and take no parity: how they go on by keyframes,
//! and by pictures that refer to acknowledged ones.

use crate::client::{Client, server_behind_relay, video};
use anyhow::Result;
use sfu_system_tests::Scenario;
use std::time::Duration;

const VIEWERS: usize = 20;
/// 50 ms from the publisher to those who watch. At the bitrate below most pictures are one packet.
const DELAY: &str = "--delay 25ms";
const LOSS: &str = "--loss-down 5%";
const VIDEO: [&str; 8] = ["--width", "320", "--height", "180", "--bitrate", "200", "--scene", "talking"];
/// From the first join until packets are lost.
const SETTLED: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(60);

/// Measures both ways.
pub(crate) fn run() -> Result<()> {
    println!("recovery      mean P, bytes  recovery / P  recovered  keyframes/min  not shown %  frozen %");
    measure("keyframe", &[])?;
    measure("acknowledged", &["--long-term"])
}

fn measure(name: &str, option: &[&str]) -> Result<()> {
    let scenario = Scenario::begin(&format!("references-{name}"))?;
    let settings = [
        // What subscribers got is known from transport-wide feedback, which is measured for the planner only where the
        // estimator is fixed; and it is that, since loss is no want of room here.
        ("SFU_REPAIR__MODE", "planner"),
        ("SFU_BANDWIDTH__ESTIMATOR", "fixed"),
    ];
    let (server, mut relay) = server_behind_relay(&scenario, &settings)?;
    relay.set(DELAY)?;
    let url = server.url().replace("http", "ws");
    let join = ["--server", &*url, "--room", "references"];
    let publisher = Client::start(&[&["publish", "--no-audio"], option, &VIDEO, &join].concat())?;
    let watch = ["subscribe", "--no-nack", "--no-fec", "--audio-slots", "0", "--video-slots", "1"];
    let viewers: Vec<Client> =
        (0..VIEWERS).map(|_| Client::start(&[&watch[..], &join].concat())).collect::<Result<_>>()?;
    std::thread::sleep(SETTLED);
    let before = Figures::read(&publisher, &viewers);
    relay.set(LOSS)?;
    std::thread::sleep(WATCHED);
    let after = Figures::read(&publisher, &viewers);
    println!("{name:<13} {}", row(&before, &after));
    Ok(())
}

/// What has been sent and seen so far.
struct Figures {
    frames: f64,
    bytes: f64,
    keyframes: f64,
    keyframe_bytes: f64,
    recovered: f64,
    recovery_bytes: f64,
    /// Of all who watch together.
    decoded: f64,
    frozen: f64,
}

impl Figures {
    fn read(publisher: &Client, viewers: &[Client]) -> Self {
        let told = publisher.newest();
        let sent = |name: &str| told["video"][name].as_f64().unwrap_or_default();
        let reports: Vec<_> = viewers.iter().map(Client::newest).collect();
        let seen = |name: &str| reports.iter().filter_map(|report| video(report)?[name].as_f64()).sum();
        Self {
            frames: sent("frames"),
            bytes: sent("bytes"),
            keyframes: sent("keyframes"),
            keyframe_bytes: sent("keyframe_bytes"),
            recovered: told["pipeline"]["recovered"].as_f64().unwrap_or_default(),
            recovery_bytes: sent("recovery_bytes"),
            decoded: seen("frames_decoded"),
            frozen: seen("frozen_s"),
        }
    }
}

fn row(before: &Figures, after: &Figures) -> String {
    let grown = |of: fn(&Figures) -> f64| of(after) - of(before);
    let mean = |bytes: f64, count: f64| if count > 0.0 { bytes / count } else { 0.0 };
    let (frames, keyframes, recovered) = (grown(|f| f.frames), grown(|f| f.keyframes), grown(|f| f.recovered));
    let special = grown(|f| f.keyframe_bytes) + grown(|f| f.recovery_bytes);
    let usual = mean(grown(|f| f.bytes) - special, frames - keyframes - recovered);
    let (minutes, viewers) = (WATCHED.as_secs_f64() / 60.0, VIEWERS as f64);
    format!(
        "{usual:>13.0} {:>13.2} {recovered:>10.0} {:>14.1} {:>12.2} {:>9.2}",
        mean(special, keyframes + recovered) / usual.max(1.0),
        keyframes / minutes,
        100.0 * (1.0 - grown(|f| f.decoded) / (frames * viewers).max(1.0)),
        100.0 * grown(|f| f.frozen) / (60.0 * minutes * viewers),
    )
}
