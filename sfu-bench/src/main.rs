//! `sfu-bench`: load tester for selective forwarding units.

mod load_args;
mod run_args;

use anyhow::Result;
use clap::{Parser, Subcommand};
use run_args::RunArgs;
use sfu_bench::{floor, run};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Load tester for selective forwarding units.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures what a forwarded packet must cost on this machine: header, seal, send.
    Floor {
        #[command(flatten)]
        options: floor::FloorOptions,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Loads a server with participants and measures what comes of it.
    Run(Box<RunArgs>),
}

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            clear_progress();
            eprintln!("sfu-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Floor { options, json } => {
            sfu_net::raise_open_files()?;
            let floor = floor::measure(&options, progress)?;
            if json {
                println!("{}", serde_json::to_string(&floor)?);
            } else {
                print_floor(&floor);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let result = runtime.block_on(run::run(&args.load.scenario()?, &args.options()?, &mut progress))?;
            clear_progress();
            if args.json {
                println!("{}", serde_json::to_string_pretty(&result)?);
            } else {
                print!("{result}");
            }
            // A run that did not come to its end is no success, however much it found.
            Ok(if result.ended_early.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
    }
}

/// Says what is being done, on a terminal only.
fn progress(what: &str) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        // A terminal that is gone needs no progress.
        let _ = write!(err, "\r\x1b[K{what} …");
        let _ = err.flush();
    }
}

fn clear_progress() {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K");
    }
}

fn print_floor(floor: &floor::Floor) {
    clear_progress();
    println!("CPU per packet             ns");
    println!("header and seal     {:>9.0}", floor.seal);
    for (run, cost) in &floor.send {
        println!("… and send, run {run:>2}  {cost:>9.0}");
    }
    println!("receive and open    {:>9.0}", floor.receive);
}
