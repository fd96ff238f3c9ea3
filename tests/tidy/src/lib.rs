//! The house rules of ARCHITECTURE.md, kept true by the tests of this package.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/tidy lies two folders deep").to_owned()
}

/// Every file that git tracks, with its path relative to the root. Untracked files that are not ignored count too.
pub fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git ls-files failed");
    let listing = String::from_utf8(output.stdout).expect("paths are UTF-8");
    listing.lines().filter(|path| root().join(path).is_file()).map(str::to_owned).collect()
}

/// Every Rust file outside `fuzz/` and `vendor/` (others' code), with its text.
pub fn rust_files() -> Vec<(String, String)> {
    files()
        .into_iter()
        .filter(|path| path.ends_with(".rs") && !path.starts_with("fuzz/") && !path.starts_with("vendor/"))
        .map(|path| {
            let text = std::fs::read_to_string(root().join(&path)).expect("source is UTF-8");
            (path, text)
        })
        .collect()
}

/// Whether the file holds nothing but tests or benches.
pub fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.contains("/benches/") || path.ends_with("tests.rs")
}
