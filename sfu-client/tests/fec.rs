//! The client behind a path that loses packets and is too long for retransmissions: what it recovers from the server's
//! parity, and what it loses without. And what the server recovers of what the client sends over such a path.

#[expect(dead_code, reason = "other tests use more of it")]
mod real;
#[expect(dead_code, reason = "other tests use more of it")]
mod relayed;

use netsim::{LinkConfig, Loss};
use real::Server;
use relayed::through_a_relay;
use sfu_client::capture::Scene;
use sfu_client::peer::{MediaKind, Peer, PeerConfig};
use sfu_client::publish::{PublishOptions, protect, publish};
use sfu_client::receive::receive_video;
use sfu_client::send::{VideoSender, VideoSettings};
use sfu_client::signal::{JoinOptions, NativeSession, SignalEvent, Target};
use sfu_client::stats::{StreamReport, StreamStats};
use sfu_proto::v1::{Publish, Source};
use sfu_rtc::units::Bitrate;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Barrier, oneshot};

const LIMIT: Duration = Duration::from_secs(60);
/// How long a subscriber watches: loss has to be seen before it is planned for.
const WATCHED: Duration = Duration::from_secs(20);
/// Each way. What is asked for comes after the client has given it up, which is after 400 ms.
const ONE_WAY: Duration = Duration::from_millis(250);

fn join(server: &Server, name: &str) -> JoinOptions {
    JoinOptions { server: server.url("ws", ""), room: "fec".to_owned(), name: name.to_owned(), ..Default::default() }
}

/// Watches the room's only publisher, who begins once all are `ready`: a delay that came later than the first media would
/// look like a queue, against which parity is no help.
async fn watch(server: &Server, fec: bool, ready: &Barrier) -> StreamReport {
    let bind = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let mut peer = Peer::new(PeerConfig { bind, fec, ..Default::default() }).await.unwrap();
    peer.add_receiver(MediaKind::Video).await.unwrap();
    let offer = peer.offer().await.unwrap();
    let (session, answer) = NativeSession::join(&join(server, "viewer"), offer, Vec::new()).await.unwrap();
    assert_eq!(answer.contains("rs-fec/90000"), fec, "{answer}");
    let (relay, answer) = through_a_relay(&answer, 7);
    peer.accept_answer(answer).await.unwrap();
    peer.connected(LIMIT).await.unwrap();
    let up = LinkConfig::delayed(ONE_WAY);
    relay.set_links(up.clone(), LinkConfig { loss: Loss::Random(0.04), ..up });
    ready.wait().await;
    let track = tokio::time::timeout(LIMIT, peer.next_track()).await.unwrap().unwrap();
    let stats = Arc::new(StreamStats::new(track.mid.clone(), track.kind));
    let receiving = tokio::spawn(receive_video(track, Arc::clone(&stats), None, None));
    tokio::time::sleep(WATCHED).await;
    session.leave("done").await;
    peer.close().await;
    // It may have been about to ask for what is missing.
    let _ = tokio::time::timeout(LIMIT, receiving).await.unwrap().unwrap();
    assert!(relay.counts().unwrap().down.lost > 0);
    let report = stats.total();
    println!("{}", report.to_json());
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_would_be_lost_are_recovered_from_parity() {
    let server = Server::start_with("fec", 1, &[("SFU_REPAIR__MODE", "planner"), ("SFU_MEDIA__NODE_IPS", "127.0.0.1")]);
    let settings = VideoSettings { bitrate: Bitrate::from_kbps(600), ..Default::default() };
    let video = Some((Box::new(Scene::new(320, 180, 30.0).unwrap()) as _, settings));
    let target = Target::Native(join(&server, "publisher"));
    let options = PublishOptions { target, video, audio: None };
    let (stop, stopped) = oneshot::channel::<()>();
    let ready = Arc::new(Barrier::new(3));
    let all = Arc::clone(&ready);
    let publisher = tokio::spawn(async move {
        all.wait().await;
        publish(options, async { drop(stopped.await) }, |_| {}).await
    });
    let (with, without) = tokio::join!(watch(&server, true, &ready), watch(&server, false, &ready));
    drop(stop);
    tokio::time::timeout(LIMIT, publisher).await.unwrap().unwrap().unwrap();
    assert_eq!(without.fec, Default::default());
    assert!(without.counters.lost > 10, "{without:?}");
    assert!(with.fec.parity > 50 && with.fec.bytes > 0, "{with:?}");
    assert!(with.fec.recovered > 10 && with.fec.refused == 0, "{with:?}");
    assert!(with.counters.lost * 2 < without.counters.lost, "{with:?} {without:?}");
    assert!(with.frames_decoded > without.frames_decoded, "{with:?} {without:?}");
    assert_eq!(with.decode_errors, 0, "{with:?}");
}

/// Publishes over a path that loses 10 % on the way to the server and has a round trip of 80 ms, and watches that nearby;
/// what was seen, and how much parity was sent.
async fn watch_over_lossy_uplink(server: &Server) -> (StreamReport, u64) {
    let bind = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let publisher = Peer::new(PeerConfig { bind: bind.clone(), fec: true, ..Default::default() }).await.unwrap();
    let sink = publisher.add_sink(MediaKind::Video, "uplink").await.unwrap();
    let offer = publisher.offer().await.unwrap();
    let publish = vec![Publish { mid: sink.mid().await.unwrap(), source: Source::Camera.into(), ..Default::default() }];
    let (mut session, answer) = NativeSession::join(&join(server, "publisher"), offer, publish).await.unwrap();
    let (relay, answer) = through_a_relay(&answer, 5);
    // The server knows the round trip from the handshake.
    let link = || LinkConfig::delayed(Duration::from_millis(40));
    relay.set_links(link(), link());
    publisher.accept_answer(answer).await.unwrap();
    publisher.connected(LIMIT).await.unwrap();
    relay.set_links(LinkConfig { loss: Loss::Random(0.1), ..link() }, link());
    let mut viewer = Peer::new(PeerConfig { bind, ..Default::default() }).await.unwrap();
    viewer.add_receiver(MediaKind::Video).await.unwrap();
    let offer = viewer.offer().await.unwrap();
    let (viewing, answer) = NativeSession::join(&join(server, "viewer"), offer, Vec::new()).await.unwrap();
    viewer.accept_answer(answer).await.unwrap();
    viewer.connected(LIMIT).await.unwrap();
    let parity = sink.parity();
    let settings = VideoSettings { bitrate: Bitrate::from_kbps(1_000), ..Default::default() };
    let scene = Box::new(Scene::new(320, 180, 30.0).unwrap());
    let sender = VideoSender::start(sink, scene, settings).await.unwrap();
    let control = Arc::clone(&parity);
    let obeying = tokio::spawn(async move {
        while let Some(event) = session.next_event().await {
            if let SignalEvent::Directive(directive) = event {
                assert_eq!(protect(&control, &directive.parity).1, None);
            }
        }
    });
    let track = tokio::time::timeout(LIMIT, viewer.next_track()).await.unwrap().unwrap();
    let stats = Arc::new(StreamStats::new(track.mid.clone(), track.kind));
    let receiving = tokio::spawn(receive_video(track, Arc::clone(&stats), None, None));
    tokio::time::sleep(WATCHED).await;
    viewing.leave("done").await;
    viewer.close().await;
    let _ = tokio::time::timeout(LIMIT, receiving).await.unwrap().unwrap();
    drop(sender);
    obeying.abort();
    publisher.close().await;
    assert!(relay.counts().unwrap().up.lost > 0);
    println!("{}", stats.total().to_json());
    (stats.total(), parity.sent())
}

/// Figures of the server's only worker.
fn metrics<const N: usize>(server: &Server, names: [&str; N]) -> [u64; N] {
    let text = server.get("/metrics").unwrap();
    names.map(|name| {
        let labelled = format!("{name}{{worker=\"0\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&labelled)).unwrap_or_else(|| panic!("{text}"));
        value.trim().parse::<f64>().unwrap() as u64
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_the_way_to_the_server_comes_back_there() {
    let start =
        |name, mode| Server::start_with(name, 1, &[("SFU_REPAIR__MODE", mode), ("SFU_MEDIA__NODE_IPS", "127.0.0.1")]);
    let (planner, arq) = (start("uplink-fec", "planner"), start("uplink-arq", "arq"));
    let ((with, sent), (without, none)) =
        tokio::join!(watch_over_lossy_uplink(&planner), watch_over_lossy_uplink(&arq));
    let names = ["sfu_fec_received_packets_total", "sfu_fec_recovered_packets_total", "sfu_fec_refused_packets_total"];
    let figures = |server| metrics(server, [names[0], names[1], names[2], "sfu_nacks_sent_total"]);
    let ([received, recovered, refused, asked], [no_parity, nothing, _, asked_without]) =
        (figures(&planner), figures(&arq));
    println!("parity sent {sent}, received {received}, recovered {recovered}, asked {asked} and {asked_without}");
    assert_eq!((none, no_parity, nothing), (0, 0, 0));
    assert!(sent > 200 && received > sent / 2 && recovered > 50 && refused == 0, "{sent} {received} {recovered}");
    assert!(asked * 2 < asked_without, "{asked} of {asked_without}");
    // A packet that is lost with all its retransmissions, about once in a hundred runs, costs the pictures of half a second.
    assert!(with.numbers.missing * 20 <= with.numbers.read && with.decode_errors == 0, "{with:?} {without:?}");
}
