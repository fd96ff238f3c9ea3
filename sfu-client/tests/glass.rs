//! From glass to glass and from lips to ears: how late pictures and sound are that both know when they were captured, with
//! 50 ms of round trip between either client and the server.
//!
//! Prints what it measures (`-- --nocapture`); docs/client.md has figures.

#[expect(dead_code, reason = "other tests use more of it")]
mod real;
mod relayed;

use netsim::LinkConfig;
use real::Server;
use relayed::{join, peer};
use sfu_client::capture::{Scene, Ticks};
use sfu_client::clock::unix_now;
use sfu_client::lab::glass::{GlassMeter, SETTLING, table};
use sfu_client::peer::MediaKind;
use sfu_client::receive::{LipSync, receive_audio, receive_video};
use sfu_client::record::{AudioRecorder, Outlets, VideoRecorder};
use sfu_client::send::{AudioSender, AudioSettings, VideoSender, VideoSettings};
use sfu_client::stats::StreamStats;
use sfu_client::subscriber::{Received, Tap};
use sfu_proto::v1::{Publish, Source};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(60);
/// Room, and what the relay draws from.
const PLACE: (&str, u64) = ("glass", 3);
/// How long it is measured.
const WATCHED: Duration = Duration::from_secs(15);
/// Each way, between either client and the server.
const ONE_WAY: Duration = Duration::from_millis(25);

#[tokio::test(flavor = "multi_thread")]
async fn pictures_and_sound_are_timed_from_capture_to_display() {
    let server = Server::start_with("glass", 1, &[("SFU_MEDIA__NODE_IPS", "127.0.0.1")]);
    let (sender, mut receiver) = (peer().await, peer().await);
    for kind in [MediaKind::Video, MediaKind::Audio] {
        receiver.add_receiver(kind).await.unwrap();
    }
    let watching = join(&server, PLACE, "bob", &receiver, Vec::new()).await;
    let video = sender.add_sink(MediaKind::Video, "glass").await.unwrap();
    let audio = sender.add_sink(MediaKind::Audio, "glass").await.unwrap();
    let mids = ["0", "1"].into_iter().zip([Source::Camera, Source::Microphone]);
    let publish =
        mids.map(|(mid, source)| Publish { mid: mid.to_owned(), source: source.into(), ..Default::default() });
    let sending = join(&server, PLACE, "ada", &sender, publish.collect()).await;
    for (_, relay) in [&watching, &sending] {
        relay.set_links(LinkConfig::delayed(ONE_WAY), LinkConfig::delayed(ONE_WAY));
    }
    let scene = Box::new(Scene::new(640, 360, 30.0).unwrap());
    let _video = VideoSender::start(video, scene, VideoSettings::default()).await.unwrap();
    let _audio = AudioSender::start(audio, Box::new(Ticks), AudioSettings::default()).await.unwrap();

    let (out, mut media) = mpsc::channel::<Received>(64);
    let lips = LipSync::new(receiver.reports());
    for _ in 0..2 {
        let track = tokio::time::timeout(LIMIT, receiver.next_track()).await.unwrap().unwrap();
        let stats = Arc::new(StreamStats::new(track.mid.clone(), track.kind));
        let outlets = Outlets { call: None, tap: Some(Tap::new(out.clone(), Arc::clone(&stats))) };
        let sync = Some(lips.stream(&track.mid, track.kind));
        if track.kind == MediaKind::Video {
            tokio::spawn(receive_video(track, stats, sync, Some(VideoRecorder::new(None, "", outlets))));
        } else {
            let recorder = AudioRecorder::new(None, "", outlets).unwrap();
            tokio::spawn(receive_audio(track, stats, sync, Some(recorder)));
        }
    }
    let mut meter = GlassMeter::default();
    let watch = async {
        while let Some(received) = media.recv().await {
            meter.take(unix_now(), &received.media);
        }
    };
    let _ = tokio::time::timeout(SETTLING + WATCHED, watch).await;
    let result = meter.result().unwrap();
    println!("{}{}", table(&result), result.to_json());
    // Neither can be earlier than the network.
    assert!(result.pictures.least >= 50.0 && result.sound.least >= 50.0, "{result:?}");
    for ((session, relay), peer) in [(sending, sender), (watching, receiver)] {
        assert_eq!(relay.counts().unwrap().down.lost, 0);
        session.leave("done").await;
        peer.close().await;
    }
}
