//! Runs that end before their time: what was measured until then is kept, and the exit code says that it is not all.

use crate::harness::{Bench, Found, Server};

/// Longer than any test waits.
const LOAD: &str = "--subscribers 2 --bitrate 200000 --settle 0 --duration 600";

/// A load in the midst of being measured: its packets have been going out for a while.
async fn under_way(server: &Server, more: &str) -> Bench {
    let bench = Bench::start(&format!("run --server {} {LOAD} {more}", server.url()));
    server.wait_until("sfu_rtp_sent_packets_total", |packets| packets >= 400.0).await;
    bench
}

/// It says why it ended, and has results of some time.
async fn partial(bench: Bench, reason: &str) -> Found {
    let ended = bench.end().await;
    assert!(!ended.success, "{ended:?}");
    let found = ended.result();
    assert!(found.text("ended_early").contains(reason), "{found}");
    assert!((0.1..600.0).contains(&found.number("seconds")), "{found}");
    assert!(found.number("packets_out") > 0.0 && found.number("frames") > 0.0, "{found}");
    assert_eq!(found.number("joins"), 3.0, "{found}");
    found
}

#[tokio::test]
async fn a_server_whose_process_ends_leaves_results() {
    let server = Server::start().await;
    let bench = under_way(&server, &format!("--json --server-pid {}", server.pid())).await;
    drop(server);
    let found = partial(bench, "process has ended").await;
    assert!(found.number("server.rss") > 0.0, "{found}");
}

#[tokio::test]
async fn a_server_that_falls_silent_leaves_results() {
    let server = Server::start().await;
    let bench = under_way(&server, "--json").await;
    drop(server);
    partial(bench, "no packet came").await;
}

#[tokio::test]
async fn a_server_that_says_goodbye_leaves_results() {
    let server = Server::start().await;
    let bench = under_way(&server, "--json").await;
    server.signal("TERM").await;
    let found = partial(bench, "connection").await;
    assert_eq!(found.number("connection_failures"), 3.0, "{found}");
}

#[tokio::test]
async fn ctrl_c_leaves_results() {
    let server = Server::start().await;
    let bench = under_way(&server, "--json").await;
    bench.interrupt().await;
    let found = partial(bench, "interrupted").await;
    found.assert_zero(&["loss", "connection_failures"]);
    server.wait_until("sfu_participants", |participants| participants == 0.0).await;
}

#[tokio::test]
async fn ctrl_c_during_the_joins_says_how_far_they_came() {
    let server = Server::start().await;
    let bench = Bench::start(&format!("run --server {} --join-rate 0.1", server.url()));
    server.wait_until("sfu_participants", |participants| participants >= 1.0).await;
    bench.interrupt().await;
    let ended = bench.end().await;
    assert!(!ended.success, "{ended:?}");
    assert!(ended.out.contains("ended early after 0 s: interrupted"), "{ended:?}");
    assert!(!ended.out.contains("NaN"), "{ended:?}");
}

#[tokio::test]
async fn ctrl_c_during_a_search_keeps_its_steps() {
    let server = Server::start().await;
    let search = "--subscribers 1 --bitrate 100000 --settle 1 --find-limit --step 1 --max-loss 1 --max-p99 60000ms";
    let bench = Bench::start(&format!("run --server {} --json {search}", server.url()));
    // One subscriber in the first step, two in the second.
    server.wait_until("sfu_participants", |participants| participants >= 3.0).await;
    bench.interrupt().await;
    let ended = bench.end().await;
    assert!(!ended.success, "{ended:?}");
    let found = ended.result();
    assert_eq!(
        (found.text("ended_early"), found.get("limit.at_least")),
        ("interrupted".into(), true.into()),
        "{found}"
    );
    assert_eq!(found.number("limit.steps.0.number"), 1.0, "{found}");
    assert!(found.number("limit.found") >= 1.0, "{found}");
}
