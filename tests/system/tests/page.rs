//! What the page does beyond showing pictures: it survives losses of its connection, shares screens, chats, moderates,
//! and obeys the server about its encoders.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sfu_system_tests::{Relay, Scenario, Server, attempts, list, number, results_folder};

/// How long signalling stays cut: longer than the page's first attempts to resume.
const CUT_SECONDS: u64 = 4;
/// Share of the frames that must arrive while signalling is cut.
const LEAST_RECEIVED: f64 = 0.95;

/// Runs the scenario of this name; `parameters` may add to what all of them get.
fn run(name: &str, parameters: impl FnOnce(&Server) -> Result<Value>) -> Result<Value> {
    let scenario = Scenario::begin(name)?;
    let server = Server::start(name)?;
    let mut all = json!({ "server": server.url(), "room": name });
    for (name, value) in parameters(&server)?.as_object().context("an object")? {
        all[name] = value.clone();
    }
    scenario.run(name, &all, |_| ())
}

fn screenshot(name: &str) -> Result<Value> {
    Ok(json!({ "screenshot": results_folder()?.join(format!("{name}.png")) }))
}

#[test]
fn media_flows_on_while_signalling_is_cut_and_taken_up_again() -> Result<()> {
    attempts(|| {
        let result = run("resume", |_| Ok(json!({ "seconds": CUT_SECONDS })))?;
        for tab in list(&result, "tabs") {
            let [video] = list(tab, "video") else { panic!("one picture: {tab:#}") };
            let share = number(video, "received") / number(video, "encoded");
            assert!(share >= LEAST_RECEIVED, "no gap: {video:#}");
            assert_eq!(number(video, "lost"), 0.0, "{video:#}");
            assert!(number(&list(tab, "audio")[0], "packets") > 0.0, "{tab:#}");
        }
        assert_eq!(number(&result, "peers"), 1.0, "the same peer connection: {result:#}");
        let left = |notice: &Value| notice.as_str().is_some_and(|text| text.contains("left"));
        assert!(!list(&result, "notices").iter().any(left), "the other did not notice: {result:#}");
        Ok(())
    })
}

#[test]
fn the_call_goes_on_after_the_server_crashed_or_was_restarted() -> Result<()> {
    attempts(|| {
        let scenario = Scenario::begin("restart")?;
        let mut server = Server::start(scenario.name())?;
        let ways = [("CRASH", "-KILL"), ("RESTART", "-TERM")];
        let parameters = json!({ "server": server.url(), "room": "restart", "ways": ways.map(|(name, _)| name) });
        let mut restarted = Ok(());
        let result = scenario.run("restart", &parameters, |line| {
            if let Some((_, signal)) = ways.iter().find(|(name, _)| *name == line) {
                restarted = server.restart(signal);
            }
        })?;
        restarted?;
        assert_eq!(number(&result, "tiles"), 2.0, "nobody is there twice: {result:#}");
        assert_eq!(result["open"], json!([1, 1]), "old connections are closed: {result:#}");
        Ok(())
    })
}

/// Media is cut for some seconds, with signalling or without.
fn outage(kind: &str, cut_signalling: bool) -> Result<()> {
    let scenario = Scenario::begin(&format!("outage-{kind}-{cut_signalling}"))?;
    // One worker, so that the relay knows which port the room will have.
    let server = Server::start_with(scenario.name(), 1)?;
    let mut relay = Relay::start(server.media_port())?;
    let parameters = json!({
        "server": server.url(), "room": "outage", "kind": kind, "relay": relay.address().to_string(),
        "cutSignalling": cut_signalling, "seconds": CUT_SECONDS,
    });
    let mut switched = Ok(());
    let result = scenario.run("outage", &parameters, |line| {
        if switched.is_ok() && ["CUT", "MEND"].contains(&line) {
            switched = relay.cut(line == "CUT");
        }
    })?;
    switched?;
    assert_eq!(number(&result, "peers"), 1.0, "ICE was restarted, nothing more: {result:#}");
    assert_eq!(result["path"]["port"], relay.address().port(), "the media goes through the relay: {result:#}");
    assert_eq!(number(&result, "tiles"), 2.0, "nobody is there twice: {result:#}");
    Ok(())
}

#[test]
fn chromium_returns_after_its_network_was_away() -> Result<()> {
    attempts(|| outage("chromium", true))
}

#[test]
fn chromium_returns_after_its_media_was_away() -> Result<()> {
    attempts(|| outage("chromium", false))
}

#[test]
fn firefox_returns_after_its_network_was_away() -> Result<()> {
    attempts(|| outage("firefox", true))
}

#[test]
fn a_shared_screen_arrives_beside_the_camera() -> Result<()> {
    attempts(|| {
        let result = run("screen", |_| screenshot("screen"))?;
        assert_eq!(result["largest"], "presenter's screen", "{result:#}");
        assert_eq!(result["mode"], "spotlight", "{result:#}");
        assert_eq!(result["sharing"], "false", "it can be ended: {result:#}");
        Ok(())
    })
}

#[test]
fn messages_go_both_ways() -> Result<()> {
    attempts(|| {
        let texts = ["<i>5 > 3</i> & Grüße 👋", "auch so", "three"];
        let result = run("chat", |_| Ok(json!({ "texts": texts })))?;
        assert_eq!(result["one"], json!(texts));
        assert_eq!(result["two"], json!(texts));
        assert_eq!(result["late"], json!(texts[2..]), "nothing is kept");
        assert_eq!(result["unread"], "", "what was read is not counted");
        Ok(())
    })
}

#[test]
fn moderators_mute_remove_and_close() -> Result<()> {
    attempts(|| {
        let result = run("moderation", |server| {
            Ok(json!({ "moderatorToken": server.token(&["--moderate"])?, "guestToken": server.token(&[])? }))
        })?;
        assert_eq!(result["buttonsOfGuests"], 0, "{result:#}");
        assert_eq!(result["sendsSound"], false, "{result:#}");
        assert_eq!(result["sendsSoundAgain"], true, "who was muted may speak again: {result:#}");
        assert!(result["notices"].to_string().contains("A moderator switched your microphone off."), "{result:#}");
        assert_eq!(result["removed"], "You were removed from the room.", "{result:#}");
        assert_eq!(result["camerasStillOpen"], false, "{result:#}");
        assert_eq!(result["closed"], "A moderator closed the room.", "{result:#}");
        Ok(())
    })
}

#[test]
fn a_directive_reaches_the_encoder_and_lapses() -> Result<()> {
    attempts(|| {
        let result = run("directive", |server| Ok(json!({ "adminToken": server.token(&["--admin"])? })))?;
        assert_eq!(result["outcomes"], json!(["DIRECTIVE_OUTCOME_APPLIED", "DIRECTIVE_OUTCOME_APPLIED"]), "{result:#}");
        assert_eq!(result["during"], json!({ "active": true, "maxBitrate": 60_000 }), "{result:#}");
        let (before, during) = (number(&result, "rate"), number(&result, "rateDuring"));
        assert!(during < before / 2.0, "the bitrate falls: {result:#}");
        Ok(())
    })
}

#[test]
fn five_see_and_hear_each_other() -> Result<()> {
    attempts(|| {
        let result = run("five", |_| screenshot("five"))?;
        let tabs = list(&result, "tabs");
        assert_eq!(tabs.len(), 5);
        for tab in tabs {
            let of_kind =
                |kind: &'static str| list(tab, "incoming").iter().filter(move |stream| stream["kind"] == kind);
            assert_eq!(of_kind("video").count(), 4, "{tab:#}");
            assert_eq!(
                of_kind("audio").filter(|stream| number(stream, "totalAudioEnergy") > 0.0).count(),
                4,
                "{tab:#}"
            );
            assert_eq!(number(tab, "peers"), 1.0, "nobody had to connect anew: {tab:#}");
        }
        Ok(())
    })
}
