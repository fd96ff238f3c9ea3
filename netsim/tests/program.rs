//! The program as it is used: started, told lines, read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

fn netsim(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netsim"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    netsim(arguments).output().expect("the program starts")
}

fn endpoint() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// A running relay in front of `server`, with the address that it prints.
fn relay(server: &UdpSocket, more: &[&str]) -> (Child, ChildStdin, BufReader<ChildStdout>, SocketAddr) {
    let to = server.local_addr().unwrap().to_string();
    let mut child = netsim(&[&["relay", "--to", &to], more].concat()).spawn().expect("the program starts");
    let (input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").expect("the address comes first").parse().unwrap();
    (child, input, output, address)
}

fn source_of_next(server: &UdpSocket) -> SocketAddr {
    server.recv_from(&mut [0; 100]).expect("a packet arrives").1
}

#[test]
fn a_port_changes_on_a_line_and_counts_come_at_the_end() {
    let (server, client) = (endpoint(), endpoint());
    let (mut child, mut input, mut output, address) = relay(&server, &["--delay", "1ms"]);
    client.send_to(b"one", address).unwrap();
    let before = source_of_next(&server);
    writeln!(input, "port\nset --delay 0ms\nstats").unwrap();
    let mut lines = String::new();
    while !lines.contains("port changes 1") {
        assert!(output.read_line(&mut lines).unwrap() > 0, "{lines}");
    }
    client.send_to(b"two", address).unwrap();
    assert_ne!(source_of_next(&server), before);
    writeln!(input, "quit").unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("up    sent 2 (6 bytes), delivered 2"), "{rest}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn it_ends_with_its_input_or_with_its_time() {
    let server = endpoint();
    let (mut child, input, _output, _) = relay(&server, &["--exit-on-eof"]);
    drop(input);
    assert!(child.wait().unwrap().success());
    let (mut child, _input, _output, _) = relay(&server, &["--for", "10ms"]);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_port_changes_on_a_timer() {
    let (server, client) = (endpoint(), endpoint());
    let (mut child, mut input, _output, address) = relay(&server, &["--change-port-every", "20ms"]);
    client.send_to(b"first", address).unwrap();
    let before = source_of_next(&server);
    loop {
        client.send_to(b"again", address).unwrap();
        if source_of_next(&server) != before {
            break;
        }
    }
    writeln!(input, "quit").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn help_and_errors() {
    let help = run(&["--help"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--change-port-after"));
    let wrong = run(&["relay", "--to", "127.0.0.1:1", "--loss", "lots"]);
    assert_eq!(wrong.status.code(), Some(2));
    let message = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(message, "netsim: --loss takes a probability, as 5% or 0.05, not lots\n");
    let refused = run(&["relay", "--to", "192.0.2.1:1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--local-interfaces"));
}
