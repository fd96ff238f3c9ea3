//! Loads of every kind: who gets what, and what is measured of it.

use crate::harness::{Bench, Folder, Found, Server};

/// The result of a load that ran to its end.
async fn load(server: &Server, load: &str) -> Found {
    let arguments = format!("run --server {} --json {load}", server.url());
    Bench::start(&arguments).end().await.complete()
}

/// The same over WHIP and WHEP.
async fn load_over_http(server: &Server, load: &str) -> Found {
    let place = "{room}/{stream}";
    let http = server.http();
    let arguments = format!("run --whip {http}/whip/{place} --whep {http}/whep/{place} --json {load}");
    Bench::start(&arguments).end().await.complete()
}

#[tokio::test]
async fn a_town_hall_sees_every_frame() {
    let server = Server::start().await;
    // Three packets a frame, and ten a keyframe.
    let town_hall = "--preset town-hall --subscribers 3 --bitrate 600000 --even --settle 2 --duration 2";
    let found = load(&server, &format!("{town_hall} --server-pid {}", server.pid())).await;
    found.assert_flawless();
    found.assert_fan_out(3);
    assert_eq!((found.number("participants"), found.number("joins")), (4.0, 4.0), "{found}");
    assert_eq!(found.number("first_frame_ms.count"), 3.0, "{found}");
    assert_eq!(found.number("connect_ms.count"), 4.0, "{found}");
    assert_eq!(found.number("latency_ms.count"), found.number("packets_out"), "{found}");
    // A frame is cut apart only where the measuring begins or ends, and a keyframe comes only where one is asked for.
    let surplus = found.number("packets_out") - 3.0 * found.number("frames");
    let most = 3.0 * (2.0 * 2.0 + 7.0 * found.number("keyframe_requests"));
    assert!(surplus.abs() <= most, "{surplus} packets belong to no whole frame: {found}");
    assert!(found.number("server.cores") > 0.0 && found.number("server.cpu_per_packet_us") > 0.0, "{found}");
    assert!(found.number("server.rss") > f64::from(1 << 20), "{found}");
    assert!(!found.get("server.cores_by_thread").as_array().unwrap().is_empty(), "{found}");
}

#[tokio::test]
async fn in_a_meeting_everybody_sees_and_hears_everybody_else() {
    let server = Server::start().await;
    let meeting = "--preset meeting --rooms 2 --publishers 3 --bitrate 200000 --settle 1 --duration 2";
    let found = load(&server, meeting).await;
    found.assert_flawless();
    found.assert_fan_out(2);
    assert_eq!(found.number("first_frame_ms.count"), 6.0, "{found}");
    for of in ["latency_ms", "audio_latency_ms"] {
        assert!(found.number(&format!("{of}.count")) > 0.0, "{of} in {found}");
    }
    // Of the sound too: what is neither picture nor lost has come.
    let counted = found.number("latency_ms.count") + found.number("audio_latency_ms.count");
    assert_eq!(counted, found.number("packets_out"), "{found}");
}

#[tokio::test]
async fn sound_alone_is_a_load() {
    let server = Server::start().await;
    let found = load(&server, "--preset audio-room --publishers 3 --subscribers 2 --settle 1 --duration 2").await;
    found.assert_flawless();
    found.assert_fan_out(2);
    found.assert_zero(&["frames", "latency_ms.count", "first_frame_ms.count"]);
    assert_eq!(found.number("audio_latency_ms.count"), found.number("packets_out"), "{found}");
}

#[tokio::test]
async fn over_whip_and_whep_each_stream_has_its_sessions() {
    let server = Server::start().await;
    let group = "--publishers 2 --subscribers 3 --codec h264 --bitrate 300000 --settle 1 --duration 2";
    let found = load_over_http(&server, &format!("{group} --server-pid {}", server.pid())).await;
    found.assert_flawless();
    found.assert_fan_out(3);
    assert_eq!(found.number("participants"), 2.0 + 2.0 * 3.0, "{found}");
    assert_eq!(found.number("first_frame_ms.count"), 2.0 * 3.0, "{found}");
    assert!(found.number("audio_latency_ms.count") > 0.0 && found.number("server.cores") > 0.0, "{found}");
}

/// Who left was replaced, and nobody was turned away.
fn assert_replaced(found: &Found, population: f64) {
    found.assert_zero(&["join_failures", "connection_failures", "foreign", "duplicates"]);
    let (churned, joins) = (found.number("churned"), found.number("joins"));
    assert!(churned > 0.0 && joins > population, "{found}");
    assert!(joins <= population + churned, "more came than left: {found}");
    // The others may be on their way.
    assert!(found.number("participants") <= population, "{found}");
    assert!(found.number("packets_out") > 0.0, "{found}");
}

#[tokio::test]
async fn who_leaves_is_replaced() {
    let server = Server::start().await;
    let found = load(&server, "--preset churn --rooms 2 --publishers 3 --bitrate 100000 --churn 5 --duration 3").await;
    assert_replaced(&found, 6.0);
}

#[tokio::test]
async fn who_leaves_is_replaced_over_whep() {
    let server = Server::start().await;
    let found = load_over_http(&server, "--subscribers 4 --bitrate 100000 --churn 5 --duration 3").await;
    assert_replaced(&found, 5.0);
}

#[tokio::test]
async fn another_speaker_takes_the_place_of_the_one_before() {
    let server = Server::start().await;
    let turns = "--publishers 3 --mesh --subscribers 2 --slots 1 --speaker-interval 1 --layers 2 --bitrate 200000";
    let found = load(&server, &format!("{turns} --duration 4")).await;
    found.assert_zero(&["join_failures", "connection_failures", "loss", "duplicates", "foreign"]);
    assert!(found.number("switch_ms.count") > 0.0 && found.number("switch_ms.max") > 0.0, "{found}");
    assert!(found.number("keyframe_requests") > 0.0, "each begins with a keyframe: {found}");
}

#[tokio::test]
async fn of_several_layers_each_subscriber_gets_one() {
    let server = Server::start().await;
    // Of six packets at a time four are of the highest layer.
    let layers = "--layers 3 --bitrate 1000000 --even --no-audio --subscribers 2 --settle 1 --duration 2";
    let found = load(&server, layers).await;
    found.assert_zero(&["join_failures", "connection_failures", "loss", "duplicates", "foreign"]);
    assert_eq!(found.number("first_frame_ms.count"), 2.0, "{found}");
    let share = found.number("packets_out") / (2.0 * found.number("packets_in"));
    assert!(share > 0.1 && share < 0.8, "a subscriber gets {share} of all layers: {found}");
}

#[tokio::test]
async fn what_a_bad_network_loses_is_sent_again() {
    let server = Server::start().await;
    let lossy = "--subscribers 3 --no-audio --bitrate 400000 --impair loss=0.05 --settle 1 --duration 3";
    let found = load(&server, lossy).await;
    found.assert_zero(&["join_failures", "connection_failures", "foreign"]);
    let (repaired, packets) = (found.number("repaired"), found.number("packets_out"));
    assert!(repaired > 0.01 * packets, "{found}");
    assert!(found.number("loss") < 0.02, "of 5 % little is lost for good: {found}");
}

#[tokio::test]
async fn where_only_some_read_the_server_counts() {
    let server = Server::start().await;
    let found = load(&server, "--subscribers 6 --readers 2 --bitrate 200000 --settle 1 --duration 3").await;
    found.assert_zero(&["join_failures", "connection_failures", "loss", "silent_seconds"]);
    assert_eq!(found.number("participants"), 7.0, "{found}");
    let share = found.number("forwarded_per_second") / found.number("packets_out_per_second");
    assert!((2.7..3.3).contains(&share), "two of six read, so {share} times as much was sent: {found}");
}

#[tokio::test]
async fn subscribers_ask_for_keyframes_on_demand() {
    let server = Server::start().await;
    let asking = "--subscribers 2 --no-audio --bitrate 200000 --keyframe-interval 0.5 --settle 1 --duration 2";
    let found = load(&server, asking).await;
    found.assert_flawless();
    assert!(found.number("keyframe_requests") > 0.0 && found.number("keyframe_ms.count") > 0.0, "{found}");
}

#[tokio::test]
async fn a_scenario_file_holds_rooms_of_several_kinds() {
    let (server, folder) = (Server::start().await, Folder::new());
    let groups = [
        "name = 'two kinds'",
        "[[group]]\nrooms = 2\npublishers = 1\nsubscribers = 2\naudio = false\nbitrate = 100000",
        "[[group]]\npublishers = 2\nsubscribers = 0\nmesh = true\nvideo = false",
    ];
    folder.write("load.toml", &groups.join("\n"));
    let arguments = format!("run --server {} --json --scenario load.toml --settle 1 --duration 1", server.url());
    let found = Bench::start_among(&folder, &arguments).end().await.complete();
    found.assert_flawless();
    assert_eq!(found.text("scenario.name"), "two kinds");
    assert_eq!((found.number("participants"), found.number("first_frame_ms.count")), (8.0, 4.0), "{found}");
    assert!(found.number("audio_latency_ms.count") > 0.0 && found.number("latency_ms.count") > 0.0, "{found}");
}
