//! The command line: what it says when something is wrong, and how the server stops.

use crate::harness::{SECRET, Server, TempFile, eventually, program, token};
use serde_json::json;
use std::process::Output;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/fixtures");

fn run(args: &[&str]) -> Output {
    program(args).output().unwrap()
}

/// What the program says when it refuses to go on.
fn complaint(args: &[&str]) -> String {
    let output = run(args);
    assert!(!output.status.success(), "{args:?} succeeded");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let server = Server::dev();
    let port = server.http.port().to_string();
    let text = complaint(&["--dev", "--http-port", &port, "--media-port", "0"]);
    assert!(text.contains(&port) && text.contains("taken") && text.contains("--http-port"), "{text}");
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = udp.local_addr().unwrap().port().to_string();
    let text = complaint(&["--dev", "--http-port", "0", "--media-port", &port, "--workers", "1"]);
    assert!(text.contains(&port) && text.contains("taken") && text.contains("--media-port"), "{text}");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let with_tls = |cert: &str, key: &str| {
        TempFile::new("tls.toml", &format!("[http]\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"\n"))
    };
    let good = |name: &str| format!("{FIXTURES}/{name}");
    let garbage = TempFile::new("garbage.pem", "this is no PEM");
    for (config, part) in [
        (with_tls("/nowhere/cert.pem", &good("key.pem")), "/nowhere/cert.pem"),
        (with_tls(&good("cert.pem"), "/nowhere/key.pem"), "/nowhere/key.pem"),
        (with_tls(garbage.path(), &good("key.pem")), "holds no certificate"),
        (with_tls(&good("cert.pem"), garbage.path()), garbage.path()),
        (with_tls("/dev/zero", &good("key.pem")), "/dev/zero: no regular file"),
        (with_tls(&good("cert.pem"), &good("other-key.pem")), "cannot be used together"),
    ] {
        for command in [vec!["check-config"], vec!["--http-port", "0", "--media-port", "0"]] {
            let args: Vec<&str> = command.iter().copied().chain(["--config", config.path()]).collect();
            let text = complaint(&args);
            assert!(text.contains(part), "{args:?}: {text}");
        }
    }
    assert!(complaint(&["--config", "/nowhere.toml"]).contains("/nowhere.toml"));
    assert!(complaint(&["check-config", "--config", "/dev/zero"]).contains("no regular file"));
    for args in [["check-config", "--config", "/"], ["check-config", "--config", with_tls("/", "/").path()]] {
        let text = complaint(&args);
        assert_eq!(text.matches("directory").count(), 1, "the cause is told once: {text}");
    }
}

/// What the server says at its start, the doctor, and the check of the configuration.
fn warnings(more: &str) -> [String; 3] {
    let server = Server::configured(more);
    let log = server.stop_and_read_log();
    let config = TempFile::new("doubtful.toml", &format!("[auth.keys]\nkey = \"{SECRET}\"\n{more}"));
    let ask = |command| {
        let output = run(&[command, "--config", config.path(), "--http-port", "0", "--media-port", "0"]);
        String::from_utf8(output.stdout).unwrap()
    };
    let (doctor, check) = (ask("doctor"), ask("check-config"));
    [log.lines(), doctor.lines(), check.lines()].map(|lines| {
        let is_warning = |line: &&str| ["WARN", "FIX", "Warning"].iter().any(|mark| line.contains(mark));
        lines.filter(is_warning).collect::<Vec<_>>().join("\n")
    })
}

#[test]
fn a_chain_that_clients_refuse_is_warned_of() {
    let [cert, expired, future] = ["cert.pem", "expired-cert.pem", "future-cert.pem"]
        .map(|name| std::fs::read_to_string(format!("{FIXTURES}/{name}")).unwrap());
    for (chain, part) in [
        (expired.clone(), "has ended"),
        (future.clone(), "not valid yet"),
        (cert.clone() + &expired, "has ended"),
        (cert.clone() + &future, "not valid yet"),
        (cert, ""),
    ] {
        let file = TempFile::new("chain.pem", &chain);
        let tls = format!("[http]\ntls_cert = '{}'\ntls_key = '{FIXTURES}/key.pem'\n", file.path());
        for text in warnings(&tls) {
            assert!(text.contains(part) && text.contains("http.tls_cert") != part.is_empty(), "{part}: {text}");
        }
    }
}

#[test]
fn a_network_as_wide_as_the_internet_is_warned_of() {
    for (more, key) in [
        ("[http]\ntrusted_proxies = ['10.0.0.0/8', '0.0.0.0/0']\n", "http.trusted_proxies: 0.0.0.0/0"),
        ("[http]\ntrusted_proxies = ['::/0']\n", "http.trusted_proxies: ::/0"),
        ("[limits]\nexempt_addresses = ['128.0.0.0/1']\n", "limits.exempt_addresses: 128.0.0.0/1"),
    ] {
        for text in warnings(more) {
            assert!(text.contains(key) && !text.contains("10.0.0.0/8"), "{key}: {text}");
        }
    }
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_name() {
    let config = TempFile::new("unknown.toml", "[limits]\nroms = 3\n");
    let text = complaint(&["check-config", "--config", config.path()]);
    assert!(text.contains("limits.roms") && text.contains("limits.rooms"), "{text}");
    let output = program(&["check-config"]).env("SFU_HTTP__PROT", "1").output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("http.port"));
}

#[test]
fn a_level_of_the_log_that_is_none_is_refused() {
    for args in
        [["check-config", "--log", "inof"].as_slice(), &["--dev", "--log", "inof"], &["--log", "info,sfu=debgu"]]
    {
        let text = complaint(args);
        assert!(text.contains("log.level") && text.contains("error, warn, info, debug, trace, off"), "{text}");
    }
}

#[test]
fn check_config_shows_no_secrets() {
    let config = TempFile::new("secret.toml", &format!("[auth.keys]\nk = \"{SECRET}\"\n"));
    let output = run(&["check-config", "--print", "--config", config.path()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("\"port\": 7880") && !text.contains(SECRET), "{text}");
}

#[tokio::test]
async fn a_token_of_the_program_admits() {
    let server = Server::configured("");
    let args = ["token", "--key", "key", "--secret", SECRET, "--room", "demo", "--identity", "zoe", "--moderate"];
    let token = String::from_utf8(run(&args).stdout).unwrap();
    let (_zoe, joined) = server.join("demo", json!({ "token": token.trim() })).await;
    assert_eq!(joined["identity"], "zoe");
    assert_eq!(joined["grants"]["moderate"], true);
    let text = complaint(&["token", "--room", "demo"]);
    assert!(text.contains("--key"), "{text}");
}

#[test]
fn a_token_that_no_server_takes_is_not_made() {
    let long = "x".repeat(129);
    for (args, part) in [
        (["--secret", "short", "--room", "demo"].as_slice(), "shorter than 32 characters"),
        (&["--room", ""], "at least one character"),
        (&["--room", "a/b"], "no slash"),
        (&["--room", ".."], "cannot be `..`"),
        (&["--room", "a\u{1b}b"], "control character"),
        (&["--room", &long], "more than 128 characters"),
        (&["--room", "*", "--identity", "a\nb"], "control character"),
        (&["--room", "demo", "--identity", &long], "more than 128 characters"),
        (&["--room", "demo", "--name", "a\u{202e}b"], "control character"),
        (&["--room", "demo", "--hours", "0"], "--hours"),
        (&["--room", "demo", "--hours", "18446744073709551615"], "--hours"),
        (&["--key", "", "--room", "demo"], "no name"),
    ] {
        let mut command = program(&["token"]);
        command.args(args).env("SFU_API_KEY", "key").env("SFU_API_SECRET", SECRET);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty() && text.contains(part), "{args:?}: {text}");
    }
    for good in [["--room", "*"].as_slice(), &["--room", "", "--admin"], &["--room", "demo", "--hours", "87600"]] {
        let args: Vec<&str> = ["token", "--key", "key", "--secret", SECRET].iter().chain(good).copied().collect();
        assert!(run(&args).status.success(), "{args:?}");
    }
}

#[test]
fn the_doctor_looks_at_everything() {
    let output = run(&["doctor", "--dev", "--http-port", "0", "--media-port", "0", "--workers", "1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["Addresses", "clients are offered", "Ports", "UDP", "TCP", "buffer", "Linux", "open files", "clock"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&["doctor", "--dev", "--http-port", &port, "--media-port", "0"]);
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("FIX"));
}

#[test]
fn the_doctor_wants_as_many_open_files_as_the_server() {
    let doctor = program(&["doctor", "--dev", "--http-port", "0", "--media-port", "0", "--workers", "1"]);
    let command = format!("ulimit -n 20000; exec {} \"$@\"", env!("CARGO_BIN_EXE_sfu"));
    let output =
        std::process::Command::new("sh").args(["-c", &command, "sh"]).args(doctor.get_args()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("note   at most 20000 open files, so that fewer connections"), "{text}");
}

#[tokio::test]
async fn a_stop_tells_clients_and_ends_well() {
    for signal in ["INT", "TERM"] {
        let server = Server::dev();
        let (mut client, _) = server.join("demo", json!({})).await;
        server.signal(signal);
        assert_eq!(client.expect("left").await["reason"], "LEAVE_REASON_SERVER_SHUTDOWN");
        drop(client);
        assert!(server.wait(), "{signal}");
    }
}

#[tokio::test]
async fn a_draining_server_waits_for_those_who_are_here_and_refuses_newcomers() {
    let server = Server::configured("[http]\ndrain_seconds = 600");
    let (mut alice, _) = server.join("demo", json!({ "token": token(json!({})) })).await;
    server.signal("TERM");
    eventually("the server drains", async || server.get("/healthz").status == 503).await;
    let mut bob = server.client().await;
    let code = bob.refusal(json!({ "join": { "token": token(json!({ "sub": "bob" })), "room": "demo" } })).await;
    assert_eq!(code, "ERROR_CODE_UNAVAILABLE");
    assert!(alice.request(json!({ "ping": {} })).await.get("pong").is_some(), "the call goes on");
    alice.send(json!({ "leave": {} })).await;
    assert_eq!(alice.expect("left").await["reason"], "LEAVE_REASON_CLIENT");
    assert!(server.wait(), "the last one left, so it ended");
}
