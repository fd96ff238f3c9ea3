//! Puts the configuration together from its sources and says clearly what is wrong with it.

use super::{Config, bounds};
use crate::files;
use config::builder::DefaultState;
use config::{ConfigBuilder, Environment, File, FileFormat};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Prefix of environment variables; levels are parted by two underscores: `SFU_HTTP__PORT`.
const ENV_PREFIX: &str = "SFU_";
/// Parts the levels of a key in an environment variable.
const ENV_SEPARATOR: &str = "__";
/// A name this near (strsim's normalised measure, 1 = equal) is worth suggesting.
const SUGGEST: f64 = 0.6;

/// What the command line sets; wins over everything else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) bind: Option<IpAddr>,
    pub(crate) http_port: Option<u16>,
    pub(crate) media_port: Option<u16>,
    pub(crate) workers: Option<usize>,
    pub(crate) node_ips: Vec<IpAddr>,
    pub(crate) web_dir: Option<PathBuf>,
    pub(crate) log_level: Option<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Source(String),
    #[error("unknown key `{key}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey { key: String, nearest: Option<String> },
    #[error("{0}")]
    Value(String),
    #[error("{0}")]
    Invalid(String),
}

/// Reads `file` (none: defaults alone), then the variables `env`, then `flags`.
pub(crate) fn load(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    flags: &Overrides,
) -> Result<Config, ConfigError> {
    let mut builder = ConfigBuilder::<DefaultState>::default();
    if let Some(path) = file {
        let text = files::read_text(path, files::MAX_SETTINGS)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
    }
    builder = builder.add_source(environment(env));
    let merged = with_flags(builder, flags).and_then(|b| b.build()).map_err(|e| ConfigError::Source(e.to_string()))?;
    let tree: Value = merged.clone().try_deserialize().map_err(|e| ConfigError::Value(e.to_string()))?;
    refuse_unknown(&tree)?;
    let config: Config = merged.try_deserialize().map_err(|e| ConfigError::Value(e.to_string()))?;
    validate(&config)?;
    Ok(config)
}

/// Variables without a level separator (such as SFU_CONFIG) belong to the command line or to others.
fn environment(env: impl IntoIterator<Item = (String, String)>) -> Environment {
    let ours: HashMap<String, String> =
        env.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX) && name.contains(ENV_SEPARATOR)).collect();
    Environment::with_prefix(ENV_PREFIX.trim_end_matches('_'))
        .prefix_separator("_")
        .separator(ENV_SEPARATOR)
        .try_parsing(true)
        .list_separator(",")
        .with_list_parse_key("media.node_ips")
        .with_list_parse_key("media.codecs")
        .with_list_parse_key("http.trusted_proxies")
        .with_list_parse_key("limits.exempt_addresses")
        .source(Some(ours.into_iter().collect()))
}

fn with_flags(
    builder: ConfigBuilder<DefaultState>,
    flags: &Overrides,
) -> Result<ConfigBuilder<DefaultState>, config::ConfigError> {
    let text = |ip: &IpAddr| ip.to_string();
    let mut builder = builder
        .set_override_option("http.bind", flags.bind.as_ref().map(text))?
        .set_override_option("media.bind", flags.bind.as_ref().map(text))?
        .set_override_option("http.port", flags.http_port)?
        .set_override_option("media.udp_port", flags.media_port)?
        .set_override_option("media.tcp_port", flags.media_port)?
        .set_override_option("media.workers", flags.workers.map(|n| u64::try_from(n).unwrap_or(u64::MAX)))?
        .set_override_option("http.web_dir", flags.web_dir.as_ref().map(|path| path.display().to_string()))?
        .set_override_option("log.level", flags.log_level.clone())?;
    if !flags.node_ips.is_empty() {
        builder = builder.set_override("media.node_ips", flags.node_ips.iter().map(text).collect::<Vec<_>>())?;
    }
    Ok(builder)
}

/// Walks what was given beside what is known.
fn refuse_unknown(given: &Value) -> Result<(), ConfigError> {
    let known = known_keys();
    let mut keys = Vec::new();
    dotted_keys(given, "", &mut keys);
    for key in keys {
        // Names of API keys are the operator's.
        if known.contains(&key) || key.starts_with("auth.keys.") {
            continue;
        }
        let measure = |name: &str| {
            let last = |k: &str| k.rsplit('.').next().unwrap_or_default().to_owned();
            strsim::jaro_winkler(name, &key).max(strsim::jaro_winkler(&last(name), &last(&key)))
        };
        let nearest = known
            .iter()
            .map(|name| (measure(name), name))
            .filter(|(similarity, _)| *similarity >= SUGGEST)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, name)| name.clone());
        return Err(ConfigError::UnknownKey { key, nearest });
    }
    Ok(())
}

/// All keys, as the defaults have them.
pub(super) fn known_keys() -> BTreeSet<String> {
    let sample = Config { ice_servers: vec![Default::default()], ..Config::default() };
    let mut keys = Vec::new();
    dotted_keys(&serde_json::to_value(sample).expect("the configuration is plain data"), "", &mut keys);
    keys.into_iter().collect()
}

fn dotted_keys(value: &Value, prefix: &str, keys: &mut Vec<String>) {
    if !prefix.is_empty() {
        keys.push(prefix.to_owned());
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                dotted_keys(value, &key, keys);
            }
        }
        Value::Array(list) => {
            for table in list.iter().filter_map(Value::as_object) {
                keys.extend(table.keys().map(|name| format!("{prefix}.{name}")));
            }
        }
        _ => {}
    }
}

/// What the types alone cannot say.
fn validate(config: &Config) -> Result<(), ConfigError> {
    let invalid = |text: String| Err(ConfigError::Invalid(text));
    bounds::check(config)?;
    if config.http.tls() && (config.http.tls_cert.as_os_str().is_empty() || config.http.tls_key.as_os_str().is_empty())
    {
        return invalid("http.tls_cert and http.tls_key must both be given, or neither".into());
    }
    if !config.http.admin_listen.is_empty() && config.http.admin_addr().is_none() {
        return invalid(format!("http.admin_listen: `{}` is no address with port", config.http.admin_listen));
    }
    if let Some((key, _)) = config.auth.keys.iter().find(|(_, secret)| secret.len() < 32) {
        return invalid(format!(
            "the secret of API key `{key}` is shorter than 32 characters, which can be guessed; \
             `openssl rand -base64 32` makes a good one"
        ));
    }
    if let Some(codec) = config.media.codecs.iter().find(|name| super::codec(name).is_none()) {
        return invalid(format!(
            "media.codecs: `{codec}` is no codec that can be forwarded; known: opus, red, VP8, VP9, H264, H265, AV1"
        ));
    }
    Ok(())
}
