//! A publisher whose path to the server becomes narrow: its pictures fit through, without a directive.
//!
//! Prints what it measures (`-- --nocapture`); docs/client.md has figures.

#[expect(dead_code, reason = "other tests use more of it")]
mod real;
#[expect(dead_code, reason = "other tests use more of it")]
mod relayed;

use netsim::relay::Relay;
use netsim::{LinkConfig, QueueLimit, Rate};
use real::Server;
use relayed::through_a_relay;
use sfu_client::capture::{Scene, SceneKind, Tone};
use sfu_client::publish::{PublishOptions, PublishReport, QualityLimitation, publish};
use sfu_client::send::{AudioSettings, VideoSettings};
use sfu_client::signal::{JoinOptions, Target};
use sfu_client::stats::{Report, StreamReport};
use sfu_client::subscribe::{SubscribeOptions, subscribe};
use sfu_rtc::units::Bitrate;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

const LIMIT: Duration = Duration::from_secs(60);
/// What passes once the path is narrow, and how much may wait there: without a fit, a second of it is soon full.
const NARROW: Rate = Rate::from_kbps(300);
const QUEUE: Duration = Duration::from_secs(1);
/// How long it is narrow, and how much of that it takes to fit.
const WATCHED: u32 = 16;
const SETTLING: u32 = 8;

/// Stands before the server's WHIP endpoint, once, and puts a relay on the way of the media.
async fn whip_behind_a_relay(server: &Server) -> (String, oneshot::Receiver<Relay>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/whip/test/cam", listener.local_addr().unwrap());
    let to = server.url("http", "").trim_start_matches("http://").to_owned();
    let (out, relay) = oneshot::channel();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let offer = read_body(&mut client).await;
        let mut onward = TcpStream::connect(&to).await.unwrap();
        let head = format!("POST /whip/test/cam HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/sdp\r\n");
        let length = offer.len();
        onward.write_all(format!("{head}Content-Length: {length}\r\n\r\n{offer}").as_bytes()).await.unwrap();
        let (relay, answer) = through_a_relay(&read_body(&mut onward).await, 9);
        let head = "HTTP/1.1 201 Created\r\nContent-Type: application/sdp\r\nConnection: close\r\n";
        let length = answer.len();
        client.write_all(format!("{head}Content-Length: {length}\r\n\r\n{answer}").as_bytes()).await.unwrap();
        let _ = out.send(relay);
    });
    (url, relay)
}

/// The body of a request or a response.
async fn read_body(stream: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "{text}");
        text += std::str::from_utf8(&buffer[..count]).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
        if body.len() >= length.trim().parse().unwrap() {
            return body.to_owned();
        }
    }
}

/// Watches the room's pictures; their newest report, each second.
fn watch_pictures(server: &Server) -> (watch::Receiver<Option<StreamReport>>, oneshot::Sender<()>) {
    let target = Target::Native(JoinOptions::new(&server.url("ws", ""), "test", "bob"));
    let options = SubscribeOptions { video_slots: 1, audio_slots: 1, ..SubscribeOptions::new(target) };
    let (report, reports) = watch::channel(None);
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let progress = |now: &Report| {
            report.send_replace(now.streams.iter().find(|stream| stream.size.is_some()).cloned());
        };
        // The server may be gone first.
        let _ = subscribe(options, async { drop(stopped.await) }, progress).await;
    });
    (reports, stop)
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_fit_through_a_path_that_becomes_narrow() {
    let server = Server::start_with("uplink", 1, &[("SFU_MEDIA__NODE_IPS", "127.0.0.1")]);
    let (mut pictures, _watching) = watch_pictures(&server);
    let (url, relay) = whip_behind_a_relay(&server).await;
    let scene = Box::new(Scene::of(SceneKind::Talking, 640, 360, 30.0).unwrap());
    let settings = VideoSettings { bitrate: Bitrate::from_kbps(1_000), ..Default::default() };
    let options = PublishOptions::new(Target::Http { url, token: None })
        .video(scene, settings)
        .audio(Box::new(Tone::new(440.0)), AudioSettings::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let (report, mut reports) = watch::channel(PublishReport::default());
    let publisher = tokio::spawn(publish(options, async { drop(stopped.await) }, move |now| {
        report.send_replace(*now);
    }));
    let relay = relay.await.unwrap();
    let link = || LinkConfig::delayed(Duration::from_millis(25));
    relay.set_links(link(), link());
    let encoding = |report: &PublishReport| {
        report.encodings[0].map(|encoding| (encoding.target, encoding.limitation == QualityLimitation::Bandwidth))
    };
    let is_whole = |report: &PublishReport| encoding(report) == Some((Bitrate::from_kbps(1_000), false));
    let whole = tokio::time::timeout(LIMIT, reports.wait_for(is_whole)).await.is_ok();
    assert!(whole, "all that is asked for fits at first: {:?}", reports.borrow());
    tokio::time::timeout(LIMIT, pictures.wait_for(Option::is_some)).await.unwrap().unwrap();

    relay.set_links(LinkConfig { rate: Some(NARROW), queue: QueueLimit::Time(QUEUE), ..link() }, link());
    let mut dropped = 0;
    let mut shown = 0;
    for second in 0..WATCHED {
        if tokio::time::timeout(LIMIT, reports.changed()).await.unwrap().is_err() {
            panic!("the publisher has ended: {:?}", publisher.await);
        }
        let (up, report) = (relay.counts().unwrap().up, *reports.borrow());
        let stream = pictures.borrow().clone().unwrap();
        println!(
            "{second} s: target {:?}, estimate {:?}, {} dropped, latency {:?} and {:?} ms, {} pictures, {} freezes",
            encoding(&report),
            report.available_outgoing_bitrate,
            up.dropped,
            stream.latency_p50_ms,
            stream.latency_p95_ms,
            stream.frames_decoded,
            stream.freezes
        );
        if second < SETTLING {
            (dropped, shown) = (up.dropped, stream.frames_decoded);
        } else {
            assert_eq!(up.dropped, dropped, "what waits there stays less than a second");
            assert!(encoding(&report).is_some_and(|(_, short)| short), "{report:?}");
        }
    }
    let shown = pictures.borrow().clone().unwrap().frames_decoded - shown;
    relay.set_links(link(), link());
    let whole = tokio::time::timeout(LIMIT, reports.wait_for(is_whole)).await.is_ok();
    assert!(whole, "all fits again: {:?}", reports.borrow());
    // Some are left out on a busy machine, which is late with drawing them.
    assert!(shown > 10 * u64::from(WATCHED - SETTLING), "{shown} pictures");
    drop(stop);
    publisher.await.unwrap().unwrap();
}
