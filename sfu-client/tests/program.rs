//! The program's arguments, errors and exit codes.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sfu-client")).args(arguments).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_names_every_command_and_option() {
    let help = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let text = help(&["--help"]);
    for command in ["publish", "subscribe", "join-time"] {
        assert!(text.contains(command), "{text}");
    }
    let text = help(&["publish", "--help"]);
    for option in ["--server", "--room", "--token", "--whip", "--width", "--fps", "--bitrate", "--y4m", "--frames"] {
        assert!(text.contains(option), "{text}");
    }
    for option in ["--scene", "--rate-control", "--max-qp", "--effort", "--no-denoise", "--no-low-light"] {
        assert!(text.contains(option), "{text}");
    }
    for lab in ["voice", "rate", "light"] {
        assert!(help(&["lab", lab, "--help"]).contains("--json"));
    }
    let text = help(&["subscribe", "--help"]);
    for option in ["--server", "--whep", "--record", "--frames", "--json", "--duration"] {
        assert!(text.contains(option), "{text}");
    }
}

#[test]
fn errors_are_clear_and_exit_codes_tell() {
    // Port 1 is closed on every machine of ours.
    let output = run(&["subscribe", "--server", "ws://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("cannot connect to 127.0.0.1:1"), "{}", errors(&output));
    let output = run(&["publish", "--whip", "ftp://127.0.0.1/x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("must begin with http://"), "{}", errors(&output));
    let output = run(&["publish", "--y4m", "/does/not/exist.y4m"]);
    assert!(errors(&output).contains("/does/not/exist.y4m"), "{}", errors(&output));
    let output = run(&["publish", "--width", "321"]);
    assert!(errors(&output).contains("must be even"), "{}", errors(&output));
    let output = run(&["publish", "--duration", "soon"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("is no time"), "{}", errors(&output));
}
