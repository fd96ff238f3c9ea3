//! Which crate may know which: the arrows of ARCHITECTURE.md.

use sfu_tidy::root;

/// Each member with the workspace crates that it may depend on, outside its tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("netsim", &[]),
    ("sfu-rtc", &[]),
    ("sfu-core", &["sfu-rtc"]),
    ("sfu-room", &["sfu-core", "sfu-rtc"]),
    ("sfu-net", &["sfu-rtc"]),
    ("sfu", &["sfu-core", "sfu-net", "sfu-room", "sfu-rtc", "sfu-proto"]),
    ("sfu-client", &["sfu-rtc", "sfu-proto"]),
    ("sfu-bench", &["sfu-client", "sfu-core", "sfu-net", "sfu-rtc", "sfu-proto", "netsim"]),
];

/// Crates that bring clocks, sockets or an executor; the sans-IO crates must not name them.
const IO_CRATES: &[&str] = &["tokio", "mio", "socket2", "libc", "rand", "getrandom"];

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    std::fs::read_to_string(&path).expect("a member has a manifest").parse().expect("a manifest is TOML")
}

fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let table = manifest.get("dependencies").and_then(|d| d.as_table());
    table.map(|t| t.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn crates_depend_only_downwards() {
    let ours: Vec<String> =
        ARROWS.iter().map(|(folder, _)| manifest(folder)["package"]["name"].as_str().unwrap().to_owned()).collect();
    for (folder, allowed) in ARROWS {
        for dependency in dependencies(&manifest(folder)) {
            let is_ours = ours.contains(&dependency);
            assert!(!is_ours || allowed.contains(&dependency.as_str()), "{folder} must not depend on {dependency}");
        }
    }
}

#[test]
fn sans_io_crates_name_no_io() {
    for folder in ["sfu-rtc", "sfu-core", "sfu-room", "proto"] {
        for dependency in dependencies(&manifest(folder)) {
            assert!(
                !IO_CRATES.contains(&dependency.as_str()),
                "{folder} is sans-IO and must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn every_member_follows_the_shared_lints() {
    let workspace = manifest(".");
    for member in workspace["workspace"]["members"].as_array().unwrap() {
        let folder = member.as_str().unwrap();
        let shared = manifest(folder).get("lints").and_then(|l| l["workspace"].as_bool());
        assert_eq!(shared, Some(true), "{folder}/Cargo.toml needs [lints] workspace = true");
    }
}
