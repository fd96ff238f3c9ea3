//! What a token allows of video holds for everybody: the page, a browser that publishes by WHIP, and a program that does
//! not listen.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sfu_system_tests::{Background, Scenario, Server, attempts, binary, number};
use std::process::{Command, Stdio};

/// How long is counted, from one second after the first packet on.
const SECONDS: u64 = 10;
const BITRATE: f64 = 400_000.0;
const FPS: f64 = 15.0;
const HEIGHT: f64 = 360.0;
/// Frames per second of a moving picture, on a machine that has hardly any time for it.
const MOVES: f64 = 2.0;
const TOLERANCE: f64 = 1.05;
/// A keyframe may come at once, and is paid for afterwards: half a second's worth.
const BURST_SECONDS: f64 = 0.5;

/// What a viewer gets of somebody with a token for 360 lines, 15 frames per second and 400 kbit/s.
fn capped(
    name: &str,
    publisher: &str,
    program: impl FnOnce(&Server, &str) -> Result<Option<Background>>,
) -> Result<Value> {
    let scenario = Scenario::begin(name)?;
    let server = Server::start(scenario.name())?;
    let token = server.token(&[
        "--identity",
        "camera",
        "--publish-max-bitrate",
        &BITRATE.to_string(),
        "--publish-max-fps",
        &FPS.to_string(),
        "--publish-max-height",
        &HEIGHT.to_string(),
    ])?;
    let parameters = json!({
        "server": server.url(), "room": "capped", "publisher": publisher, "token": token, "seconds": SECONDS,
        "noise": true, "caps": { "bitrate": BITRATE },
    });
    let (mut program, mut running) = (Some(program), Ok(None));
    let result = scenario.run("caps", &parameters, |line| {
        if line == "WATCHING"
            && let Some(program) = program.take()
        {
            running = program(&server, &token);
        }
    })?;
    drop(running?);
    println!("{result:#}; over the cap: {} packets", server.dropped("over_cap")?);
    let most = TOLERANCE * (1.0 + BURST_SECONDS / SECONDS as f64);
    assert!(number(&result, "bitrate") <= most * BITRATE, "{result:#}");
    assert!(number(&result, "fps") <= most * FPS, "{result:#}");
    assert!(number(&result, "height") <= HEIGHT, "{result:#}");
    Ok(result)
}

/// It obeys, so that the picture moves.
fn assert_watchable(result: &Value) {
    assert!(number(result, "decoded") >= MOVES, "{result:#}");
    assert!(number(result, "height") > 0.0, "{result:#}");
}

#[test]
fn the_page_keeps_to_its_token() -> Result<()> {
    attempts(|| {
        let result = capped("caps-page", "page", |_, _| Ok(None))?;
        assert_watchable(&result);
        Ok(())
    })
}

#[test]
fn a_whip_browser_keeps_to_its_token() -> Result<()> {
    attempts(|| {
        let result = capped("caps-whip", "whip", |_, _| Ok(None))?;
        assert_watchable(&result);
        Ok(())
    })
}

/// The reference client by WHIP, which has no ear for REMB.
#[test]
fn a_program_that_does_not_listen_is_cut() -> Result<()> {
    attempts(|| {
        capped("caps-deaf", "none", |server, token| {
            let program = Command::new(binary("sfu-client")?)
                .args(["publish", "--whip", &format!("{}/whip/capped/camera", server.url()), "--token", token])
                .args(["--scene", "rush", "--bitrate", "1500", "--duration", "30s"])
                .stdout(Stdio::null())
                .spawn()
                .context("starting sfu-client")?;
            Ok(Some(Background(program)))
        })?;
        Ok(())
    })
}
