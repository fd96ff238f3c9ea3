//! Finding the workspace's programs, and running them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

/// The workspace's root folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/system lies two folders deep")
}

/// The path of one of the workspace's programs, built if need be.
///
/// `SFU_BINARIES` names a folder to take them from instead.
pub fn binary(name: &str) -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    let folder = folder.as_ref().map_err(|text| anyhow::anyhow!("{text}"))?;
    let path = folder.join(name);
    ensure!(path.is_file(), "no program {}", path.display());
    Ok(path)
}

fn build() -> Result<PathBuf> {
    if let Ok(folder) = std::env::var("SFU_BINARIES") {
        return Ok(folder.into());
    }
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    // What cargo says of this test would make it build again whatever asks for that, such as ring.
    let of_test = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    std::env::vars().map(|(name, _)| name).filter(|name| of_test(name)).for_each(|name| {
        cargo.env_remove(name);
    });
    let status = cargo
        .args(["build", "--locked", "-p", "sfu", "-p", "sfu-client", "-p", "sfu-bench", "-p", "netsim"])
        .current_dir(root())
        .status()
        .context("cargo cannot be started")?;
    ensure!(status.success(), "the programs do not build");
    // This test program lies in target/<profile>/deps; the programs lie in target/debug.
    let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| root().join("target"), PathBuf::from);
    Ok(target.join("debug"))
}

/// Runs one of the workspace's programs to its end and returns what it printed. A failure shows its output.
pub fn run_to_end(name: &str, arguments: &[&str]) -> Result<Output> {
    let output = Command::new(binary(name)?).args(arguments).output().with_context(|| format!("starting {name}"))?;
    ensure!(
        output.status.success(),
        "{name} {arguments:?} failed: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Ok(output)
}

/// A program that ends with this value.
#[derive(Debug)]
pub struct Background(pub Child);

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
