//! Where results go: a table or JSON to the standard output, an HTML report to a file.

use anyhow::{Context, Result};
use clap::Args;
use sfu_bench::report;
use sfu_bench::result::RunResult;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where results go.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print JSON in the place of a table; `compare` reads it.
    #[arg(long)]
    json: bool,
    /// Write a report with plots to this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl OutputArgs {
    /// Writes the result; people get it as `text`. A run that did not come to its end is no success, however much it
    /// found.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub(crate) fn write(&self, result: &RunResult, text: &impl Display) -> Result<ExitCode> {
        super::clear_progress();
        if self.json {
            println!("{}", serde_json::to_string_pretty(result)?);
        } else {
            print!("{text}");
        }
        if let Some(file) = &self.html {
            let html = report::html(result);
            std::fs::write(file, html).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(if result.ended_early.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
