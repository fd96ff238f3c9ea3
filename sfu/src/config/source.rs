//! What the sources give: values with their keys, and where each stands.

use super::error::{ConfigError, Origin};
use super::schema::{Schema, TEXTS};
use crate::text::escape;
use serde_json::{Number, Value};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Prefix of environment variables; levels are parted by two underscores: `SFU_HTTP__PORT`.
const ENV_PREFIX: &str = "SFU_";
/// Parts the levels of a key in an environment variable.
const ENV_SEPARATOR: &str = "__";

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

/// A value that was given.
#[derive(Debug)]
pub(super) struct Setting {
    /// The names of its key, from the section on.
    pub(super) path: Vec<String>,
    /// `Null`: something that JSON does not have, and no key takes.
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// The settings of a TOML file with this text.
pub(super) fn of_file(file: &Path, text: &str) -> Result<Vec<Setting>, toml::de::Error> {
    let mut settings = Vec::new();
    let table = DeTable::parse(text)?;
    walk(table.get_ref(), &[], &mut |path, value| {
        let line = text[..value.span().start].matches('\n').count() + 1;
        let origin = Origin::Line { file: file.to_owned(), line };
        settings.push(Setting { path, value: plain(value.get_ref()), origin });
    });
    Ok(settings)
}

/// Calls `found` for every value that is no section with something in it.
fn walk<'t>(table: &'t DeTable<'_>, section: &[String], found: &mut impl FnMut(Vec<String>, &'t Spanned<DeValue<'t>>)) {
    for (name, value) in table.iter() {
        let path: Vec<String> = section.iter().cloned().chain([name.get_ref().to_string()]).collect();
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => walk(inner, &path, found),
            _ => found(path, value),
        }
    }
}

fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(integer) => number(integer.as_str(), integer.radix()).unwrap_or_default(),
        DeValue::Float(float) => float.as_str().parse().ok().and_then(Number::from_f64).into(),
        DeValue::Boolean(boolean) => Value::Bool(*boolean),
        DeValue::Datetime(_) => Value::Null,
        DeValue::Array(items) => items.iter().map(|item| plain(item.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(name, value)| (name.get_ref().to_string(), plain(value.get_ref()))).collect()
        }
    }
}

/// A number that 64 bits do not hold is given as near as may be: it is out of all bounds.
fn number(text: &str, radix: u32) -> Option<Value> {
    if let Ok(number) = u64::from_str_radix(text, radix) {
        return Some(number.into());
    }
    if let Ok(number) = i64::from_str_radix(text, radix) {
        return Some(number.into());
    }
    text.parse().ok().and_then(Number::from_f64).map(Value::Number)
}

/// The settings of environment variables. Those without a level separator (such as SFU_CONFIG) belong to the command
/// line or to others (Kubernetes sets SFU_PORT for a service `sfu`), but for one that is a key with single underscores
/// (`SFU_HTTP_PORT`): that is an unknown key. One of ours that is not UTF-8 is an error.
pub(super) fn of_environment(
    env: impl IntoIterator<Item = (OsString, OsString)>,
    schema: &Schema,
) -> Result<Vec<Setting>, ConfigError> {
    let mut settings = Vec::new();
    for (name, text) in env {
        let shown = name.to_string_lossy();
        let Some(key) = shown.strip_prefix(ENV_PREFIX).map(str::to_lowercase) else { continue };
        if !key.contains(ENV_SEPARATOR) && !schema.keys().iter().any(|known| known.replace('.', "_") == key) {
            continue;
        }
        let (Some(_), Some(text)) = (name.to_str(), text.to_str()) else {
            return Err(ConfigError::NoText(escape(&shown).into_owned()));
        };
        let path: Vec<String> = key.split(ENV_SEPARATOR).map(str::to_owned).collect();
        // A key that nobody knows is told by whoever checks.
        let value = schema.at(&path).map_or_else(|_| text.into(), |known| interpret(known, text));
        settings.push(Setting { path, value, origin: Origin::Variable(shown.into_owned()) });
    }
    settings.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(settings)
}

/// Variables are texts: one is read as what its key takes, where it is that.
fn interpret(known: &Value, text: &str) -> Value {
    let read = match known {
        Value::Number(_) => number(text.trim(), 10),
        Value::Bool(_) => text.trim().parse().ok().map(Value::Bool),
        Value::Array(_) if known == &*TEXTS => {
            Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect())
        }
        _ => None,
    };
    read.unwrap_or_else(|| text.into())
}

/// The settings of the command line.
pub(super) fn of_flags(flags: &Overrides) -> Vec<Setting> {
    let text = |ip: &std::net::IpAddr| ip.to_string();
    let ips: Vec<String> = flags.node_ips.iter().map(text).collect();
    let given: [(&str, &str, &str, Option<Value>); 9] = [
        ("http", "bind", "--bind", flags.bind.as_ref().map(|ip| text(ip).into())),
        ("media", "bind", "--bind", flags.bind.as_ref().map(|ip| text(ip).into())),
        ("http", "port", "--http-port", flags.http_port.map(Value::from)),
        ("media", "udp_port", "--media-port", flags.media_port.map(Value::from)),
        ("media", "tcp_port", "--media-port", flags.media_port.map(Value::from)),
        ("media", "workers", "--workers", flags.workers.map(Value::from)),
        ("media", "node_ips", "--node-ip", (!ips.is_empty()).then(|| ips.into())),
        ("http", "web_dir", "--web-dir", flags.web_dir.as_ref().map(|path| path.display().to_string().into())),
        ("log", "level", "--log", flags.log_level.clone().map(Value::from)),
    ];
    let setting = |(section, name, flag, value): (&str, &str, _, Option<Value>)| {
        Some(Setting { path: vec![section.into(), name.into()], value: value?, origin: Origin::Flag(flag) })
    };
    given.into_iter().filter_map(setting).collect()
}
