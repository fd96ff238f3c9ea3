//! One client's session: messages, offers, and how it ends or goes on.

use crate::harness::{AFTER_RESTART, BEFORE_RESTART, OFFER, Server, eventually};
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use serde_json::{Value, json};
use sfu_proto::v1::{ClientMessage, Join, Ping, ServerMessage, client_message, server_message};
use tokio_tungstenite::tungstenite::Message;

fn ufrag(sdp: &str) -> &str {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap()
}

#[tokio::test]
async fn a_join_takes_one_round_trip() {
    let server = Server::dev();
    let (_client, joined) = server.join("demo", json!({})).await;
    let sdp = joined["answer"]["sdp"].as_str().unwrap();
    for part in ["a=ice-lite", "a=setup:active", "a=fingerprint:sha-256 ", "typ host", "a=simulcast:recv"] {
        assert!(sdp.contains(part), "{part} in {sdp}");
    }
    let publications = joined["answer"]["publications"].as_array().unwrap();
    let kinds: Vec<&str> = publications.iter().map(|p| p["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["MEDIA_KIND_AUDIO", "MEDIA_KIND_VIDEO"]);
    assert_eq!(publications[0]["source"], "SOURCE_MICROPHONE", "what is not said is guessed");
    assert_eq!(publications[0]["label"], "voice");
    let slots: Vec<&str> = joined["slots"].as_array().unwrap().iter().map(|s| s["mid"].as_str().unwrap()).collect();
    assert_eq!(slots, ["2", "3", "4"]);
    let streams: Vec<&str> = sdp.lines().filter_map(|line| line.strip_prefix("a=msid:")).collect();
    assert!(streams[0].starts_with("slot-0") && streams[1].starts_with("slot-0") && streams[2].starts_with("slot-1"));
}

#[tokio::test]
async fn binary_messages_say_the_same() {
    let server = Server::dev();
    let mut socket = server.connect("sfu.v1.proto").await.unwrap();
    let send = |id, body| Message::binary(ClientMessage { id, body: Some(body) }.encode_to_vec());
    let join = Join { room: "demo".into(), ..Join::default() };
    socket.send(send(1, client_message::Body::Join(join))).await.unwrap();
    socket.send(send(2, client_message::Body::Ping(Ping { timestamp: 77 }))).await.unwrap();
    let mut bodies = Vec::new();
    while bodies.len() < 2 {
        let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() else { continue };
        let message = ServerMessage::decode(bytes).unwrap();
        bodies.push((message.reply_to, message.body.unwrap()));
    }
    assert!(matches!(&bodies[0], (1, server_message::Body::Joined(joined)) if !joined.session.is_empty()));
    assert!(matches!(&bodies[1], (2, server_message::Body::Pong(pong)) if pong.timestamp == 77));
}

#[tokio::test]
async fn a_connection_must_name_a_subprotocol() {
    let server = Server::dev();
    assert!(server.connect("").await.is_err());
    assert!(server.connect("sfu.v9.json").await.is_err());
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_the_session_goes_on() {
    let server = Server::dev();
    let (mut client, _) = server.join("demo", json!({})).await;
    for text in ["", "{", "[]", r#"{"id":1,"flyToTheMoon":{}}"#, r#"{"id":7}"#, r#"{"join":5}"#] {
        client.socket.send(Message::text(text)).await.unwrap();
        let error = client.expect("error").await;
        assert_eq!(error["code"], "ERROR_CODE_BAD_MESSAGE", "{text}: {error}");
    }
    for text in [r#"{"id":4294967296,"ping":{}}"#, r#"{"id":-1,"ping":{}}"#] {
        client.socket.send(Message::text(text)).await.unwrap();
        let error = client.expect("error").await;
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("a number is malformed or out of its range at line 1 column"), "{message}");
    }
    client.socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(client.expect("error").await["code"], "ERROR_CODE_BAD_MESSAGE");
    assert_eq!(client.request(json!({ "ping": { "timestamp": "5" } })).await["pong"]["timestamp"], "5");
    assert_eq!(client.refusal(json!({ "join": { "room": "demo" } })).await, "ERROR_CODE_BAD_MESSAGE");
}

#[tokio::test]
async fn the_first_message_must_be_join_or_resume() {
    let server = Server::dev();
    let mut client = server.client().await;
    assert_eq!(client.refusal(json!({ "ping": {} })).await, "ERROR_CODE_BAD_MESSAGE");
    assert!(client.next().await.is_none());
    let mut client = server.client().await;
    assert_eq!(client.refusal(json!({ "resume": { "session": "guess" } })).await, "ERROR_CODE_NOT_FOUND");
}

#[tokio::test]
async fn a_client_that_only_makes_mistakes_is_disconnected() {
    let server = Server::dev();
    let (mut client, _) = server.join("demo", json!({})).await;
    for _ in 0..40 {
        if client.socket.send(Message::text("nonsense")).await.is_err() {
            break;
        }
    }
    while client.next().await.is_some() {}
}

#[tokio::test]
async fn floods_and_giants_are_cut_off() {
    let server = Server::dev();
    let (mut client, _) = server.join("demo", json!({})).await;
    for _ in 0..210 {
        client.send(json!({ "ping": {} })).await;
    }
    client.expect_where("error", |error| error["code"] == "ERROR_CODE_LIMIT").await;
    // A long message counts as several.
    let (mut long, joined) = server.join("demo", json!({})).await;
    let to = vec![joined["participantId"].as_str().unwrap(); 10_000];
    for _ in 0..30 {
        long.send(json!({ "sendData": { "to": to } })).await;
    }
    long.expect_where("error", |error| error["message"].as_str().unwrap().contains("limits.messages_per_second")).await;
    let (mut giant, _) = server.join("demo", json!({})).await;
    let _ = giant.socket.send(Message::text("x".repeat(300_000))).await;
    while giant.next().await.is_some() {}
    assert_eq!(server.get("/healthz").status, 200);
}

#[tokio::test]
async fn bad_offers_are_refused_and_change_nothing() {
    let server = Server::dev();
    let (mut client, joined) = server.join("demo", json!({})).await;
    let before = ufrag(joined["answer"]["sdp"].as_str().unwrap()).to_owned();
    assert_eq!(client.refusal(json!({ "offer": { "sdp": "v=0" } })).await, "ERROR_CODE_NOTHING_USABLE");
    for sdp in ["", "garbage", &OFFER.replace("a=setup:actpass", "a=setup:active"), &"a=b\r\n".repeat(30_000)] {
        assert_eq!(client.refusal(json!({ "offer": { "sdp": sdp } })).await, "ERROR_CODE_BAD_SDP");
    }
    let again = client.request(json!({ "offer": { "sdp": OFFER } })).await;
    assert_eq!(ufrag(again["answer"]["sdp"].as_str().unwrap()), before, "the transport stayed");
}

#[tokio::test]
async fn a_second_offer_keeps_publications_and_an_ice_restart_changes_credentials() {
    let server = Server::dev();
    let publish = json!([{ "mid": "0" }, { "mid": "1" }]);
    let offer = json!({ "sdp": BEFORE_RESTART, "publish": publish });
    let (mut client, joined) = server.join("demo", json!({ "offer": offer })).await;
    let (mut other, _) = server.join("demo", json!({})).await;
    let first = ufrag(joined["answer"]["sdp"].as_str().unwrap()).to_owned();
    let restarted = client.request(json!({ "offer": { "sdp": AFTER_RESTART, "publish": publish } })).await;
    let answer = &restarted["answer"];
    assert_ne!(ufrag(answer["sdp"].as_str().unwrap()), first);
    assert_eq!(answer["publications"], joined["publications"], "the same publications");
    // Another certificate is another peer connection: what the old one carried has ended.
    let replaced = client.request(json!({ "offer": { "sdp": OFFER, "publish": publish } })).await;
    let old = joined["publications"][0]["id"].as_str().unwrap();
    assert_ne!(replaced["answer"]["publications"][0]["id"], old);
    let has_old = |roster: &Value| roster.to_string().contains(old);
    other.expect_where("roster", |roster| roster.get("participants").is_some() && !has_old(roster)).await;
}

#[tokio::test]
async fn a_lost_connection_is_resumed() {
    let server = Server::dev();
    let (alice, joined) = server.join("demo", json!({})).await;
    let (mut bob, _) = server.join("demo", json!({})).await;
    alice.vanish();
    // What is said before the server knows of the loss goes down with the connection.
    let connections = || server.get("/metrics").body;
    eventually("the loss is noticed", async || connections().contains("sfu_signalling_connections 1\n")).await;
    let to = json!([joined["participantId"]]);
    // Bob's word waits for her.
    bob.request(json!({ "sendData": { "payload": "aGk=", "topic": "chat", "to": to } })).await;
    let mut alice = server.client().await;
    let resumed = alice.request(json!({ "resume": { "session": joined["session"] } })).await;
    let resumed = &resumed["joined"];
    assert_eq!(resumed["participantId"], joined["participantId"]);
    assert_eq!(resumed["publications"], joined["publications"], "media went on");
    assert_eq!(resumed["participants"].as_array().unwrap().len(), 1);
    assert_eq!(alice.expect("data").await["payload"], "aGk=");
}

#[tokio::test]
async fn a_session_that_is_resumed_elsewhere_leaves_the_old_connection() {
    let server = Server::dev();
    let (mut old, joined) = server.join("demo", json!({})).await;
    let mut new = server.client().await;
    new.request(json!({ "resume": { "session": joined["session"] } })).await;
    while old.next().await.is_some() {}
    assert!(new.request(json!({ "ping": {} })).await.get("pong").is_some());
}

#[tokio::test]
async fn a_connection_that_stays_lost_ends_the_session() {
    let server = Server::configured("[signal]\nresume_seconds = 1");
    let token = |sub: &str| crate::harness::token(json!({ "sub": sub }));
    let (alice, joined) = server.join("demo", json!({ "token": token("alice") })).await;
    let (mut bob, _) = server.join("demo", json!({ "token": token("bob") })).await;
    alice.vanish();
    let left = bob.expect_where("roster", |roster| roster.get("left").is_some()).await;
    assert_eq!(left["left"][0], joined["participantId"]);
}

#[tokio::test]
async fn a_silent_connection_counts_as_lost() {
    let server = Server::configured("[signal]\nping_interval_seconds = 1\nresume_seconds = 0");
    let token = |sub: &str| crate::harness::token(json!({ "sub": sub }));
    let (_silent, joined) = server.join("demo", json!({ "token": token("alice") })).await;
    let (mut bob, _) = server.join("demo", json!({ "token": token("bob") })).await;
    for _ in 0..100 {
        bob.send(json!({ "id": 900, "ping": {} })).await;
        let message = bob.next().await.unwrap();
        if message["roster"]["left"][0] == joined["participantId"] {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the silent one is still there");
}

#[tokio::test]
async fn a_page_that_closes_has_left_at_once() {
    let server = Server::dev();
    let (alice, joined) = server.join("demo", json!({})).await;
    let (mut bob, _) = server.join("demo", json!({})).await;
    alice.close().await;
    let left = bob.expect_where("roster", |roster| roster.get("left").is_some()).await;
    assert_eq!(left["left"][0], joined["participantId"]);
    let (mut carol, joined) = server.join("demo", json!({})).await;
    carol.send(json!({ "leave": { "reason": "enough" } })).await;
    assert_eq!(carol.expect("left").await["reason"], "LEAVE_REASON_CLIENT");
    bob.expect_where("roster", |roster| roster["left"][0] == joined["participantId"]).await;
}
