//! `sfu-bench`: load tester for selective forwarding units.

use anyhow::Result;
use clap::{Parser, Subcommand};
use sfu_bench::floor;
use std::io::{IsTerminal, Write};

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
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Floor { options, json } => {
            let floor = floor::measure(&options, progress)?;
            if json {
                println!("{}", serde_json::to_string(&floor)?);
            } else {
                print_floor(&floor);
            }
            Ok(())
        }
    }
}

/// Says what is being done, on a terminal only.
fn progress(what: &str) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        // A terminal that is gone needs no progress.
        let _ = write!(err, "\r\x1b[K{what} …\r");
        let _ = err.flush();
    }
}

fn print_floor(floor: &floor::Floor) {
    println!("CPU per packet             ns");
    println!("header and seal     {:>9.0}", floor.seal);
    for (run, cost) in &floor.send {
        println!("… and send, run {run:>2}  {cost:>9.0}");
    }
    println!("receive             {:>9.0}", floor.receive);
}
