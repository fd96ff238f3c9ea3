//! Connections that take places and memory, and those that ask for work.

use super::{Effort, Tally, swarm};
use crate::client::Target;
use crate::peer::{Offer, Peer};
use anyhow::{Result, bail};
use sfu_rtc::ice::stun::{StunClass, StunKey, StunMessage, StunWriter};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, sleep, timeout};

/// More than the server holds of those who have not joined.
const CONNECTIONS: usize = 6_000;
/// More than a worker holds.
const TCP_CONNECTIONS: usize = 6_000;
/// Connections that ask for metrics at the same time.
const SCRAPERS: usize = 16;
/// Requests per second of all of them.
const SCRAPES: f64 = 12_000.0;
/// As long as a body may be by default; and what is missing of it.
const BODY: usize = 16_384;
const MISSING: usize = 512;
/// A header field, with which a head is nearly as long as it may be.
const LONG_FIELD: usize = 7_000;
/// Pause between two bytes of a slow sender.
const SLOW: Duration = Duration::from_secs(1);
/// A real ICE-TCP client's check may be answered so late.
const MOST_TCP_WAIT: Duration = Duration::from_millis(100);

fn effort(tally: &Tally, what: &str) -> Effort {
    let text = format!("{} {what}, {} at once", tally.opened(), tally.most());
    Effort { text, ..Effort::default() }
}

/// Connections to HTTPS without a byte.
pub(super) async fn silent(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    let tally = Arc::new(Tally::default());
    let counting = Arc::clone(&tally);
    swarm(CONNECTIONS, duration, move |_| {
        let (target, tally) = (Arc::clone(&target), Arc::clone(&counting));
        async move {
            let mut stream = target.tcp(target.address.https).await?;
            let _counted = tally.count();
            until_closed(&mut stream).await
        }
    })
    .await;
    Ok(effort(&tally, "silent connections"))
}

/// Requests whose headers come byte by byte.
pub(super) async fn slow_heads(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    slow(target, duration, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ", "slow headers").await
}

/// WHEP requests with long heads, all of whose bodies comes but the end, which comes byte by byte.
pub(super) async fn slow_bodies(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    let request = format!(
        "POST /whep/slow HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nx-long: {}\r\n\
         content-type: application/sdp\r\ncontent-length: {BODY}\r\n\r\n{}",
        target.address.token,
        "x".repeat(LONG_FIELD),
        "v".repeat(BODY - MISSING)
    );
    slow(target, duration, &request, "slow bodies").await
}

async fn slow(target: Arc<Target>, duration: Duration, head: &str, what: &str) -> Result<Effort> {
    let tally = Arc::new(Tally::default());
    let (counting, head) = (Arc::clone(&tally), Arc::<str>::from(head));
    swarm(CONNECTIONS, duration, move |_| {
        let (target, tally, head) = (Arc::clone(&target), Arc::clone(&counting), Arc::clone(&head));
        async move {
            let mut stream = target.connect().await?;
            let _counted = tally.count();
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(b"x").await?;
                sleep(SLOW).await;
            }
        }
    })
    .await;
    Ok(effort(&tally, what))
}

async fn until_closed(stream: &mut TcpStream) -> Result<()> {
    let mut buf = [0; 1_024];
    while stream.read(&mut buf).await? > 0 {}
    bail!("the server closed it")
}

/// ICE-TCP connections that name a worker in one forged STUN request, and then nothing but a byte from time to time;
/// and one that signs.
pub(super) async fn ice_tcp(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    let tally = Arc::new(Tally::default());
    let (counting, attackers) = (Arc::clone(&tally), Arc::clone(&target));
    let peer = Peer::join(&target, "ice-tcp", Offer { video_slots: 1, ..Offer::default() }).await?;
    let writer = StunWriter::new(StunClass::Request, &[7; 12]).username(peer.server_ufrag(), "any");
    let forged = frame(&writer.finish(&StunKey::new("not the password")));
    let attackers = swarm(TCP_CONNECTIONS, duration, move |_| {
        let (target, tally, forged) = (Arc::clone(&attackers), Arc::clone(&counting), forged.clone());
        async move {
            let mut stream = target.tcp(target.address.tcp).await?;
            let _counted = tally.count();
            stream.write_all(&forged).await?;
            let mut buf = [0; 1_024];
            loop {
                stream.write_all(&[0, 0]).await?;
                if let Ok(read) = timeout(SLOW, stream.read(&mut buf)).await
                    && read? == 0
                {
                    bail!("the server closed it");
                }
            }
        }
    });
    // The one that signs comes when all the others are there.
    let honest = async {
        sleep(duration / 2).await;
        signed_check(&target, &peer).await
    };
    let ((), waited) = tokio::join!(attackers, honest);
    let mut effort = effort(&tally, "ICE-TCP connections");
    effort.joined = 1;
    match waited {
        Ok(waited) if waited <= MOST_TCP_WAIT => {}
        Ok(waited) => effort.faults.push(format!("a signed check over TCP was answered after {waited:?}")),
        Err(error) => effort.faults.push(format!("a signed check over TCP was not answered: {error}")),
    }
    Ok(effort)
}

/// How long a signed check over a TCP connection of its own takes.
async fn signed_check(target: &Target, peer: &Peer) -> Result<Duration> {
    let begun = Instant::now();
    let check = peer.check(true);
    let answered = async {
        let mut stream = TcpStream::connect(target.address.tcp).await?;
        stream.write_all(&frame(&check)).await?;
        loop {
            let len = stream.read_u16().await?;
            let mut datagram = vec![0; len.into()];
            stream.read_exact(&mut datagram).await?;
            let message = StunMessage::parse(&datagram);
            if message.is_some_and(|m| m.class == StunClass::Success && check[8..20] == m.transaction) {
                return anyhow::Ok(());
            }
        }
    };
    timeout(Duration::from_secs(5), answered).await??;
    Ok(begun.elapsed())
}

/// A datagram as RFC 4571 frames it.
fn frame(datagram: &[u8]) -> Vec<u8> {
    let len = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes()[..], datagram].concat()
}

/// Requests for the metrics on connections that stay.
pub(super) async fn scrapes(target: Arc<Target>, duration: Duration) -> Result<Effort> {
    let tally = Arc::new(Tally::default());
    let counting = Arc::clone(&tally);
    swarm(SCRAPERS, duration, move |_| {
        let (target, tally) = (Arc::clone(&target), Arc::clone(&counting));
        async move {
            let mut stream = target.connect().await?;
            let mut buf = vec![0; 1 << 16];
            let mut pace = interval(Duration::from_secs_f64(SCRAPERS as f64 / SCRAPES));
            loop {
                pace.tick().await;
                stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
                let _counted = tally.count();
                // The text fits the buffer; what is read in parts is read with the next.
                if stream.read(&mut buf).await? == 0 {
                    bail!("the server closed it");
                }
            }
        }
    })
    .await;
    let rate = tally.opened() as f64 / duration.as_secs_f64();
    let text = format!("{rate:.0} requests a second on {SCRAPERS} connections");
    Ok(Effort { text, ..Effort::default() })
}
