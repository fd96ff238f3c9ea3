//! The reference client against the server: pictures in order, and the time to join.

use anyhow::{Context, Result};
use serde_json::Value;
use sfu_system_tests::{Scenario, Server, binary, list, number, run_to_end};
use std::process::{Command, Stdio};

const FRAMES: &str = "150";

fn last_line(output: &std::process::Output) -> Result<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(serde_json::from_str(text.lines().last().context("a last line")?)?)
}

#[test]
fn published_pictures_arrive_whole_and_in_order() -> Result<()> {
    let scenario = Scenario::begin("client")?;
    let server = Server::start(scenario.name())?;
    let url = server.url().replace("http://", "ws://");
    let native = ["--server", &url, "--room", "client"];
    let mut publisher = Command::new(binary("sfu-client")?)
        .args(["publish", "--fps", "15", "--duration", "60s"])
        .args(native)
        .stdout(Stdio::null())
        .spawn()?;
    let subscribe = [&["subscribe", "--frames", FRAMES, "--duration", "40s", "--json"][..], &native].concat();
    let received = run_to_end("sfu-client", &subscribe);
    publisher.kill()?;
    publisher.wait()?;
    let summary = last_line(&received?)?;
    let video = list(&summary, "streams").iter().find(|stream| stream["kind"] == "video").context("a picture")?;
    println!("glass to glass: {} ms at the median, {} ms at 95 %", video["latency_p50_ms"], video["latency_p95_ms"]);
    assert!(number(video, "frames_decoded") >= 150.0, "{video:#}");
    assert_eq!(number(video, "decode_errors"), 0.0, "{video:#}");
    assert_eq!(number(video, "frame_numbers_missing"), 0.0, "burned-in numbers are consecutive: {video:#}");
    assert!(number(video, "frame_numbers_read") >= 150.0, "every picture carries its number: {video:#}");
    Ok(())
}

#[test]
fn joining_is_quick() -> Result<()> {
    let scenario = Scenario::begin("client-join-time")?;
    let server = Server::start(scenario.name())?;
    let url = server.url().replace("http://", "ws://");
    let output = run_to_end("sfu-client", &["join-time", "--server", &url, "--room", "join", "--publish", "--json"])?;
    println!("join to first decoded picture: {}", last_line(&output)?);
    Ok(())
}
