//! What the page does beyond showing pictures: it survives losses of its connection, shares screens, chats, moderates,
//! and obeys the server about its encoders.

use anyhow::Result;
use serde_json::{Value, json};
use sfu_system_tests::{Scenario, Server, list, number};

/// How long signalling stays cut: longer than the page's first attempts to resume.
const CUT_SECONDS: u64 = 4;
/// Share of the frames that must arrive while signalling is cut.
const LEAST_DECODED: f64 = 0.95;

fn run(name: &str, more: &Value) -> Result<Value> {
    let scenario = Scenario::begin(name)?;
    let server = Server::start(name)?;
    let mut parameters = json!({ "server": server.url(), "room": name });
    for (name, value) in more.as_object().into_iter().flatten() {
        parameters[name] = value.clone();
    }
    scenario.run(name, &parameters, |_| ())
}

#[test]
fn media_flows_on_while_signalling_is_cut_and_taken_up_again() -> Result<()> {
    let result = run("resume", &json!({ "seconds": CUT_SECONDS }))?;
    for tab in list(&result, "tabs") {
        let [video] = list(tab, "video") else { panic!("one picture: {tab:#}") };
        let share = number(video, "decoded") / number(video, "encoded");
        assert!(share >= LEAST_DECODED, "no gap: {video:#}");
        assert_eq!(number(video, "lost"), 0.0, "{video:#}");
        assert!(number(&list(tab, "audio")[0], "packets") > 0.0, "{tab:#}");
    }
    assert_eq!(number(&result, "peers"), 1.0, "the same peer connection: {result:#}");
    let left = |notice: &Value| notice.as_str().is_some_and(|text| text.contains("left"));
    assert!(!list(&result, "notices").iter().any(left), "the other did not notice: {result:#}");
    Ok(())
}

#[test]
fn the_call_goes_on_after_the_server_was_restarted() -> Result<()> {
    let scenario = Scenario::begin("restart")?;
    let mut server = Server::start(scenario.name())?;
    let parameters = json!({ "server": server.url(), "room": "restart" });
    let mut restarted = Ok(());
    let result = scenario.run("restart", &parameters, |line| {
        if line == "RESTART" {
            restarted = server.restart();
        }
    })?;
    restarted?;
    assert_eq!(number(&result, "tiles"), 2.0, "nobody is there twice: {result:#}");
    for tab in list(&result, "tabs") {
        assert_eq!(number(tab, "peers"), 2.0, "one connection to each server: {tab:#}");
    }
    Ok(())
}
