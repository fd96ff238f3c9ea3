//! What is said over the signalling, WHIP and WHEP.

use super::{Effort, Tally, swarm};
use crate::client::{Socket, Target, hear, say};
use crate::peer::Offer;
use anyhow::{Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::ids::Ssrc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// WebSockets that send pings.
const PINGERS: usize = 8;
/// Largest control frame (RFC 6455 section 5.5).
const PING: [u8; 125] = [0x5a; 125];
/// Participants of a room that is disturbed.
pub(super) const ROOM: usize = 100;
/// Participants who come and go.
const CHURNERS: usize = 300;
/// Clients that post to WHEP at the same time.
const POSTERS: usize = 16;

/// Pings of strangers.
pub(super) async fn pings_of_strangers(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    let text = pings(target, duration, false).await;
    Ok(Effort { text, ..Effort::default() })
}

/// Pings of participants.
pub(super) async fn pings_of_participants(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    let text = pings(target, duration, true).await;
    Ok(Effort { text, joined: PINGERS as u64, ..Effort::default() })
}

async fn pings(target: Arc<Target>, duration: Duration, joins: bool) -> String {
    let sent = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&sent);
    swarm(PINGERS, duration, move |_| {
        let (target, sent) = (Arc::clone(&target), Arc::clone(&counting));
        async move {
            let mut socket = if joins { target.join("pings", json!({})).await?.0 } else { target.socket().await? };
            loop {
                socket.feed(Message::Ping(PING.to_vec().into())).await?;
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
    .await;
    let sent = sent.load(Ordering::Relaxed);
    format!("{sent} pings on {PINGERS} connections that never read, {:.1} MB", sent as f64 * 131.0 / 1e6)
}

/// Whoever hears all that a room says, and how much that was.
pub(super) struct Listener {
    pub(super) messages: AtomicU64,
    bytes: AtomicU64,
}

/// Lets `count` participants join a room who only listen; together they count what they hear.
pub(super) async fn listeners(target: &Target, room: &str, count: usize) -> Result<Arc<Listener>> {
    let heard = Arc::new(Listener { messages: AtomicU64::new(0), bytes: AtomicU64::new(0) });
    for _ in 0..count {
        let (mut socket, _) = target.join(room, json!({})).await?;
        let heard = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                heard.messages.fetch_add(1, Ordering::Relaxed);
                heard.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
            }
        });
    }
    Ok(heard)
}

impl Listener {
    fn text(&self, what: &str) -> String {
        let (messages, bytes) = (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        format!("{what}; the room heard {messages} messages, {:.1} MB", bytes as f64 / 1e6)
    }
}

/// Participants who join, publish, say something, mute and leave, as fast as they are answered.
pub(super) async fn churn(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    let heard = listeners(&target, "churn", 1).await?;
    let tally = Arc::new(Tally::default());
    let counting = Arc::clone(&tally);
    let offer = Offer { video: Some(Ssrc(7)), video_slots: 1, ..Offer::default() };
    let sdp = offer.plan(&DtlsCertificate::generate()).to_sdp();
    let join = json!({ "offer": { "sdp": sdp, "publish": [{ "mid": "0", "source": "SOURCE_CAMERA" }] } });
    swarm(CHURNERS, duration, move |_| {
        let (target, tally, join) = (Arc::clone(&target), Arc::clone(&counting), join.clone());
        async move {
            let (mut socket, joined) = target.join("churn", join).await?;
            let _counted = tally.count();
            ask(&mut socket, json!({ "id": 2, "sendData": { "payload": "aGVsbG8=", "topic": "chat" } }), 2).await?;
            let muted = json!({ "publicationId": joined["publications"][0]["id"], "muted": true });
            ask(&mut socket, json!({ "id": 3, "setMuted": muted }), 3).await?;
            say(&mut socket, &json!({ "id": 4, "leave": {} })).await
        }
    })
    .await;
    let text = heard.text(&format!("{} joins of {CHURNERS} participants", tally.opened()));
    Ok(Effort { text, joined: CHURNERS as u64 + 1, ..Effort::default() })
}

/// One who joins again and again with as much metadata as is allowed.
pub(super) async fn metadata(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    let heard = listeners(&target, "metadata", ROOM).await?;
    let tally = Arc::new(Tally::default());
    let counting = Arc::clone(&tally);
    let text = "m".repeat(4_096);
    swarm(4, duration, move |_| {
        let (target, tally, text) = (Arc::clone(&target), Arc::clone(&counting), text.clone());
        async move {
            let (mut socket, _) = target.join("metadata", json!({ "metadata": text })).await?;
            let _counted = tally.count();
            say(&mut socket, &json!({ "id": 4, "leave": {} })).await
        }
    })
    .await;
    let text = heard.text(&format!("{} joins", tally.opened()));
    Ok(Effort { text, joined: ROOM as u64 + 4, ..Effort::default() })
}

/// Data messages as large and as many as are taken.
pub(super) async fn data(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    let heard = listeners(&target, "data", ROOM).await?;
    let tally = Arc::new(Tally::default());
    let counting = Arc::clone(&tally);
    // 9,000 bytes as Base64.
    let payload = "QUJD".repeat(3_000);
    swarm(4, duration, move |_| {
        let (target, tally, payload) = (Arc::clone(&target), Arc::clone(&counting), payload.clone());
        async move {
            let (mut socket, _) = target.join("data", json!({})).await?;
            loop {
                let _counted = tally.count();
                let body = json!({ "id": 2, "sendData": { "payload": payload, "topic": "flood" } });
                ask(&mut socket, body, 2).await?;
            }
        }
    })
    .await;
    let text = heard.text(&format!("{} data messages of 9 kB", tally.opened()));
    Ok(Effort { text, joined: ROOM as u64 + 4, ..Effort::default() })
}

/// Sends a request and waits for its answer, be it a refusal.
async fn ask(socket: &mut Socket, request: Value, id: u64) -> Result<Value> {
    say(socket, &request).await?;
    loop {
        let answer = timeout(Duration::from_secs(5), hear(socket)).await??;
        if answer["replyTo"] == id {
            return Ok(answer);
        }
    }
}

/// WHEP sessions with one invitation, none of which ever connects.
pub(super) async fn whep_slots(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    let offer = Offer { video_slots: 1, ..Offer::default() };
    let sdp: Arc<str> = offer.plan(&DtlsCertificate::generate()).to_sdp().into();
    let (taken, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counters = (Arc::clone(&taken), Arc::clone(&refused));
    swarm(POSTERS, duration, move |n| {
        let (target, sdp, (taken, refused)) = (Arc::clone(&target), Arc::clone(&sdp), counters.clone());
        async move {
            let head = format!(
                "POST /whep/slots-{n} HTTP/1.1\r\nauthorization: Bearer {}\r\ncontent-type: application/sdp",
                target.address.token
            );
            let (status, _) = target.request(&head, &sdp).await?;
            if status == 201 { &taken } else { &refused }.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    })
    .await;
    let (taken, refused) = (taken.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    let mut effort = Effort { text: format!("{taken} sessions taken, {refused} refused"), ..Effort::default() };
    effort.unconnected = taken;
    if taken == 0 {
        bail!("no session was taken: {}", effort.text);
    }
    Ok(effort)
}

/// Names, rooms and texts with line ends and terminal sequences.
pub(super) async fn forged_names(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    const FORGED: &str = "FORGED-LINE";
    let forged = format!("eve\n2026-01-01T00:00:00Z  INFO {FORGED}: all is well\u{1b}[2J\r");
    let tally = Arc::new(Tally::default());
    let counting = Arc::clone(&tally);
    let attackers = Arc::clone(&target);
    swarm(2, duration, move |n| {
        let (target, tally, forged) = (Arc::clone(&attackers), Arc::clone(&counting), forged.clone());
        async move {
            let _counted = tally.count();
            let (room, name) = if n == 0 { (forged.as_str(), "eve") } else { ("names", forged.as_str()) };
            if let Ok((mut socket, _)) = target.join(room, json!({ "name": name, "client": forged })).await {
                say(&mut socket, &json!({ "id": 2, "leave": { "reason": forged } })).await?;
            }
            Ok(())
        }
    })
    .await;
    let log = std::fs::read_to_string(&target.address.log)?;
    let is_forged = |line: &str| line.contains(FORGED) && line.starts_with("2026-01-01");
    let mut faults = Vec::new();
    if log.lines().any(is_forged) || log.contains("\u{1b}[2J") {
        faults.push("the log has a forged line".to_owned());
    }
    Ok(Effort { text: format!("{} joins with forged names", tally.opened()), joined: 2, faults, ..Effort::default() })
}
