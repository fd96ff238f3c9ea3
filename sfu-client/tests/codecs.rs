//! VP8, VP9 and AV1, as far as they were built in, through the real server: our publisher to our subscriber.
#![cfg(any(feature = "aom", feature = "vpx"))]

#[expect(dead_code, reason = "other tests use more of it")]
mod real;

use real::Server;
use sfu_client::capture::{Scene, SceneKind};
use sfu_client::encode::{Effort, EffortMode};
use sfu_client::peer::VideoCodec;
use sfu_client::publish::{PublishOptions, publish};
use sfu_client::send::VideoSettings;
use sfu_client::signal::{JoinOptions, Target};
use sfu_client::subscribe::{SubscribeOptions, subscribe};
use sfu_rtc::units::Bitrate;
use std::time::Duration;
use tokio::sync::oneshot;

const LIMIT: Duration = Duration::from_secs(60);

fn target(server: &Server, name: &str) -> Target {
    let (server, room) = (server.url("ws", ""), "test".to_owned());
    Target::Native(JoinOptions { server, room, name: name.to_owned(), ..Default::default() })
}

/// Publishes so many pictures' worth for a subscriber, who must get them all.
async fn through_the_server(server: &Server, codec: VideoCodec, temporal_layers: u8) {
    let bitrate = Bitrate::from_kbps(800);
    let settings =
        VideoSettings { codec, temporal_layers, bitrate, effort: EffortMode::Fixed(Effort::Low), ..Default::default() };
    let scene = Scene::of(SceneKind::Talking, 320, 180, 30.0).unwrap();
    let options =
        PublishOptions { target: target(server, "ada"), video: Some((Box::new(scene), settings)), audio: None };
    let (stop, stopped) = oneshot::channel::<()>();
    let publisher = tokio::spawn(publish(options, async { drop(stopped.await) }, |_| {}));
    let options = SubscribeOptions {
        video_slots: 1,
        audio_slots: 0,
        frames: Some(90),
        interval: Duration::from_secs(5),
        ..SubscribeOptions::new(target(server, "bob"))
    };
    let summary = subscribe(options, tokio::time::sleep(LIMIT), |_| {}).await.unwrap();
    drop(stop);
    let sent = publisher.await.unwrap().unwrap();
    let [stream] = &summary.report.streams[..] else { panic!("{summary:?}") };
    assert_eq!(stream.codec, codec.name());
    assert_eq!(stream.size, Some((320, 180)), "{stream:?}");
    assert!(stream.frames_decoded >= 90, "{stream:?}");
    assert_eq!(stream.numbers.read, stream.frames_decoded, "{stream:?}");
    assert_eq!((stream.numbers.missing, stream.numbers.repeated, stream.decode_errors), (0, 0, 0), "{stream:?}");
    assert!(sent.video.frames >= 90, "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn codecs_come_whole_with_and_without_layers() {
    // Where a path seems narrow, as on a machine without time, the server leaves upper layers out.
    let server = Server::start_with("codecs", 1, &[("SFU_BANDWIDTH__ESTIMATOR", "fixed")]);
    for codec in [VideoCodec::Vp8, VideoCodec::Vp9, VideoCodec::Av1].into_iter().filter(|codec| codec.is_built_in()) {
        for layers in [1, 3] {
            through_the_server(&server, codec, layers).await;
        }
    }
}
