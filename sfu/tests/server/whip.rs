//! WHIP and WHEP, as their specifications say what a server answers.

use crate::harness::{PLAYER, PUBLISHER, Server, token};
use serde_json::json;

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");

const RESTART: &str = "a=ice-ufrag:newu\r\na=ice-pwd:0123456789012345678901\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";

#[test]
fn a_whip_session_from_begin_to_end() {
    let server = Server::dev();
    let created = server.request("POST", "/whip/demo/cam", &[SDP], PUBLISHER);
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.header("content-type"), Some("application/sdp"));
    assert_eq!(created.header("access-control-allow-origin"), Some("*"));
    assert!(created.body.contains("a=recvonly") && created.body.contains("a=ice-lite"));
    let location = created.header("location").unwrap().to_owned();
    let etag = created.header("etag").unwrap().to_owned();
    assert!(location.starts_with("/whip/demo/cam/"));

    // Candidates: credentials are the offer's, the ETag fits.
    let trickle = "a=ice-ufrag:Qw3x\r\na=ice-pwd:";
    let pwd = PUBLISHER.lines().find_map(|line| line.strip_prefix("a=ice-pwd:")).unwrap();
    let trickle = format!("{trickle}{pwd}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=end-of-candidates\r\n");
    let patch = |tag: &str, body: &str| server.request("PATCH", &location, &[FRAGMENT, ("If-Match", tag)], body);
    assert_eq!(patch(&etag, &trickle).status, 204);
    assert_eq!(patch("\"other\"", &trickle).status, 412);
    assert_eq!(server.request("PATCH", &location, &[FRAGMENT], &trickle).status, 428);
    assert_eq!(server.request("PATCH", &location, &[SDP, ("If-Match", "*")], &trickle).status, 415);
    assert_eq!(patch(&etag, "nonsense").status, 422);

    let restarted = patch("*", RESTART);
    assert_eq!(restarted.status, 200, "{restarted:?}");
    let new_etag = restarted.header("etag").unwrap();
    assert_ne!(new_etag, etag);
    assert!(restarted.body.contains(&format!("a=ice-ufrag:{}", new_etag.trim_matches('"'))), "{restarted:?}");
    assert_eq!(patch(&etag, RESTART).status, 412, "the old session's tag");

    assert_eq!(server.request("DELETE", &location, &[], "").status, 200);
    assert_eq!(server.request("DELETE", &location, &[], "").status, 404);
    assert_eq!(patch(new_etag, RESTART).status, 404);
}

/// Who gets room and stream wrong has no such session, whoever's secret is behind them.
#[test]
fn a_session_is_found_under_its_own_room_and_stream_only() {
    let server = Server::dev();
    let location = |path: &str, offer: &str| {
        server.request("POST", path, &[SDP], offer).header("location").unwrap_or_else(|| panic!("{path}")).to_owned()
    };
    let (_tv, cam) = (location("/whip/other/tv", PUBLISHER), location("/whip/demo/cam", PUBLISHER));
    let (speaker, one) = (location("/whep/demo", PLAYER), location("/whep/demo/cam", PLAYER));
    for (url, wrong) in [
        (&cam, ["/whip/other/cam/", "/whip/demo/tv/", "/whep/demo/cam/"]),
        (&speaker, ["/whep/other/-/", "/whep/demo/cam/", "/whip/demo/-/"]),
        (&one, ["/whep/other/cam/", "/whep/demo/-/", "/whip/demo/cam/"]),
    ] {
        let secret = url.rsplit('/').next().unwrap();
        for path in wrong {
            let path = format!("{path}{secret}");
            let patched = server.request("PATCH", &path, &[FRAGMENT, ("If-Match", "*")], RESTART);
            assert_eq!(patched.status, 404, "{path}: {patched:?}");
            assert_eq!(server.request("DELETE", &path, &[], "").status, 404, "{path}");
        }
        assert_eq!(server.request("DELETE", url, &[], "").status, 200, "{url}");
    }
}

#[test]
fn half_a_restart_is_refused_and_changes_nothing() {
    let server = Server::dev();
    let created = server.request("POST", "/whip/demo/cam", &[SDP], PUBLISHER);
    let (location, etag) = (created.header("location").unwrap(), created.header("etag").unwrap());
    let patch = |body: &str| server.request("PATCH", location, &[FRAGMENT, ("If-Match", etag)], body);
    let known = |name: &str| PUBLISHER.lines().find(|line| line.starts_with(name)).unwrap();
    for (new, old) in [("a=ice-ufrag:newu", "a=ice-pwd:"), ("a=ice-pwd:0123456789012345678901", "a=ice-ufrag:")] {
        let refused = patch(&format!("{new}\r\n{}\r\n", known(old)));
        assert_eq!(refused.status, 422, "{refused:?}");
        assert!(refused.detail().contains("changes both"), "{refused:?}");
    }
    let whole = patch(RESTART);
    assert_eq!(whole.status, 200, "the tag still holds: {whole:?}");
}

#[test]
fn restarts_of_ice_have_the_rate_of_other_changes() {
    let server = Server::configured("[limits]\nchanges_per_second = 1\n");
    let bearer = format!("Bearer {}", token(json!({})));
    let created = server.request("POST", "/whip/demo/alice", &[SDP, ("Authorization", &bearer)], PUBLISHER);
    assert_eq!(created.status, 201, "{created:?}");
    let location = created.header("location").unwrap();
    let restart = |n: usize| {
        let body = RESTART.replace("newu", &format!("new{n}")).replace("pwd:01", &format!("pwd:{n:02}"));
        server.request("PATCH", location, &[FRAGMENT, ("If-Match", "*")], &body)
    };
    let answers: Vec<_> = (0..40).map(restart).collect();
    assert_eq!(answers[0].status, 200);
    let refused = answers.iter().find(|answer| answer.status == 429).expect("40 at once are too many");
    assert!(refused.header("retry-after").is_some() && refused.detail().contains("changes_per_second"), "{refused:?}");
}

#[test]
fn what_is_no_offer_is_refused() {
    let server = Server::dev();
    let post = |headers: &[(&str, &str)], body: &str| server.request("POST", "/whip/demo/cam", headers, body);
    assert_eq!(post(&[("Content-Type", "text/plain")], PUBLISHER).status, 415);
    assert_eq!(post(&[], PUBLISHER).status, 415);
    assert_eq!(post(&[SDP, ("Content-Encoding", "gzip")], PUBLISHER).status, 415);
    let garbage = post(&[SDP], "garbage");
    assert_eq!(garbage.status, 422);
    assert_eq!(garbage.header("access-control-allow-origin"), Some("*"), "a page can read the refusal");
    assert!(garbage.detail().contains("offer"), "{garbage:?}");
    let large = post(&[SDP], &"a=x\r\n".repeat(100_000));
    assert_eq!((large.status, large.header("access-control-allow-origin")), (413, Some("*")));
    assert!(large.detail().contains("limits.body_bytes"), "{large:?}");
    let no_text = server.request("POST", "/whip/demo/%ff", &[SDP], PUBLISHER);
    assert_eq!((no_text.status, no_text.header("access-control-allow-origin")), (400, Some("*")));
    assert!(no_text.detail().contains("UTF-8"), "{no_text:?}");
    assert_eq!(server.request("GET", "/whip/demo/cam", &[], "").status, 405);
    assert_eq!(server.request("DELETE", "/whip/demo/cam/nobody", &[], "").status, 404);
}

/// Shapes of offers that users of other servers reported; those that can be used are, and for the rest there is a reason.
#[test]
fn offers_of_others_get_what_they_should() {
    let server = Server::dev();
    let post = |stream: &str, offer: &str| {
        let bearer = ("Authorization", "Bearer streamkey");
        server.request("POST", &format!("/whip/shapes/{stream}"), &[SDP, bearer], offer)
    };
    let ours = post("whole", PUBLISHER);
    assert_eq!(ours.status, 201, "a bearer token that is not ours is ignored by an open server: {ours:?}");
    let marked = post("marked", &format!("\u{feff}{PUBLISHER}"));
    assert_eq!(marked.status, 201, "{marked:?}");
    let passive = post("passive", &PUBLISHER.replace("a=setup:actpass", "a=setup:passive"));
    assert!(passive.status == 201 && passive.body.contains("a=setup:active"), "{passive:?}");
    let mono = post("mono", &PUBLISHER.replace("opus/48000/2", "opus/48000"));
    assert!(mono.status == 201 && !mono.body.contains("m=audio 0"), "{mono:?}");
    let foreign = PUBLISHER.replace("opus/", "speex/").replace("VP8/", "theora/").replace("H264/", "H261/");
    let nothing = post("nothing", &foreign);
    assert_eq!(nothing.status, 406, "{nothing:?}");
    assert!(nothing.detail().contains("formats"), "{nothing:?}");
    let source = PUBLISHER.replacen("a=mid:0", "a=mid:0\r\na=ssrc:4294967296 cname:x", 1);
    for offer in [PUBLISHER.replace("a=mid:0", "a=mid:"), source] {
        let broken = post("broken", &offer);
        assert_eq!(broken.status, 422);
        assert!(broken.detail().contains("line "), "the line is named: {broken:?}");
    }
}

#[test]
fn options_tell_what_may_be_posted_and_only_who_enters_where_turn_is() {
    let server =
        Server::configured("[[ice_servers]]\nurls = [\"turn:t.example:3478\"]\nusername = \"u\"\ncredential = \"c\"");
    let bearer = format!("Bearer {}", token(json!({})));
    let entered = server.request("POST", "/whip/demo/alice", &[SDP, ("Authorization", &bearer)], PUBLISHER);
    let link = entered.header("link").unwrap();
    assert!(link.starts_with("<turn:t.example:3478>; rel=\"ice-server\"; username=\"u\""), "{link}");
    for path in ["/whip/demo/cam", "/whep/demo/cam", "/whep/demo"] {
        let options = server.request("OPTIONS", path, &[("Origin", "https://other.example")], "");
        assert_eq!(options.status, 204);
        assert_eq!(options.header("accept-post"), Some("application/sdp"));
        assert!(options.header("access-control-allow-methods").unwrap().contains("PATCH"));
        assert!(options.header("access-control-allow-headers").unwrap().contains("Authorization"));
        assert_eq!(options.header("link"), None, "a stranger asks");
    }
}

#[test]
fn tokens_guard_whip_and_whep() {
    let server = Server::configured("");
    let post = |path: &str, token: &str, offer: &str| {
        let bearer = format!("Bearer {token}");
        server.request("POST", path, &[SDP, ("Authorization", &bearer)], offer)
    };
    let bare = server.request("POST", "/whip/demo/alice", &[SDP], PUBLISHER);
    assert_eq!((bare.status, bare.header("www-authenticate")), (401, Some("Bearer")));
    let good = token(json!({}));
    assert_eq!(post("/whip/demo/bob", &good, PUBLISHER).status, 403, "the stream is another's name");
    assert_eq!(post("/whip/other/alice", &good, PUBLISHER).status, 403, "another room");
    assert_eq!(post("/whip/demo/alice", &good, PUBLISHER).status, 201);
    let viewer = token(json!({ "sub": "viewer", "grants": { "subscribe": true } }));
    assert_eq!(post("/whip/demo/viewer", &viewer, PUBLISHER).status, 403);
    assert_eq!(post("/whep/demo/alice", &viewer, PLAYER).status, 201);
    assert_eq!(post("/whep/demo/alice", &viewer, PLAYER).status, 201, "many may watch with one token");
    let publisher = token(json!({ "grants": { "publish": true } }));
    for path in ["/whep/demo", "/whep/demo/alice", "/whep/demo/nobody"] {
        assert_eq!(post(path, &publisher, PLAYER).status, 403, "it does not learn who is here: {path}");
    }
}

#[test]
fn whep_plays_a_stream_or_whoever_speaks() {
    let server = Server::dev();
    let missing = server.request("POST", "/whep/demo/cam", &[SDP], PLAYER);
    assert_eq!(missing.status, 404);
    assert!(missing.detail().contains("cam"));
    assert_eq!(server.request("POST", "/whip/demo/cam", &[SDP], PUBLISHER).status, 201);
    for path in ["/whep/demo/cam", "/whep/demo"] {
        let created = server.request("POST", path, &[SDP], PLAYER);
        assert_eq!(created.status, 201, "{created:?}");
        assert!(created.body.contains("a=sendonly") && created.body.contains("a=ssrc:"));
        let location = created.header("location").unwrap();
        assert_eq!(server.request("DELETE", &location.replace("/whep/", "/whip/"), &[], "").status, 404);
        assert_eq!(server.request("DELETE", location, &[], "").status, 200);
    }
}

/// Else the player would see nothing, and nobody would know why.
#[test]
fn a_player_without_any_of_the_codecs_is_refused() {
    let server = Server::dev();
    let foreign = |offer: &str, codecs: &[&str]| {
        codecs.iter().fold(offer.to_owned(), |offer, codec| offer.replace(&format!("{codec}/"), "unknown/"))
    };
    let h264 = foreign(PUBLISHER, &["opus"]);
    let published = server.request("POST", "/whip/demo/cam", &[SDP], &h264);
    assert_eq!(published.status, 201, "{published:?}");
    let refused = server.request("POST", "/whep/demo/cam", &[SDP], &foreign(PLAYER, &["H264"]));
    assert_eq!(refused.status, 406, "{refused:?}");
    assert!(refused.detail().contains("`cam`") && refused.detail().contains("H264"), "{refused:?}");
    assert_eq!(server.request("POST", "/whep/demo/cam", &[SDP], PLAYER).status, 201);
    let speaker = server.request("POST", "/whep/demo", &[SDP], &foreign(PLAYER, &["H264"]));
    assert_eq!(speaker.status, 201, "whoever speaks next may publish in another: {speaker:?}");
}

#[test]
fn what_comes_to_nothing_is_said_in_a_warning() {
    let server = Server::dev();
    let without = |offer: &str, codec: &str| offer.replace(&format!("{codec}/"), "unknown/");
    let post = |path: &str, offer: &str| server.request("POST", path, &[SDP], offer);
    let published = post("/whip/demo/cam", PUBLISHER);
    assert_eq!((published.status, published.header("warning")), (201, None));
    assert_eq!(post("/whep/demo/cam", PLAYER).header("warning"), None);
    let warning =
        "199 sfu \"No video can be played: it is published in H264 with packetization-mode=1, which is not offered.\"";
    let single_units = PLAYER.replace("packetization-mode=1", "packetization-mode=0");
    for path in ["/whep/demo/cam", "/whep/demo"] {
        for player in [&without(PLAYER, "H264"), &single_units] {
            let answer = post(path, player);
            assert_eq!((answer.status, answer.header("warning")), (201, Some(warning)), "there is sound: {answer:?}");
        }
    }
    let silent = post("/whip/other/cam", &without(PUBLISHER, "opus"));
    let warning = silent.header("warning").expect("the sound is not used");
    assert!(silent.status == 201 && warning.contains("is not used: none of its formats"), "{silent:?}");
}

#[tokio::test]
async fn whip_publishers_are_seen_and_whep_players_are_not() {
    let server = Server::dev();
    let (mut alice, _) = server.join("demo", json!({})).await;
    assert_eq!(server.request("POST", "/whip/demo/my%20cam", &[SDP], PUBLISHER).status, 201);
    let roster = alice.expect("roster").await;
    assert_eq!(roster["participants"][0]["identity"], "my cam");
    assert_eq!(roster["participants"][0]["publications"].as_array().unwrap().len(), 2);
    assert_eq!(server.request("POST", "/whep/demo/my%20cam", &[SDP], PLAYER).status, 201);
    let again = server.request("POST", "/whip/demo/my%20cam", &[SDP], PUBLISHER);
    assert!(again.header("location").unwrap().starts_with("/whip/demo/my%20cam/"));
    let replaced = alice.expect_where("roster", |roster| roster.get("left").is_some()).await;
    assert_eq!(
        replaced["left"][0], roster["participants"][0]["id"],
        "the newer publisher wins; the player was never seen"
    );
}

/// A publisher's offer with so many sections of sound.
fn sounds(count: usize) -> String {
    let (session, media) = PUBLISHER.split_once("m=").unwrap();
    let sound = media.split("m=").find(|section| section.starts_with("audio")).unwrap();
    let mid = sound.lines().find(|line| line.starts_with("a=mid:")).unwrap();
    let bundle = session.lines().find(|line| line.starts_with("a=group:BUNDLE")).unwrap();
    let mids: Vec<String> = (0..count).map(|i| i.to_string()).collect();
    let session = session.replace(bundle, &format!("a=group:BUNDLE {}", mids.join(" ")));
    session + &(0..count).map(|i| format!("m={sound}").replace(mid, &format!("a=mid:{i}"))).collect::<String>()
}

#[test]
fn an_offer_of_too_much_is_refused_and_the_older_session_goes_on() {
    let server = Server::dev();
    let post = |offer: &str| server.request("POST", "/whip/demo/cam", &[("Content-Type", "application/sdp")], offer);
    let older = post(PUBLISHER);
    assert_eq!(older.status, 201);
    let refused = post(&sounds(17));
    assert_eq!((refused.status, refused.header("retry-after")), (422, None), "{refused:?}");
    assert!(refused.detail().contains("16"), "the limit is named: {refused:?}");
    assert_eq!(server.request("DELETE", older.header("location").unwrap(), &[], "").status, 200);
    assert_eq!(post(&sounds(16)).status, 201);
}

#[test]
fn a_token_that_comes_with_a_sessions_url_is_one_for_its_room() {
    let server = Server::configured("");
    let bearer = |token: &str| format!("Bearer {token}");
    let publisher = bearer(&token(json!({ "sub": "cam", "grants": { "publish": true } })));
    let created = server.request("POST", "/whip/demo/cam", &[SDP, ("Authorization", &publisher)], PUBLISHER);
    assert_eq!(created.status, 201, "{created:?}");
    let location = created.header("location").unwrap();
    let stranger = bearer(&token(json!({ "room": "other" })));
    for (wrong, status) in [(stranger.as_str(), 403), ("Bearer nonsense", 401)] {
        let wrong = ("Authorization", wrong);
        assert_eq!(server.request("DELETE", location, &[wrong], "").status, status);
        let restart = server.request("PATCH", location, &[FRAGMENT, ("If-Match", "*"), wrong], RESTART);
        assert_eq!(restart.status, status);
    }
    assert_eq!(server.request("DELETE", location, &[("Authorization", &publisher)], "").status, 200);
}

#[test]
fn an_invitation_that_would_publish_by_whip_is_told_what_it_lacks() {
    let server = Server::configured("");
    let invitation = format!("Bearer {}", token(json!({ "sub": "" })));
    let refused = server.request("POST", "/whip/demo/cam", &[SDP, ("Authorization", &invitation)], PUBLISHER);
    assert_eq!(refused.status, 403);
    assert!(refused.detail().contains("sfu token --identity cam"), "{refused:?}");
}
