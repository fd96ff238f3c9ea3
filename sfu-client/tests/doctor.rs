//! What the program says of itself and of a real server.

mod real;

use real::Server;
use serde_json::Value;
use std::process::{Command, Output};

fn doctor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sfu-client")).arg("doctor").args(arguments).output().unwrap()
}

#[test]
fn every_step_to_a_server_that_is_there_works() {
    let server = Server::start("doctor");
    let output = doctor(&["--server", &server.url("ws", ""), "--room", "r", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let diagnosis: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((output.status.code(), &diagnosis["well"]), (Some(0), &true.into()), "{text}");
    let status = |name| {
        let found = diagnosis["findings"].as_array().unwrap().iter().find(|finding| finding["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {text}"))["status"].clone()
    };
    for name in ["Opus", "name", "HTTP", "WebSocket", "join", "UDP", "TCP"] {
        assert_eq!(status(name), "good", "{name}: {text}");
    }
    assert_eq!(status("TURN"), "note", "none is configured");
}

#[test]
fn what_is_wrong_is_told_with_what_mends_it() {
    let output = doctor(&["--server", "ws://127.0.0.1:1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("cannot connect to 127.0.0.1:1") && text.contains("-> start the server"), "{text}");
    assert!(text.ends_with("1 problem\n"), "{text}");
    let server = Server::start("doctor-refused");
    let output = doctor(&["--server", &server.url("ws", "/nowhere")]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("problem WebSocket"), "{text}");
}
