//! Whole sessions against a server of one participant, by every way of signalling.

mod fake;

use fake::{Fake, Heard, Manners};
use sfu_client::capture::{Scene, Tone};
use sfu_client::join_time;
use sfu_client::publish::{PublishOptions, publish};
use sfu_client::send::{AudioSettings, VideoSettings};
use sfu_client::signal::{JoinOptions, Target};
use sfu_client::subscribe::{SubscribeOptions, subscribe};
use sfu_rtc::units::Bitrate;
use std::future::pending;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn native(fake: &Fake) -> Target {
    let server = format!("ws://{}", fake.address);
    Target::Native(JoinOptions { server, room: "test".to_owned(), ..Default::default() })
}

fn http(fake: &Fake) -> Target {
    Target::Http { url: format!("http://{}/whip/test", fake.address), token: Some("key".to_owned()) }
}

fn publish_options(target: Target) -> PublishOptions {
    let settings = VideoSettings { bitrate: Bitrate::from_kbps(400), frames: Some(20), ..Default::default() };
    let scene = Scene::new(320, 180, 30.0).unwrap();
    PublishOptions {
        target,
        video: Some((Box::new(scene), settings)),
        audio: Some((Box::new(Tone::new(440.0)), AudioSettings::default())),
    }
}

fn subscribe_options(target: Target, frames: u64) -> SubscribeOptions {
    SubscribeOptions { video_slots: 1, audio_slots: 0, frames: Some(frames), ..SubscribeOptions::new(target) }
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_by_native_signalling() {
    let mut fake = Fake::start(Manners::default()).await;
    let report = publish(publish_options(native(&fake)), pending(), |_| {}).await.unwrap();
    assert_eq!((report.video.frames, report.video.keyframes), (20, 1));
    assert!(report.audio.frames > 20);
    assert_eq!(fake.heard.recv().await.unwrap(), Heard::Join("test".to_owned(), 2));
    assert_eq!(fake.heard.recv().await.unwrap(), Heard::Leave);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_by_whip() {
    let mut fake = Fake::start(Manners::default()).await;
    let report = publish(publish_options(http(&fake)), pending(), |_| {}).await.unwrap();
    assert_eq!(report.video.frames, 20);
    let bearer = "Bearer key".to_owned();
    assert_eq!(fake.heard.recv().await.unwrap(), Heard::Http("POST".to_owned(), bearer.clone()));
    assert_eq!(fake.heard.recv().await.unwrap(), Heard::Http("DELETE".to_owned(), bearer));
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribes_by_native_signalling_and_by_whep() {
    let fake = Fake::start(Manners { sends: true, ..Default::default() }).await;
    for target in [native(&fake), http(&fake)] {
        let summary = subscribe(subscribe_options(target, 30), tokio::time::sleep(LIMIT), |_| {}).await.unwrap();
        let [stream] = summary.report.streams.as_slice() else { panic!("{summary:?}") };
        assert!(stream.frames_decoded >= 30, "{stream:?}");
        assert_eq!((stream.numbers.missing, stream.numbers.repeated), (0, 0));
        assert!(summary.timings.first_frame.unwrap() >= summary.timings.connected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn join_times_are_measured() {
    let fake = Fake::start(Manners { sends: true, ..Default::default() }).await;
    let times = join_time::measure(&native(&fake), 3, |_, _| {}).await.unwrap();
    println!("{}", times.to_text());
    assert_eq!(times.count(), 3);
    assert!(times.first_frame(0.5) > Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_socket_is_resumed_while_media_goes_on() {
    let mut fake = Fake::start(Manners { sends: true, loses_socket: true, ..Default::default() }).await;
    let summary = subscribe(subscribe_options(native(&fake), 60), tokio::time::sleep(LIMIT), |_| {}).await.unwrap();
    assert_eq!(summary.ended, None);
    assert_eq!(summary.report.streams[0].numbers.missing, 0);
    assert_eq!(fake.heard.recv().await.unwrap(), Heard::Join("test".to_owned(), 0));
    assert_eq!(fake.heard.recv().await.unwrap(), Heard::Resume);
    assert_eq!(fake.heard.recv().await.unwrap(), Heard::Leave);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_why() {
    let fake = Fake::start(Manners { refuses: true, ..Default::default() }).await;
    let refused = |target| subscribe(subscribe_options(target, 1), pending(), |_| {});
    let error = format!("{:#}", refused(native(&fake)).await.unwrap_err());
    assert!(error.contains("refuses: full"), "{error}");
    let error = format!("{:#}", refused(http(&fake)).await.unwrap_err());
    assert!(error.contains("401") && error.contains("--token") && error.contains("no key"), "{error}");
    let closed = Target::Native(JoinOptions { server: "ws://127.0.0.1:1".to_owned(), ..Default::default() });
    let error = format!("{:#}", refused(closed).await.unwrap_err());
    assert!(error.contains("is the server running?"), "{error}");
    let nonsense = Target::Native(JoinOptions { server: "http://127.0.0.1:1".to_owned(), ..Default::default() });
    let error = format!("{:#}", refused(nonsense).await.unwrap_err());
    assert!(error.contains("ws://"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_session_is_told() {
    let fake = Fake::start(Manners { ends: true, ..Default::default() }).await;
    let summary = subscribe(subscribe_options(native(&fake), 1), tokio::time::sleep(LIMIT), |_| {}).await.unwrap();
    assert_eq!(summary.ended.as_deref(), Some("closing time"));
    assert!(!summary.received_anything());
    let fake = Fake::start(Manners { ends: true, ..Default::default() }).await;
    let error = publish(publish_options(native(&fake)), pending(), |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("closing time"), "{error}");
}
