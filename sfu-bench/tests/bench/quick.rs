//! The answer in half a minute, asked for less.

use crate::harness::{Bench, Folder, server_program};

#[tokio::test]
async fn quick_starts_a_server_and_ends_with_an_answer() {
    let folder = Folder::new();
    // It finds the server beside itself.
    server_program();
    // The floor sends a fixed number of packets, to all and then again: to few it takes many rounds.
    let ended = Bench::start_among(&folder, "quick --subscribers 60 --duration 1 --html report.html").end().await;
    assert!(ended.success, "{ended:?}");
    assert!(ended.out.starts_with("60 watch one stream of 1.5 Mbit/s\n"), "{ended:?}");
    for answer in [
        "a forwarded packet costs",
        "times what sealing and sending it costs at least",
        "at that price a core carries",
        "memory per watcher",
        "latency through the server",
        "from join to first picture",
    ] {
        assert!(ended.out.contains(answer), "{answer}: {ended:?}");
    }
    assert!(!ended.out.contains("NaN") && !ended.out.contains("inf"), "{ended:?}");
    assert!(folder.read("report.html").contains("Against the floor"), "the report has the floor");
}

#[tokio::test]
async fn what_is_no_server_is_named() {
    let ended = Bench::start("quick --sfu /no/such/sfu").end().await;
    assert!(!ended.success && ended.out.is_empty(), "{ended:?}");
    assert!(ended.err.contains("/no/such/sfu") && ended.err.contains("cargo build"), "{ended:?}");
}
