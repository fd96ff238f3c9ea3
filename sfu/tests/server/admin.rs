//! The admin API, and what describes it.

use crate::harness::{PLAYER, PUBLISHER, Response, Server, admin_token, token};
use serde_json::{Value, json};

fn call(server: &Server, method: &str, path: &str, body: &str) -> Response {
    let bearer = format!("Bearer {}", admin_token());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    server.request(method, &format!("/v1/admin{path}"), &headers, body)
}

#[test]
fn only_admins_may() {
    let server = Server::configured("");
    assert_eq!(server.get("/v1/admin/rooms").status, 401);
    let bearer = format!("Bearer {}", token(json!({})));
    let refused = server.request("GET", "/v1/admin/rooms", &[("Authorization", &bearer)], "");
    assert_eq!(refused.status, 403);
    assert!(refused.detail().contains("admin"), "{refused:?}");
    assert_eq!(call(&server, "GET", "/rooms", "").json(), json!({ "rooms": [] }));
    assert_eq!(Server::dev().get("/v1/admin/rooms").status, 401, "also with --dev");
}

#[tokio::test]
async fn rooms_and_participants_are_shown_and_ended() {
    let server = Server::configured("");
    let (mut alice, joined) = server.join("demo", json!({ "token": token(json!({})), "client": "test/1" })).await;
    let room = call(&server, "GET", "/rooms/demo", "").json();
    assert_eq!(room["participant_count"], 1);
    let participant = &room["participants"][0];
    assert_eq!(participant["identity"], "alice");
    assert_eq!(participant["client"], "test/1");
    assert_eq!(participant["access"], "signal");
    assert_eq!(participant["publications"].as_array().unwrap().len(), 2);
    assert_eq!(call(&server, "GET", "/rooms/demo/participants", "").json()["participants"][0], *participant);
    assert_eq!(call(&server, "GET", "/rooms", "").json()["rooms"][0]["name"], "demo");

    let publication = joined["publications"][0]["id"].as_str().unwrap();
    assert_eq!(call(&server, "POST", &format!("/rooms/demo/publications/{publication}/mute"), "").status, 204);
    assert_eq!(alice.expect("muted").await["publicationId"], publication);

    let stats = call(&server, "GET", "/rooms/demo/stats", "").json();
    assert_eq!(stats["participants"][0]["transport"]["connected"], false, "{stats}");
    assert_eq!(call(&server, "GET", "/stats", "").json()["workers"][0]["rooms"], 1);

    let id = joined["participantId"].as_str().unwrap();
    assert_eq!(call(&server, "DELETE", &format!("/rooms/demo/participants/{id}"), "").status, 204);
    assert_eq!(alice.expect("left").await["reason"], "LEAVE_REASON_REMOVED");
    assert_eq!(call(&server, "DELETE", &format!("/rooms/demo/participants/{id}"), "").status, 404);
    assert_eq!(call(&server, "DELETE", "/rooms/demo", "").status, 204);
    assert_eq!(call(&server, "GET", "/rooms/demo", "").status, 404);
}

#[tokio::test]
async fn a_room_can_be_made_beforehand() {
    let server = Server::configured("");
    let body = json!({ "name": "demo", "options": { "max_participants": 3, "metadata": "agenda" } }).to_string();
    let made = call(&server, "POST", "/rooms", &body);
    assert_eq!((made.status, &made.json()["options"]["max_participants"]), (201, &json!(3)));
    assert_eq!(call(&server, "POST", "/rooms", &body).status, 200);
    let (_alice, joined) = server.join("demo", json!({ "token": token(json!({})) })).await;
    assert_eq!(joined["room"], json!({ "name": "demo", "metadata": "agenda", "maxParticipants": 3 }));
    for bad in ["", "{}", r#"{"name":""}"#, r#"{"name":"x","colour":1}"#, r#"{"name":"a/b"}"#] {
        let refused = call(&server, "POST", "/rooms", bad);
        assert!((400..500).contains(&refused.status), "{bad}: {refused:?}");
    }
}

#[tokio::test]
async fn an_encoder_directive_goes_to_the_sender_and_its_answer_comes_back() {
    let server = Server::configured("");
    let (mut alice, joined) = server.join("demo", json!({ "token": token(json!({})) })).await;
    let (mut bob, _) = server.join("demo", json!({ "token": token(json!({ "sub": "bob" })) })).await;
    let id = joined["publications"][1]["id"].as_str().unwrap();
    let path = format!("/rooms/demo/publications/{id}/directive");
    assert_eq!(call(&server, "GET", &path, "").status, 404);
    let directive = json!({ "encodings": [{ "rid": "f", "active": false }], "ttlMs": 4_000 }).to_string();
    let sent = call(&server, "POST", &path, &directive);
    assert_eq!((sent.status, sent.json()["version"].as_str()), (202, Some("1")), "{sent:?}");
    let received = alice.expect("encoderDirective").await;
    assert_eq!(received, sent.json());
    assert_eq!(received["ttlMs"], 4_000);
    let ack = json!({ "publicationId": id, "version": "1", "outcome": "DIRECTIVE_OUTCOME_APPLIED" });
    assert_eq!(bob.refusal(json!({ "encoderDirectiveAck": ack })).await, "ERROR_CODE_NOT_FOUND", "not his");
    alice.request(json!({ "encoderDirectiveAck": ack })).await;
    assert_eq!(call(&server, "GET", &path, "").json()["ack"]["outcome"], "DIRECTIVE_OUTCOME_APPLIED");
    assert_eq!(call(&server, "POST", &path, r#"{"nonsense":1}"#).status, 422);
    assert_eq!(call(&server, "POST", "/rooms/demo/publications/t_1/directive", &directive).status, 404);
}

/// What no encoder can do is refused with the name of the field, and nobody hears of it.
#[tokio::test]
async fn a_directive_that_cannot_be_followed_is_refused() {
    let server = Server::configured("");
    let (mut alice, joined) = server.join("demo", json!({ "token": token(json!({})) })).await;
    assert_eq!(call(&server, "POST", "/rooms", r#"{"name":"other"}"#).status, 201);
    let id = joined["publications"][1]["id"].as_str().unwrap();
    let path = format!("/rooms/demo/publications/{id}/directive");
    let one = |field: &str, value: Value| json!({ "encodings": [{ "rid": "f", field: value }] });
    let encodings = |count: usize| json!({ "encodings": vec![json!({ "rid": "f" }); count] });
    for (field, directive) in [
        ("scaleResolutionDownBy", one("scaleResolutionDownBy", json!("NaN"))),
        ("scaleResolutionDownBy", one("scaleResolutionDownBy", json!(-5))),
        ("maxFramerate", one("maxFramerate", json!("Infinity"))),
        ("maxBitrateBps", one("maxBitrateBps", json!("18446744073709551615"))),
        ("encodings[0].rid", one("rid", json!("nothing"))),
        ("encodings", encodings(300)),
    ] {
        let refused = call(&server, "POST", &path, &directive.to_string());
        assert_eq!((refused.status, refused.detail().contains(field)), (400, true), "{field}: {refused:?}");
        assert_eq!(call(&server, "GET", &path, "").status, 404, "there is none");
    }
    let good = one("scaleResolutionDownBy", json!(2)).to_string();
    assert_eq!(call(&server, "POST", &path, &good).status, 202);
    let heard = alice.expect("encoderDirective").await;
    assert_eq!((&heard["version"], &heard["encodings"][0]["rid"]), (&json!("1"), &json!("f")), "the first: {heard}");
    let elsewhere = path.replace("/demo/", "/other/");
    assert_eq!((call(&server, "GET", &path, "").status, call(&server, "GET", &elsewhere, "").status), (200, 404));
    assert_eq!(call(&server, "POST", &elsewhere, &good).status, 404);
}

/// What nobody watches is stopped, what somebody begins to watch is sent again, and the plan says why.
#[tokio::test]
async fn senders_are_asked_for_what_is_watched() {
    let server = Server::configured("[qos]\nplanner = \"gso\"");
    let (mut alice, joined) = server.join("demo", json!({ "token": token(json!({})) })).await;
    let id = joined["publications"][1]["id"].as_str().unwrap();
    let active = |directive: &Value| {
        let encodings = directive["encodings"].as_array().unwrap();
        encodings.iter().filter(|encoding| encoding["active"] == true).count()
    };
    let stop = alice.expect("encoderDirective").await;
    assert_eq!((&stop["publicationId"], active(&stop), &stop["ttlMs"]), (&json!(id), 0, &json!(10_000)), "{stop}");
    let ack = json!({ "publicationId": id, "version": "1", "outcome": "DIRECTIVE_OUTCOME_APPLIED" });
    alice.request(json!({ "encoderDirectiveAck": ack })).await;
    let plan = call(&server, "GET", "/rooms/demo/plan", "").json();
    let plan = &plan["publications"][0];
    assert_eq!((&plan["publication"], &plan["acknowledged_version"]), (&json!(id), &json!(1)), "{plan}");
    assert_eq!(plan["encodings"][0]["reason"], "unwanted");

    let bearer = format!("Bearer {}", token(json!({ "sub": "bob" })));
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/sdp")];
    assert_eq!(server.request("POST", "/whep/demo/alice", &headers, PLAYER).status, 201);
    alice.expect_where("encoderDirective", |directive| active(directive) > 0).await;
    assert_eq!(call(&server, "GET", "/rooms/nowhere/plan", "").status, 404);
}

/// What a token or a room allows at most is asked for whatever the planner is.
#[tokio::test]
async fn caps_of_tokens_and_rooms_are_asked_for() {
    // What nobody watches would not be asked for at all.
    let server = Server::configured("[qos]\nplanner = \"off\"\n");
    let options = json!({ "name": "demo", "options": { "publish_video": { "fps": 10, "height": 720 } } }).to_string();
    assert_eq!(call(&server, "POST", "/rooms", &options).json()["options"]["publish_video"]["fps"], 10);
    let grants = json!({ "publish": true, "publish_video": { "bitrate_bps": 400_000, "fps": 15 } });
    let (mut alice, _) = server.join("demo", json!({ "token": token(json!({ "grants": grants })) })).await;
    let bad = json!({ "name": "bad", "options": { "publish_video": { "height": 0 } } }).to_string();
    assert_eq!(call(&server, "POST", "/rooms", &bad).status, 400);
    let directive = alice.expect("encoderDirective").await;
    let encodings = directive["encodings"].as_array().unwrap();
    let active = encodings.iter().filter(|encoding| encoding["active"] == true);
    let rates: Vec<u64> = active
        .map(|encoding| {
            assert_eq!(encoding["maxFramerate"], 10.0, "the lower one of two");
            encoding["maxBitrateBps"].as_str().unwrap().parse().unwrap()
        })
        .collect();
    assert_eq!(rates.iter().sum::<u64>(), 380_000, "a little less than it may send: {directive}");
}

/// Every path and method of the description exists: the answer is never that there is no such page or method.
#[test]
fn the_description_describes_what_is_there() {
    let server = Server::configured("");
    let description = server.get("/v1/openapi.json").json();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let path = path.replace("{room}", "r").replace(['{', '}'], "");
            let bearer = format!("Bearer {}", admin_token());
            let headers = [("Authorization", bearer.as_str())];
            let response = server.request(&method.to_uppercase(), &path, &headers, "");
            let status = response.status.to_string();
            assert!(operation["responses"].get(&status).is_some(), "{method} {path} gave {status}");
            assert!(!response.body.contains("no such page"), "{method} {path}: {response:?}");
            assert!(operation["summary"].is_string() && operation["responses"].is_object(), "{method} {path}");
        }
    }
    let mut missing = Vec::new();
    references(&description, &description, &mut missing);
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn the_description_lists_the_refusals() {
    let server = Server::configured("[limits]\nbody_bytes = 20000\n");
    let description = server.get("/v1/openapi.json").json();
    let (_alice, joined) = server.join("demo", json!({ "token": token(json!({})) })).await;
    let publication = joined["publications"][0]["id"].as_str().unwrap();
    let directive = format!("/v1/admin/rooms/demo/publications/{publication}/directive");
    let (sdp, text) = ("application/sdp", "text/plain");
    let (cam, admin) = (token(json!({ "sub": "cam" })), admin_token());
    let unusable = PUBLISHER.replace("m=audio", "m=text").replace("m=video", "m=text");
    let large = "x".repeat(30_000);
    let fragment = format!("a=ice-ufrag:newu\r\na=ice-pwd:{}\r\n", "0".repeat(22));
    let session = {
        let bearer = format!("Bearer {cam}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", sdp)];
        server.request("POST", "/whip/demo/cam", &headers, PUBLISHER).header("location").unwrap().to_owned()
    };
    let (whip, whep) = ("/whip/{room}/{stream}", "/whep/{room}/{stream}");
    let at_session = "/whip/{room}/{stream}/{session}";
    let (rooms, direct) = ("/v1/admin/rooms", "/v1/admin/rooms/{room}/publications/{publication}/directive");
    for (method, described, path, token, content, body, status) in [
        ("POST", whip, "/whip/demo/..", &*cam, sdp, PUBLISHER, 400),
        ("POST", whip, "/whip/demo/cam", "", sdp, PUBLISHER, 401),
        ("POST", whip, "/whip/demo/other", &cam, sdp, PUBLISHER, 403),
        ("POST", whip, "/whip/demo/cam", &cam, sdp, &unusable, 406),
        ("POST", whip, "/whip/demo/cam", &cam, sdp, &large, 413),
        ("POST", whip, "/whip/demo/cam", &cam, text, PUBLISHER, 415),
        ("POST", whip, "/whip/demo/cam", &cam, sdp, "nonsense", 422),
        ("POST", whep, "/whep/demo/nobody", &cam, sdp, PLAYER, 404),
        ("PATCH", at_session, &session, &cam, "application/trickle-ice-sdpfrag", &fragment, 428),
        ("PATCH", at_session, &session, "garbage", text, "", 401),
        ("DELETE", at_session, "/whip/demo/cam/nobody", "", text, "", 404),
        ("DELETE", at_session, "/whip/demo/cam/%ff", "", text, "", 400),
        ("POST", rooms, rooms, &cam, "application/json", "{}", 403),
        ("POST", rooms, rooms, &admin, "application/json", "{", 400),
        ("POST", rooms, rooms, &admin, "application/json", &large, 413),
        ("POST", direct, &directive, &admin, text, "{}", 415),
        ("POST", direct, &directive, &admin, "application/json", r#"{"nonsense":1}"#, 422),
    ] {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", content)];
        let response = server.request(method, path, &headers, body);
        assert_eq!(response.status, status, "{method} {path}: {response:?}");
        let responses = &description["paths"][described][method.to_lowercase()]["responses"];
        assert!(responses.get(status.to_string()).is_some(), "{method} {path}: {status} is not described");
    }
}

#[test]
fn another_method_is_told_which_ones_there_are() {
    let server = Server::configured("");
    for (method, path, allowed) in [
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/healthz", "GET,HEAD"),
        ("HEAD", "/v1/join", "GET"),
        ("GET", "/whip/demo/cam", "POST,OPTIONS"),
        ("PUT", "/whip/demo/cam/session", "PATCH,DELETE,OPTIONS"),
        ("PATCH", "/v1/admin/rooms", "GET,HEAD,POST"),
    ] {
        let response = server.request(method, path, &[], "");
        assert_eq!((response.status, response.header("allow")), (405, Some(allowed)), "{method} {path}");
        assert!(method == "HEAD" || response.detail().ends_with('.'), "{method} {path}: {response:?}");
    }
}

/// References to schemas that are not there.
fn references(value: &Value, root: &Value, missing: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(target) = map.get("$ref").and_then(Value::as_str)
                && root.pointer(target.trim_start_matches('#')).is_none()
            {
                missing.push(target.to_owned());
            }
            map.values().for_each(|value| references(value, root, missing));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, root, missing)),
        _ => {}
    }
}
