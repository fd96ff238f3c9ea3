//! One capture in several encodings: everybody gets the size that is asked for, and what nobody wants stops.

mod real;

use real::Server;
use sfu_client::capture::{Scene, SceneKind};
use sfu_client::encode::{Effort, EffortMode};
use sfu_client::peer::VideoCodec;
use sfu_client::publish::{PublishOptions, PublishReport, SentEncoding, publish};
use sfu_client::send::VideoSettings;
use sfu_client::signal::{JoinOptions, Target};
use sfu_client::stats::StreamReport;
use sfu_client::subscribe::{SubscribeOptions, subscribe};
use sfu_rtc::units::Bitrate;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(60);

fn target(server: &Server, name: &str) -> Target {
    Target::Native(JoinOptions::new(&server.url("ws", ""), "simulcast", name))
}

/// A session that runs until it is stopped, and its newest report.
struct Session<T> {
    reports: watch::Receiver<T>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl<T> Session<T> {
    async fn until(&mut self, what: &str, is: impl FnMut(&T) -> bool) {
        let found = tokio::time::timeout(LIMIT, self.reports.wait_for(is)).await.map(|found| found.is_ok());
        assert_eq!(found, Ok(true), "{what}");
    }

    async fn end(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }
}

fn publisher(server: &Server, codec: VideoCodec) -> Session<PublishReport> {
    let settings = VideoSettings {
        codec,
        simulcast: 3,
        bitrate: Bitrate::from_kbps(1_500),
        effort: EffortMode::Fixed(Effort::Low),
        ..Default::default()
    };
    let scene = Box::new(Scene::of(SceneKind::Talking, 1280, 720, 15.0).unwrap());
    let options = PublishOptions::new(target(server, "ada")).video(scene, settings);
    let (stop, stopped) = oneshot::channel::<()>();
    let (report, reports) = watch::channel(PublishReport::default());
    let task = tokio::spawn(async move {
        let progress = |now: &PublishReport| {
            report.send_replace(*now);
        };
        publish(options, async { drop(stopped.await) }, progress).await.unwrap();
    });
    Session { reports, stop, task }
}

fn subscriber(server: &Server, name: &str, shown: (u32, u32)) -> Session<Option<StreamReport>> {
    let options = SubscribeOptions {
        shown: Some(shown),
        video_slots: 1,
        audio_slots: 0,
        interval: Duration::from_millis(50),
        ..SubscribeOptions::new(target(server, name))
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let (report, reports) = watch::channel(None);
    let task = tokio::spawn(async move {
        let progress = |now: &sfu_client::stats::Report| drop(report.send_replace(now.streams.first().cloned()));
        subscribe(options, async { drop(stopped.await) }, progress).await.unwrap();
    });
    Session { reports, stop, task }
}

/// Pictures of each encoding so far, smallest first.
fn pictures(report: &PublishReport) -> Vec<u64> {
    report.encodings.iter().flatten().map(|encoding| encoding.sent.frames).collect()
}

async fn everybody_gets_a_size(name: &str, codec: VideoCodec) {
    let server = Server::start(name);
    let mut large = subscriber(&server, "bob", (1280, 720));
    let mut small = subscriber(&server, "cleo", (320, 180));
    let mut ada = publisher(&server, codec);
    let shows =
        |size| move |stream: &Option<StreamReport>| stream.as_ref().is_some_and(|stream| stream.size == Some(size));
    large.until("the largest", shows((1280, 720))).await;
    small.until("the smallest", shows((320, 180))).await;

    // Nobody wants the one between them.
    ada.until("three encodings", |report| pictures(report).len() == 3).await;
    let mut before = *ada.reports.borrow();
    ada.until("the middle one stops", |report| {
        let [low, middle, high] = pictures(report)[..] else { return false };
        let [low_before, middle_before, high_before] = pictures(&before)[..] else { return false };
        let is_later = report.elapsed > before.elapsed;
        let stops = is_later && middle == middle_before && low > low_before && high > high_before;
        if is_later {
            before = *report;
        }
        stops
    })
    .await;
    let rids: Vec<_> = ada.reports.borrow().encodings.iter().flatten().map(|one: &SentEncoding| one.rid).collect();
    assert_eq!(rids, ["q", "h", "f"]);

    // Who leaves takes along what only he wanted.
    large.end().await;
    let mut before = *ada.reports.borrow();
    ada.until("the largest stops", |report| {
        let is_later = report.elapsed > before.elapsed;
        let (now, then) = (pictures(report), pictures(&before));
        let stops = is_later && now[2] == then[2] && now[0] > then[0];
        if is_later {
            before = *report;
        }
        stops
    })
    .await;
    // Who comes gets it again, beginning with a keyframe.
    let mut large = subscriber(&server, "dora", (1280, 720));
    large.until("the largest again", shows((1280, 720))).await;
    let stream = small.reports.borrow().clone().unwrap();
    // A picture may come twice where encodings take turns.
    assert_eq!(stream.decode_errors, 0, "{stream:?}");
    for session in [large, small] {
        session.end().await;
    }
    ada.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_a_size_of_h264() {
    everybody_gets_a_size("simulcast-h264", VideoCodec::H264).await;
}

#[cfg(feature = "vpx")]
#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_a_size_of_vp8() {
    everybody_gets_a_size("simulcast-vp8", VideoCodec::Vp8).await;
}
