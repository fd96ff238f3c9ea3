//! The command line.

mod announce;
mod check_config;
mod dev;
mod doctor;
mod serve;
mod token;

use crate::config::{Config, Overrides, load};
use clap::{Args, Parser, Subcommand};
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// A selective forwarding unit: group calls over WebRTC.
#[derive(Debug, Parser)]
#[command(name = "sfu", version, about, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server; the default.
    Serve(serve::ServeArgs),
    /// Makes a token with which somebody can join a room.
    Token(token::TokenArgs),
    /// Reads the configuration, says what is wrong with it, or prints what would be in force.
    CheckConfig(check_config::CheckConfigArgs),
    /// Looks at the machine: addresses and ports that would be offered, buffers, offloads, and what to mend.
    Doctor(doctor::DoctorArgs),
}

/// What every command that needs the configuration takes.
#[derive(Clone, Debug, Default, Args)]
struct ConfigArgs {
    /// Configuration file (TOML).
    #[arg(long, short, env = "SFU_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// For trying out, on this machine: makes keys, serves page and signalling on loopback only, and needs no token.
    #[arg(long)]
    dev: bool,
    /// Address to listen on, for pages and for media.
    #[arg(long, value_name = "IP")]
    bind: Option<IpAddr>,
    /// TCP port of page and signalling (7880 by default).
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
    /// UDP port of the first worker, and TCP port of ICE-TCP (7881 by default); further workers take the next ones.
    #[arg(long, value_name = "PORT")]
    media_port: Option<u16>,
    /// Worker threads; one per core by default.
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Address to offer to clients in place of the machine's own (behind NAT, the public one); may be repeated.
    #[arg(long = "node-ip", value_name = "IP")]
    node_ips: Vec<IpAddr>,
    /// Serves the page from this folder in place of the built-in one.
    #[arg(long, value_name = "DIR")]
    web_dir: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or directives per module.
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

impl ConfigArgs {
    fn load(&self) -> anyhow::Result<Config> {
        let flags = Overrides {
            bind: self.bind,
            http_port: self.http_port,
            media_port: self.media_port,
            workers: self.workers,
            node_ips: self.node_ips.clone(),
            web_dir: self.web_dir.clone(),
            log_level: self.log.clone(),
        };
        let mut config = load(self.config.as_deref(), std::env::vars_os(), &flags)?;
        if self.dev {
            dev::apply(&mut config, self.bind.is_some(), !self.node_ips.is_empty());
        }
        Ok(config)
    }
}

/// Prints a line. Whoever reads may have read enough (`sfu doctor | head`).
fn print(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout(), "{}", line.as_ref());
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Until the configuration says otherwise. Where it cannot be, the process only takes more memory.
    let _ = sfu_net::memory::allow_huge_pages(false);
    let result = match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Token(args)) => token::run(&args),
        Some(Command::CheckConfig(args)) => check_config::run(&args),
        Some(Command::Doctor(args)) => doctor::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sfu: {error:#}");
            ExitCode::FAILURE
        }
    }
}
