//! What must not stand in the tree.

use sfu_tidy::{files, is_test, root, rust_files};

#[test]
fn nothing_is_left_open() {
    let marks =
        ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "todo".to_owned() + "!(", "unimplemented".to_owned() + "!("];
    for (path, text) in rust_files() {
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{path} holds {mark}");
        }
    }
}

#[test]
fn no_test_is_switched_off() {
    for (path, text) in rust_files() {
        assert!(!text.contains(&("#[ign".to_owned() + "ore")), "{path} has a test that does not run");
    }
}

#[test]
fn unsafe_stands_only_where_it_is_explained() {
    let word = "uns".to_owned() + "afe";
    for (path, text) in rust_files().into_iter().filter(|(path, _)| !is_test(path)) {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains(&format!("{word} {{")) {
                let reason = lines[at.saturating_sub(6)..=at].iter().any(|l| l.contains("SAFETY:"));
                assert!(reason, "{path}:{} needs a SAFETY: comment above it", at + 1);
            }
        }
    }
}

#[test]
fn no_file_names_a_registry_host() {
    let hosts =
        ["registry.npm".to_owned() + "js.org", "static.crates".to_owned() + ".io", "deb.deb".to_owned() + "ian.org"];
    for path in files() {
        if path == "Cargo.lock" || path.ends_with(".png") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        for host in &hosts {
            assert!(!text.contains(host.as_str()), "{path} names {host}");
        }
    }
}

#[test]
fn every_module_opens_with_a_sentence() {
    for (path, text) in rust_files() {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//!"), "{path} must open with //! and say what it is for");
    }
}
