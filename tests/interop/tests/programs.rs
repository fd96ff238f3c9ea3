//! Our programs against a WHIP/WHEP server that is not ours.

use anyhow::{Context, Result};
use serde_json::Value;
use sfu_interop::Server;
use sfu_system_tests::{Background, binary, list, number, run_to_end};
use std::process::{Command, Stdio};

const SUBSCRIBERS: f64 = 3.0;

/// The load tester fills in room and stream, joins by WHIP and WHEP, and finds what it sent.
fn load(codec: &str) -> Result<()> {
    let server = Server::start()?;
    let (whip, whep) = (server.url("whip"), server.url("whep"));
    let arguments = [
        &["run", "--whip", &whip, "--whep", &whep, "--codec", codec, "--bitrate", "300000", "--fps", "15"][..],
        &["--publishers", "1", "--subscribers", "3", "--duration", "2", "--json"],
    ];
    let output = run_to_end("sfu-bench", &arguments.concat())?;
    let result: Value = serde_json::from_slice(&output.stdout).context("the result is JSON")?;
    assert_eq!(number(&result, "participants"), 1.0 + SUBSCRIBERS, "{result:#}");
    for none in ["join_failures", "connection_failures", "loss", "audio_loss", "duplicates", "foreign"] {
        assert_eq!(number(&result, none), 0.0, "{none}: {result:#}");
    }
    assert!(number(&result, "packets_out") > number(&result, "packets_in"), "each packet went to several: {result:#}");
    assert!(number(&result, "frames") > 0.0, "{result:#}");
    for (latency, of) in [("latency_ms", "video"), ("audio_latency_ms", "sound")] {
        assert!(number(&result[latency], "count") > 0.0, "stamps are found in {of}: {result:#}");
    }
    assert_eq!(number(&result["first_frame_ms"], "count"), SUBSCRIBERS, "each sees a picture: {result:#}");
    Ok(())
}

#[test]
fn the_load_tester_runs_with_vp8() -> Result<()> {
    load("vp8")
}

#[test]
fn the_load_tester_runs_with_h264() -> Result<()> {
    load("h264")
}

#[test]
fn the_client_publishes_and_plays() -> Result<()> {
    let server = Server::start()?;
    let url = |kind: &str| server.url(kind).replace("{room}", "stage").replace("{stream}", "cam");
    let publisher = Command::new(binary("sfu-client")?)
        .args(["publish", "--fps", "15", "--whip", &url("whip")])
        .stdout(Stdio::null())
        .spawn()?;
    let _publisher = Background(publisher);
    let play = ["subscribe", "--whep", &url("whep"), "--frames", "45", "--duration", "20s", "--json"];
    let output = run_to_end("sfu-client", &play)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let summary: Value = serde_json::from_str(text.lines().last().context("a summary")?)?;
    let of_kind = |kind: &str| list(&summary, "streams").iter().find(|stream| stream["kind"] == kind);
    let (video, audio) = (of_kind("video").context("a picture")?, of_kind("audio").context("sound")?);
    assert!(number(video, "frames_decoded") >= 45.0, "{summary:#}");
    assert_eq!(number(video, "decode_errors"), 0.0, "{summary:#}");
    assert_eq!(number(video, "frame_numbers_missing"), 0.0, "{summary:#}");
    assert!(number(audio, "packets_received") > 0.0, "{summary:#}");
    Ok(())
}
