//! `sfu check-config`.

use super::{ConfigArgs, print};
use crate::config::doubts;
use crate::http::tls;
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct CheckConfigArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Prints the configuration that would be in force; secrets are left out.
    #[arg(long)]
    print: bool,
}

pub(super) fn run(args: &CheckConfigArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    if config.http.tls() {
        tls::load(&config.http.tls_cert, &config.http.tls_key)?;
    }
    if args.print {
        let mut shown = config.clone();
        shown.auth.keys.values_mut().for_each(|secret| *secret = "(secret)".into());
        shown.ice_servers.iter_mut().for_each(|server| server.credential = "(secret)".into());
        print(serde_json::to_string_pretty(&shown)?);
    } else {
        print("The configuration is good.");
    }
    let complaint = config.http.tls().then(|| tls::complaint(&config.http.tls_cert)).flatten();
    for doubt in doubts(&config).into_iter().chain(complaint) {
        print(format!("Warning: {doubt}."));
    }
    if config.auth.keys.is_empty() {
        print("Note: [auth.keys] is empty, so nobody can join; add a key, or try --dev.");
    }
    Ok(ExitCode::SUCCESS)
}
