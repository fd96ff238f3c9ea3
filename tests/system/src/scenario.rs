//! Running one Node scenario and reading its result.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::programs::root;

/// The folder for logs, results and screenshots.
pub fn results_folder() -> Result<PathBuf> {
    let folder = root().join("test-results");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The right to use the machine's cores: one scenario at a time over all test programs.
///
/// Take it before starting a server, and keep it until the scenario has ended.
#[derive(Debug)]
pub struct Scenario {
    name: String,
    _turn: File,
}

impl Scenario {
    /// Waits for its turn.
    pub fn begin(name: &str) -> Result<Self> {
        let turn = File::create(results_folder()?.join(".turn"))?;
        turn.lock().context("waiting for the other scenarios")?;
        Ok(Scenario { name: name.into(), _turn: turn })
    }

    /// Its name, also that of its files in `test-results`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `browser/scenarios/SCRIPT.mjs` with these parameters and returns its result, which is kept in
    /// `test-results/NAME.json` too. `on_line` gets every other line that the script prints.
    pub fn run(&self, script: &str, parameters: &Value, mut on_line: impl FnMut(&str)) -> Result<Value> {
        let folder = root().join("tests/system/browser");
        ensure!(
            folder.join("node_modules").is_dir(),
            "the browser drivers are not installed: run scripts/setup-browsers first"
        );
        let mut child = Command::new("node")
            .arg("run.mjs")
            .arg(script)
            .arg(parameters.to_string())
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .context("node cannot be started: run scripts/setup-browsers first")?;
        let mut last = String::new();
        for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
            let line = line?;
            if line.starts_with('{') {
                last = line;
            } else {
                on_line(&line);
            }
        }
        child.wait()?;
        let mut outcome: Value = serde_json::from_str(&last).with_context(|| format!("{script} gave no result"))?;
        let pretty = serde_json::to_string_pretty(&outcome)?;
        std::fs::write(results_folder()?.join(format!("{}.json", self.name)), pretty)?;
        if let Some(failure) = outcome.get("failed") {
            bail!("{script}: {failure}");
        }
        Ok(outcome["ok"].take())
    }
}
