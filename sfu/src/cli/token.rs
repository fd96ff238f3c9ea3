//! `sfu token`.

use super::{ConfigArgs, dev, print};
use crate::clock::unix_time;
use crate::config::{AuthConfig, check_api_key};
use crate::control::auth::{Authenticator, Claims, GrantClaims, sign};
use crate::control::caps::VideoCaps;
use anyhow::{Context, bail};
use clap::Args;
use std::process::ExitCode;

/// A token lasts six hours: a long meeting, not a career.
const DEFAULT_HOURS: u64 = 6;
/// Ten years: longer than any secret should stay.
const MAX_HOURS: u64 = 10 * 366 * 24;

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Room that may be joined; `*` for any, and with --admin '' for none.
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
    #[arg(long, default_value_t = DEFAULT_HOURS, value_parser = clap::value_parser!(u64).range(1..=MAX_HOURS))]
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
    /// Most bits per second of each video that it publishes.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    publish_max_bitrate: Option<u64>,
    /// Most frames per second of it.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    publish_max_fps: Option<u8>,
    /// Most lines of it.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    publish_max_height: Option<u16>,
    /// Most bits per second that it gets in all.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    subscribe_max_bitrate: Option<u64>,
    /// Most frames per second of each video that it gets.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    subscribe_max_fps: Option<u8>,
    /// Most lines of it.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    subscribe_max_height: Option<u16>,
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
        exp: now + args.hours * 3_600,
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
            publish_video: VideoCaps {
                bitrate_bps: args.publish_max_bitrate,
                fps: args.publish_max_fps,
                height: args.publish_max_height,
            },
            subscribe_video: VideoCaps {
                bitrate_bps: args.subscribe_max_bitrate,
                fps: args.subscribe_max_fps,
                height: args.subscribe_max_height,
            },
        },
        room_options: None,
    };
    let token = sign(&claims, &secret)?;
    check(&claims, &token, secret)?;
    print(token);
    Ok(ExitCode::SUCCESS)
}

/// Asks a server's own checks whether they would admit the bearer.
fn check(claims: &Claims, token: &str, secret: String) -> anyhow::Result<()> {
    check_api_key(&claims.iss, &secret).map_err(anyhow::Error::msg)?;
    let server = Authenticator::new(&AuthConfig { keys: [(claims.iss.clone(), secret)].into(), open: false });
    if claims.room.is_empty() && claims.grants.admin {
        return Ok(server.admit_admin(token)?);
    }
    // The star is for every room.
    let room = if claims.room == "*" { "room" } else { &claims.room };
    server.admit(token, room, None)?;
    Ok(())
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
