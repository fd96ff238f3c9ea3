//! Offers of the shapes that clients of others write, each through WHIP, WHEP and signalling.

use crate::harness::{OFFER, PLAYER, PUBLISHER, Response, Server};
use serde_json::json;

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");
const SHA_256: &str =
    "sha-256 41:7D:0E:C2:95:3B:68:FA:1C:E7:50:A9:84:D6:2F:B3:09:7A:EE:51:C8:36:9D:04:F2:6B:8A:17:D5:40:BC:23";
const OPUS: &str = "a=rtpmap:109 opus/48000/2\r\na=fmtp:109 useinbandfec=1\r\n";
const VP8: &str = "a=rtpmap:120 VP8/90000\r\na=rtcp-fb:120 nack\r\na=rtcp-fb:120 nack pli\r\n";
const H264: &str = "a=rtpmap:126 H264/90000\r\na=fmtp:126 packetization-mode=1;profile-level-id=42e01f\r\n";

/// What a section says of the transport.
fn transport(setup: &str, fingerprint: &str) -> String {
    format!(
        "a=ice-ufrag:k2Vd\r\na=ice-pwd:u8Wq4Tz1Lm6Xc3Rb9Ny5Jf0H\r\na=fingerprint:{fingerprint}\r\na=setup:{setup}\r\na=rtcp-mux\r\n"
    )
}

/// An offer of these sections, all of which are bundled: mid, the rest of the m= line, and attributes.
fn offer(sections: &[(&str, &str, String)]) -> String {
    let mids: String = sections.iter().map(|(mid, ..)| format!(" {mid}")).collect();
    let mut text = format!("v=0\r\no=- 7310 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE{mids}\r\n");
    for (mid, media, attributes) in sections {
        text.push_str(&format!(
            "m={media}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=sendonly\r\na=msid:tv tv-{mid}\r\n{attributes}"
        ));
    }
    text
}

/// One of sound and one of picture, with these attributes.
fn both(transport: &str, sound: &str, picture: &str) -> String {
    offer(&[
        ("a", "audio 9 UDP/TLS/RTP/SAVPF 109", format!("{transport}{sound}")),
        ("v", "video 9 UDP/TLS/RTP/SAVPF 120 126", format!("{transport}{picture}")),
    ])
}

/// One of picture.
fn one(mid: &str, attributes: &str) -> String {
    let attributes = format!("{}{attributes}", transport("actpass", SHA_256));
    offer(&[(mid, "video 9 UDP/TLS/RTP/SAVPF 120 126", attributes)])
}

/// Offers of which all live sections are taken.
fn good_offers() -> Vec<(&'static str, String)> {
    let ours = transport("actpass", SHA_256);
    let sha_512 = format!("sha-512 {}", ["5C"; 64].join(":"));
    let sha_384 = format!("sha-384 {}", ["A7"; 48].join(":"));
    let plain = both(&ours, OPUS, VP8);
    let single = one("v", VP8);
    let uuid = "video-0b9f2d64-7c1e-4f83-a5d0-93e6c81b4a72";
    let sim = "a=rtpmap:121 rtx/90000\r\na=fmtp:121 apt=120\r\na=ssrc-group:SIM 51 52 53\r\na=ssrc-group:FID 51 61\r\n\
        a=ssrc-group:FID 52 62\r\na=ssrc-group:FID 53 63\r\na=ssrc:51 cname:q\r\na=ssrc:52 cname:q\r\na=ssrc:53 cname:q\r\n";
    let bundle_only = offer(&[
        ("a", "audio 9 UDP/TLS/RTP/SAVPF 109", format!("{ours}{OPUS}")),
        ("v", "video 0 UDP/TLS/RTP/SAVPF 120", format!("a=bundle-only\r\n{VP8}")),
    ]);
    let with_stopped = offer(&[
        ("a", "audio 9 UDP/TLS/RTP/SAVPF 109", format!("{ours}{OPUS}")),
        ("v", "video 0 UDP/TLS/RTP/SAVPF 120", VP8.to_owned()),
    ]);
    let h264 = |fmtp: &str| one("v", &format!("a=rtpmap:126 H264/90000\r\n{fmtp}"));
    let shouting = OPUS.replace("opus", "OPUS");
    let gstreamer = both(
        &ours,
        &format!("{shouting}a=ssrc:1 cname:u@h\r\na=rtcp-rsize\r\n"),
        &format!("{VP8}a=ssrc:2 cname:u@h\r\n"),
    );
    let several = format!("{}\r\na=fingerprint:{sha_384}\r\na=fingerprint:sha-1 {}", SHA_256, ["0E"; 20].join(":"));
    let sprop = "a=fmtp:126 packetization-mode=1;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==\r\n";
    vec![
        ("of sound and picture", plain.clone()),
        ("whose peer is the DTLS server", both(&transport("passive", SHA_256), OPUS, H264)),
        ("of Opus without channels", both(&ours, "a=rtpmap:109 opus/48000\r\n", VP8)),
        ("of H.264 without fmtp", h264("")),
        ("of H.264 in mode 0", h264("a=fmtp:126 packetization-mode=0;profile-level-id=42e01f\r\n")),
        ("of H.264 with a profile alone", h264("a=fmtp:126 profile-level-id=42e01f\r\n")),
        (
            "with fmtp on two lines",
            h264("a=fmtp:126 x-start=1\r\na=rtcp-fb:126 nack\r\na=fmtp:126 packetization-mode=1\r\n"),
        ),
        ("with parameter sets", h264(sprop)),
        ("with a bundle-only section", bundle_only),
        ("whose bundle names a stopped section", with_stopped),
        ("with a long mid", one(uuid, VP8)),
        ("without mid and bundle", single.replace("a=mid:v\r\n", "").replace("a=group:BUNDLE v\r\n", "")),
        ("without bundle", single.replace("a=group:BUNDLE v\r\n", "")),
        ("with sha-512", both(&transport("actpass", &sha_512), OPUS, VP8)),
        ("with sha-384", both(&transport("active", &sha_384), OPUS, VP8)),
        ("with several fingerprints", both(&transport("actpass", &several), OPUS, VP8)),
        ("with layers by source", one("v", &format!("{VP8}{sim}")).replace("120 126", "120 121")),
        ("of GStreamer", gstreamer),
        ("with a byte order mark", format!("\u{feff}{plain}")),
        ("with LF alone", plain.replace("\r\n", "\n")),
        ("with blank lines and spaces", format!("\r\n{}\r\n\r\n", plain.replace("\r\n", "  \r\n\r\n"))),
        ("that ends in a zero", format!("{plain}\0")),
        ("of an old profile name", plain.replace("UDP/TLS/RTP/SAVPF", "RTP/AVPF")),
        ("of the transport in the session part", {
            let bare = both("", OPUS, VP8).replace("a=mid:a\r\n", "a=mid:a\r\na=rtcp-mux\r\n");
            bare.replace("t=0 0\r\n", &format!("t=0 0\r\n{ours}"))
        }),
    ]
}

fn live(answer: &str) -> usize {
    answer.lines().filter(|line| line.starts_with("m=") && line.split(' ').nth(1) != Some("0")).count()
}

/// How many sections of an offer are not stopped.
fn offered(offer: &str) -> usize {
    let sections = offer.split("m=").skip(1);
    sections.filter(|section| section.split(' ').nth(1) != Some("0") || section.contains("bundle-only")).count()
}

#[test]
fn whip_and_whep_take_what_others_offer() {
    let server = Server::dev();
    for (n, (name, sdp)) in good_offers().into_iter().enumerate() {
        // A stream of its own: one that begins anew so often is told to slow down.
        let created = server.request("POST", &format!("/whip/shapes/tv-{n}"), &[SDP], &sdp);
        assert_eq!(created.status, 201, "an offer {name}: {created:?}");
        assert_eq!(live(&created.body), offered(&sdp), "an offer {name}: {created:?}");
        let setup = if sdp.contains("a=setup:active") { "a=setup:passive" } else { "a=setup:active" };
        assert!(created.body.contains(setup), "an offer {name}: {created:?}");
        assert!(!created.body.contains("sprop-parameter-sets"), "those are the sender's: {created:?}");
        let viewer = sdp.replace("a=sendonly", "a=recvonly");
        let playing = server.request("POST", &format!("/whep/shapes/tv-{n}"), &[SDP], &viewer);
        assert_eq!((playing.status, live(&playing.body)), (201, offered(&sdp)), "a viewer's {name}: {playing:?}");
    }
}

#[tokio::test]
async fn signalling_takes_what_others_offer() {
    let server = Server::dev();
    for (name, sdp) in good_offers() {
        let mut client = server.client().await;
        let joined = client.request(json!({ "join": { "room": "shapes", "offer": { "sdp": sdp } } })).await;
        let answer = joined["joined"]["answer"]["sdp"].as_str().unwrap_or_else(|| panic!("an offer {name}: {joined}"));
        assert_eq!(live(answer), offered(&sdp), "an offer {name}: {answer}");
    }
}

#[tokio::test]
async fn layers_by_source_are_seen_as_simulcast() {
    let server = Server::dev();
    let (mut viewer, _) = server.join("shapes", json!({})).await;
    let (_, sim) = good_offers().into_iter().find(|(name, _)| *name == "with layers by source").unwrap();
    assert_eq!(server.request("POST", "/whip/shapes/tv", &[SDP], &sim).status, 201);
    let roster = viewer.expect_where("roster", |roster| roster.get("participants").is_some()).await;
    let layers = &roster["participants"][0]["publications"][0]["rids"];
    assert_eq!(layers.as_array().map(Vec::len), Some(3), "{roster}");
}

/// Offers of no use: status and a word of the reason.
fn bad_offers() -> Vec<(&'static str, String, u16, &'static str)> {
    let ours = transport("actpass", SHA_256);
    let plain = both(&ours, OPUS, VP8);
    let foreign = both(&ours, &OPUS.replace("opus/48000/2", "PCMU/8000"), &VP8.replace("VP8", "JPEG"));
    let all_stopped = plain.replace("audio 9", "audio 0").replace("video 9", "video 0");
    let data =
        one("d", "").replace("video 9 UDP/TLS/RTP/SAVPF 120 126", "application 9 UDP/DTLS/SCTP webrtc-datachannel");
    let sha_1 = format!("sha-1 {}", ["0E"; 20].join(":"));
    vec![
        ("no known codec", foreign, 406, "formats"),
        ("all stopped", all_stopped, 406, "stopped"),
        ("data alone", data, 406, "audio nor video"),
        ("all inactive", plain.replace("a=sendonly", "a=inactive"), 406, "section"),
        ("an empty body", String::new(), 422, "v=0"),
        ("no SDP", "{}".into(), 422, "(`{}`)"),
        ("no sections", plain.split("m=").next().unwrap().to_owned(), 406, "section"),
        ("a mid twice", plain.replace("a=mid:v", "a=mid:a"), 422, "a=mid:a"),
        ("no fingerprint that counts", both(&transport("actpass", &sha_1), OPUS, VP8), 422, "a=fingerprint:sha-1"),
        ("no credentials", plain.replace("a=ice-pwd", "a=x"), 422, "a=ice-pwd is missing"),
        ("a role that is none", plain.replace("actpass", "holdconn"), 422, "a=setup:holdconn"),
        ("an escape sequence", plain.replace("a=msid:tv", "a=msid:\u{1b}[2J"), 422, "\\u{1b}"),
    ]
}

#[tokio::test]
async fn what_is_of_no_use_is_refused_with_its_line_and_changes_nothing() {
    let server = Server::dev();
    let older = server.request("POST", "/whip/shapes/tv", &[SDP], PUBLISHER);
    assert_eq!(older.status, 201);
    for (name, sdp, status, word) in bad_offers() {
        let refused = server.request("POST", "/whip/shapes/tv", &[SDP], &sdp);
        assert_eq!(refused.status, status, "{name}: {refused:?}");
        assert!(refused.detail().contains(word), "{name}: {refused:?}");
        assert_eq!(refused.header("retry-after"), None, "{name}: the same offer will not do later either");
        let viewer = sdp.replace("a=sendonly", "a=recvonly");
        let refused = server.request("POST", "/whep/shapes/tv", &[SDP], &viewer);
        assert_eq!(refused.status, status, "{name}, to play: {refused:?}");
        // Somebody who stays may offer inactive sections and change them later.
        if name != "all inactive" && !sdp.is_empty() {
            let code =
                server.client().await.refusal(json!({ "join": { "room": "shapes", "offer": { "sdp": sdp } } })).await;
            let expected = if status == 406 { "ERROR_CODE_NOTHING_USABLE" } else { "ERROR_CODE_BAD_SDP" };
            assert_eq!(code, expected, "{name}");
        }
    }
    let (_, joined) = server.join("shapes", json!({})).await;
    let here = joined["participants"].as_array().unwrap();
    assert_eq!(here.iter().map(|one| &one["identity"]).collect::<Vec<_>>(), ["tv"], "and nobody else is there");
    assert_eq!(
        server.request("DELETE", older.header("location").unwrap(), &[], "").status,
        200,
        "the older one goes on"
    );
}

#[test]
fn a_player_that_sends_and_a_publisher_that_receives_are_told() {
    let server = Server::dev();
    let receives = server.request("POST", "/whip/shapes/tv", &[SDP], PLAYER);
    assert_eq!((receives.status, receives.detail().contains("sends")), (406, true), "{receives:?}");
    let sends = server.request("POST", "/whep/shapes", &[SDP], PUBLISHER);
    assert_eq!((sends.status, sends.detail().contains("receives")), (406, true), "{sends:?}");
}

fn patch(server: &Server, location: &str, tags: &str, body: &str) -> Response {
    server.request("PATCH", location, &[FRAGMENT, ("If-Match", tags)], body)
}

#[test]
fn conditions_are_lists_and_stars_with_and_without_quotes() {
    let server = Server::dev();
    let created = server.request("POST", "/whip/shapes/tv", &[SDP], PUBLISHER);
    let (location, etag) = (created.header("location").unwrap(), created.header("etag").unwrap());
    let credentials = "a=ice-ufrag:Qw3x\r\na=ice-pwd:1kPz0aZyq7o8Tn5VbXcR/d\r\n";
    let trickle = format!(
        "{credentials}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=candidate:1 1 udp 5 192.0.2.7 4000 typ host\r\n"
    );
    for tags in [etag.to_owned(), format!("\"older\", {etag}"), "*".into(), "\"*\"".into()] {
        assert_eq!(patch(&server, location, &tags, &trickle).status, 204, "{tags}");
    }
    for tags in ["\"older\", \"oldest\"".to_owned(), format!("W/{etag}"), etag.trim_matches('"').to_owned(), ",".into()]
    {
        assert_eq!(patch(&server, location, &tags, &trickle).status, 412, "{tags}");
    }
    for tags in [format!("*, {etag}"), format!("{etag}, *"), "*, \"x\"".into()] {
        let malformed = patch(&server, location, &tags, &trickle);
        assert_eq!((malformed.status, malformed.detail().contains("If-Match")), (400, true), "{tags}");
    }
    let mut known = vec![etag.to_owned()];
    for (at, tags) in ["\"*\"", "*"].iter().enumerate() {
        let restart = format!("a=ice-ufrag:new{at}\r\na=ice-pwd:zxcvbnmasdfghjklqwerty{at}\r\n");
        let restarted = patch(&server, location, tags, &restart);
        assert_eq!(restarted.status, 200, "{restarted:?}");
        let etag = restarted.header("etag").unwrap().to_owned();
        assert!(!known.contains(&etag), "each ICE session has a tag of its own");
        known.push(etag);
    }
}

#[test]
fn a_slash_at_the_end_and_foreign_pages() {
    let server = Server::dev();
    let created = server.request("POST", "/whip/shapes/tv/", &[SDP, ("Authorization", "Bearer mystream")], PUBLISHER);
    assert_eq!(created.status, 201, "{created:?}");
    let session = format!("{}/", created.header("location").unwrap());
    for (method, path, status) in [
        ("POST", "/whep/shapes/", 201),
        ("POST", "/whep/shapes/tv/", 201),
        ("OPTIONS", "/whip/shapes/tv/", 204),
        ("OPTIONS", "/whep/shapes/tv/", 204),
        ("OPTIONS", session.as_str(), 204),
        ("GET", "/whip/shapes/tv", 405),
        ("HEAD", "/whip/shapes/tv/", 405),
        ("PUT", "/whep/shapes/tv", 405),
        ("GET", session.as_str(), 405),
        ("POST", session.as_str(), 405),
        ("DELETE", session.as_str(), 200),
        ("DELETE", session.as_str(), 404),
        ("POST", "/whip/shapes/a/b/c/d", 405),
        ("POST", "/whip/shapes", 405),
        ("POST", "/whip", 405),
    ] {
        let response = server.request(method, path, &[SDP], PLAYER);
        assert_eq!(response.status, status, "{method} {path}: {response:?}");
        assert_eq!(response.header("access-control-allow-origin"), Some("*"), "{method} {path}: {response:?}");
        let exposed = response.header("access-control-expose-headers").unwrap();
        assert!(["Location", "ETag", "Link", "Accept-Patch", "Accept-Post"].iter().all(|name| exposed.contains(name)));
    }
    let untyped = server.request("POST", "/whip/shapes/tv", &[], PUBLISHER);
    assert_eq!((untyped.status, untyped.header("accept-post")), (415, Some("application/sdp")));
}

#[test]
fn names_fit_into_urls_or_are_refused() {
    let server = Server::dev();
    let post = |path: &str| server.request("POST", path, &[SDP], PUBLISHER);
    let (long, longer) = ("é".repeat(128), "n".repeat(129));
    let escaped: String = long.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(post(&format!("/whip/shapes/{escaped}")).status, 201);
    assert_eq!(post(&format!("/whip/{escaped}/tv")).status, 201);
    for path in ["/whip/%2e%2e/tv", "/whip/../tv", "/whip/./tv", "/whip/shapes/%2E%2E", "/whep/%2e", "/whep/shapes/.."]
    {
        assert_eq!(post(path).status, 400, "{path}");
    }
    for path in [format!("/whip/shapes/{longer}"), format!("/whip/{longer}/tv"), format!("/whep/shapes/{longer}")] {
        assert_eq!(post(&path).status, 400, "{path}");
    }
    let configured = Server::configured("");
    let bearer = format!("Bearer {}", crate::harness::token(json!({})));
    let path = format!("/whip/demo/{longer}");
    let refused = configured.request("POST", &path, &[SDP, ("Authorization", &bearer)], PUBLISHER);
    assert_eq!(refused.status, 400, "a name that nobody may have is no matter of tokens: {refused:?}");
}

/// In a long call screen shares come and go: what has stopped counts for no limit.
#[tokio::test]
async fn stopped_sections_count_for_nothing() {
    let server = Server::dev();
    let (mut client, _) = server.join("shapes", json!({})).await;
    let stopped: String = (0..600)
        .map(|i| format!("m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:s{i}\r\na=inactive\r\n"))
        .collect();
    let offer = format!("{}\r\n{stopped}", OFFER.trim_end());
    let answered = client.request(json!({ "offer": { "sdp": offer } })).await;
    assert!(answered.get("answer").is_some(), "{answered}");
    let mut sections: String =
        (0..200).map(|i| format!("m=audio 9 UDP/TLS/RTP/SAVPF 109\r\na=mid:l{i}\r\n{OPUS}")).collect();
    sections.insert_str(0, &one("v", VP8));
    let refused = client.request(json!({ "offer": { "sdp": sections } })).await;
    assert!(refused["error"]["message"].as_str().unwrap().contains("128"), "the limit is named: {refused}");
}

/// The name of our sources is random for each peer (RFC 7022), and stays for as long as its transport.
#[tokio::test]
async fn each_peer_is_told_another_name() {
    let server = Server::dev();
    let name = |sdp: &str| {
        let (_, name) = sdp.lines().find(|line| line.starts_with("a=ssrc:")).unwrap().split_once("cname:").unwrap();
        name.trim().to_owned()
    };
    let viewer = both(&transport("actpass", SHA_256), OPUS, VP8).replace("a=sendonly", "a=recvonly");
    let mut names = Vec::new();
    for _ in 0..2 {
        let (mut client, _) = server.join("shapes", json!({})).await;
        let offer = json!({ "offer": { "sdp": viewer } });
        let answers = [client.request(offer.clone()).await, client.request(offer).await];
        let [first, second] = answers.map(|answer| name(answer["answer"]["sdp"].as_str().unwrap()));
        assert_eq!(first, second);
        assert!(first.len() >= 16, "{first}");
        names.push(first);
    }
    assert_ne!(names[0], names[1]);
}
