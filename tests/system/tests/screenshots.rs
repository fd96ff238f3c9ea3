//! Pictures of the page for people to look at: they land in `test-results/screenshots`.

use anyhow::Result;
use serde_json::json;
use sfu_system_tests::{Scenario, Server, attempts, results_folder};

#[test]
fn the_page_on_desktop_and_phone() -> Result<()> {
    attempts(|| {
        let scenario = Scenario::begin("screenshots")?;
        let server = Server::start(scenario.name())?;
        let folder = results_folder()?.join("screenshots");
        std::fs::create_dir_all(&folder)?;
        let made = scenario.run(
            "screenshots",
            &json!({ "server": server.url(), "room": "team", "folder": folder }),
            |_| (),
        )?;
        let made = made["made"].as_array().expect("a list of files");
        assert!(made.len() >= 16, "{made:?}");
        for path in made {
            let size = std::fs::metadata(path.as_str().unwrap_or_default())?.len();
            assert!(size > 10_000, "{path} holds a picture");
        }
        Ok(())
    })
}
