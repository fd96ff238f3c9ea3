//! What the server asks of a running encoder is done at once, and nobody who watches sees a freeze.

mod real;

use real::{Server, server_program};
use serde_json::{Value, json};
use sfu_client::capture::{Scene, SceneKind};
use sfu_client::encode::{Effort, EffortMode};
use sfu_client::peer::VideoCodec;
use sfu_client::publish::{PublishOptions, publish};
use sfu_client::send::VideoSettings;
use sfu_client::signal::{JoinOptions, Target};
use sfu_client::stats::StreamReport;
use sfu_client::subscribe::{SubscribeOptions, subscribe};
use sfu_rtc::units::Bitrate;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

const LIMIT: Duration = Duration::from_secs(30);

fn target(server: &Server, name: &str) -> Target {
    let (server, room) = (server.url("ws", ""), "test".to_owned());
    Target::Native(JoinOptions { server, room, name: name.to_owned(), ..Default::default() })
}

fn authorization() -> String {
    let token = Command::new(server_program()).args(["token", "--dev", "--admin", "--room", ""]).output().unwrap();
    format!("Authorization: Bearer {}\r\n", String::from_utf8(token.stdout).unwrap().trim())
}

/// A call of one publisher and one subscriber.
struct Call {
    server: Server,
    publication: String,
    /// Proves who may use the admin API.
    authorization: String,
    /// What the subscriber has, every 20 ms.
    received: watch::Receiver<Option<StreamReport>>,
    stop: (oneshot::Sender<()>, oneshot::Sender<()>),
    tasks: (tokio::task::JoinHandle<()>, tokio::task::JoinHandle<()>),
}

impl Call {
    async fn begin(name: &str) -> Self {
        let server = Server::start(name);
        let settings = VideoSettings {
            bitrate: Bitrate::from_kbps(900),
            effort: EffortMode::Fixed(Effort::Low),
            ..Default::default()
        };
        let options = PublishOptions {
            target: target(&server, "ada"),
            video: Some((Box::new(Scene::of(SceneKind::Talking, 640, 360, 30.0).unwrap()), settings)),
            audio: None,
        };
        let (stop_ada, stopped) = oneshot::channel::<()>();
        let ada = tokio::spawn(async move {
            publish(options, async { drop(stopped.await) }, |_| {}).await.unwrap();
        });
        let options = SubscribeOptions {
            video_slots: 1,
            audio_slots: 0,
            interval: Duration::from_millis(20),
            ..SubscribeOptions::new(target(&server, "bob"))
        };
        let (stop_bob, stopped) = oneshot::channel::<()>();
        let (report, received) = watch::channel(None);
        let bob = tokio::spawn(async move {
            let progress = |now: &sfu_client::stats::Report| {
                report.send_replace(now.streams.first().cloned());
            };
            subscribe(options, async { drop(stopped.await) }, progress).await.unwrap();
        });
        let stop = (stop_ada, stop_bob);
        let (publication, tasks) = (String::new(), (ada, bob));
        let mut call = Self { server, publication, authorization: authorization(), received, stop, tasks };
        call.until("pictures", |stream| stream.frames_decoded > 60).await;
        call.publication = call.find_publication();
        call
    }

    fn find_publication(&self) -> String {
        let room = self.admin("GET", "/rooms/test", "", "200");
        let participants = room["participants"].as_array().unwrap();
        let publications = participants.iter().flat_map(|participant| participant["publications"].as_array());
        publications.flatten().next().unwrap()["id"].as_str().unwrap().to_owned()
    }

    fn admin(&self, method: &str, path: &str, body: &str, status: &str) -> Value {
        let path = format!("/v1/admin{path}");
        let body = self.server.request(method, &path, &self.authorization, body, status);
        serde_json::from_str(&body.unwrap_or_else(|| panic!("{method} {path} is refused"))).unwrap()
    }

    /// Waits until the subscriber's stream is as it should be.
    async fn until(&mut self, what: &str, is: impl Fn(&StreamReport) -> bool) -> Duration {
        let begun = Instant::now();
        let waiting = self.received.wait_for(|stream| stream.as_ref().is_some_and(&is));
        let found = tokio::time::timeout(LIMIT, waiting).await.map(|found| found.is_ok());
        assert_eq!(found, Ok(true), "{what}: {:?}", self.received.borrow());
        begun.elapsed()
    }

    /// Sends a directive by hand and waits for its effect.
    async fn direct(&mut self, what: &str, encoding: Value, codec: &str, is: impl Fn(&StreamReport) -> bool) {
        let path = format!("/rooms/test/publications/{}/directive", self.publication);
        let mut encoding = encoding;
        encoding["active"] = json!(true);
        let directive = json!({ "encodings": [encoding], "codec": codec, "ttlMs": 30_000 });
        let freezes = self.received.borrow().as_ref().map_or(0, |stream| stream.freezes);
        let begun = Instant::now();
        self.admin("POST", &path, &directive.to_string(), "202");
        let ack = self.acknowledgement(&path).await;
        let acknowledged = begun.elapsed();
        assert_eq!(ack["outcome"], "DIRECTIVE_OUTCOME_APPLIED", "{what}: {ack}");
        self.until(what, is).await;
        let effect = begun.elapsed();
        let freezes = self.received.borrow().as_ref().map_or(0, |stream| stream.freezes) - freezes;
        let (acknowledged, effect) = (acknowledged.as_millis(), effect.as_millis());
        println!("{what}: acknowledged after {acknowledged} ms, seen after {effect} ms, {freezes} freezes");
    }

    async fn acknowledgement(&self, path: &str) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let ack = self.admin("GET", path, "", "200")["ack"].take();
            if !ack.is_null() || Instant::now() > end {
                return ack;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Half a second goes by; the bits that came in the next second, per second.
    async fn kilobits(&mut self) -> f64 {
        let bytes = |call: &Self| call.received.borrow().as_ref().map_or(0, |stream| stream.bytes);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (begun, before) = (Instant::now(), bytes(self));
        tokio::time::sleep(Duration::from_secs(1)).await;
        (bytes(self) - before) as f64 * 8.0 / 1_000.0 / begun.elapsed().as_secs_f64()
    }

    /// Every picture that was sent has been shown.
    async fn end(self, left_out: bool) {
        let stream = self.received.borrow().clone().unwrap();
        println!("{} pictures, {} freezes", stream.frames_decoded, stream.freezes);
        assert_eq!((stream.decode_errors, stream.numbers.repeated), (0, 0), "{stream:?}");
        assert!(left_out || stream.numbers.missing == 0, "{stream:?}");
        drop(self.stop);
        self.tasks.0.await.unwrap();
        self.tasks.1.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bitrate_and_size_and_layers_change_without_a_gap() {
    let mut call = Call::begin("directives").await;
    call.direct("a third of the bitrate", json!({ "maxBitrateBps": "300000" }), "", |_| true).await;
    let third = call.kilobits().await;
    call.direct("twice as much", json!({ "maxBitrateBps": "600000" }), "", |_| true).await;
    let twice = call.kilobits().await;
    println!("{third:.0} kbit/s at a third, {twice:.0} at twice that");
    assert!((1.6..2.4).contains(&(twice / third)), "{third} and {twice} kbit/s");
    let half = json!({ "scaleResolutionDownBy": 2.0 });
    call.direct("half the size", half, "", |stream| stream.size == Some((320, 180))).await;
    call.direct("the whole size", json!({}), "", |stream| stream.size == Some((640, 360))).await;
    let keyframes = |call: &Call| call.received.borrow().as_ref().unwrap().keyframes;
    for mode in ["L1T3", "L1T1"] {
        let before = keyframes(&call);
        call.direct(mode, json!({ "scalabilityMode": mode }), "", move |stream| stream.keyframes > before).await;
    }
    call.end(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frame_rate_changes() {
    let mut call = Call::begin("directives-fps").await;
    // The reported rate is that of the last window.
    call.direct("10 pictures per second", json!({ "maxFramerate": 10.0 }), "", |_| true).await;
    let count = |call: &Call| call.received.borrow().as_ref().unwrap().frames_decoded;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (begun, before) = (Instant::now(), count(&call));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let rate = (count(&call) - before) as f64 / begun.elapsed().as_secs_f64();
    assert!((7.0..13.0).contains(&rate), "{rate} pictures per second");
    call.end(true).await;
}

/// Without the feature there is one codec, and the answer says that it stays.
#[tokio::test(flavor = "multi_thread")]
async fn the_codec_changes_where_both_sides_have_it() {
    let mut call = Call::begin("directives-codec").await;
    for codec in [VideoCodec::Vp8, VideoCodec::Vp9, VideoCodec::Av1, VideoCodec::H264] {
        if codec.is_built_in() {
            call.direct(codec.name(), json!({}), codec.name(), |stream| stream.codec == codec.name()).await;
            let before = call.received.borrow().as_ref().unwrap().frames_decoded;
            call.until("more of it", |stream| stream.frames_decoded > before + 30).await;
        }
    }
    call.end(false).await;
}
