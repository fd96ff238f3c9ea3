//! The configuration from every source, and what is refused.

use super::bounds::BOUNDS;
use super::load::{ConfigError, known_keys};
use super::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn from_text(text: &str) -> Result<Config, ConfigError> {
    let file = std::env::temp_dir().join(format!("sfu-config-{}.toml", crate::random::text(12)));
    std::fs::write(&file, text).unwrap();
    let config = load(Some(&file), [], &Overrides::default());
    std::fs::remove_file(&file).unwrap();
    config
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_sample_is_the_defaults() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("sfu.sample.toml");
    assert_eq!(load(Some(&sample), [], &Overrides::default()).unwrap(), Config::default());
}

#[test]
fn the_sample_names_every_key() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("sfu.sample.toml")).unwrap();
    for key in known_keys() {
        let name = key.rsplit('.').next().unwrap();
        let named = text.lines().any(|line| {
            let line = line.trim_start_matches("# ");
            line.starts_with(&format!("{name} ="))
                || line.ends_with(&format!("{name}]"))
                || line.contains(&format!("[{name}]"))
        });
        assert!(named, "sfu.sample.toml does not name {key}");
    }
}

#[test]
fn later_sources_win() {
    let flags = Overrides { http_port: Some(3), ..Overrides::default() };
    let variables = env(&[("SFU_HTTP__PORT", "2"), ("SFU_ROOM__MAX_PARTICIPANTS", "9"), ("SFU_CONFIG", "ignored")]);
    let config = load(None, variables, &flags).unwrap();
    assert_eq!((config.http.port, config.room.max_participants), (3, 9));
}

#[test]
fn lists_come_from_the_environment_too() {
    let config = load(None, env(&[("SFU_MEDIA__NODE_IPS", "192.0.2.1,2001:db8::1")]), &Overrides::default()).unwrap();
    assert_eq!(config.media.node_ips, ["192.0.2.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_name() {
    for (text, expected) in [
        ("[http]\nprot = 1", "unknown key `http.prot`; did you mean `http.port`?"),
        ("[media]\nworker = 1", "unknown key `media.worker`; did you mean `media.workers`?"),
        ("[sginal]\nresume_seconds = 1", "unknown key `sginal`; did you mean `signal`?"),
        ("[[ice_servers]]\nurl = []", "unknown key `ice_servers.url`; did you mean `ice_servers.urls`?"),
        ("[http]\nxyzzyqq = 1", "unknown key `http.xyzzyqq`"),
    ] {
        let error = from_text(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let error = load(None, env(&[("SFU_HTTP__PROT", "1")]), &Overrides::default()).unwrap_err();
    assert_eq!(error.to_string(), "unknown key `http.prot`; did you mean `http.port`?");
}

#[test]
fn wrong_values_are_named() {
    for (text, part) in [
        ("[http]\nport = \"many\"", "http.port"),
        ("[http]\nport = 70000", "http.port"),
        ("[http]\nbind = \"nowhere\"", "http.bind"),
        ("[http]\ntls_cert = \"x.pem\"", "tls_key"),
        ("[auth.keys]\nshort = \"abc\"", "short"),
        ("[media]\ncodecs = [\"theora\"]", "theora"),
        ("[media]\nworkers = 1000", "media.workers"),
        ("[log]\nformat = \"xml\"", "xml"),
        ("not toml", "TOML"),
    ] {
        let error = from_text(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text:?} gave {error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Some(Path::new("/nowhere/sfu.toml")), [], &Overrides::default()).unwrap_err().to_string();
    assert!(error.contains("/nowhere/sfu.toml"), "{error}");
}

#[test]
fn names_of_api_keys_are_free() {
    let config = from_text("[auth.keys]\nanything_goes = \"0123456789abcdef0123456789abcdef\"").unwrap();
    assert_eq!(config.auth.keys.len(), 1);
}

#[test]
fn every_number_has_bounds() {
    let tree = serde_json::to_value(Config::default()).unwrap();
    let number = |key: &String| tree.pointer(&format!("/{}", key.replace('.', "/"))).is_some_and(Value::is_number);
    let numbers: BTreeSet<String> = known_keys().into_iter().filter(number).collect();
    assert_eq!(numbers, BOUNDS.iter().map(|(key, ..)| (*key).to_owned()).collect());
}

#[test]
fn a_number_out_of_its_bounds_is_refused_with_them() {
    for (key, least, most) in BOUNDS {
        let (section, name) = key.split_once('.').unwrap();
        let with = |value: u64| from_text(&format!("[{section}]\n{name} = {value}"));
        for good in [least, most] {
            assert!(with(good).is_ok(), "{key} = {good}: {:?}", with(good));
        }
        for bad in least.checked_sub(1).into_iter().chain([most + 1, i64::MAX as u64]) {
            let error = with(bad).expect_err(key).to_string();
            assert!(error.contains(key), "{key} = {bad} gave {error}");
        }
    }
    let error = from_text("[http]\nniceness = 20").unwrap_err().to_string();
    assert_eq!(error, "http.niceness is 20; it must be from 0 to 19");
}
