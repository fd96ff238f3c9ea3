//! Puts the configuration together from its sources and says clearly what is wrong with it.

use super::Config;
use super::schema::Schema;
use super::source::{self, Origin, Setting};
use crate::files;
use crate::text;
use serde_json::Value;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

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
    #[error("{path}: {text}")]
    NoToml { path: PathBuf, text: String },
    #[error("{text} ({origin})")]
    Setting { text: String, origin: Origin },
    #[error("{0}")]
    Invalid(String),
}

/// Reads `file` (none: defaults alone), then the variables `env`, then `flags`. Nothing is taken for what it is not: a
/// value of another type than its key's is an error.
pub(crate) fn load(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    flags: &Overrides,
) -> Result<Config, ConfigError> {
    let schema = Schema::new();
    let mut settings = Vec::new();
    if let Some(path) = file {
        let text = files::read_text(path, files::MAX_SETTINGS)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let of_file = source::of_file(path, &text)
            .map_err(|error| ConfigError::NoToml { path: path.to_owned(), text: error.to_string() })?;
        settings.extend(of_file);
    }
    settings.extend(source::of_environment(env, &schema));
    settings.extend(source::of_flags(flags));
    let mut config = Config::default();
    for Setting { path, value, origin } in settings {
        let set = schema.check(&path, &value).and_then(|()| with(&config, &path, value));
        config = set.map_err(|text| ConfigError::Setting { text, origin })?;
    }
    validate(&config)?;
    Ok(config)
}

/// `config` with another value of the key `path`.
fn with(config: &Config, path: &[String], value: Value) -> Result<Config, String> {
    let mut tree = serde_json::to_value(config).expect("the configuration is plain data");
    let place = path.iter().fold(&mut tree, |place, name| &mut place[name.as_str()]);
    // A section with nothing in it changes nothing.
    if !value.is_object() {
        *place = value;
    }
    serde_json::from_value(tree).map_err(|error| format!("{}: {error}", path.join(".")))
}

/// What the types alone cannot say.
fn validate(config: &Config) -> Result<(), ConfigError> {
    let invalid = |text: String| Err(ConfigError::Invalid(text));
    if config.http.tls() && (config.http.tls_cert.as_os_str().is_empty() || config.http.tls_key.as_os_str().is_empty())
    {
        return invalid("http.tls_cert and http.tls_key must both be given, or neither".into());
    }
    if !config.http.admin_listen.is_empty() && config.http.admin_addr().is_none() {
        return invalid(format!("http.admin_listen: `{}` is no address with port", config.http.admin_listen));
    }
    config.auth.keys.iter().try_for_each(|(key, secret)| check_api_key(key, secret)).map_err(ConfigError::Invalid)?;
    if let Some(codec) = config.media.codecs.iter().find(|name| super::codec(name).is_none()) {
        return invalid(format!(
            "media.codecs: `{codec}` is no codec that can be forwarded; known: opus, red, VP8, VP9, H264, H265, AV1"
        ));
    }
    crate::log::filter(&config.log.level).map_err(ConfigError::Invalid)?;
    Ok(())
}

/// Checks an API key and its secret, with which tokens are signed.
pub(crate) fn check_api_key(key: &str, secret: &str) -> Result<(), String> {
    let good_secret = "`openssl rand -base64 32` makes a good one";
    let shown = text::escape(key);
    if key.trim().is_empty() {
        return Err("auth.keys: an API key has no name".into());
    }
    if key.contains(text::misleads) {
        return Err(format!("auth.keys: the name of API key `{shown}` has control characters"));
    }
    if secret.len() < 32 {
        let text = "is shorter than 32 characters, which can be guessed";
        return Err(format!("the secret of API key `{shown}` {text}; {good_secret}"));
    }
    if secret.trim().is_empty() || secret.contains(text::misleads) {
        let text = "is nothing but spaces, or has control characters";
        return Err(format!("the secret of API key `{shown}` {text}; {good_secret}"));
    }
    Ok(())
}
