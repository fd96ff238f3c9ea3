//! Network scenarios as a program plays them: what it prints and writes, and what it refuses.

use crate::harness::{Bench, Folder};

#[tokio::test]
async fn a_scenario_is_played_and_told_of() {
    let folder = Folder::new();
    // 3 Mbit/s: a packet of 1,500 bytes each 4 ms.
    folder.write("steady.down", "4\n");
    let arguments = "scenarios --scenario trace rail-4 --estimator fixed --seeds 1 --video single --trace steady.down \
                     --json all.json --html all.html";
    let ended = Bench::start_among(&folder, arguments).end().await;
    assert!(ended.success && ended.out.contains("0 trace: ") && ended.out.contains("8 rail-4: "), "{ended:?}");
    let json: serde_json::Value = serde_json::from_str(&folder.read("all.json")).unwrap();
    let outcome = &json["outcomes"][0];
    assert_eq!((&outcome["scenario"], &outcome["estimator"]), (&"trace".into(), &"fixed".into()));
    assert!(outcome["metrics"]["Utilisation"]["mean"].as_f64().unwrap() > 90.0, "{outcome}");
    assert_eq!(outcome["metrics"]["Freezes"]["mean"], 0.0);
    assert!(folder.read("all.html").contains("rail-4"));
}

#[tokio::test]
async fn what_cannot_be_played_is_skipped_or_refused_with_its_reason() {
    let folder = Folder::new();
    folder.write("bad.down", "5\n4\n");
    let ended = Bench::start_among(&folder, "scenarios --scenario lte-drive --seeds 1").end().await;
    assert!(ended.success && ended.err.contains("lte-drive is skipped: it needs mm-ATT"), "{ended:?}");
    let refusals = [
        ("--scenario nowhere", "there is no scenario \"nowhere\"; there are steps"),
        ("--estimator best", "there is no estimator \"best\"; there are fixed"),
        ("--trace bad.down", "line 2: earlier than the line before"),
        ("--trace up,none.down", "cannot read the trace up"),
        ("--traces nowhere", "nowhere is no folder"),
        ("--seeds 0", "0 is not in 1..=10000"),
        ("--video best", "possible values: adaptive, single, simulcast"),
    ];
    for (arguments, reason) in refusals {
        let ended = Bench::start_among(&folder, &format!("scenarios {arguments}")).end().await;
        assert!(!ended.success && ended.out.is_empty() && ended.err.contains(reason), "{arguments}: {ended:?}");
    }
}

#[tokio::test]
async fn scenarios_are_named() {
    let folder = Folder::new();
    let ended = Bench::start_among(&folder, "scenarios --list").end().await;
    assert!(ended.success && ended.out.contains(" 1 steps\n") && ended.out.contains("13 elevator\n"), "{ended:?}");
}
