//! Who may enter.

use crate::harness::{Server, eventually, join_with_media, sign, token};
use serde_json::json;

#[tokio::test]
async fn a_good_token_admits_with_its_name_and_grants() {
    let server = Server::configured("");
    let token = token(json!({ "name": "Alice", "metadata": "m" }));
    let (_client, joined) = server.join("demo", json!({ "token": token, "name": "Mallory" })).await;
    assert_eq!(joined["identity"], "alice");
    assert_eq!(joined["grants"], json!({ "publish": true, "subscribe": true, "data": true }));
    let (_other, joined) =
        server.join("demo", json!({ "token": super::harness::token(json!({ "sub": "bob" })) })).await;
    assert_eq!(joined["participants"][0]["name"], "Alice", "the token's name wins");
    assert_eq!(joined["participants"][0]["metadata"], "m");
}

#[tokio::test]
async fn bad_tokens_are_refused_with_a_reason() {
    let server = Server::configured("");
    let expired = token(json!({ "exp": 1_700_000_000 }));
    let forged = sign(&json!({ "iss": "key", "sub": "a", "exp": 9_999_999_999u64, "room": "demo" }), "wrong secret");
    let unknown_key = token(json!({ "iss": "nobody" }));
    let elsewhere = token(json!({ "room": "other" }));
    for (token, code, part) in [
        ("", "ERROR_CODE_UNAUTHENTICATED", "needed"),
        ("garbage", "ERROR_CODE_UNAUTHENTICATED", "cannot be read"),
        (&expired, "ERROR_CODE_UNAUTHENTICATED", "expired"),
        (&forged, "ERROR_CODE_UNAUTHENTICATED", "signature"),
        (&unknown_key, "ERROR_CODE_UNAUTHENTICATED", "API key"),
        (&elsewhere, "ERROR_CODE_FORBIDDEN", "other"),
    ] {
        let mut client = server.client().await;
        let reply = client.request(json!({ "join": { "token": token, "room": "demo" } })).await;
        assert_eq!(reply["error"]["code"], code, "{reply}");
        assert!(reply["error"]["message"].as_str().unwrap().contains(part), "{reply}");
        assert!(client.next().await.is_none(), "the connection is closed");
    }
}

#[tokio::test]
async fn a_full_room_says_so() {
    let server = Server::configured("[room]\nmax_participants = 1");
    let (_alice, _) = server.join("demo", json!({ "token": token(json!({})) })).await;
    let mut bob = server.client().await;
    let code = bob.refusal(json!({ "join": { "token": token(json!({ "sub": "bob" })), "room": "demo" } })).await;
    assert_eq!(code, "ERROR_CODE_ROOM_FULL");
    let options = json!({ "max_participants": 2 });
    for sub in ["carol", "dave"] {
        let token = token(json!({ "sub": sub, "room": "large", "room_options": options }));
        server.join("large", json!({ "token": token })).await;
    }
}

#[tokio::test]
async fn the_newer_of_two_with_one_identity_wins() {
    let server = Server::configured("");
    let (mut older, first) = server.join("demo", json!({ "token": token(json!({})) })).await;
    let (_newer, second) = server.join("demo", json!({ "token": token(json!({})) })).await;
    let left = older.expect("left").await;
    assert_eq!(left["reason"], "LEAVE_REASON_REPLACED");
    assert!(older.next().await.is_none());
    assert_ne!(first["participantId"], second["participantId"]);
    assert!(second.get("participants").is_none(), "the older one is gone already: {second}");
    let mut back = server.client().await;
    let code = back.refusal(json!({ "resume": { "session": first["session"] } })).await;
    assert_eq!(code, "ERROR_CODE_NOT_FOUND");
}

#[tokio::test]
async fn grants_are_kept() {
    let server = Server::configured("");
    let grants = json!({ "publish": false, "subscribe": false, "data": false });
    let (mut quiet, joined) = server.join("demo", json!({ "token": token(json!({ "grants": grants })) })).await;
    assert!(joined.get("publications").is_none(), "{joined}");
    assert!(joined.get("slots").is_none(), "{joined}");
    for request in [
        json!({ "publish": { "mid": "0" } }),
        json!({ "subscribe": { "mid": "2" } }),
        json!({ "sendData": { "payload": "aGk=" } }),
        json!({ "moderate": { "closeRoom": true } }),
    ] {
        assert_eq!(quiet.refusal(request.clone()).await, "ERROR_CODE_FORBIDDEN", "{request}");
    }
}

#[tokio::test]
async fn a_token_may_forbid_to_make_the_room() {
    let server = Server::configured("");
    let token = token(json!({ "grants": { "subscribe": true, "create": false } }));
    let mut client = server.client().await;
    let code = client.refusal(json!({ "join": { "token": token, "room": "demo" } })).await;
    assert_eq!(code, "ERROR_CODE_NOT_FOUND");
}

#[tokio::test]
async fn a_dev_server_wants_no_token() {
    let server = Server::dev();
    let (_one, first) = server.join("demo", json!({})).await;
    let (_two, second) = server.join("demo", json!({})).await;
    assert_ne!(first["identity"], second["identity"]);
    assert_eq!(second["participants"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn limits_of_the_server_hold() {
    let server = Server::configured("[limits]\nrooms = 1\nparticipants = 2\nsections_per_participant = 4");
    let any = |sub: &str| token(json!({ "room": "*", "sub": sub }));
    let join = |sub: &str, room: &str| json!({ "join": { "token": any(sub), "room": room } });
    let mut too_many_sections = join("a", "one");
    too_many_sections["join"]["offer"] = json!({ "sdp": crate::harness::OFFER });
    assert_eq!(server.client().await.refusal(too_many_sections).await, "ERROR_CODE_BAD_SDP");
    let (mut alice, mut bob) = (server.client().await, server.client().await);
    assert!(alice.request(join("a", "one")).await.get("joined").is_some());
    assert_eq!(server.client().await.refusal(join("b", "two")).await, "ERROR_CODE_UNAVAILABLE");
    assert!(bob.request(join("b", "one")).await.get("joined").is_some());
    assert_eq!(server.client().await.refusal(join("c", "one")).await, "ERROR_CODE_UNAVAILABLE");
    let mut join = join_with_media("one");
    join["metadata"] = "x".repeat(5_000).into();
    assert_eq!(Server::dev().client().await.refusal(json!({ "join": join })).await, "ERROR_CODE_LIMIT");
}

#[tokio::test]
async fn connections_are_counted() {
    let server = Server::configured("[limits]\nconnections = 2");
    let held = (server.client().await, server.client().await);
    assert!(server.connect("sfu.v1.json").await.is_err(), "no more connections");
    drop(held);
    eventually("there is room again", async || server.connect("sfu.v1.json").await.is_ok()).await;
}

#[tokio::test]
async fn a_refused_join_changes_nothing() {
    let server = Server::configured("[limits]\npublications_per_participant = 2");
    let (mut older, first) = server.join("demo", json!({ "token": token(json!({})) })).await;
    let with = |room: &str, publish: serde_json::Value| {
        let mut join = join_with_media(room);
        join["token"] = token(json!({ "room": room })).into();
        join["offer"]["publish"] = publish;
        json!({ "join": join })
    };
    let unknown = with("demo", json!([{ "mid": "0" }, { "mid": "9" }]));
    assert_eq!(server.client().await.refusal(unknown).await, "ERROR_CODE_NOT_FOUND");
    let twice = with("demo", json!([{ "mid": "0" }, { "mid": "0" }]));
    assert_eq!(server.client().await.refusal(twice).await, "ERROR_CODE_BAD_MESSAGE");
    let elsewhere = with("new", json!([{ "mid": "9" }]));
    assert_eq!(server.client().await.refusal(elsewhere).await, "ERROR_CODE_NOT_FOUND");
    assert!(older.request(json!({ "ping": {} })).await.get("pong").is_some(), "the older session goes on");
    let admin = format!("Bearer {}", crate::harness::admin_token());
    let rooms = server.request("GET", "/v1/admin/rooms", &[("Authorization", &admin)], "").json();
    assert_eq!(rooms["rooms"].as_array().unwrap().len(), 1, "a refused join makes no room: {rooms}");
    let here = server.request("GET", "/v1/admin/rooms/demo/participants", &[("Authorization", &admin)], "").json();
    let here = here["participants"].as_array().unwrap().clone();
    assert_eq!(here.iter().map(|one| &one["id"]).collect::<Vec<_>>(), [&first["participantId"]], "nor a ghost");
}

#[tokio::test]
async fn names_with_control_characters_are_refused() {
    let server = Server::configured("");
    for (claims, room, name) in [
        (json!({ "sub": "eve\nroot" }), "demo", ""),
        (json!({ "name": "\u{1b}[2J" }), "demo", ""),
        (json!({ "room": "*" }), "a\u{202e}b", ""),
        (json!({}), "demo", "gnp\u{202e}.exe"),
        (json!({}), "demo", "nul\0"),
    ] {
        let join = json!({ "join": { "token": token(claims), "room": room, "name": name } });
        let reply = server.client().await.request(join).await;
        assert_eq!(reply["error"]["code"], "ERROR_CODE_BAD_MESSAGE", "{reply}");
        assert!(reply["error"]["message"].as_str().unwrap().contains("control character"), "{reply}");
    }
    let bearer = format!("Bearer {}", token(json!({ "room": "*" })));
    let headers = [("Content-Type", "application/sdp"), ("Authorization", bearer.as_str())];
    for path in ["/whip/demo/eve%0Aroot", "/whip/de%1Bmo/eve", "/whep/de%E2%80%AEmo"] {
        let refused = server.request("POST", path, &headers, crate::harness::PUBLISHER);
        assert_eq!(refused.status, 400, "{path}: {refused:?}");
    }
    // What an error quotes is escaped.
    let nobody = server.request("POST", "/whep/demo/eve%E2%80%AE", &headers, crate::harness::PLAYER);
    assert!(nobody.detail().contains("\\u{202e}"), "{nobody:?}");
}
