//! The search for the largest load.

use crate::harness::{Bench, Server};

#[tokio::test]
async fn the_search_goes_up_to_the_most_that_it_may_try() {
    let server = Server::start().await;
    let load = "--subscribers 1 --no-audio --bitrate 100000 --settle 1 --duration 1";
    let bounds = "--find-limit --most 3 --step 1 --max-loss 1 --max-p99 60000ms";
    let arguments = format!("run --server {} --json {load} {bounds} --server-pid {}", server.url(), server.pid());
    let found = Bench::start(&arguments).end().await.complete();
    assert_eq!(found.text("limit.of"), "subscribers");
    assert_eq!((found.number("limit.found"), found.get("limit.at_least")), (3.0, true.into()), "{found}");
    let steps = found.get("limit.steps");
    let steps = steps.as_array().unwrap();
    let numbers: Vec<_> = steps.iter().map(|step| step["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3], "{found}");
    for step in steps {
        assert!(step["packets_out_per_second"].as_f64().unwrap() > 0.0, "{found}");
        assert!(step["cpu_per_packet_us"].as_f64().unwrap() > 0.0, "{found}");
        assert!(step["exceeded"].is_null(), "{found}");
    }
    // The rest of the result is about the load that was found.
    assert_eq!((found.number("participants"), found.number("joins")), (4.0, 4.0), "{found}");
    assert_eq!(found.number("scenario.group.0.subscribers"), 3.0, "{found}");
    found.assert_fan_out(3);
}

#[tokio::test]
async fn where_nothing_is_within_the_bounds_the_search_ends_and_says_why() {
    let server = Server::start().await;
    let load = "--rooms 2 --publishers 2 --subscribers 0 --mesh --bitrate 100000 --settle 0.5 --duration 1";
    let bounds = "--find-limit --step 0.5 --max-p99 0.01ms";
    let arguments = format!("run --server {} {load} {bounds}", server.url());
    let ended = Bench::start(&arguments).end().await;
    assert!(ended.success, "{ended:?}");
    let mut lines = ended.out.lines();
    assert!(lines.next().unwrap().trim_start().starts_with("rooms "), "{ended:?}");
    let steps: Vec<_> = lines.by_ref().take(2).map(str::trim_start).collect();
    for (step, number) in steps.iter().zip(["2 ", "1 "]) {
        assert!(step.starts_with(number) && step.contains("   p99 "), "{ended:?}");
    }
    let verdict = lines.next().unwrap();
    assert!(verdict.contains("p99 ≤ 0.01 ms") && verdict.ends_with(" 0 rooms"), "{ended:?}");
}
