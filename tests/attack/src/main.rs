//! Attacks a server of ours that carries a call, one attack after the other, and prints a row for each: what the attacker
//! sent, what memory it cost, and whether the call, a newcomer and a bystander noticed. Everything runs on loopback of this
//! machine, is bounded in time, and ends with the program. `scripts/attack` builds what is needed and starts it.
//!
//! The attacker is a process of its own, this program again, of the lowest priority: what well-behaved clients wait is
//! then the server's doing, not that of an attacker who takes their processor.

mod attacks;
mod client;
mod lab;
mod peer;
mod probe;
mod row;

use anyhow::{Context, Result, bail};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Attacks a server with a running call, and measures what it costs.
#[derive(Parser, Debug)]
#[command(version)]
struct Args {
    /// Folder of the programs `sfu` and `sfu-bench`.
    #[arg(long, default_value = "target/release")]
    binaries: PathBuf,
    /// Only the attacks whose names contain one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Seconds that each attack lasts.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(3..=120))]
    seconds: u64,
    /// Writes the rows as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Prints the names of the attacks.
    #[arg(long)]
    list: bool,
    /// Is the attacker of a running server, whose address follows as JSON.
    #[arg(long, hide = true, num_args = 2, value_names = ["NAME", "ADDRESS"])]
    attacker: Option<Vec<String>>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if args.list {
        attacks::ALL.iter().for_each(|attack| println!("{:18} {}", attack.name, attack.what));
        return Ok(ExitCode::SUCCESS);
    }
    tokio::select! {
        ended = run(&args) => ended,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
}

async fn run(args: &Args) -> Result<ExitCode> {
    let duration = Duration::from_secs(args.seconds);
    if let Some([name, address]) = args.attacker.as_deref() {
        let attack = attacks::ALL.iter().find(|attack| attack.name == name).context("no such attack")?;
        let target = client::Target::new(serde_json::from_str(address)?)?;
        println!("{}", serde_json::to_string(&(attack.run)(target.into(), duration).await?)?);
        return Ok(ExitCode::SUCCESS);
    }
    let is_chosen = |name: &str| args.only.is_empty() || args.only.iter().any(|part| name.contains(part.as_str()));
    let chosen: Vec<_> = attacks::ALL.iter().filter(|attack| is_chosen(attack.name)).collect();
    if chosen.is_empty() {
        bail!("no attack has such a name; --list prints them");
    }
    conduct(args, &lab::Lab::new(&args.binaries, duration)?, &chosen).await
}

async fn conduct(args: &Args, lab: &lab::Lab, chosen: &[&attacks::Attack]) -> Result<ExitCode> {
    eprintln!("the call alone, three times ...");
    let quiet = lab.quiet().await?;
    println!("{}\n{quiet}", row::HEADER);
    let mut rows = vec![quiet];
    for attack in chosen {
        eprintln!("{}: {} ...", attack.name, attack.what);
        let row = lab.attacked(attack, &rows[0]).await?;
        println!("{row}");
        rows.push(row);
    }
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_string_pretty(&rows)?)?;
    }
    let failed: Vec<&str> = rows.iter().filter(|row| !row.faults.is_empty()).map(|row| row.name.as_str()).collect();
    if failed.is_empty() {
        println!("all {} attacks were withstood", chosen.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("not withstood: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}
