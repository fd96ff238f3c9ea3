//! Simulated conferences. `SFU_SIM_SEEDS=500 cargo test -p sfu-sim --test conferences` plays more of them.

use sfu_sim::campaign;

/// Seeds of an ordinary run of the tests.
const SEEDS: u64 = 60;

#[test]
fn conferences() {
    let seeds = std::env::var("SFU_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let summary = campaign::play(0, seeds, threads, |_, _| ());
    assert_eq!(summary.conferences, seeds);
    assert!(summary.failures.is_empty(), "\n{}", summary.report());
    assert!(summary.packets > seeds * 1_000, "too little was sent: {summary:?}");
    assert!(summary.relayed > seeds * 300, "too little was relayed: {summary:?}");
}
