//! Publisher and subscriber in one process with a lossy relay between them: repair by NACK, RTX and keyframes.

use sfu_client::capture::Scene;
use sfu_client::peer::{MediaKind, Peer, PeerConfig};
use sfu_client::receive::receive_video;
use sfu_client::send::{VideoSender, VideoSettings};
use sfu_client::stats::{StreamReport, StreamStats};
use sfu_rtc::net::DatagramKind;
use sfu_rtc::units::Bitrate;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;

const LIMIT: Duration = Duration::from_secs(60);
const FRAMES: u32 = 150;

/// Passes datagrams between two peers; `loses` says of each RTP and RTCP packet whether it is lost.
struct Relay {
    /// Stands for the first peer: what comes here goes to it.
    first: Arc<UdpSocket>,
    /// Stands for the second peer.
    second: Arc<UdpSocket>,
}

impl Relay {
    async fn new() -> Self {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        Self { first: Arc::new(bind().await.unwrap()), second: Arc::new(bind().await.unwrap()) }
    }

    fn start(
        &self,
        first_peer: SocketAddr,
        second_peer: SocketAddr,
        loses: impl FnMut(&[u8]) -> bool + Send + Clone + 'static,
    ) {
        // What the second peer sends to the first's stand-in leaves by the second's, so that answers find back.
        let ways = [(&self.first, &self.second, first_peer), (&self.second, &self.first, second_peer)];
        for (from, through, to) in ways {
            let (from, through, mut loses) = (Arc::clone(from), Arc::clone(through), loses.clone());
            tokio::spawn(async move {
                let mut buffer = vec![0; 2048];
                while let Ok((length, _)) = from.recv_from(&mut buffer).await {
                    let datagram = &buffer[..length];
                    // ICE and DTLS pass.
                    let is_media = DatagramKind::of(datagram).is_some_and(DatagramKind::is_media);
                    if !is_media || !loses(datagram) {
                        let _ = through.send_to(datagram, to).await;
                    }
                }
            });
        }
    }
}

/// The first UDP candidate of a description, and the description with `instead` in its place.
fn replace_candidate(sdp: &str, instead: SocketAddr) -> (SocketAddr, String) {
    let line = sdp.lines().find(|line| line.starts_with("a=candidate:")).unwrap();
    let fields: Vec<&str> = line.split(' ').collect();
    let address = SocketAddr::new(fields[4].parse().unwrap(), fields[5].parse().unwrap());
    (address, sdp.replace(&format!(" {} {} typ", fields[4], fields[5]), &format!(" 127.0.0.1 {} typ", instead.port())))
}

async fn peer() -> Peer {
    Peer::new(PeerConfig { bind: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))], ..Default::default() })
        .await
        .unwrap()
}

async fn call(loses: impl FnMut(&[u8]) -> bool + Send + Clone + 'static) -> StreamReport {
    let (publisher, mut subscriber, relay) = (peer().await, peer().await, Relay::new().await);
    let sink = publisher.add_sink(MediaKind::Video, "test").await.unwrap();
    let (first, offer) = replace_candidate(&publisher.offer().await.unwrap(), relay.first.local_addr().unwrap());
    let answer = subscriber.answer(offer).await.unwrap();
    let (second, answer) = replace_candidate(&answer, relay.second.local_addr().unwrap());
    relay.start(first, second, loses);
    publisher.accept_answer(answer).await.unwrap();
    publisher.connected(LIMIT).await.unwrap();
    let settings = VideoSettings { bitrate: Bitrate::from_kbps(1200), frames: Some(FRAMES), ..Default::default() };
    let scene = Box::new(Scene::new(320, 180, 30.0).unwrap());
    let mut sender = VideoSender::start(sink, scene, settings).await.unwrap();
    let track = tokio::time::timeout(LIMIT, subscriber.next_track()).await.unwrap().unwrap();
    let stats = Arc::new(StreamStats::new(track.mid.clone(), track.kind));
    let receiving = tokio::spawn(receive_video(track, Arc::clone(&stats), None, None));
    tokio::time::timeout(LIMIT, sender.finished()).await.unwrap().unwrap();
    // Repair of the last pictures.
    tokio::time::sleep(Duration::from_secs(1)).await;
    subscriber.close().await;
    publisher.close().await;
    tokio::time::timeout(LIMIT, receiving).await.unwrap().unwrap().unwrap();
    let report = stats.total();
    println!("{}", report.to_json());
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn scattered_loss_is_repaired_by_retransmission() {
    let mut count = 0;
    // Every 17th packet in each direction: 6 % of media, of retransmissions and of feedback.
    let report = call(move |_| {
        count += 1;
        count % 17 == 0
    })
    .await;
    assert!(report.counters.recovered > 10, "{report:?}");
    assert_eq!(report.counters.lost, 0, "{report:?}");
    assert_eq!(report.numbers.missing, 0, "{report:?}");
    assert_eq!(report.decode_errors, 0, "{report:?}");
}

/// True during one outage.
fn outage(after: Duration, length: Duration) -> Arc<AtomicBool> {
    let out = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&out);
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        switch.store(true, Ordering::Relaxed);
        tokio::time::sleep(length).await;
        switch.store(false, Ordering::Relaxed);
    });
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_repaired_from_the_senders_history() {
    let out = outage(Duration::from_millis(1500), Duration::from_millis(900));
    let report = call(move |_| out.load(Ordering::Relaxed)).await;
    assert!(report.counters.recovered > 20 && report.freezes >= 1, "{report:?}");
    assert_eq!((report.numbers.missing, report.counters.lost, report.keyframes), (0, 0, 1), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_retransmission_an_outage_is_followed_by_a_keyframe() {
    let out = outage(Duration::from_millis(1500), Duration::from_millis(200));
    // 103 is the payload type of retransmissions in our offers.
    let report = call(move |packet| out.load(Ordering::Relaxed) || packet[1] & 0x7f == 103).await;
    assert!(report.keyframes >= 2 && report.counters.lost > 0, "{report:?}");
    assert!(report.counters.keyframe_requests >= 1 && report.numbers.gaps >= 1, "{report:?}");
    assert!(report.numbers.last().is_some_and(|last| last >= FRAMES - 2), "{report:?}");
    assert!(report.frames_decoded > u64::from(FRAMES) / 2, "{report:?}");
}
