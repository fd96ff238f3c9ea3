//! Joining over a path with a round trip of 200 ms.

use anyhow::Result;
use serde_json::json;
use sfu_system_tests::{Relay, Scenario, Server, attempts, list};

/// Joins per row, of which the median is printed. `FAR_JOINS` takes another number.
const TIMES: usize = 3;

/// Half the round trip.
const ONE_WAY: u32 = 100;

fn join(viewer: &str, publisher_is_far: bool) -> Result<()> {
    let place = if publisher_is_far { "far" } else { "near" };
    let scenario = Scenario::begin(&format!("far-join-{viewer}-{place}"))?;
    // One worker, so that the relay knows which port the room will have.
    let server = Server::start_with(scenario.name(), 1)?;
    let mut relay = Relay::start(server.media_port())?;
    relay.delay(ONE_WAY)?;
    let way = relay.address().to_string();
    let times = std::env::var("FAR_JOINS").ok().and_then(|times| times.parse().ok()).unwrap_or(TIMES);
    let parameters = json!({
        "server": server.url(), "room": "far", "viewer": viewer, "way": way, "times": times,
        "publisherWay": publisher_is_far.then_some(&way),
    });
    let result = scenario.run("far-join", &parameters, |_| ())?;
    let took = list(&result, "took");
    assert_eq!(took.len(), times, "{result}");
    let row = ["connected", "frame"].map(|what| {
        let mut all: Vec<f64> = took.iter().filter_map(|one| one[what].as_f64()).collect();
        all.sort_by(f64::total_cmp);
        assert!(all.len() == times && all[0] > 0.0, "{result}");
        format!("{:.0} ({:.0} to {:.0}) ms", all[times / 2], all[0], all[times - 1])
    });
    println!("| {viewer} | {place} | {} | {} |", row[0], row[1]);
    Ok(())
}

#[test]
fn far_viewers_join_near_and_far_publishers() -> Result<()> {
    println!("| viewer at RTT 200 ms | publisher | connected | first frame |");
    for viewer in ["chromium", "firefox"] {
        for publisher_is_far in [false, true] {
            attempts(|| join(viewer, publisher_is_far))?;
        }
    }
    Ok(())
}
