//! What participants of one room see of each other.

use crate::harness::{Server, token};
use serde_json::{Value, json};

fn publication_of(slots: &Value, mid: &str) -> Value {
    let slot = slots.as_array().unwrap().iter().find(|slot| slot["mid"] == mid).unwrap();
    slot.get("publicationId").cloned().unwrap_or_default()
}

#[tokio::test]
async fn newcomers_fill_the_slots_of_those_who_are_here() {
    let server = Server::dev();
    let (mut alice, first) = server.join("demo", json!({})).await;
    assert_eq!(publication_of(&first["slots"], "3"), Value::Null);
    let (mut bob, second) = server.join("demo", json!({})).await;
    let roster = alice.expect("roster").await;
    assert_eq!(roster["participants"][0]["id"], second["participantId"]);
    let slots = alice.expect("slots").await;
    assert_eq!(publication_of(&slots["slots"], "2"), second["publications"][0]["id"]);
    assert_eq!(publication_of(&slots["slots"], "3"), second["publications"][1]["id"]);
    assert_eq!(publication_of(&second["slots"], "3"), first["publications"][1]["id"]);
    bob.send(json!({ "leave": {} })).await;
    // What was told before may be why no better layer came.
    alice.expect_where("slots", |slots| publication_of(&slots["slots"], "3") == Value::Null).await;
}

#[tokio::test]
async fn a_subscriber_chooses() {
    let server = Server::dev();
    let (mut me, joined) = server.join("demo", json!({ "manualSubscribe": true })).await;
    let (_a, a) = server.join("demo", json!({})).await;
    let (_b, b) = server.join("demo", json!({})).await;
    assert_eq!(publication_of(&joined["slots"], "3"), Value::Null);
    let pin = json!({ "mid": "3", "publicationId": b["publications"][1]["id"], "quality": "QUALITY_LOW" });
    assert!(me.request(json!({ "subscribe": pin })).await.get("done").is_some());
    me.request(json!({ "subscribe": { "mid": "4" } })).await;
    // The current state is what a resumed connection begins with.
    let server = &server;
    let state = |session: Value| async move {
        let mut client = server.client().await;
        let state = client.request(json!({ "resume": { "session": session } })).await;
        (client, state["joined"]["slots"].clone())
    };
    let (mut me, slots) = state(joined["session"].clone()).await;
    assert_eq!(publication_of(&slots, "2"), Value::Null, "nothing was asked for sound");
    assert_eq!(publication_of(&slots, "3"), b["publications"][1]["id"]);
    assert_eq!(publication_of(&slots, "4"), a["publications"][1]["id"], "whatever is left");
    assert_eq!(slots[1]["quality"], "QUALITY_LOW");
    me.request(json!({ "subscribe": { "mid": "3", "none": true } })).await;
    me.request(json!({ "subscribe": { "publicationId": a["publications"][1]["id"], "paused": true } })).await;
    let (mut me, slots) = state(joined["session"].clone()).await;
    assert_eq!(publication_of(&slots, "3"), Value::Null);
    assert_eq!(slots[2]["paused"], true);
    for bad in [
        json!({ "mid": "9" }),
        json!({ "mid": "0" }),
        json!({ "mid": "3", "publicationId": "t_123" }),
        json!({ "publicationId": "nonsense" }),
        json!({}),
    ] {
        assert_eq!(me.refusal(json!({ "subscribe": bad })).await, "ERROR_CODE_NOT_FOUND", "{bad}");
    }
}

#[tokio::test]
async fn publications_come_and_go_and_are_muted() {
    let server = Server::dev();
    let (mut alice, a) = server.join("demo", json!({})).await;
    let (mut bob, _) = server.join("demo", json!({})).await;
    let id = a["publications"][1]["id"].clone();
    let published = |roster: &Value, n| roster["participants"][0]["publications"].as_array().map_or(0, Vec::len) == n;
    alice.request(json!({ "setMuted": { "publicationId": id, "muted": true } })).await;
    bob.expect_where("roster", |r| r["participants"][0]["publications"][1]["muted"] == true).await;
    assert!(alice.request(json!({ "unpublish": { "publicationId": id } })).await.get("done").is_some());
    bob.expect_where("roster", |roster| published(roster, 1)).await;
    let again = alice.request(json!({ "publish": { "mid": "1", "source": "SOURCE_SCREEN", "label": "slides" } })).await;
    assert_eq!(again["published"]["publication"]["source"], "SOURCE_SCREEN");
    assert_eq!(again["published"]["publication"]["rids"].as_array().unwrap().len(), 3);
    bob.expect_where("roster", |roster| published(roster, 2)).await;
    for bad in [
        json!({ "publish": { "mid": "3" } }),
        json!({ "publish": { "mid": "" } }),
        json!({ "unpublish": { "publicationId": id } }),
        json!({ "setMuted": { "publicationId": "" } }),
    ] {
        assert_eq!(alice.refusal(bad.clone()).await, "ERROR_CODE_NOT_FOUND", "{bad}");
    }
    let forged = json!({ "publish": { "mid": "1", "label": "a\u{1b}[31m" } });
    assert_eq!(alice.refusal(forged).await, "ERROR_CODE_BAD_MESSAGE");
    let foreign = json!({ "unpublish": { "publicationId": a["publications"][0]["id"] } });
    assert_eq!(bob.refusal(foreign).await, "ERROR_CODE_NOT_FOUND", "not his");
}

#[tokio::test]
async fn data_reaches_those_it_is_for() {
    let server = Server::dev();
    let (mut alice, a) = server.join("demo", json!({})).await;
    let (mut bob, b) = server.join("demo", json!({})).await;
    let (mut carol, _) = server.join("demo", json!({})).await;
    let to = json!([b["participantId"]]);
    alice.request(json!({ "sendData": { "payload": "Zm9yIEJvYg==", "to": to } })).await;
    alice.request(json!({ "sendData": { "payload": "Zm9yIGFsbA==", "topic": "t", "lossy": true } })).await;
    assert_eq!(bob.expect("data").await["payload"], "Zm9yIEJvYg==");
    assert_eq!(bob.expect("data").await["payload"], "Zm9yIGFsbA==");
    let data = carol.expect("data").await;
    assert_eq!(data, json!({ "from": a["participantId"], "payload": "Zm9yIGFsbA==", "topic": "t" }));
    let nobody = json!({ "sendData": { "payload": "", "to": ["somebody"] } });
    assert_eq!(alice.refusal(nobody).await, "ERROR_CODE_NOT_FOUND");
    let large = json!({ "sendData": { "payload": "A".repeat(100_000) } });
    assert_eq!(alice.refusal(large).await, "ERROR_CODE_LIMIT");
}

#[tokio::test]
async fn moderators_mute_remove_and_close() {
    let server = Server::configured("");
    let grants = json!({ "publish": true, "subscribe": true, "moderate": true });
    let (mut chair, _) =
        server.join("demo", json!({ "token": token(json!({ "sub": "chair", "grants": grants })) })).await;
    let (mut alice, a) = server.join("demo", json!({ "token": token(json!({ "sub": "alice" })) })).await;
    let (mut bob, b) = server.join("demo", json!({ "token": token(json!({ "sub": "bob" })) })).await;
    let id = a["publications"][0]["id"].clone();
    chair.request(json!({ "moderate": { "mutePublicationId": id } })).await;
    assert_eq!(alice.expect("muted").await, json!({ "publicationId": id, "muted": true }));
    chair.request(json!({ "moderate": { "removeParticipantId": b["participantId"] } })).await;
    assert_eq!(bob.expect("left").await["reason"], "LEAVE_REASON_REMOVED");
    assert_eq!(chair.refusal(json!({ "moderate": {} })).await, "ERROR_CODE_BAD_MESSAGE");
    let gone = json!({ "moderate": { "removeParticipantId": b["participantId"] } });
    assert_eq!(chair.refusal(gone).await, "ERROR_CODE_NOT_FOUND");
    chair.send(json!({ "moderate": { "closeRoom": true } })).await;
    assert_eq!(alice.expect("left").await["reason"], "LEAVE_REASON_ROOM_CLOSED");
    let (_back, joined) = server.join("demo", json!({ "token": token(json!({ "sub": "bob" })) })).await;
    assert!(joined.get("participants").is_none(), "a new room of the same name");
}

#[tokio::test]
async fn what_comes_too_fast_is_refused_and_joining_again_gains_nothing() {
    let server = Server::configured("[limits]\nchanges_per_second = 1\nroom_data_bytes_per_second = 1000");
    let (mut bob, _) = server.join("demo", json!({ "token": token(json!({ "sub": "bob" })) })).await;
    let (mut alice, joined) = server.join("demo", json!({ "token": token(json!({})) })).await;
    let mute = json!({ "setMuted": { "publicationId": joined["publications"][0]["id"], "muted": true } });
    while alice.request(mute.clone()).await.get("done").is_some() {}
    assert_eq!(alice.refusal(mute).await, "ERROR_CODE_LIMIT");
    let again = json!({ "join": { "token": token(json!({})), "room": "demo" } });
    assert_eq!(server.client().await.refusal(again).await, "ERROR_CODE_LIMIT");
    // Who is refused stays, and the others have budgets of their own; but the room has one, too.
    let data = json!({ "sendData": { "payload": "A".repeat(2_000) } });
    assert!(bob.request(data.clone()).await.get("done").is_some());
    while alice.request(data.clone()).await.get("done").is_some() {}
    assert_eq!(bob.refusal(data).await, "ERROR_CODE_LIMIT");
    let again = json!({ "setMuted": { "publicationId": "t_0", "muted": true } });
    assert_eq!(bob.refusal(again).await, "ERROR_CODE_NOT_FOUND");
}
