//! Options of `scenarios`.

use anyhow::{Context, Result};
use clap::Args;
use sfu_bench::report;
use sfu_bench::simulation::{
    self, Conditions, Repair, VideoMode, catalogue, estimators, results::Results, traces::Traces,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is played, and where results go.
#[derive(Args)]
pub(crate) struct ScenariosArgs {
    /// Scenarios by name or number; all, if not given. `--list` names them.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    scenario: Vec<String>,
    /// Estimators by the names of the configuration; all, if not given.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    estimator: Vec<String>,
    /// How many seeds each is played with.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// What publishers send.
    #[arg(long, value_enum, value_name = "MODE", default_value_t)]
    video: VideoMode,
    /// How the server repairs what subscribers lose; of several, each is played.
    #[arg(long, value_enum, value_name = "MODE", num_args = 1.., default_values_t = [Repair::default()])]
    repair: Vec<Repair>,
    /// How many ms receivers keep a frame of the least delay, at least, whatever the way of repair: then ways are
    /// compared at the same delay. If not given, only the planner asks for one, as long as it thinks good.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    playout_delay: Option<u64>,
    /// A recorded network in Mahimahi's format, in the place of every recording: one file for each direction, or that
    /// to the subscriber alone.
    #[arg(long, value_name = "UP,DOWN")]
    trace: Option<String>,
    /// A folder with the recordings that scenarios ask for by name; those that are not there are skipped.
    #[arg(long, value_name = "FOLDER")]
    traces: Option<PathBuf>,
    /// Write all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report with plots over time, of the first seed, to this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Name all scenarios, and play none.
    #[arg(long)]
    list: bool,
}

impl ScenariosArgs {
    /// Plays what is wanted and writes what comes of it.
    ///
    /// # Errors
    /// Where a name is unknown, a recording cannot be used, or a file cannot be written.
    pub(crate) fn execute(&self, progress: &mut dyn FnMut(&str)) -> Result<()> {
        if self.list {
            catalogue::names().iter().for_each(|(number, name)| println!("{number:>2} {name}"));
            return Ok(());
        }
        let estimators = estimators::by_names(&self.estimator)?;
        let traces = Traces::new(self.trace.as_deref(), self.traces.clone())?;
        let selection = catalogue::select(&self.scenario, &traces)?;
        for (name, reason) in &selection.skipped {
            eprintln!("sfu-bench: {name} is skipped: {reason}");
        }
        let conditions = Conditions {
            video: self.video,
            playout_delay: self.playout_delay.map(Duration::from_millis),
            seeds: self.seeds,
        };
        let results = simulation::run(selection.scenarios, &estimators, &self.repair, conditions, progress)?;
        super::clear_progress();
        print!("{results}");
        self.write(&results)
    }

    fn write(&self, results: &Results) -> Result<()> {
        let write = |file: &Path, text: String| {
            std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
        };
        if let Some(file) = &self.json {
            write(file, serde_json::to_string_pretty(&results.to_json())?)?;
        }
        if let Some(file) = &self.html {
            write(file, report::scenarios(results))?;
        }
        Ok(())
    }
}
