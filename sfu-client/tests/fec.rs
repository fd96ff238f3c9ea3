//! The client behind a path that loses packets and is too long for retransmissions: what it recovers from the server's
//! parity, and what it loses without.

#[expect(dead_code, reason = "other tests use more of it")]
mod real;

use netsim::relay::{Relay, RelayConfig};
use netsim::{LinkConfig, Loss};
use real::Server;
use sfu_client::capture::Scene;
use sfu_client::peer::{MediaKind, Peer, PeerConfig};
use sfu_client::publish::{PublishOptions, publish};
use sfu_client::receive::receive_video;
use sfu_client::send::VideoSettings;
use sfu_client::signal::{JoinOptions, NativeSession, Target};
use sfu_client::stats::{StreamReport, StreamStats};
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

/// A relay to the address of the answer's only candidate, and the answer with the relay's in its place.
fn through_a_relay(answer: &str, seed: u64) -> (Relay, String) {
    let line = answer.lines().find(|line| line.starts_with("a=candidate:") && line.contains(" udp ")).unwrap();
    let fields: Vec<&str> = line.split(' ').collect();
    let port = fields[5].parse().unwrap();
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (up, down) = Default::default();
    let (listen, to) = (loopback(0), loopback(port));
    let relay = Relay::start(RelayConfig { listen, to, up, down, seed, local_interfaces: false }).unwrap();
    let instead = line.replace(&format!(" {} {} typ", fields[4], fields[5]), &{
        format!(" 127.0.0.1 {} typ", relay.address().port())
    });
    let others = answer.lines().filter(|other| !other.starts_with("a=candidate:") || *other == line);
    (
        relay,
        others.map(|other| if other == line { &instead } else { other }).fold(String::new(), |sdp, l| sdp + l + "\r\n"),
    )
}

/// Watches the room's only publisher, who begins once all are `ready`: a delay that came later than the first media would
/// look like a queue, against which parity is no help.
async fn watch(server: &Server, fec: bool, ready: &Barrier) -> StreamReport {
    let bind = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let mut peer = Peer::new(PeerConfig { bind, fec }).await.unwrap();
    peer.add_receiver(MediaKind::Video).await.unwrap();
    let offer = peer.offer().await.unwrap();
    let (session, answer) = NativeSession::join(&join(server, "viewer"), offer, Vec::new()).await.unwrap();
    assert_eq!(answer.contains("flexfec-03/90000"), fec, "{answer}");
    let (relay, answer) = through_a_relay(&answer, 7);
    peer.accept_answer(answer).await.unwrap();
    peer.connected(LIMIT).await.unwrap();
    let up = LinkConfig::delayed(ONE_WAY);
    relay.set_links(up.clone(), LinkConfig { loss: Loss::Random(0.04), ..up });
    ready.wait().await;
    let track = tokio::time::timeout(LIMIT, peer.next_track()).await.unwrap().unwrap();
    let stats = Arc::new(StreamStats::new(track.mid.clone(), track.kind));
    let receiving = tokio::spawn(receive_video(track, Arc::clone(&stats), None));
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
    let options = PublishOptions { target: Target::Native(join(&server, "publisher")), video, audio: None };
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
