//! Publisher and subscriber in one process, peer to peer over loopback: no server between them.

use sfu_client::capture::{Scene, Tone, Voice};
use sfu_client::peer::{MediaKind, Peer, PeerConfig};
use sfu_client::receive::{receive_audio, receive_video};
use sfu_client::send::{AudioSender, AudioSettings, RedConfig, VideoSender, VideoSettings};
use sfu_client::stats::StreamStats;
use sfu_rtc::units::Bitrate;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

async fn peer() -> Peer {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Peer::new(PeerConfig { bind: vec![loopback], ..Default::default() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_and_picture_arrive_whole() {
    let (publisher, mut subscriber) = (peer().await, peer().await);
    let video = publisher.add_sink(MediaKind::Video, "test").await.unwrap();
    let audio = publisher.add_sink(MediaKind::Audio, "test").await.unwrap();
    let offer = publisher.offer().await.unwrap();
    let answer = subscriber.answer(offer.clone()).await.unwrap();
    if std::env::var_os("SHOW_SDP").is_some() {
        eprintln!("{offer}\n{answer}");
    }
    publisher.accept_answer(answer).await.unwrap();
    publisher.connected(LIMIT).await.unwrap();

    let settings = VideoSettings { bitrate: Bitrate::from_kbps(600), frames: Some(90), ..Default::default() };
    let scene = Scene::new(320, 180, 30.0).unwrap();
    let mut video = VideoSender::start(video, Box::new(scene), settings).await.unwrap();
    let audio = AudioSender::start(audio, Box::new(Tone::new(440.0)), AudioSettings::default()).await.unwrap();

    let mut all = Vec::new();
    for _ in 0..2 {
        let track = tokio::time::timeout(LIMIT, subscriber.next_track()).await.unwrap().unwrap();
        let stats = Arc::new(StreamStats::new(track.mid.clone(), track.kind));
        all.push(Arc::clone(&stats));
        if track.kind == MediaKind::Video {
            tokio::spawn(receive_video(track, stats, None, None));
        } else {
            tokio::spawn(receive_audio(track, stats, None, None));
        }
    }
    tokio::time::timeout(LIMIT, video.finished()).await.unwrap().unwrap();
    let pictures = all.iter().find(|stats| stats.kind() == MediaKind::Video).unwrap();
    let sound = all.iter().find(|stats| stats.kind() == MediaKind::Audio).unwrap();
    tokio::time::timeout(LIMIT, async {
        while pictures.frames_decoded() < 90 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{:?}", pictures.total()));

    let (pictures, sound) = (pictures.total(), sound.total());
    println!("{}\n{}", pictures.to_json(), sound.to_json());
    assert_eq!(video.sent().frames, 90);
    assert_eq!((pictures.codec, pictures.size), ("H264", Some((320, 180))));
    assert_eq!((pictures.numbers.read, pictures.numbers.missing, pictures.numbers.repeated), (90, 0, 0));
    assert_eq!(pictures.numbers.last(), Some(89));
    assert_eq!((pictures.decode_errors, pictures.counters.lost), (0, 0));
    assert!(pictures.latency_p50_ms.is_some());
    assert_eq!(sound.codec, "opus");
    assert!(sound.frames_decoded > 50, "{} packets of sound", sound.frames_decoded);
    assert_eq!(sound.decode_errors, 0);
    let path = subscriber.path().await;
    println!("{path:?}");
    assert!(path.srtp_profile.contains("AEAD_AES_128_GCM"), "{path:?}");
    drop(audio);
    publisher.close().await;
    subscriber.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_with_redundancy_is_negotiated_sent_and_played() {
    let (publisher, mut subscriber) = (peer().await, peer().await);
    let sink = publisher.add_sink(MediaKind::Audio, "test").await.unwrap();
    let offer = publisher.offer().await.unwrap();
    let answer = subscriber.answer(offer).await.unwrap();
    publisher.accept_answer(answer).await.unwrap();
    publisher.connected(LIMIT).await.unwrap();
    assert!(sink.format().await.unwrap().red_payload_type.is_some());

    let settings = AudioSettings { red: RedConfig { generations: 2, spacing: 1 }, ..Default::default() };
    let audio = AudioSender::start(sink, Box::new(Voice::new(2000.0)), settings).await.unwrap();
    let control = audio.control();
    assert!(control.takes_red());
    let track = tokio::time::timeout(LIMIT, subscriber.next_track()).await.unwrap().unwrap();
    let stats = Arc::new(StreamStats::new(track.mid.clone(), track.kind));
    tokio::spawn(receive_audio(track, Arc::clone(&stats), None, None));
    let decoded = |count| {
        let stats = &stats;
        tokio::time::timeout(LIMIT, async move {
            while stats.frames_decoded() < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    decoded(60).await.unwrap_or_else(|_| panic!("{:?}", stats.total()));
    let with = stats.total();
    // On without redundancy, on the same track.
    control.set(AudioSettings::default());
    decoded(120).await.unwrap_or_else(|_| panic!("{:?}", stats.total()));
    let total = stats.total();
    println!("{}", total.to_json());
    assert_eq!((total.codec, total.decode_errors), ("opus", 0));
    assert!(with.loudness_dbfs.unwrap() > -40.0, "{with:?}");
    drop(audio);
    publisher.close().await;
    subscriber.close().await;
}
