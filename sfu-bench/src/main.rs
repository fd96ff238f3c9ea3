//! `sfu-bench`: load tester for selective forwarding units.

mod joins_args;
mod load_args;
mod output;
#[cfg(feature = "media")]
mod resilience_args;
mod run_args;
mod scenarios_args;

use anyhow::Result;
use clap::{Parser, Subcommand};
use joins_args::JoinsArgs;
use output::OutputArgs;
use run_args::RunArgs;
use scenarios_args::ScenariosArgs;
use sfu_bench::compare::{self, CompareOptions};
use sfu_bench::quick::{self, QuickOptions};
use sfu_bench::repair_cost::{self, RepairCostOptions};
use sfu_bench::result::RunResult;
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
    /// Starts a server, loads it with a small fan-out, and says in half a minute what that costs.
    Quick {
        #[command(flatten)]
        options: QuickOptions,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Plays network scenarios under simulated time and measures what subscribers get: a bottleneck that changes, a
    /// recorded network, several flows, TCP beside media.
    Scenarios(ScenariosArgs),
    /// Lets many join one stream within a short time, over paths that lose packets, under simulated time: what it costs
    /// the publisher, and when each has a picture.
    Joins(JoinsArgs),
    /// Measures what repair costs the server: its CPU per packet without and with loss, in turn, each with a fresh server.
    RepairCost {
        #[command(flatten)]
        options: RepairCostOptions,
        /// Print JSON in the place of a table.
        #[arg(long)]
        json: bool,
    },
    /// Loses frames of real pictures under simulated time, with nothing to repair them, and sets keyframes beside
    /// acknowledged references.
    #[cfg(feature = "media")]
    Resilience(resilience_args::ResilienceArgs),
    /// Compares results of `run`: ratios with their spread.
    Compare(CompareOptions),
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
            let (scenario, options) = (args.load.scenario()?, args.options()?);
            let outcome = runtime()?.block_on(run::run(&scenario, &options, &mut progress))?;
            let result = RunResult::new(&options, outcome);
            args.output.write(&result, &result)
        }
        Command::Quick { options, output } => {
            let answer = runtime()?.block_on(quick::quick(&options, &mut progress))?;
            output.write(&answer.0, &answer)
        }
        Command::Scenarios(args) => {
            args.execute(&mut progress)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Joins(args) => {
            args.execute(&mut progress)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::RepairCost { options, json } => {
            let cost = runtime()?.block_on(repair_cost::repair_cost(&options, &mut progress))?;
            clear_progress();
            if json {
                println!("{}", serde_json::to_string_pretty(&cost)?);
            } else {
                print!("{cost}");
            }
            Ok(ExitCode::SUCCESS)
        }
        #[cfg(feature = "media")]
        Command::Resilience(args) => {
            args.execute(&mut progress)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Compare(options) => {
            print!("{}", compare::compare(&options)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Signalling needs little, and one thread of it disturbs the measured ones least.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
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
    for (run, cost) in &floor.send_at_rate {
        println!("… at rate, run {run:>2}   {cost:>9.0}");
    }
    println!("receive and open    {:>9.0}", floor.receive);
}
