//! Group calls of real browsers on the product's page, through the real server.

use anyhow::Result;
use serde_json::{Value, json};
use sfu_system_tests::{
    Scenario, Server, assert_all_flow, assert_nothing_lost, attempts, list, number, results_folder,
};

/// How long media is counted: long enough that a lost group of frames shows.
const SPAN_SECONDS: u64 = 20;
/// Pairs need less, there being one flow each way.
const PAIR_SECONDS: u64 = 8;
/// Bytes of the page's first offer: two thirds of what the server takes by default (`limits.join_bytes`).
const MOST_OFFER: f64 = 40_960.0 * 2.0 / 3.0;

/// A call in which everybody gets everybody's media, nothing of it lost.
fn group(name: &str, chromiums: usize, firefoxes: usize, seconds: u64, options: &Value) -> Result<Value> {
    let scenario = Scenario::begin(name)?;
    let server = Server::start(name)?;
    let parameters = json!({
        "server": server.url(), "room": name, "chromiums": chromiums, "firefoxes": firefoxes, "seconds": seconds,
        "options": options, "screenshot": results_folder()?.join(format!("{name}.png")),
    });
    let result = scenario.run("group", &parameters, |_| ())?;
    assert_all_flow(&result, chromiums + firefoxes, server.late_rounds()?);
    assert_nothing_lost(&result);
    Ok(result)
}

#[test]
fn three_chromiums_and_a_firefox_with_simulcast_vp8() -> Result<()> {
    attempts(|| {
        let result = group("group-vp8", 3, 1, SPAN_SECONDS, &json!({}))?;
        for tab in list(&result, "tabs") {
            let layers = list(tab, "sent").iter().filter(|stream| stream["kind"] == "video").count();
            assert!(layers >= 2, "{} sends simulcast", tab["name"]);
        }
        for offer in list(&result, "offers").iter().filter_map(Value::as_f64) {
            assert!(offer <= MOST_OFFER, "a browser with more codecs could not join: {offer} bytes");
        }
        Ok(())
    })
}

/// A pair for a codec: two Chromiums, and Chromium with Firefox where Firefox has the codec too.
fn pair(codec: &str, firefox: bool) -> Result<()> {
    let mut constellations = vec![(2, 0)];
    if firefox {
        constellations.push((1, 1));
    }
    for (chromiums, firefoxes) in constellations {
        let name = format!("pair-{codec}-{chromiums}-{firefoxes}");
        let result = group(&name, chromiums, firefoxes, PAIR_SECONDS, &json!({ "codec": codec }))?;
        for tab in list(&result, "tabs") {
            for stream in list(tab, "video") {
                let used = stream["codec"].as_str().unwrap_or_default().to_ascii_lowercase();
                assert_eq!(used, format!("video/{codec}"), "{tab:#}");
            }
        }
    }
    Ok(())
}

#[test]
fn vp9_in_pairs() -> Result<()> {
    attempts(|| pair("vp9", true))
}

#[test]
fn av1_in_pairs() -> Result<()> {
    attempts(|| pair("av1", true))
}

/// Firefox has H.264 only after it downloaded a plug-in.
#[test]
fn h264_in_pairs() -> Result<()> {
    attempts(|| pair("h264", false))
}

/// A session whose connection was lost is kept for longer than the others are waited for, so that they see who comes and
/// goes only where the page says so. How soon, is printed.
#[test]
fn who_leaves_disappears_and_who_reloads_is_back() -> Result<()> {
    attempts(|| {
        let scenario = Scenario::begin("leave")?;
        let server = Server::start_configured(scenario.name(), 2, &[("SFU_SIGNAL__RESUME_SECONDS", "3600")])?;
        let took = scenario.run("leave", &json!({ "server": server.url(), "room": "leave" }), |_| ())?;
        println!("milliseconds until the others see it: {took}");
        for what in ["leave", "close", "reload"] {
            assert!(number(&took, what) > 0.0, "{what}: {took}");
        }
        Ok(())
    })
}

#[test]
fn joining_a_running_call_is_quick() -> Result<()> {
    const TIMES: usize = 20;
    let scenario = Scenario::begin("join-time")?;
    let server = Server::start(scenario.name())?;
    let parameters = json!({ "server": server.url(), "room": "join-time", "times": TIMES });
    let result = scenario.run("join-time", &parameters, |_| ())?;
    let mut took: Vec<f64> = list(&result, "took").iter().filter_map(Value::as_f64).collect();
    assert_eq!(took.len(), TIMES, "{result}");
    took.sort_by(f64::total_cmp);
    println!("join to first decoded frame: median {:.0} ms, of {took:.0?}", took[TIMES / 2]);
    assert!(took[0] > 0.0, "a frame is decoded after the join: {took:?}");
    Ok(())
}

/// A receiving section that comes back has its source and its keys, so its packets need numbers that were never used.
#[test]
fn a_receiving_section_that_stops_and_comes_back_goes_on() -> Result<()> {
    const TIMES: usize = 4;
    attempts(|| {
        for kind in ["chromium", "firefox"] {
            let scenario = Scenario::begin(&format!("toggle-{kind}"))?;
            let server = Server::start(scenario.name())?;
            let parameters = json!({ "server": server.url(), "room": "toggle", "kind": kind, "times": TIMES });
            let result = scenario.run("toggle", &parameters, |_| ())?;
            assert_eq!(result["first"], true, "{result}");
            assert_eq!(list(&result, "directions"), ["inactive", "recvonly"].repeat(TIMES), "{result}");
            assert_eq!(list(&result, "decoded"), [true; TIMES], "{result}");
            assert_eq!(server.dropped("srtp_index_reused")?, 0, "no number is used twice");
        }
        Ok(())
    })
}
