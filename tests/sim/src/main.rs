//! Plays simulated conferences: `sfu-sim [--seeds N] [--first N] [--threads N]`.

use sfu_sim::campaign;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let (mut seeds, mut first) = (500, 0);
    let mut threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let place = match name.as_str() {
            "--seeds" => &mut seeds,
            "--first" => &mut first,
            "--threads" => &mut threads,
            _ => return usage(),
        };
        match args.next().and_then(|value| value.parse().ok()) {
            Some(value) => *place = value,
            None => return usage(),
        }
    }
    run(first, seeds, threads as usize)
}

fn usage() -> ExitCode {
    eprintln!("usage: sfu-sim [--seeds N] [--first N] [--threads N]");
    ExitCode::from(2)
}

fn run(first: u64, seeds: u64, threads: usize) -> ExitCode {
    let started = Instant::now();
    let summary = campaign::play(first, seeds, threads, |seed, outcome| {
        if !outcome.faults.is_empty() {
            println!("seed {seed}: {} faults", outcome.faults.len());
        }
    });
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    print!("{}", summary.report());
    println!(
        "{} conferences, {} of them on two workers, {} failed; {} packets sent, {} relayed; {} of {} picture packets lost for good; {:.0} conferences per minute",
        summary.conferences,
        summary.spread,
        summary.failures.len(),
        summary.packets,
        summary.relayed,
        summary.video_lost,
        summary.video_expected,
        summary.conferences as f64 / minutes,
    );
    if summary.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
