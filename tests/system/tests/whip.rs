//! WHIP and WHEP: clients that know nothing of this server, publishing and playing.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sfu_system_tests::{Background, Scenario, Server, attempts, binary, list, number, run_to_end};
use std::process::{Command, Stdio};

/// How long media is counted.
const SECONDS: u64 = 6;
/// Frames per second of a moving picture, on a machine that has hardly any time for it.
const MOVES: f64 = 2.0;
const ROOM: &str = "stage";
const STREAM: &str = "cam";

fn run(scenario: &Scenario, server: &Server, more: Value, on_line: impl FnMut(&str)) -> Result<Value> {
    let mut parameters = json!({ "server": server.url(), "room": ROOM, "stream": STREAM, "seconds": SECONDS });
    for (name, value) in more.as_object().context("an object")? {
        parameters[name] = value.clone();
    }
    scenario.run("whip", &parameters, on_line)
}

/// The browser that plays decodes pictures and hears sound, and sessions end as the protocol says.
fn assert_plays(result: &Value) {
    let received = list(result, "received");
    let of_kind = |kind: &str| received.iter().find(|stream| stream["kind"] == kind);
    let video = of_kind("video").unwrap_or_else(|| panic!("a picture arrives: {result:#}"));
    let audio = of_kind("audio").unwrap_or_else(|| panic!("sound arrives: {result:#}"));
    assert!(number(video, "decoded") >= MOVES * SECONDS as f64, "the picture moves: {video:#}");
    assert!(number(video, "frameWidth") >= 320.0 && number(video, "frameHeight") >= 180.0, "{video:#}");
    assert!(number(audio, "totalAudioEnergy") > 0.0, "it is not silence: {audio:#}");
    assert_eq!(result["whep"]["type"], "application/sdp", "{result:#}");
    assert_eq!(result["whepEnded"], json!([200]), "{result:#}");
}

/// Plays by WHEP with the reference client until it has had enough; its last line is the summary.
fn play_with_client(server: &Server, enough: &[&str]) -> Result<Value> {
    let url = format!("{}/whep/{ROOM}/{STREAM}", server.url());
    let output = run_to_end("sfu-client", &[&["subscribe", "--whep", &url, "--json"], enough].concat())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let summary: Value = serde_json::from_str(text.lines().last().context("a summary")?)?;
    assert_eq!(summary["event"], "summary", "{summary}");
    Ok(summary)
}

fn video_of(summary: &Value) -> &Value {
    list(summary, "streams").iter().find(|stream| stream["kind"] == "video").expect("a video stream")
}

#[test]
fn chromium_publishes_firefox_and_the_client_play() -> Result<()> {
    attempts(|| {
        let scenario = Scenario::begin("whip-chromium")?;
        let server = Server::start(scenario.name())?;
        let mut summary = Err(anyhow::anyhow!("the player was not started"));
        let parties = json!({ "publisher": "chromium", "player": "firefox", "simulcast": true });
        let result = run(&scenario, &server, parties, |line| {
            if line == "PLAYING" {
                summary = play_with_client(&server, &["--duration", "5s"]);
            }
        })?;
        assert_plays(&result);
        assert_eq!(result["whipEnded"], json!([200]), "{result:#}");
        let summary = summary?;
        assert!(number(video_of(&summary), "frames_received") > 0.0, "{summary:#}");
        Ok(())
    })
}

#[test]
fn chromium_publishes_h264_and_the_client_decodes_it() -> Result<()> {
    attempts(|| {
        let scenario = Scenario::begin("whip-h264")?;
        let server = Server::start(scenario.name())?;
        let mut summary = Err(anyhow::anyhow!("the player was not started"));
        let parties = json!({ "publisher": "chromium", "player": "none", "codec": "h264" });
        run(&scenario, &server, parties, |line| {
            if line == "PUBLISHING" {
                summary = play_with_client(&server, &["--frames", "45", "--duration", "20s"]);
            }
        })?;
        let summary = summary?;
        let video = video_of(&summary);
        assert_eq!(video["codec"], "H264", "{summary:#}");
        assert!(number(video, "frames_decoded") >= 45.0, "{summary:#}");
        Ok(())
    })
}

#[test]
fn firefox_publishes_chromium_plays() -> Result<()> {
    attempts(|| {
        let scenario = Scenario::begin("whip-firefox")?;
        let server = Server::start(scenario.name())?;
        let result = run(&scenario, &server, json!({ "publisher": "firefox", "player": "chromium" }), |_| ())?;
        assert_plays(&result);
        Ok(())
    })
}

#[test]
fn the_client_publishes_chromium_plays() -> Result<()> {
    attempts(|| {
        let scenario = Scenario::begin("whip-client")?;
        let server = Server::start(scenario.name())?;
        let url = format!("{}/whip/{ROOM}/{STREAM}", server.url());
        let publisher = Command::new(binary("sfu-client")?)
            .args(["publish", "--whip", &url, "--fps", "15"])
            .stdout(Stdio::null())
            .spawn()?;
        let _publisher = Background(publisher);
        let result = run(&scenario, &server, json!({ "publisher": "none", "player": "chromium" }), |_| ())?;
        assert_plays(&result);
        Ok(())
    })
}
