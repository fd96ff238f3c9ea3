//! `sfu token`.

use super::{ConfigArgs, dev, print};
use crate::clock::unix_time;
use crate::control::auth::{Claims, GrantClaims, sign};
use anyhow::{Context, bail};
use clap::Args;
use std::process::ExitCode;

/// A token lasts six hours: a long meeting, not a career.
const DEFAULT_HOURS: u64 = 6;

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Room that may be joined; `*` for any.
    #[arg(long)]
    room: String,
    /// Stable name of the participant; two with one identity replace each other. Left out: an invitation, with which
    /// everybody gets an identity of their own.
    #[arg(long, default_value = "")]
    identity: String,
    /// Name to show.
    #[arg(long)]
    name: Option<String>,
    /// Free text shown to others.
    #[arg(long)]
    metadata: Option<String>,
    /// API key to sign with; may be left out where there is only one.
    #[arg(long, env = "SFU_API_KEY")]
    key: Option<String>,
    /// Its secret; read from the configuration where left out.
    #[arg(long, env = "SFU_API_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// Hours until it expires.
    #[arg(long, default_value_t = DEFAULT_HOURS)]
    hours: u64,
    /// May not publish.
    #[arg(long)]
    no_publish: bool,
    /// May not subscribe.
    #[arg(long)]
    no_subscribe: bool,
    /// May not send data messages.
    #[arg(long)]
    no_data: bool,
    /// May remove and mute others and close the room.
    #[arg(long)]
    moderate: bool,
    /// May use the admin API.
    #[arg(long)]
    admin: bool,
}

pub(super) fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let (key, secret) = key_and_secret(args)?;
    let now = unix_time().as_secs();
    let claims = Claims {
        iss: key,
        sub: args.identity.clone(),
        exp: now.saturating_add(args.hours.saturating_mul(3_600)),
        nbf: None,
        room: args.room.clone(),
        name: args.name.clone(),
        metadata: args.metadata.clone(),
        grants: GrantClaims {
            publish: !args.no_publish,
            subscribe: !args.no_subscribe,
            data: !args.no_data,
            moderate: args.moderate,
            admin: args.admin,
            create: true,
        },
        room_options: None,
    };
    print(sign(&claims, &secret)?);
    Ok(ExitCode::SUCCESS)
}

fn key_and_secret(args: &TokenArgs) -> anyhow::Result<(String, String)> {
    if let (Some(key), Some(secret)) = (&args.key, &args.secret) {
        return Ok((key.clone(), secret.clone()));
    }
    if args.config.dev && args.key.is_none() {
        return Ok((dev::DEV_KEY.into(), dev::DEV_SECRET.into()));
    }
    let keys = args.config.load()?.auth.keys;
    match &args.key {
        Some(key) => {
            let secret =
                keys.get(key).with_context(|| format!("the configuration has no secret for API key `{key}`"))?;
            Ok((key.clone(), secret.clone()))
        }
        None if keys.len() == 1 => Ok(keys.into_iter().next().expect("one")),
        None if keys.is_empty() => {
            bail!("no API key: give --key and --secret, --config with [auth.keys], or --dev for a --dev server")
        }
        None => bail!("several API keys are configured; choose one with --key"),
    }
}
