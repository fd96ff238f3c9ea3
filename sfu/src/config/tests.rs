//! The configuration from every source, and what is refused.

use super::bounds::BOUNDS;
use super::error::ConfigError;
use super::schema::Schema;
use super::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

fn from_text(text: &str) -> Result<Config, ConfigError> {
    let file = std::env::temp_dir().join(format!("sfu-config-{}.toml", crate::random::text(12)));
    std::fs::write(&file, text).unwrap();
    let config = load(Some(&file), [], &Overrides::default());
    std::fs::remove_file(&file).unwrap();
    config
}

fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn the_sample_is_the_defaults() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("sfu.sample.toml");
    assert_eq!(load(Some(&sample), [], &Overrides::default()).unwrap(), Config::default());
}

#[test]
fn the_sample_names_every_key() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("sfu.sample.toml")).unwrap();
    for key in Schema::new().keys() {
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
    let expected = "unknown key `http.prot`; did you mean `http.port`? (environment variable SFU_HTTP__PROT)";
    assert_eq!(error.to_string(), expected);
    let error = load(None, env(&[("SFU_HTTP_PORT", "1")]), &Overrides::default()).unwrap_err().to_string();
    assert!(error.contains("`http_port`") && error.ends_with("(environment variable SFU_HTTP_PORT)"), "{error}");
    let others = env(&[("SFU_CONFIG", "x"), ("SFU_API_KEY", "x"), ("SFU_PORT", "tcp://10.0.0.1:80")]);
    assert_eq!(load(None, others, &Overrides::default()).unwrap(), Config::default());
}

#[test]
fn variables_of_ours_that_are_no_text_are_refused() {
    let given = |name: &[u8], value: &[u8]| {
        let pair = (OsString::from_vec(name.into()), OsString::from_vec(value.into()));
        load(None, [pair], &Overrides::default()).map_err(|error| error.to_string())
    };
    let expected = Err("the environment variable SFU_HTTP__PORT is not UTF-8".to_owned());
    assert_eq!(given(b"SFU_HTTP__PORT", b"80\xff"), expected);
    let expected = Err("the environment variable SFU_HTTP__PORT\u{fffd} is not UTF-8".to_owned());
    assert_eq!(given(b"SFU_HTTP__PORT\xff", b"80"), expected);
    assert_eq!(given(b"OTHERS_HTTP__PORT", b"\xff"), Ok(Config::default()));
    assert_eq!(given(b"SFU_CONFIG", b"\xff"), Ok(Config::default()), "a path, which the command line reads");
}

#[test]
fn wrong_values_are_named() {
    for (text, part) in [
        ("[http]\nport = \"many\"", "http.port"),
        ("[http]\nport = 70000", "http.port"),
        ("[http]\nbind = \"nowhere\"", "http.bind"),
        ("[http]\ntls_cert = \"x.pem\"", "tls_key"),
        ("[auth.keys]\nshort = \"abc\"", "short"),
        ("[auth.keys]\n\"\" = \"0123456789abcdef0123456789abcdef\"", "no name"),
        ("[auth.keys]\n\"a\\u001b\" = \"0123456789abcdef0123456789abcdef\"", "`a\\u{1b}` has control characters"),
        ("[auth.keys]\nspaces = \"                                  \"", "`spaces` is nothing but spaces"),
        (
            "[auth.keys]\nlines = \"0123456789abcdef0123456789abcdef\\n\"",
            "`lines` is nothing but spaces, or has control",
        ),
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
    let numbers: BTreeSet<String> = Schema::new().keys().into_iter().filter(number).collect();
    assert_eq!(numbers, BOUNDS.iter().map(|(key, ..)| (*key).to_owned()).collect());
}

#[test]
fn a_number_out_of_its_bounds_is_refused_with_them() {
    for (key, least, most) in BOUNDS {
        let (section, name) = key.split_once('.').unwrap();
        // The last port is one worker's, and an estimate lies between its bounds.
        let more = match key {
            "media.udp_port" => "workers = 1",
            "bandwidth.start_kbps" => "min_kbps = 16\nmax_kbps = 10000000",
            "bandwidth.min_kbps" => "start_kbps = 10000000\nmax_kbps = 10000000",
            "bandwidth.max_kbps" => "start_kbps = 16\nmin_kbps = 16",
            _ => "",
        };
        let with = |value: u64| from_text(&format!("[{section}]\n{name} = {value}\n{more}"));
        for good in [least, most] {
            assert!(with(good).is_ok(), "{key} = {good}: {:?}", with(good));
        }
        for bad in least.checked_sub(1).into_iter().chain([most + 1, i64::MAX as u64]) {
            let error = with(bad).expect_err(key).to_string();
            assert!(error.contains(key), "{key} = {bad} gave {error}");
        }
    }
    let error = from_text("[http]\nniceness = 20").unwrap_err().to_string();
    assert!(error.starts_with("http.niceness is 20; it must be a whole number from 0 to 19 ("), "{error}");
}

/// A value of each kind that TOML has.
const KINDS: [(&str, &[&str]); 6] = [
    ("whole number", &["0", "1", "-1", "9223372036854775807", "18446744073709551615", "99999999999999999999999999"]),
    ("other number", &["1.9", "0.0", "nan", "-inf", "1e400"]),
    ("boolean", &["true", "false"]),
    ("string", &["\"\"", "\"1\"", "\"true\""]),
    ("date", &["2026-01-01", "07:32:00"]),
    ("table", &["{}", "{ a = 1 }"]),
];

#[test]
fn a_value_of_another_type_is_refused_with_its_key_and_line() {
    let schema = Schema::new();
    let mut paths: Vec<String> = schema.keys().into_iter().filter(|key| !key.starts_with("ice_servers.")).collect();
    paths.push("auth.keys.name".into());
    for key in paths {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        let own = match schema.at(&path).unwrap() {
            Value::Number(_) => "whole number",
            Value::Bool(_) => "boolean",
            Value::String(_) => "string",
            Value::Object(_) => "table",
            _ => "list",
        };
        let wrong = KINDS.iter().filter(|(kind, _)| *kind != own).flat_map(|(_, values)| *values).copied();
        for value in wrong.chain(["[1]", "[1.5, true]", "[[\"x\"]]"]) {
            let error = from_text(&format!("\n{key} = {value}")).expect_err(&format!("{key} = {value}")).to_string();
            assert!(error.starts_with(&key) || error.contains(&format!("key `{key}")), "{key} = {value} gave {error}");
            assert!(error.ends_with(".toml, line 2)"), "{error}");
        }
    }
    for (text, part) in [
        ("[[ice_servers]]\nurls = \"stun:a\"", "ice_servers.urls must be a list of strings, not the string \"stun:a\""),
        ("[[ice_servers]]\nusername = 1", "ice_servers.username must be a string, not a number"),
        ("ice_servers = [[]]", "ice_servers must be a table, not a list"),
        ("[http.port]\nx = 1", "http.port must be a whole number, not a table"),
        ("[limits]\nrooms = 1.9", "limits.rooms is 1.9; it must be a whole number from 1 to"),
        ("[http]\nport = true", "http.port must be a whole number, not true"),
    ] {
        let error = from_text(text).unwrap_err().to_string();
        assert!(error.starts_with(part), "{text:?} gave {error}");
    }
}

#[test]
fn variables_are_read_as_what_their_keys_take() {
    let load = |name: &str, value: &str| load(None, env(&[(name, value)]), &Overrides::default());
    // Digits and a sign are a secret all the same.
    for secret in
        ["00012345678901234567890123456789", "1e5678901234567890123456789012345", "+1234567890123456789,0123456789012"]
    {
        assert_eq!(load("SFU_AUTH__KEYS__MAIN", secret).unwrap().auth.keys["main"], secret);
    }
    assert!(!load("SFU_MEDIA__TCP", "false").unwrap().media.tcp);
    assert!(load("SFU_LIMITS__EXEMPT_ADDRESSES", "").unwrap().limits.exempt_addresses.is_empty());
    for (name, value, part) in [
        ("SFU_HTTP__PORT", "true", "http.port"),
        ("SFU_HTTP__PORT", "1.9", "http.port"),
        ("SFU_HTTP__PORT", "18446744073709551616", "http.port"),
        ("SFU_MEDIA__TCP", "2", "media.tcp"),
        ("SFU_ICE_SERVERS__0__URLS", "stun:a", "ice_servers"),
        ("SFU_LOG__FORMAT", "xml", "log.format: unknown variant `xml`, expected `text` or `json`"),
    ] {
        let error = load(name, value).expect_err(name).to_string();
        assert!(error.starts_with(part) && error.ends_with(&format!("(environment variable {name})")), "{error}");
    }
}

#[test]
fn what_cannot_work_is_refused() {
    for (text, part) in [
        ("[http]\nadmin_listen = \"127.0.0.1:7880\"", "http.port and http.admin_listen are both TCP port 7880"),
        ("[http]\nport = 7881", "http.port and media.tcp_port are both TCP port 7881"),
        ("[http]\nadmin_listen = \"0.0.0.0:7881\"", "http.admin_listen and media.tcp_port"),
        ("[media]\nudp_port = 65534\nworkers = 3", "media.udp_port = 65534 leaves no port for worker 2"),
        ("[media]\nnode_ips = [\"0.0.0.0\"]", "media.node_ips: 0.0.0.0"),
        ("[media]\nnode_ips = [\"192.0.2.1\", \"ff02::1\"]", "media.node_ips: ff02::1"),
        ("[bandwidth]\nmin_kbps = 700", "bandwidth.start_kbps is 600; it must be from bandwidth.min_kbps, 700"),
        ("[bandwidth]\nmax_kbps = 100", "to bandwidth.max_kbps, 100"),
        ("[[ice_servers]]\nusername = \"u\"", "no urls"),
        ("[[ice_servers]]\nurls = [\"http://a.example\"]", "`http://a.example` is not of the form"),
        ("[[ice_servers]]\nurls = [\"stun:\"]", "`stun:`"),
        ("[[ice_servers]]\nurls = [\"stun.example.org\"]", "`stun.example.org`"),
        ("[[ice_servers]]\nurls = [\"stun://a.example\"]", "slashes"),
        ("[[ice_servers]]\nurls = [\"turn:a.example\"]", "username and credential"),
        ("[http]\nproxy_protocol = true", "http.trusted_proxies"),
        ("[http]\nweb_dir = \"/nowhere\"", "http.web_dir: /nowhere is no folder"),
        ("[http]\nweb_dir = \"/dev/null\"", "http.web_dir: /dev/null is no folder"),
    ] {
        let error = from_text(text).expect_err(text).to_string();
        assert!(error.contains(part), "{text:?} gave {error}");
    }
    for good in [
        "[http]\nport = 7881\nbind = \"127.0.0.1\"\n[media]\nbind = \"127.0.0.2\"",
        "[http]\nport = 7881\n[media]\ntcp = false",
        "[http]\nport = 0\nadmin_listen = \"127.0.0.1:0\"\n[media]\ntcp_port = 0",
        "[media]\nudp_port = 65534\nworkers = 2",
        "[bandwidth]\nestimator = \"googcc\"\nstart_kbps = 60",
        "[[ice_servers]]\nurls = [\"stun:a.example\", \"STUNS:[2001:db8::1]:5349\"]",
        "[[ice_servers]]\nurls = [\"turns:a.example?transport=tcp\"]\nusername = \"u\"\ncredential = \"c\"",
        "[http]\nproxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\"]",
    ] {
        assert!(from_text(good).is_ok(), "{good:?} gave {:?}", from_text(good));
    }
}
