//! Media on other ways than plain UDP, through the real server with real browsers.

use anyhow::Result;
use serde_json::json;
use sfu_system_tests::{Relay, Scenario, Server, assert_all_flow, attempts};

/// How long media is counted.
const SECONDS: u64 = 6;

fn tcp_only(kind: &str) -> Result<()> {
    let scenario = Scenario::begin(&format!("tcp-{kind}"))?;
    let server = Server::start(scenario.name())?;
    let parameters =
        json!({ "server": server.url(), "room": "tcp", "way": "tcp", "kind": kind, "seconds": SECONDS, "rebinds": 0 });
    let result = scenario.run("paths", &parameters, |_| ())?;
    assert_eq!(result["path"]["protocol"], "tcp", "{result:#}");
    assert_all_flow(&result, 2, server.late_rounds()?);
    Ok(())
}

#[test]
fn tcp_alone_carries_a_call_of_chromium() -> Result<()> {
    attempts(|| tcp_only("chromium"))
}

#[test]
fn tcp_alone_carries_a_call_of_firefox() -> Result<()> {
    attempts(|| tcp_only("firefox"))
}

#[test]
fn a_call_outlives_changes_of_the_clients_port() -> Result<()> {
    attempts(|| {
        let scenario = Scenario::begin("relay")?;
        // One worker, so that the relay knows which port the room will have.
        let server = Server::start_with(scenario.name(), 1)?;
        let mut relay = Relay::start(server.media_port())?;
        let parameters = json!({
            "server": server.url(), "room": "relay", "way": "relay", "kind": "chromium", "relay": relay.address().to_string(),
            "seconds": SECONDS, "rebinds": 2,
        });
        let mut changed = Ok(());
        let result = scenario.run("paths", &parameters, |line| {
            if line == "REBIND" && changed.is_ok() {
                changed = relay.change_ports();
            }
        })?;
        changed?;
        assert_eq!(result["path"]["port"], relay.address().port(), "the media goes through the relay: {result:#}");
        assert_eq!(result["peers"][0], result["peers"][1], "the call goes on with the same connection: {result:#}");
        assert_all_flow(&result, 2, server.late_rounds()?);
        Ok(())
    })
}
