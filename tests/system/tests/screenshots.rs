//! Pictures of the page for people to look at: they land in `test-results/screenshots`.

use anyhow::Result;
use serde_json::{Value, json};
use sfu_system_tests::{Relay, Scenario, Server, attempts, list, results_folder};
use std::path::PathBuf;

fn folder() -> Result<PathBuf> {
    let folder = results_folder()?.join("screenshots");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn assert_pictures(result: &Value, least: usize) -> Result<()> {
    let made = list(result, "made");
    assert!(made.len() >= least, "{made:?}");
    for path in made {
        let size = std::fs::metadata(path.as_str().unwrap_or_default())?.len();
        assert!(size > 10_000, "{path} holds a picture");
    }
    Ok(())
}

#[test]
fn the_page_on_desktop_and_phone() -> Result<()> {
    attempts(|| {
        let scenario = Scenario::begin("screenshots")?;
        let server = Server::start(scenario.name())?;
        let parameters = json!({ "server": server.url(), "room": "team", "folder": folder()? });
        assert_pictures(&scenario.run("screenshots", &parameters, |_| ())?, 16)
    })
}

#[test]
fn the_page_says_why_a_picture_is_no_better() -> Result<()> {
    attempts(|| {
        let scenario = Scenario::begin("reasons")?;
        let settings = [("SFU_QOS__PLANNER", "gso"), ("SFU_BANDWIDTH__ESTIMATOR", "dispersion")];
        let server = Server::start_configured(scenario.name(), 1, &settings)?;
        let mut relay = Relay::start(server.media_port())?;
        relay.set("--delay 20ms --rate-down 350kbit --queue-down 300ms")?;
        let parameters = json!({
            "server": server.url(), "room": "team", "folder": folder()?, "relay": relay.address().to_string(),
        });
        let result = scenario.run("reasons", &parameters, |_| ())?;
        println!("{result:#}");
        let says = |viewer: &str, texts: &[&str]| {
            let cards = list(&result, viewer).iter().filter_map(|card| card["text"].as_str());
            cards.filter(|card| texts.iter().any(|text| card.contains(text))).count()
        };
        let slow = ["your connection carries no better", "paused, the connection is slow"];
        assert!(says("weak", &slow) >= 1, "{result:#}");
        let good = ["the best there is", "as large as it is shown", "no better is sent now"];
        assert!(says("strong", &good) >= 1, "{result:#}");
        assert_pictures(&result, 2)
    })
}
