//! What is sent to the media ports.

use super::Effort;
use super::signalling::{self, listeners};
use crate::client::Target;
use crate::peer::{Offer, Peer, SECOND_VIDEO, drain};
use anyhow::{Context, Result, ensure};
use sfu_rtc::ids::{PayloadType, SeqNo, Ssrc};
use sfu_rtc::rtp::RtpHeader;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::process::Command;
use tokio::time::Instant;

/// A room of the call, where there is media to be stolen.
const ROOM: &str = "bench-0-0";
/// Whoever the attacker pretends to be.
const VICTIM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
/// Pause between two checks.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// Bytes that a victim may get for one that seemed to come from it.
const MOST_AMPLIFIED: f64 = 3.0;
/// Bits per second of the flood ...
const FLOOD: &str = "184000000";
/// ... and those who subscribe to it.
const FLOODED: &str = "60";

/// A participant in the room of a call, to whom media flows.
async fn watching(target: &Target) -> Result<Peer> {
    let mut peer = Peer::join(target, ROOM, Offer { video_slots: 3, ..Offer::default() }).await?;
    peer.connect().await?;
    peer.run(Duration::from_secs(1)).await?;
    ensure!(peer.received > 0, "no media comes to a participant of the call");
    Ok(peer)
}

/// A participant sends checks that seem to come from a victim.
pub(super) async fn spoofed_check(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    let mut peer = watching(&target).await?;
    let victim = UdpSocket::bind((VICTIM, 0)).await?;
    let (mut sent, mut got) = (0, 0);
    let before = peer.received;
    let end = Instant::now() + duration;
    while Instant::now() < end {
        let check = peer.check(true);
        victim.send_to(&check, peer.server).await?;
        sent += check.len() as u64;
        let (run, drained) = tokio::join!(peer.run(CHECK_EVERY), drain(&victim, CHECK_EVERY));
        run?;
        got += drained?.1;
    }
    let amplified = got as f64 / sent as f64;
    let mut faults = Vec::new();
    if amplified > MOST_AMPLIFIED {
        faults.push(format!("the victim got {amplified:.1} bytes for one"));
    }
    if peer.received == before {
        faults.push("the participant's own media stopped".to_owned());
    }
    let text = format!(
        "{sent} bytes in checks, {got} bytes to the victim; {} packets to the participant",
        peer.received - before
    );
    Ok(Effort { text, joined: 1, faults, ..Effort::default() })
}

/// Somebody on the way has recorded a check, and sends it from elsewhere.
pub(super) async fn replayed_check(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    let mut peer = watching(&target).await?;
    let thief = UdpSocket::bind((VICTIM, 0)).await?;
    let (mut replays, mut stolen) = (0, 0);
    let before = peer.received;
    let end = Instant::now() + duration;
    while Instant::now() < end {
        thief.send_to(&peer.last_check, peer.server).await?;
        replays += 1;
        let (run, drained) = tokio::join!(peer.run(CHECK_EVERY), drain(&thief, CHECK_EVERY));
        run?;
        stolen += drained?.0;
    }
    let mut faults = Vec::new();
    if stolen > replays {
        faults.push(format!("the thief got {stolen} datagrams"));
    }
    if peer.received == before {
        faults.push("the participant's media stopped".to_owned());
    }
    let text =
        format!("{replays} replays, {stolen} datagrams to the thief, {} packets to the owner", peer.received - before);
    Ok(Effort { text, joined: 1, faults, ..Effort::default() })
}

/// Datagrams of DTLS that nobody authenticated, from the address of a participant whose handshake is under way.
pub(super) async fn forged_handshake(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    let end = Instant::now() + duration;
    let (mut handshakes, mut forged, mut failed) = (0, 0_u64, 0);
    while Instant::now() < end {
        let mut peer = Peer::join(&target, "forged", Offer { video_slots: 1, ..Offer::default() }).await?;
        let limit = Instant::now() + Duration::from_secs(5);
        while !peer.endpoint.is_connected() && Instant::now() < limit {
            for datagram in forgeries() {
                peer.send_raw(&datagram).await?;
                forged += 1;
            }
            peer.run(Duration::from_millis(2)).await?;
        }
        handshakes += 1;
        failed += u64::from(!peer.endpoint.is_connected());
    }
    let faults = if failed == 0 { Vec::new() } else { vec![format!("{failed} handshakes failed")] };
    Ok(Effort {
        text: format!("{forged} forged datagrams in {handshakes} handshakes"),
        joined: handshakes,
        faults,
        ..Effort::default()
    })
}

/// A fatal alert, a close, and the beginning of another handshake, all in clear (RFC 6347 section 4.1).
fn forgeries() -> Vec<Vec<u8>> {
    let record = |kind: u8, seq: u8, body: &[u8]| {
        let head = [kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, seq, 0, body.len() as u8];
        [&head[..], body].concat()
    };
    // ClientHello, 0 bytes of 42, the first fragment being all there is.
    let hello = [&[1, 0, 0, 42, 0, 9, 0, 0, 0, 0, 0, 42, 0xfe, 0xfd][..], &[0x5a; 40]].concat();
    vec![record(21, 200, &[2, 40]), record(21, 201, &[1, 0]), record(22, 202, &hello)]
}

/// A publisher whose packets take turns between two codecs.
pub(super) async fn payload_types(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    const EVERY: Duration = Duration::from_millis(2);
    let heard = listeners(&target, "payload-types", signalling::ROOM).await?;
    let ssrc = Ssrc(fastrand::u32(1..));
    let offer = Offer { video: Some(ssrc), second_codec: true, ..Offer::default() };
    let mut peer = Peer::join(&target, "payload-types", offer).await?;
    peer.connect().await?;
    let before = heard.messages.load(Ordering::Relaxed);
    let end = Instant::now() + duration;
    let mut seq = SeqNo(1_000);
    while Instant::now() < end {
        let payload_type = PayloadType(if seq.wire().is_multiple_of(2) { 96 } else { SECOND_VIDEO });
        let timestamp = u32::from(seq.wire()) * 3_000;
        let header = RtpHeader { payload_type, seq: seq.wire(), timestamp, ssrc, marker: true };
        // VP8: the start of a keyframe's first partition; H.264: an IDR slice.
        let payload: &[u8] =
            if seq.wire().is_multiple_of(2) { &[0x10, 0, 0, 0, 0x9d, 1, 0x2a] } else { &[0x65, 0x88, 0x84] };
        peer.send(|endpoint, batch| endpoint.send_rtp(header, seq, &[(1, b"0")], payload, batch)).await?;
        seq = seq.next();
        peer.run(EVERY).await?;
    }
    let heard = heard.messages.load(Ordering::Relaxed) - before;
    let packets = seq.0 - 1_000;
    let most = 100 * (2 * duration.as_secs() + 10);
    let faults = if heard > most { vec![format!("more than {most} messages to the room")] } else { Vec::new() };
    Ok(Effort {
        text: format!("{packets} packets; 100 participants heard {heard} messages"),
        joined: 101,
        faults,
        ..Effort::default()
    })
}

/// One publisher of far more than anybody needs.
pub(super) async fn flood(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    let mut command = Command::new(&target.address.bench);
    command
        .args(["run", "--server", &format!("wss://localhost:{}", target.address.https.port()), "--json"])
        .args(["--publishers", "1", "--subscribers", FLOODED, "--readers", "1", "--bitrate", FLOOD, "--no-audio"])
        .args(["--settle", "0.5", "--duration", &duration.as_secs().to_string()])
        .env("SFU_TOKEN", &target.address.token)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.context("sfu-bench cannot be started")?;
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let rate = |path: &str| figures[path].as_f64().unwrap_or(0.0) / duration.as_secs_f64();
    let text = format!(
        "{:.0} packets a second in; {:.0} a second forwarded",
        rate("packets_in"),
        figures["forwarded_per_second"].as_f64().unwrap_or(0.0)
    );
    Ok(Effort { text, joined: 61, ..Effort::default() })
}
