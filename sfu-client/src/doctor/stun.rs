//! Whether a STUN or TURN server answers: a Binding request without credentials (RFC 8489 section 6), which TURN servers
//! answer too.
//!
//! ```text
//! type(2) = 1   length(2) = 0   magic cookie(4) = 0x2112a442   transaction id(12)
//! ```

use crate::peer::random_u32;
use anyhow::{Context, Result, bail, ensure};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// A server that is reached answers sooner.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Requests over UDP, one of which may be lost, or two.
const TRIES: u32 = 3;

/// How a server is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct IceUrl {
    host: String,
    port: u16,
    transport: Transport,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl IceUrl {
    /// From a URL (RFC 7064, RFC 7065): `stun:host[:port]`, `turn:host[:port][?transport=tcp]`, and `stuns:`, `turns:`.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let transport = match (scheme, query) {
            ("stun" | "turn", "" | "transport=udp") => Transport::Udp,
            ("stun" | "turn", "transport=tcp") => Transport::Tcp,
            ("stuns" | "turns", _) => Transport::Tls,
            _ => return None,
        };
        let default = if transport == Transport::Tls { 5349 } else { 3478 };
        // IPv6 addresses stand in brackets.
        let colon = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
        let (host, port) = match colon {
            Some(at) => (&authority[..at], authority[at + 1..].parse().ok()?),
            None => (authority, default),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port, transport })
    }

    /// Asks, and waits for the answer. Over TLS only the connection is tried.
    ///
    /// # Errors
    /// Where nothing comes back.
    pub(super) async fn reach(&self) -> Result<()> {
        let at = format!("{}:{}", self.host, self.port);
        let address =
            lookup_host((self.host.as_str(), self.port)).await.with_context(|| format!("cannot resolve {at}"))?;
        let address = address.into_iter().next().with_context(|| format!("{at} has no address"))?;
        match self.transport {
            Transport::Udp => reach_udp(address).await,
            Transport::Tcp | Transport::Tls => {
                let mut stream = connect(address).await?;
                if self.transport == Transport::Tls {
                    return Ok(());
                }
                let request = request();
                stream.write_all(&request).await.with_context(|| format!("{at} broke the connection off"))?;
                let mut answer = [0; 20];
                let read = timeout(TIMEOUT, stream.read_exact(&mut answer)).await;
                read.with_context(|| format!("{at} does not answer"))?
                    .with_context(|| format!("{at} broke the connection off"))?;
                ensure!(answers(&answer, &request), "{at} answers with something else");
                Ok(())
            }
        }
    }
}

/// Connects by TCP.
///
/// # Errors
/// Where nobody answers.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream> {
    match timeout(TIMEOUT, TcpStream::connect(address)).await {
        Ok(connected) => connected.with_context(|| format!("cannot connect to {address}")),
        Err(_) => bail!("{address} does not answer"),
    }
}

async fn reach_udp(address: SocketAddr) -> Result<()> {
    let any: IpAddr = if address.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).await.context("cannot open a UDP socket")?;
    socket.connect(address).await.with_context(|| format!("there is no route to {address}"))?;
    let request = request();
    for _ in 0..TRIES {
        // What the system says of an answer before is told by the next read.
        let _ = socket.send(&request).await;
        let mut answer = [0; 1500];
        match timeout(TIMEOUT / TRIES, socket.recv(&mut answer)).await {
            Ok(Ok(length)) if answers(&answer[..length], &request) => return Ok(()),
            Ok(Ok(_)) => bail!("{address} answers with something else"),
            Ok(Err(_)) | Err(_) => {}
        }
    }
    bail!("{address} does not answer by UDP")
}

fn request() -> [u8; 20] {
    let mut request = [0; 20];
    request[1] = 1;
    request[4..8].copy_from_slice(&MAGIC);
    for part in request[8..].chunks_exact_mut(4) {
        part.copy_from_slice(&random_u32().to_be_bytes());
    }
    request
}

/// A success or error response to `request`.
fn answers(answer: &[u8], request: &[u8; 20]) -> bool {
    matches!(answer, [1, 1 | 0x11, ..]) && answer.get(4..20) == Some(&request[4..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn urls_of_ice_servers() {
        let url = |host: &str, port, transport| Some(IceUrl { host: host.to_owned(), port, transport });
        assert_eq!(IceUrl::parse("stun:a.example"), url("a.example", 3478, Transport::Udp));
        assert_eq!(IceUrl::parse("turn:a.example:99?transport=tcp"), url("a.example", 99, Transport::Tcp));
        assert_eq!(IceUrl::parse("turns:[::1]:443?transport=tcp"), url("::1", 443, Transport::Tls));
        assert_eq!(IceUrl::parse("turn:[::1]"), url("::1", 3478, Transport::Udp));
        for bad in ["", "turn:", "http://a", "turn:a:b", "turn:a?transport=pigeon"] {
            assert_eq!(IceUrl::parse(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_server_that_answers_is_reached_and_one_that_babbles_is_not() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            let mut request = [0; 100];
            for answers in [true, false] {
                let (length, from) = server.recv_from(&mut request).await.unwrap();
                let mut answer = request[..length].to_vec();
                answer[..2].copy_from_slice(&[1, 1]);
                answer[19] ^= u8::from(!answers);
                server.send_to(&answer, from).await.unwrap();
            }
        });
        let url = IceUrl::parse(&format!("stun:{address}")).unwrap();
        url.reach().await.unwrap();
        let error = url.reach().await.unwrap_err();
        assert!(error.to_string().contains("something else"), "{error}");
        let error = url.reach().await.unwrap_err();
        assert!(error.to_string().contains("does not answer"), "{error}");
    }
}
