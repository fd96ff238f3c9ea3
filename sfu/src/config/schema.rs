//! Which keys there are, and what each takes. The types say it: the defaults, as plain data, stand for them.

use super::{Config, bounds};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// A name this near (strsim's normalised measure, 1 = equal) is worth suggesting.
const SUGGEST: f64 = 0.6;

/// What stands for a list of texts: all lists are, but for those of tables.
pub(super) static TEXTS: LazyLock<Value> = LazyLock::new(|| Value::Array(Vec::new()));
static TEXT: Value = Value::String(String::new());

/// The defaults, with one table in each list of tables.
pub(super) struct Schema(Value);

impl Schema {
    pub(super) fn new() -> Self {
        let sample = Config { ice_servers: vec![Default::default()], ..Config::default() };
        let mut tree = serde_json::to_value(sample).expect("the configuration is plain data");
        empty_lists_of_texts(&mut tree);
        Self(tree)
    }

    /// What stands for the value of the key `path`, or what is wrong with the key.
    pub(super) fn at(&self, path: &[String]) -> Result<&Value, String> {
        let mut known = &self.0;
        for (depth, name) in path.iter().enumerate() {
            let Value::Object(fields) = known else {
                return Err(mismatch(&path[..depth].join("."), known, &Map::new().into()));
            };
            // Names of API keys are the operator's.
            let is_name = path[..depth] == ["auth", "keys"];
            let field = if is_name { Some(&TEXT) } else { fields.get(name) };
            known = field.ok_or_else(|| self.unknown(&path[..=depth].join(".")))?;
        }
        Ok(known)
    }

    /// Checks the value of the key `path`.
    pub(super) fn check(&self, path: &[String], given: &Value) -> Result<(), String> {
        self.check_as(&path.join("."), self.at(path)?, given)
    }

    fn check_as(&self, key: &str, known: &Value, given: &Value) -> Result<(), String> {
        match (known, given) {
            (Value::Number(_), Value::Number(number)) => bounds::check(key, number),
            (Value::Bool(_), Value::Bool(_)) | (Value::String(_), Value::String(_)) => Ok(()),
            (Value::Array(sample), Value::Array(items)) => match sample.first() {
                Some(table) => items.iter().try_for_each(|item| self.check_as(key, table, item)),
                None => match items.iter().find(|item| !item.is_string()) {
                    Some(item) => Err(mismatch(key, known, item)),
                    None => Ok(()),
                },
            },
            (Value::Object(fields), Value::Object(given)) => given.iter().try_for_each(|(name, value)| {
                let key = format!("{key}.{name}");
                let known = fields.get(name).ok_or_else(|| self.unknown(&key))?;
                self.check_as(&key, known, value)
            }),
            _ => Err(mismatch(key, known, given)),
        }
    }

    /// All keys.
    pub(super) fn keys(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        dotted_keys(&self.0, "", &mut keys);
        keys
    }

    fn unknown(&self, key: &str) -> String {
        let last = |k: &str| k.rsplit('.').next().unwrap_or_default().to_owned();
        let measure = |name: &str| strsim::jaro_winkler(name, key).max(strsim::jaro_winkler(&last(name), &last(key)));
        let nearest = self
            .keys()
            .into_iter()
            .map(|name| (measure(&name), name))
            .filter(|(similarity, _)| *similarity >= SUGGEST)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, name)| format!("; did you mean `{name}`?"));
        format!("unknown key `{key}`{}", nearest.unwrap_or_default())
    }
}

/// Defaults of lists are no part of what a key takes.
fn empty_lists_of_texts(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(empty_lists_of_texts),
        Value::Array(items) if items.iter().all(Value::is_string) => items.clear(),
        Value::Array(items) => items.iter_mut().for_each(empty_lists_of_texts),
        _ => {}
    }
}

fn dotted_keys(value: &Value, key: &str, keys: &mut BTreeSet<String>) {
    if !key.is_empty() {
        keys.insert(key.to_owned());
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                dotted_keys(value, &key, keys);
            }
        }
        Value::Array(items) => items.iter().for_each(|table| dotted_keys(table, key, keys)),
        _ => {}
    }
}

fn mismatch(key: &str, known: &Value, given: &Value) -> String {
    let wanted = match known {
        Value::Number(_) => "a whole number",
        Value::Bool(_) => "true or false",
        Value::Array(sample) if sample.is_empty() => "a list of strings",
        Value::Array(_) => "a list of tables",
        Value::Object(_) => "a table",
        Value::String(_) | Value::Null => "a string",
    };
    let given = match given {
        // It may be a secret that is no string.
        Value::Number(_) => "a number".into(),
        Value::Bool(boolean) => boolean.to_string(),
        Value::String(text) => format!("the string {text:?}"),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a table".into(),
        Value::Null => "a date, inf or nan".into(),
    };
    format!("{key} must be {wanted}, not {given}")
}
