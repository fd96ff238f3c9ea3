//! How a WebSocket ends: with a Close frame that says why (RFC 6455 section 7.4.1), whatever the client did.

use crate::harness::{Server, Socket};
use futures_util::StreamExt;
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

/// A frame of a client, masked with zeros: the first byte is FIN, reserved bits and opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126, "or it is written in another way");
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// The code of the Close frame with which the server answers these bytes.
async fn code_after(socket: &mut Socket, bytes: &[u8]) -> Option<u16> {
    socket.get_mut().write_all(bytes).await.unwrap();
    let close = async {
        loop {
            match socket.next().await? {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), close).await.expect("the connection ends in time")
}

#[tokio::test]
async fn a_client_that_breaks_the_rules_is_told_so() {
    let server = Server::dev();
    // A frame of 1 GiB, of which no more than the head comes.
    let giant = [&[0x81, 0xff][..], &(1_u64 << 30).to_be_bytes(), &[0; 4]].concat();
    let halves = [frame(0x01, b"{"), frame(0x81, b"}")].concat();
    for (name, bytes, code) in [
        ("no mask", b"\x81\x02{}".to_vec(), 1002),
        ("a reserved bit", frame(0xc1, b"{}"), 1002),
        ("an unknown data frame", frame(0x83, b""), 1002),
        ("an unknown control frame", frame(0x8b, b""), 1002),
        ("a fragment of a Ping", frame(0x09, b""), 1002),
        ("the rest of nothing", frame(0x80, b"{}"), 1002),
        ("a message within another", halves, 1002),
        ("half a code in Close", frame(0x88, &[3]), 1002),
        ("a code that none may send", frame(0x88, &1005_u16.to_be_bytes()), 1002),
        ("text that is not UTF-8", frame(0x81, b"\xff"), 1007),
        ("a giant", giant, 1009),
    ] {
        let mut stranger = server.connect("sfu.v1.json").await.unwrap();
        assert_eq!(code_after(&mut stranger, &bytes).await, Some(code), "{name}, before joining");
        let (mut client, _) = server.join("demo", json!({})).await;
        assert_eq!(code_after(&mut client.socket, &bytes).await, Some(code), "{name}, joined");
    }
}

#[tokio::test]
async fn a_first_message_that_cannot_be_read_ends_with_its_code() {
    let server = Server::dev();
    for (subprotocol, bytes, code) in [
        ("sfu.v1.json", frame(0x81, b"{"), 1007),
        ("sfu.v1.json", frame(0x82, b"{}"), 1003),
        ("sfu.v1.proto", frame(0x82, b"\xff"), 1007),
        ("sfu.v1.proto", frame(0x81, b"{}"), 1003),
    ] {
        let mut socket = server.connect(subprotocol).await.unwrap();
        assert_eq!(code_after(&mut socket, &bytes).await, Some(code), "{subprotocol}");
    }
}

#[tokio::test]
async fn a_close_frame_is_answered() {
    let server = Server::dev();
    let close = frame(0x88, &1000_u16.to_be_bytes());
    let mut stranger = server.connect("sfu.v1.json").await.unwrap();
    assert_eq!(code_after(&mut stranger, &close).await, Some(1000));
    let (mut client, _) = server.join("demo", json!({})).await;
    assert_eq!(code_after(&mut client.socket, &close).await, Some(1000));
}
