//! The client against the real server: native signalling, WHIP and WHEP, and the program itself.

mod real;

use real::Server;
use serde_json::Value;
use sfu_client::capture::{Scene, Tone, VideoSource, Y4mReader};
use sfu_client::frame::VideoFrame;
use sfu_client::overlay::Overlay;
use sfu_client::publish::{PublishOptions, PublishReport, publish};
use sfu_client::record::RecordSettings;
use sfu_client::send::{AudioSettings, VideoSettings};
use sfu_client::signal::{JoinOptions, Target};
use sfu_client::stats::table;
use sfu_client::subscribe::{SubscribeOptions, SubscribeSummary, subscribe};
use sfu_client::{join_time, stats::StreamReport};
use sfu_rtc::units::Bitrate;
use std::process::{Command, Output};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(60);
const WIDTH: usize = 320;
const HEIGHT: usize = 180;

fn native(server: &Server, name: &str) -> Target {
    let (server, room) = (server.url("ws", ""), "test".to_owned());
    Target::Native(JoinOptions { server, room, name: name.to_owned(), ..Default::default() })
}

fn http(server: &Server, path: &str) -> Target {
    Target::Http { url: server.url("http", path), token: None }
}

/// A publisher that runs until it is stopped.
struct Publisher {
    stop: oneshot::Sender<()>,
    /// One each second.
    reports: watch::Receiver<PublishReport>,
    task: JoinHandle<anyhow::Result<PublishReport>>,
}

impl Publisher {
    /// Returns once media flows.
    async fn start(target: Target) -> Self {
        let settings = VideoSettings { bitrate: Bitrate::from_kbps(500), ..Default::default() };
        let options = PublishOptions {
            target,
            video: Some((Box::new(Scene::new(WIDTH, HEIGHT, 30.0).unwrap()), settings)),
            audio: Some((Box::new(Tone::new(440.0)), AudioSettings::default())),
        };
        let (stop, stopped) = oneshot::channel();
        let (report, mut reports) = watch::channel(PublishReport::default());
        let task = tokio::spawn(publish(options, async { drop(stopped.await) }, move |now| {
            report.send_replace(*now);
        }));
        tokio::time::timeout(LIMIT, reports.changed()).await.unwrap().expect("the publisher ended");
        Self { stop, reports, task }
    }

    /// Waits for a second in which it sends no picture.
    async fn sends_nothing(&mut self) {
        let waiting = async {
            loop {
                let before = self.reports.borrow_and_update().video.frames;
                self.reports.changed().await.expect("the publisher ended");
                if self.reports.borrow().video.frames == before {
                    return;
                }
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.expect("it goes on");
    }

    async fn stop(self) -> PublishReport {
        let _ = self.stop.send(());
        tokio::time::timeout(LIMIT, self.task).await.unwrap().unwrap().unwrap()
    }
}

async fn watch(target: Target, frames: u64, slots: usize, record: Option<RecordSettings>) -> SubscribeSummary {
    let options = SubscribeOptions {
        video_slots: slots,
        audio_slots: slots,
        record,
        frames: Some(frames),
        interval: Duration::from_secs(5),
        ..SubscribeOptions::new(target)
    };
    let summary = subscribe(options, tokio::time::sleep(LIMIT), |_| {}).await.unwrap();
    println!("{}{:?}", table(&summary.report), summary.timings);
    summary
}

fn video(summary: &SubscribeSummary) -> Vec<&StreamReport> {
    summary.report.streams.iter().filter(|stream| stream.codec == "H264").collect()
}

/// Every picture came and was decoded, in order, each number following the one before.
fn assert_whole(stream: &StreamReport) {
    assert_eq!(stream.size, Some((WIDTH, HEIGHT)), "{stream:?}");
    assert_eq!(stream.numbers.read, stream.frames_decoded, "{stream:?}");
    assert_eq!((stream.numbers.missing, stream.numbers.repeated, stream.decode_errors), (0, 0, 0), "{stream:?}");
    assert!(stream.latency_p50_ms.is_some(), "{stream:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_decoded_with_consecutive_numbers() {
    let server = Server::start("native");
    let publisher = Publisher::start(native(&server, "ada")).await;
    let summary = watch(native(&server, "bob"), 120, 2, None).await;
    let [stream] = video(&summary)[..] else { panic!("{summary:?}") };
    assert_whole(stream);
    assert!(stream.frames_decoded >= 120);
    assert_eq!(stream.label, "ada");
    let sound = summary.report.streams.iter().find(|stream| stream.codec == "opus").expect("sound");
    assert!(sound.frames_decoded > 50, "{sound:?}");
    let sent = publisher.stop().await;
    assert!(sent.video.frames > 120 && sent.audio.frames > 100, "{sent:?}");
}

/// The server asks for nothing that nobody gets, and for all of it as soon as somebody does.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_watches_is_not_sent() {
    let server = Server::start_with("unwatched", 1, &[("SFU_QOS__PLANNER", "gso")]);
    let mut publisher = Publisher::start(native(&server, "ada")).await;
    for _ in 0..2 {
        publisher.sends_nothing().await;
        let summary = watch(native(&server, "bob"), 60, 1, None).await;
        assert_whole(video(&summary)[0]);
    }
    publisher.sends_nothing().await;
    publisher.stop().await;
}

/// Publishers and subscribers are on either worker, and get all that is published on both.
#[tokio::test(flavor = "multi_thread")]
async fn a_room_spread_over_two_workers_is_one_room() {
    let server = Server::start_with("spread", 2, &[("SFU_LIMITS__SPREAD_AT", "1")]);
    let publishers = [
        Publisher::start(native(&server, "ada")).await,
        Publisher::start(native(&server, "ben")).await,
        Publisher::start(http(&server, "/whip/test/cam")).await,
    ];
    let (eve, joe) = (native(&server, "eve"), native(&server, "joe"));
    let (eve, joe) = tokio::join!(watch(eve, 180, 4, None), watch(joe, 180, 4, None));
    for summary in [eve, joe] {
        let streams = video(&summary);
        assert_eq!(streams.len(), 3, "{summary:?}");
        streams.iter().for_each(|stream| assert_whole(stream));
    }
    let summary = watch(http(&server, "/whep/test/cam"), 60, 1, None).await;
    assert_whole(video(&summary)[0]);
    let metrics = server.get("/metrics").unwrap();
    let sum = |name: &str, label: &str| -> u64 {
        let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    assert!(sum("sfu_relayed_packets_total", "direction=\"out\"") > 500);
    assert_eq!(sum("sfu_dropped_packets_total", "reason=\"relay_full\""), 0);
    let [ada, rest @ ..] = publishers;
    ada.stop().await;
    let summary = watch(native(&server, "eve"), 60, 4, None).await;
    assert_eq!(video(&summary).len(), 2, "who left is gone on both workers: {summary:?}");
    for publisher in rest {
        publisher.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whip_native_and_whep_meet_in_one_room() {
    let server = Server::start("whip");
    let whip = Publisher::start(http(&server, "/whip/test/stage")).await;
    let summary = watch(native(&server, "bob"), 60, 1, None).await;
    assert_whole(video(&summary)[0]);
    let summary = watch(http(&server, "/whep/test/stage"), 60, 1, None).await;
    assert_whole(video(&summary)[0]);
    let summary = watch(http(&server, "/whep/test"), 60, 1, None).await;
    assert_whole(video(&summary)[0]);
    whip.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_sees_everybody() {
    let server = Server::start("many");
    let publishers = [
        Publisher::start(native(&server, "ada")).await,
        Publisher::start(native(&server, "ben")).await,
        Publisher::start(http(&server, "/whip/test/cam")).await,
    ];
    let summary = watch(native(&server, "eve"), 180, 4, None).await;
    let streams = video(&summary);
    assert_eq!(streams.len(), 3, "{summary:?}");
    streams.iter().for_each(|stream| assert_whole(stream));
    for publisher in publishers {
        publisher.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_into_a_running_call_are_quick() {
    let server = Server::start("joins");
    let publisher = Publisher::start(native(&server, "ada")).await;
    let times = join_time::measure(&native(&server, "bob"), 20, |_, _| {}).await.unwrap();
    println!("{}", times.to_text());
    assert_eq!(times.count(), 20);
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_hold_every_picture() {
    let server = Server::start("record");
    let publisher = Publisher::start(native(&server, "ada")).await;
    let folder = std::env::temp_dir().join(format!("sfu-client-record-{}", std::process::id()));
    let settings = RecordSettings { folder: folder.clone(), coded: false, frame_rate: 30.0 };
    settings.prepare().unwrap();
    watch(native(&server, "bob"), 45, 1, Some(settings.clone())).await;
    let mut reader = Y4mReader::open(&folder.join("mid0.y4m")).unwrap();
    assert_eq!(reader.size(), (WIDTH, HEIGHT));
    let mut picture = VideoFrame::new(WIDTH, HEIGHT).unwrap();
    let mut last = None;
    for frame in 0..45 {
        assert!(reader.draw(frame, &mut picture).unwrap());
        let number = Overlay::read(&picture).expect("an overlay").frame;
        assert!(last.is_none_or(|last| number == last + 1), "{number} after {last:?}");
        last = Some(number);
    }
    assert!(folder.join("mid1.wav").metadata().unwrap().len() > 48_000);
    watch(native(&server, "bob"), 30, 1, Some(RecordSettings { coded: true, ..settings })).await;
    assert_eq!(std::fs::read(folder.join("mid0.h264")).unwrap()[..5], [0, 0, 0, 1, 0x67]);
    assert_eq!(std::fs::read(folder.join("mid1.ogg")).unwrap()[..4], *b"OggS");
    std::fs::remove_dir_all(&folder).unwrap();
    publisher.stop().await;
}

fn run(server: &Server, arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_sfu-client");
    let output = Command::new(program).args(arguments).args(["--server", &server.url("ws", "")]).output().unwrap();
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn the_program_publishes_and_subscribes() {
    let server = Server::start("program");
    let mut publisher = Command::new(env!("CARGO_BIN_EXE_sfu-client"))
        .args(["publish", "--server", &server.url("ws", ""), "--room", "r", "--json", "--duration", "60s"])
        .args(["--width", "320", "--height", "180", "--bitrate", "500"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let output = run(&server, &["subscribe", "--room", "r", "--json", "--frames", "90", "--duration", "50s"]);
    let ended = publisher.try_wait().unwrap();
    publisher.kill().unwrap();
    publisher.wait().unwrap();
    assert!(ended.is_none(), "the publisher ended");
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["event"], "summary");
    assert!(summary["join_to_first_frame_ms"].as_f64().is_some());
    let streams = summary["streams"].as_array().unwrap();
    let video = streams.iter().find(|stream| stream["kind"] == "video").unwrap();
    assert!(video["frames_decoded"].as_u64().unwrap() >= 90, "{video}");
    assert_eq!((&video["frame_numbers_missing"], &video["decode_errors"]), (&0.into(), &0.into()), "{video}");
    assert!(video["latency_p50_ms"].as_f64().is_some(), "{video}");
}

#[test]
fn an_empty_room_is_a_failure() {
    let server = Server::start("empty");
    let output = run(&server, &["subscribe", "--room", "nobody", "--duration", "1s"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing was received"));
}
