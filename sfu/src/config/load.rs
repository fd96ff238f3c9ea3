//! Puts the configuration together from its sources and says clearly what is wrong with it.

use super::Config;
use super::error::ConfigError;
use super::schema::Schema;
use super::source::{self, Overrides, Setting};
use super::validate;
use crate::files;
use serde_json::Value;
use std::ffi::OsString;
use std::path::Path;

/// Reads `file` (none: defaults alone), then the variables `env`, then `flags`. Nothing is taken for what it is not: a
/// value of another type than its key's is an error.
pub(crate) fn load(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    flags: &Overrides,
) -> Result<Config, ConfigError> {
    let schema = Schema::new();
    let mut settings = Vec::new();
    if let Some(path) = file {
        let text = files::read_text(path, files::MAX_SETTINGS)
            .map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })?;
        let of_file = source::of_file(path, &text)
            .map_err(|error| ConfigError::NoToml { path: path.to_owned(), text: error.to_string() })?;
        settings.extend(of_file);
    }
    settings.extend(source::of_environment(env, &schema)?);
    settings.extend(source::of_flags(flags));
    let mut config = Config::default();
    for Setting { path, value, origin } in settings {
        let set = schema.check(&path, &value).and_then(|()| with(&config, &path, value));
        config = set.map_err(|text| ConfigError::Setting { text, origin })?;
    }
    validate::check(&config).map_err(ConfigError::Invalid)?;
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
