//! The packet's walk of ARCHITECTURE.md: each step names one file that there is, and they are few.

use sfu_tidy::root;

/// Whoever has read so many files has followed a packet through the server.
const MAX_STEPS: usize = 10;

fn architecture() -> String {
    std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there")
}

/// The paths in backticks, from the root, that stand in `text`.
fn paths(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|path| path.contains("/src") && !path.contains([' ', '*'])).collect()
}

/// The numbered steps of the walk.
fn steps(text: &str) -> Vec<&str> {
    let section =
        text.split("\n## ").find(|section| section.starts_with("The packet's path")).expect("there is a walk");
    let is_step = |line: &&str| line.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    section.lines().filter(is_step).collect()
}

#[test]
fn every_path_in_the_architecture_exists() {
    let text = architecture();
    let gone: Vec<_> = paths(&text).into_iter().filter(|path| !root().join(path).exists()).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names what is not there: {gone:?}");
}

#[test]
fn each_step_of_the_walk_is_one_file() {
    let text = architecture();
    let steps = steps(&text);
    assert!((5..=MAX_STEPS).contains(&steps.len()), "{} steps", steps.len());
    for step in steps {
        let files = paths(step).into_iter().filter(|path| path.ends_with(".rs")).count();
        assert_eq!(files, 1, "a step names its one file from the root: {step}");
    }
}

#[test]
fn a_walk_that_names_a_missing_file_is_found() {
    let text = "x\n## The packet's path\n\n1. **Receive**: `sfu-net/src/gone.rs` reads, see `plan`.\n\n## Next\n2. no";
    let step = steps(text);
    assert_eq!((step.len(), paths(step[0])), (1, vec!["sfu-net/src/gone.rs"]));
    assert!(!root().join(paths(step[0])[0]).exists());
}
