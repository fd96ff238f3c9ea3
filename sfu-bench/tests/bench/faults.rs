//! What goes wrong before anybody is in: servers that refuse or are not there, and scenarios that are none.

use crate::harness::{Bench, Ended, Folder, Server, server_program};
use std::net::TcpListener;
use tokio::process::Command;

/// A server that asks for tokens and takes three participants.
const STRICT: &str = "[auth.keys]\nkey = 'a-secret-for-tests-0123456789abcdef'\n[limits]\nparticipants = 3\n";

/// A token for every room, signed with the keys of a configuration.
async fn token(config: &str) -> String {
    let arguments = ["token", "--config", config, "--room", "*"];
    let output = Command::new(server_program()).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// It failed, printed no result, and said why.
fn assert_refused(ended: &Ended, reasons: &[&str]) {
    assert!(!ended.success && ended.out.is_empty(), "{ended:?}");
    for reason in reasons {
        assert!(ended.err.contains(reason), "{reason}: {ended:?}");
    }
}

#[tokio::test]
async fn a_server_that_admits_not_everybody_says_so_in_the_result() {
    let folder = Folder::new();
    folder.write("sfu.toml", STRICT);
    let config = folder.path("sfu.toml");
    let config = config.to_str().unwrap();
    let server = Server::admitting(&["--config", config]).await;
    let load = format!("--server {} --json --subscribers 4 --bitrate 100000 --settle 1 --duration 1", server.url());
    let run = async |token: &str| Bench::start(&format!("run {load} --token {token}")).end().await;
    assert_refused(&run("not.a.token").await, &["nobody could join", "token"]);
    let foreign = run(&token_of_another_server(&folder).await).await;
    assert_refused(&foreign, &["nobody could join", "the server refuses"]);
    let found = run(&token(config).await).await.complete();
    assert_eq!((found.number("joins"), found.number("join_failures")), (3.0, 2.0), "{found}");
    assert!(found.text("first_error").contains("limits.participants"), "{found}");
    found.assert_fan_out(2);
}

async fn token_of_another_server(folder: &Folder) -> String {
    folder.write("other.toml", "[auth.keys]\nkey = 'another-secret-for-tests-0123456789'\n");
    token(folder.path("other.toml").to_str().unwrap()).await
}

#[tokio::test]
async fn where_nobody_listens_nobody_joins() {
    let place = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let load = "--subscribers 1 --duration 1 --json";
    let native = Bench::start(&format!("run --server ws://{place} {load}")).end().await;
    assert_refused(&native, &["nobody could join", &place.to_string()]);
    let http = format!("http://{place}");
    let ended = Bench::start(&format!("run --whip {http}/w --whep {http}/p {load}")).end().await;
    assert_refused(&ended, &["nobody could join", &place.to_string()]);
}

#[tokio::test]
async fn a_key_that_means_nothing_is_named_with_the_nearest() {
    let folder = Folder::new();
    folder.write("load.toml", "[[group]]\nsubscriber = 3\n");
    let ended = Bench::start_among(&folder, "run --scenario load.toml").end().await;
    assert_refused(&ended, &["load.toml is no scenario", "`subscriber`", "did you mean `subscribers`?"]);
}

#[tokio::test]
async fn a_process_that_is_none_is_named_before_anybody_joins() {
    let ended = Bench::start("run --server ws://127.0.0.1:1 --server-pid 4194305").end().await;
    assert_refused(&ended, &["process 4194305"]);
}
