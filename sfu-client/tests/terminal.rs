//! The dashboard on a real terminal: it comes, and the terminal is as it was when it goes.

mod real;

use real::Server;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

#[test]
fn ctrl_c_ends_the_dashboard_and_gives_the_terminal_back() {
    let server = Server::start("terminal");
    let log = std::env::temp_dir().join(format!("sfu-terminal-{}", std::process::id()));
    let program = env!("CARGO_BIN_EXE_sfu-client");
    let command = format!("stty rows 24 cols 100; exec {program} publish --server {} --room r", server.url("ws", ""));
    // The `script` of util-linux gives it a terminal, whose screen it writes to the file. `exec`: a shell that stayed
    // would get the signal as well, and some die of it.
    let mut script = Command::new("script")
        .args(["--quiet", "--flush", "--return", "--command", &command])
        .arg(&log)
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let screen = || String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    let end = Instant::now() + LIMIT;
    while !(screen().contains(ENTER) && screen().contains("Ctrl-C")) {
        assert!(Instant::now() < end && script.try_wait().unwrap().is_none(), "no dashboard: {}", screen());
        std::thread::sleep(Duration::from_millis(50));
    }
    script.stdin.take().unwrap().write_all(b"\x03").unwrap();
    let status = script.wait().unwrap();
    let screen = screen();
    fs::remove_file(&log).unwrap();
    assert!(status.success(), "{screen}");
    let (_, after) = screen.split_once(LEAVE).expect("the terminal is given back");
    // The summary is on the screen that stays.
    assert!(after.contains("sent ") && !after.contains(ENTER), "{after}");
}
