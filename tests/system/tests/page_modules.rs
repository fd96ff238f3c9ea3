//! The page's modules that need no browser, tested by Node.

use std::process::Command;

#[test]
fn modules_of_the_page() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let mut files: Vec<_> = std::fs::read_dir(folder.join("unit"))
        .expect("the folder of the unit tests")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let status = Command::new("node").arg("--test").args(files).status();
    assert!(status.expect("node is there: run scripts/setup-browsers first").success());
}
