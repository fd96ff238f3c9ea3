//! What strangers send, and do not send, before anybody knows them: they are bounded, and keep nobody out.

use crate::harness::{Client, Server, TempFile, admin_token, eventually, token};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use sfu_proto::SUBPROTOCOL_JSON;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Connections that have sent this much.
fn connections(server: &Server, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = TcpStream::connect(server.http).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    (0..count).map(connect).collect()
}

/// Whether the server ends the connection abruptly, for the sake of another.
fn gives_way(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.read(&mut [0; 1]).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

#[test]
fn silent_connections_keep_nobody_out() {
    let server = Server::configured("");
    let _held = connections(&server, 300, b"");
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_request_has_one_host_and_no_coding_but_chunks() {
    let server = Server::configured("");
    let status = |head: &str| {
        let mut stream = TcpStream::connect(server.http).unwrap();
        write!(stream, "GET /healthz HTTP/1.1\r\n{head}Connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(status("Host: localhost\r\n"), "200");
    assert_eq!(status(""), "400");
    assert_eq!(status("Host: localhost\r\nHost: localhost\r\n"), "400");
    assert_eq!(status("Host: localhost\r\nTransfer-Encoding: gzip, chunked\r\n"), "501");
}

#[test]
fn where_there_are_too_many_the_oldest_gives_way() {
    let server = Server::configured("[limits]\nunauthenticated_connections = 20\n");
    let mut held = connections(&server, 60, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    assert_eq!(server.get("/healthz").status, 200);
    assert!(gives_way(&mut held[0]), "the oldest");
    held[59].write_all(b"1\r\n\r\n").unwrap();
    let mut status = [0; 12];
    held[59].read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200", "one of the newest is still here");
}

#[test]
fn an_answer_is_read_whole_though_its_connection_gives_way() {
    let server = Server::configured("[limits]\nunauthenticated_connections = 5\n");
    // The answer waits in buffers of the kernel, since nothing reads it, and the connection idles.
    let mut slow = connections(&server, 1, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").remove(0);
    slow.peek(&mut [0; 1]).unwrap();
    let mut newcomers = connections(&server, 10, b"");
    assert!(gives_way(&mut newcomers[0]), "so has the idle one, before it");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
}

/// Reads so slowly that neither all of an answer fits into the kernel's buffers, nor all of it is read soon.
fn slow_reader(server: &Server, path: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1_024).unwrap();
    socket.connect(&server.http.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream.peek(&mut [0; 1]).unwrap();
    stream
}

/// The last of the page, which is a file of this length.
fn read_page(stream: &mut TcpStream, length: usize, mut read: usize) {
    let mut bytes = vec![0; 64 * 1_024];
    while read < length {
        let more = stream.read(&mut bytes).unwrap();
        assert!(more > 0, "cut after {read} bytes of {length}");
        read += more;
    }
}

/// Folder, name and length of a page that no buffer holds.
fn large_page() -> (TempFile, String, usize) {
    let length = 4 << 20;
    let file = TempFile::new("large.html", &"x".repeat(length));
    let name = format!("/{}", file.0.file_name().unwrap().to_str().unwrap());
    (file, name, length)
}

#[test]
fn who_reads_a_long_answer_steadily_gets_all_of_it() {
    let (file, name, length) = large_page();
    let server = Server::configured(&format!(
        "[http]\nrequest_timeout_seconds = 1\nidle_timeout_seconds = 1\nweb_dir = '{}'\n\
         [limits]\nunauthenticated_connections = 8\n",
        file.0.parent().unwrap().display()
    ));
    let mut slow = slow_reader(&server, &name);
    let mut read = 0;
    let mut newcomers = Vec::new();
    // Longer than each of the timeouts.
    for _ in 0..60 {
        newcomers.push(connections(&server, 1, b""));
        std::thread::sleep(Duration::from_millis(50));
        read += slow.read(&mut [0; 16 * 1_024]).unwrap();
    }
    assert!(read < length / 2, "it is slow");
    read_page(&mut slow, length, read);
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_closed() {
    let (file, name, length) = large_page();
    let server = Server::configured(&format!(
        "[http]\nrequest_timeout_seconds = 1\nidle_timeout_seconds = 600\nweb_dir = '{}'\n",
        file.0.parent().unwrap().display()
    ));
    let mut stuck = slow_reader(&server, &name);
    let line = "sfu_closed_connections_total{reason=\"timeout\"} 1";
    eventually("it counts as closed", async || server.get("/metrics").body.contains(line)).await;
    let mut answer = Vec::new();
    let _ = stuck.read_to_end(&mut answer);
    assert!(answer.len() < length, "{} bytes were taken", answer.len());
}

#[test]
fn whoever_takes_nothing_of_an_answer_holds_little() {
    const MANY: usize = 100;
    let (file, name, length) = large_page();
    let server = Server::configured(&format!("[http]\nweb_dir = '{}'\n", file.0.parent().unwrap().display()));
    read_page(&mut slow_reader(&server, &name), length, 0);
    let before = server.memory();
    let _stuck: Vec<TcpStream> = (0..MANY).map(|_| slow_reader(&server, &name)).collect();
    std::thread::sleep(Duration::from_millis(500));
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 64 * MANY as u64, "{} kB each", grown / MANY as u64);
}

/// Who reads as slowly as may be does not take the places of others.
#[test]
fn slow_readers_keep_nobody_out() {
    let (file, name, _) = large_page();
    let server = Server::configured(&format!(
        "[http]\nweb_dir = '{}'\n[limits]\nunauthenticated_connections = 8\n",
        file.0.parent().unwrap().display()
    ));
    let _slow: Vec<TcpStream> = (0..20).map(|_| slow_reader(&server, &name)).collect();
    assert_eq!(server.get("/healthz").status, 200);
}

/// Behind a proxy that does not read HTTP, and hides its client, header fields are that client's own.
#[test]
fn who_is_hidden_by_a_proxy_counts_for_nobody_else() {
    let server = Server::configured(
        "[http]\ntrusted_proxies = ['127.0.0.1']\nproxy_protocol = true\n\
         [limits]\nunauthenticated_connections_per_address = 1\n",
    );
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
    let mut hidden = connections(&server, 3, b"PROXY UNKNOWN\r\n");
    for _ in 0..2 {
        for stream in &mut hidden {
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"ok\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("none gives way to another");
                answer.extend(byte);
            }
        }
    }
}

#[tokio::test]
async fn one_address_takes_no_more_than_its_part_unless_it_has_joined() {
    let server = Server::configured("[limits]\nunauthenticated_connections_per_address = 5\n");
    let mut participants = Vec::new();
    for number in 0..12 {
        let token = token(json!({ "sub": format!("p{number}") }));
        participants.push(server.join("demo", json!({ "token": token })).await.0);
    }
    let mut held = connections(&server, 10, b"");
    assert!(gives_way(&mut held[0]));
    for participant in &mut participants {
        let pong = participant.request(json!({ "ping": { "timestamp": 7 } })).await;
        assert!(pong.get("pong").is_some(), "{pong}");
    }
}

#[test]
fn what_takes_too_long_is_closed() {
    let server = Server::configured("[http]\nheader_timeout_seconds = 1\nrequest_timeout_seconds = 1\n");
    let whip = "POST /whip/demo/cam HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\nContent-Length: 99\r\n\r\nv=0";
    for begun in ["", "GET / HTTP/1.1\r\nHost: loc", whip] {
        let mut held = connections(&server, 1, begun.as_bytes());
        let mut answer = Vec::new();
        held[0].set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert!(held[0].read_to_end(&mut answer).is_ok(), "closed, not waited for: {begun}");
    }
}

/// A body that never ends, piece by piece: it is told what it was too slow for, also where a page of another origin asks.
#[test]
fn a_body_that_takes_too_long_is_told_so() {
    let server = Server::configured("[http]\nrequest_timeout_seconds = 1\n");
    for (path, token) in [("/whip/demo/cam", token(json!({ "sub": "cam" }))), ("/v1/admin/rooms", admin_token())] {
        let kind = if path.starts_with("/whip") { "application/sdp" } else { "application/json" };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: {kind}\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        let mut held = connections(&server, 1, head.as_bytes()).remove(0);
        held.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut answer = [0; 2_048];
        let read = loop {
            held.write_all(b"1\r\n{\r\n").expect("it stays until it is answered");
            if let Ok(read) = held.read(&mut answer) {
                break read;
            }
        };
        let answer = String::from_utf8_lossy(&answer[..read]);
        let told = answer.starts_with("HTTP/1.1 408") && answer.contains("http.request_timeout_seconds");
        assert!(told && answer.contains("connection: close"), "{answer:?}");
        assert_eq!(answer.contains("access-control-allow-origin: *"), path.starts_with("/whip"), "{answer:?}");
        let ended = held.read(&mut [0; 1]);
        assert!(ended.is_ok_and(|read| read == 0) || held.write_all(b"1").is_err(), "and closed");
    }
}

#[test]
fn heads_and_bodies_have_an_end() {
    let server = Server::configured("");
    let long = "x".repeat(100_000);
    let refused = server.request("GET", "/", &[("X-Long", &long)], "");
    assert!([0, 431].contains(&refused.status), "{}", refused.status);
    let refused = server.request("POST", "/whip/demo/cam", &[("X-Long", &long[..9_000])], "");
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (431, Some("*")));
    assert!(refused.detail().contains("8192 bytes"), "{refused:?}");
    let headers = [("Content-Type", "application/json"), ("Authorization", &*format!("Bearer {}", admin_token()))];
    let body = json!({ "name": long }).to_string();
    let refused = server.request("POST", "/v1/admin/rooms", &headers, &body[..20_000]);
    assert_eq!(refused.status, 413);
    assert!(refused.detail().contains("16384 bytes (limits.body_bytes)"), "{refused:?}");
}

/// The answer to a request whose body comes after its head.
fn answer_to(server: &Server, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = "POST /whip/demo/cam HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n";
    write!(stream, "{request}Authorization: Bearer {}\r\n{head}\r\n", token(json!({ "sub": "cam" }))).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    // Where the answer comes first, the server need not read all.
    let _ = stream.write_all(body);
    let mut answer = [0; 2_048];
    let read = stream.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[test]
fn a_body_of_any_length_is_answered() {
    let server = Server::configured("");
    for length in (16_385..40_000).step_by(787) {
        let answer = answer_to(&server, &format!("Content-Length: {length}\r\n"), &vec![b'v'; length]);
        let told = answer.starts_with("HTTP/1.1 413") && answer.contains("access-control-allow-origin: *");
        assert!(told, "{length} bytes: {answer:?}");
    }
    // What pieces of 64 bytes take beside is no part of the body.
    for (pieces, status) in [(256, 422), (257, 413)] {
        let body = [&[&b"40\r\n"[..], &[b'v'; 64], b"\r\n"].concat().repeat(pieces)[..], b"0\r\n\r\n"].concat();
        let answer = answer_to(&server, "Transfer-Encoding: chunked\r\n", &body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{pieces} pieces: {answer:?}");
    }
    // Pieces of one byte have six bytes each.
    for length in [1_000, 4_000, 8_000, 20_000] {
        let body = [&b"1\r\nv\r\n".repeat(length)[..], b"0\r\n\r\n"].concat();
        let answer = answer_to(&server, "Transfer-Encoding: chunked\r\n", &body);
        assert!(answer.starts_with("HTTP/1.1 4"), "{length} pieces: {answer:?}");
    }
}

/// Pings that are never followed by a read, until the server has enough of them.
async fn flood(server: &Server, joined: bool) {
    let mut client = server.client().await;
    if joined {
        let join = json!({ "join": { "token": token(json!({})), "room": "demo" } });
        assert!(client.request(join).await.get("joined").is_some());
    }
    let payload = vec![1; 125];
    while client.socket.feed(Message::Ping(payload.clone().into())).await.is_ok() {}
}

#[tokio::test]
async fn pings_that_are_never_read_cost_nothing() {
    let server = Server::configured("");
    server.join("warm", json!({ "token": token(json!({ "room": "*" })) })).await;
    let before = server.memory();
    for joined in [false, true] {
        for _ in 0..8 {
            tokio::time::timeout(Duration::from_secs(20), flood(&server, joined)).await.expect("closed in the end");
        }
    }
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 16 * 1_024, "{grown} kB for 16 connections one after another");
}

#[tokio::test]
async fn a_first_message_that_is_too_long_is_told_why() {
    let server = Server::configured("[limits]\njoin_bytes = 10000\n");
    let mut client = server.client().await;
    let join = json!({ "join": { "room": "demo", "metadata": "x".repeat(100_000) } });
    client.send(join).await;
    let error = client.expect("error").await;
    assert!(error["message"].as_str().unwrap().contains("limits.join_bytes"), "{error}");
    assert!(client.next().await.is_none());
}

/// A body that comes byte by byte: each piece could keep a whole buffer.
#[test]
fn a_body_in_many_pieces_holds_no_more_than_its_bytes() {
    let server = Server::dev();
    let post = |body: &[u8]| {
        let mut stream = connections(&server, 1, b"").remove(0);
        let head = "POST /whip/demo/cam HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n";
        write!(stream, "{head}Transfer-Encoding: chunked\r\n\r\n").unwrap();
        stream.write_all(body).unwrap();
        stream
    };
    let hold = || -> Vec<TcpStream> { (0..40).map(|_| post(&b"1\r\nx\r\n".repeat(3_000))).collect() };
    // Memory that the allocator keeps is no connection's.
    drop(hold());
    std::thread::sleep(Duration::from_millis(500));
    let before = server.memory();
    let held = hold();
    std::thread::sleep(Duration::from_millis(500));
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 64 * held.len() as u64, "{grown} kB for {} bodies of 3,000 bytes", held.len());
}

#[test]
fn nothing_is_read_of_who_may_not_enter() {
    let server = Server::configured("");
    let head = "POST /whip/demo/cam HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n";
    let mut stream = connections(&server, 1, format!("{head}Content-Length: 9\r\n\r\n").as_bytes()).remove(0);
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("it is answered without its body");
    assert_eq!(&answer, b"HTTP/1.1 401");
}

/// An empty entry takes two bytes on the wire and a hundred in memory.
#[tokio::test]
async fn a_list_that_is_too_long_waits_for_no_turn() {
    let server = Server::configured("");
    server.join("warm", json!({ "token": token(json!({ "room": "*" })) })).await;
    let before = server.memory();
    let publish = vec![json!({}); 12_000];
    for _ in 0..20 {
        let mut client = server.client().await;
        let join = json!({ "token": token(json!({})), "room": "demo", "offer": { "sdp": "v=0", "publish": publish } });
        assert_eq!(client.refusal(json!({ "join": join })).await, "ERROR_CODE_LIMIT");
    }
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 16 * 1_024, "{grown} kB");
}

/// Everybody gets the whole roster, and keeps no memory of its size.
#[tokio::test]
async fn a_long_roster_is_held_while_it_is_sent() {
    let server = Server::configured("");
    let metadata = "m".repeat(4_096);
    let before = server.memory();
    let mut clients = Vec::new();
    for number in 0..100 {
        let mut client = server.client().await;
        let token = token(json!({ "sub": format!("p{number}") }));
        let joined = client.request(json!({ "join": { "token": token, "room": "demo", "metadata": metadata } })).await;
        assert!(joined["joined"].is_object(), "{joined}");
        assert_eq!(joined["joined"]["participants"].as_array().map_or(0, Vec::len), number);
        clients.push(client);
    }
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 32 * 1_024, "{grown} kB for rosters of 200 kB on average");
}

#[tokio::test]
async fn metadata_is_text_and_bounded_for_a_room() {
    let server = Server::configured("[limits]\nroom_metadata_bytes = 5000\n");
    let join = |identity: &str, metadata: String| {
        let token = token(json!({ "sub": identity }));
        json!({ "join": { "token": token, "room": "demo", "metadata": metadata } })
    };
    let (mut first, mut second) = (server.client().await, server.client().await);
    assert!(first.request(join("first", "{\n\t\"é\": 1 }".repeat(300))).await.get("joined").is_some());
    assert_eq!(second.refusal(join("second", "x".repeat(4_096))).await, "ERROR_CODE_LIMIT");
    let [mut again, mut third, mut fourth] = [server.client().await, server.client().await, server.client().await];
    assert_eq!(third.refusal(join("third", "\u{1}".repeat(10))).await, "ERROR_CODE_BAD_MESSAGE");
    assert!(fourth.request(join("fourth", String::new())).await.get("joined").is_some(), "none is never too much");
    assert!(again.request(join("first", "x".repeat(4_096))).await.get("joined").is_some(), "its own is given back");
}

/// What a client says wrongly is quoted, and escaped, but not at any length.
#[tokio::test]
async fn a_refusal_is_short_however_long_the_mistake() {
    let server = Server::dev();
    let (mut client, _) = server.join("demo", json!({})).await;
    let mid = "\u{1}".repeat(30_000);
    for body in [json!({ "publish": { "mid": mid } }), json!({ "subscribe": { "mid": mid } })] {
        let reply = client.request(body).await;
        let message = reply["error"]["message"].as_str().unwrap_or_else(|| panic!("not refused: {reply}"));
        assert!(message.len() < 6_000, "{} bytes", message.len());
    }
}

/// What comes together with the request to become a WebSocket is read before that is one.
#[test]
fn bytes_ahead_of_the_handshakes_answer_count() {
    let server = Server::configured("[limits]\njoin_bytes = 10000\n");
    let refused = |early: usize, later: usize| {
        let head = "GET /v1/join HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
        let subprotocol = format!("Sec-WebSocket-Protocol: {SUBPROTOCOL_JSON}\r\n\r\n");
        // A masked text frame, whose mask is zero.
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(u16::try_from(early + later).unwrap().to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(vec![b' '; early]);
        let request = [head.as_bytes(), subprotocol.as_bytes(), &frame].concat();
        let mut stream = connections(&server, 1, &request).remove(0);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        stream.write_all(&vec![b' '; later]).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).contains("limits.join_bytes")
    };
    assert!(!refused(5_000, 3_000), "it fits, and is refused for what it says");
    assert!(refused(9_000, 9_000));
}

/// A frame that a message goes on after.
async fn send_fragment(client: &mut Client, opcode: Data, bytes: usize) -> Result<(), Error> {
    client.socket.send(Message::Frame(Frame::message(vec![b' '; bytes], OpCode::Data(opcode), false))).await
}

/// What is gathered of a message in fragments counts as well as the frames that were read, and has room to grow.
#[tokio::test]
async fn fragments_of_a_first_message_count_three_times() {
    let server = Server::configured("");
    for (fragments, fits) in [(2, true), (4, false)] {
        let mut client = server.client().await;
        send_fragment(&mut client, Data::Text, 5_000).await.unwrap();
        for _ in 1..fragments {
            send_fragment(&mut client, Data::Continue, 5_000).await.unwrap();
        }
        let last = Frame::message("{}", OpCode::Data(Data::Continue), true);
        client.socket.send(Message::Frame(last)).await.unwrap();
        let error = client.expect("error").await;
        let too_long = error["message"].as_str().unwrap().contains("limits.join_bytes");
        assert_eq!(too_long, !fits, "{fragments} fragments: {error}");
    }
}

#[tokio::test]
async fn a_message_of_endless_empty_frames_ends_the_connection() {
    let server = Server::configured("");
    let (mut client, _) = server.join("demo", json!({ "token": token(json!({})) })).await;
    send_fragment(&mut client, Data::Text, 1).await.unwrap();
    let endless = async { while send_fragment(&mut client, Data::Continue, 0).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), endless).await.expect("closed");
}

#[tokio::test]
async fn frames_without_words_keep_no_session_alive() {
    let server = Server::configured("[signal]\nping_interval_seconds = 1\n");
    let (mut client, _) = server.join("demo", json!({ "token": token(json!({})) })).await;
    let pings = async {
        loop {
            let sent = client.socket.send(Message::Ping(Vec::new().into())).await;
            let ended = tokio::time::timeout(Duration::from_millis(200), async {
                while client.socket.next().await.is_some_and(|message| message.is_ok()) {}
            });
            if sent.is_err() || ended.await.is_ok() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), pings).await.expect("the connection counts as lost");
}

#[test]
fn a_dev_server_is_for_this_machine_alone() {
    let server = Server::dev();
    for (headers, status) in [
        (vec![("Origin", "https://evil.example")], 403),
        (vec![("Origin", "null")], 403),
        (vec![("Origin", "http://localhost:5173")], 200),
        (vec![], 200),
    ] {
        assert_eq!(server.request("GET", "/healthz", &headers, "").status, status, "{headers:?}");
    }
    let mut rebound = connections(&server, 1, b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    rebound[0].read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn no_level_of_logging_tells_secrets() {
    let server = Server::logged("trace", "");
    let token = token(json!({}));
    let (mut client, joined) = server.join("demo", json!({ "token": token })).await;
    let session = joined["session"].as_str().unwrap().to_owned();
    client.request(json!({ "ping": { "timestamp": 7 } })).await;
    client.vanish();
    let mut again = server.client().await;
    again.request(json!({ "resume": { "session": session } })).await;
    let admin = admin_token();
    server.request("GET", "/v1/admin/rooms", &[("Authorization", &format!("Bearer {admin}"))], "");
    let headers = [("Content-Type", "application/sdp"), ("Authorization", &*format!("Bearer {token}"))];
    let created = server.request("POST", "/whip/demo/alice", &headers, crate::harness::PUBLISHER);
    assert_eq!(created.status, 201, "{}", created.body);
    let resource = created.header("location").unwrap().to_owned();
    assert_eq!(server.request("DELETE", &resource, &headers, "").status, 200);
    let log = server.stop_and_read_log();
    assert!(log.contains("room opened"), "{log}");
    let secret = resource.rsplit('/').next().unwrap();
    for secret in [&*token, &*session, &*admin, secret, crate::harness::SECRET] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
}

#[test]
fn the_operators_routes_can_have_a_listener_of_their_own() {
    let server = Server::configured("[http]\nadmin_listen = '127.0.0.1:0'\n");
    let headers = [("Authorization", &*format!("Bearer {}", admin_token()))];
    for path in ["/metrics", "/v1/admin/rooms"] {
        assert_eq!(server.request("GET", path, &headers, "").status, 404, "{path}");
        assert_eq!(server.operator("GET", path, &headers).status, 200, "{path}");
    }
    assert_eq!(server.operator("GET", "/", &[]).status, 404);
}
