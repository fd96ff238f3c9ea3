//! What nobody watches stops, whoever sends it, and begins again when somebody does. How soon, is printed.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sfu_system_tests::{Background, Scenario, Server, attempts, binary, number};
use std::process::{Command, Stdio};

const ROOM: &str = "obey";
/// Of what was sent before, no more than this is sent while nobody watches: what is on its way, and what a browser sends
/// at least by WHIP, where nothing tells it to stop.
const STOPPED: f64 = 0.05;
const STOPPED_BY_REMB: f64 = 0.5;

fn obey(name: &str, publisher: &str, program: impl FnOnce(&Server) -> Result<Background>) -> Result<Value> {
    let scenario = Scenario::begin(name)?;
    let settings = [("SFU_QOS__PLANNER", "gso"), ("SFU_BANDWIDTH__ESTIMATOR", "dispersion")];
    let server = Server::start_configured(scenario.name(), 1, &settings)?;
    let parameters = json!({
        "server": server.url(), "room": ROOM, "publisher": publisher, "adminToken": server.token(&["--admin"])?,
    });
    let (mut program, mut running) = (Some(program), Ok(None));
    let result = scenario.run("obey", &parameters, |line| {
        if line == "WATCHING"
            && publisher == "none"
            && let Some(program) = program.take()
        {
            running = program(&server).map(Some);
        }
    })?;
    drop(running?);
    println!("{result:#}");
    assert!(result["shownAgainMs"].is_number(), "the picture comes back: {result:#}");
    Ok(result)
}

fn assert_stops(of: &Value, most: f64) {
    assert!(number(of, "while") <= most * number(of, "before"), "{of:#}");
}

fn none(_: &Server) -> Result<Background> {
    anyhow::bail!("the publisher is a page")
}

#[test]
fn the_page_stops_what_nobody_watches() -> Result<()> {
    attempts(|| {
        assert_stops(&obey("obey-page", "page", none)?["sent"], STOPPED);
        Ok(())
    })
}

#[test]
fn a_whip_browser_sends_less_where_nobody_watches() -> Result<()> {
    attempts(|| {
        assert_stops(&obey("obey-whip", "whip", none)?["sent"], STOPPED_BY_REMB);
        Ok(())
    })
}

#[test]
fn the_client_stops_what_nobody_watches() -> Result<()> {
    attempts(|| {
        let result = obey("obey-client", "none", |server| {
            let program = Command::new(binary("sfu-client")?)
                .args(["publish", "--server", &server.url().replace("http", "ws"), "--room", ROOM, "--name", "camera"])
                .args(["--fps", "15", "--bitrate", "500", "--duration", "60s"])
                .stdout(Stdio::null())
                .spawn()
                .context("starting sfu-client")?;
            Ok(Background(program))
        })?;
        // Packets, as the server counts them half a second late.
        assert_stops(&result["arrived"], STOPPED_BY_REMB);
        Ok(())
    })
}
