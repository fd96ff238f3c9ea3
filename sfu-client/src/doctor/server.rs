//! Whether a server can be reached, step by step: what one needs of another is not tried where that failed.

use super::stun::{IceUrl, connect};
use super::{Finding, Status};
use crate::peer::{MediaKind, Peer};
use crate::signal::{JoinOptions, NativeSession, Target, fetch};
use anyhow::Result;
use sfu_proto::v1::IceServer;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::timeout;

const SERVER: &str = "server";
/// Longest wait for the media connection.
const MEDIA_TIMEOUT: Duration = Duration::from_secs(8);
/// Longest wait for what must only be looked up or asked once.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Adds what is found; ends at the first step without which the next is pointless.
pub(super) async fn examine(options: &JoinOptions, findings: &mut Vec<Finding>) {
    let Ok((host, port)) = options.host_and_port() else {
        let detail = format!("{:?} is no address of a server", options.server);
        findings.push(Finding::problem(SERVER, "address", detail, "write --server ws://HOST:PORT or wss://HOST"));
        return;
    };
    for step in [name(&host, port).await, http(options, &host, port).await] {
        let failed = step.status == Status::Problem;
        findings.push(step);
        if failed {
            return;
        }
    }
    match timeout(TIMEOUT, NativeSession::reach(&options.server)).await {
        Ok(Ok(())) => findings.push(Finding::good(SERVER, "WebSocket", "opens".to_owned())),
        failed => {
            let detail = failed.map_or("no answer".to_owned(), text);
            let remedy = "let proxies on the way pass WebSockets (Upgrade), and check the path of --server";
            findings.push(Finding::problem(SERVER, "WebSocket", detail, remedy));
            return;
        }
    }
    if let Err(error) = media(options, findings).await {
        let remedy = "give a token that fits the room (--token, see `sfu token`), or start the server with --dev";
        findings.push(Finding::problem(SERVER, "join", format!("{error:#}"), remedy));
    }
}

fn text<T>(result: Result<T>) -> String {
    result.err().map_or_else(String::new, |error| format!("{error:#}"))
}

async fn name(host: &str, port: u16) -> Finding {
    match timeout(TIMEOUT, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.map(|address| address.ip().to_string()).collect();
            Finding::good(SERVER, "name", format!("{host} is {}", addresses.join(", ")))
        }
        Ok(Err(error)) => Finding::problem(
            SERVER,
            "name",
            format!("cannot resolve {host}: {error}"),
            "check --server, and this machine's DNS",
        ),
        Err(_) => Finding::problem(SERVER, "name", format!("nobody resolves {host}"), "check this machine's DNS"),
    }
}

async fn http(options: &JoinOptions, host: &str, port: u16) -> Finding {
    let scheme = if options.server.starts_with("wss") { "https" } else { "http" };
    // IPv6 addresses stand in brackets.
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let url = format!("{scheme}://{host}:{port}/healthz");
    match fetch(&url).await {
        Ok(_) => Finding::good(SERVER, "HTTP", format!("{url} is well")),
        Err(error) if error.to_string().contains("answers") => {
            Finding::note(SERVER, "HTTP", format!("{error:#}"), "see what the server's /healthz and its log say")
        }
        Err(error) => {
            let remedy = format!("start the server, and open TCP port {port} to it; for TLS write wss://");
            Finding::problem(SERVER, "HTTP", format!("{error:#}"), &remedy)
        }
    }
}

/// Joins, and tries every way that media could take.
///
/// # Errors
/// Where the join fails.
async fn media(options: &JoinOptions, findings: &mut Vec<Finding>) -> Result<()> {
    let peer = Peer::new(Target::Native(options.clone()).peer_config()?).await?;
    peer.add_receiver(MediaKind::Video).await?;
    let offer = peer.offer().await?;
    let (session, answer) = NativeSession::join(options, offer, Vec::new()).await?;
    let (room, ice_servers) = (options.room.as_str(), session.joined.ice_servers.clone());
    findings.push(Finding::good(SERVER, "join", format!("room {room:?} lets us in")));
    let (udp, tcp) = (candidates(&answer, "udp"), candidates(&answer, "tcp"));
    let accepted = peer.accept_answer(answer).await;
    let connected = match accepted {
        Ok(()) => peer.connected(MEDIA_TIMEOUT).await,
        Err(error) => Err(error),
    };
    findings.push(match connected {
        Ok(()) => {
            let path = peer.path().await;
            let millis = path.round_trip.map_or("?".to_owned(), |time| format!("{:.1}", time.as_secs_f64() * 1_000.0));
            Finding::good(SERVER, "UDP", format!("media connects; round trip {millis} ms, {}", path.srtp_profile))
        }
        Err(error) => {
            let remedy = format!(
                "open UDP to {}; where these are not the server's addresses as seen from here, set media.node_ips there",
                list(&udp)
            );
            Finding::problem(SERVER, "UDP", format!("{error:#}"), &remedy)
        }
    });
    findings.push(tcp_candidates(&tcp).await);
    turn(&ice_servers, findings).await;
    session.leave("done").await;
    peer.close().await;
    Ok(())
}

/// Addresses of the candidates over `transport` (RFC 8839 section 5.1).
fn candidates(sdp: &str, transport: &str) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for line in sdp.lines().filter_map(|line| line.strip_prefix("a=candidate:")) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, _, protocol, _, address, port, ..] = fields[..] else { continue };
        let (Ok(address), Ok(port)) = (address.parse(), port.parse()) else { continue };
        let candidate = SocketAddr::new(address, port);
        if protocol.eq_ignore_ascii_case(transport) && !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

fn list(addresses: &[SocketAddr]) -> String {
    if addresses.is_empty() {
        return "(the server names no address)".to_owned();
    }
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// Media over TCP is for those whose UDP is blocked: a browser would take it, this client does not.
async fn tcp_candidates(addresses: &[SocketAddr]) -> Finding {
    if addresses.is_empty() {
        let detail = "the server offers no media over TCP".to_owned();
        return Finding::note(SERVER, "TCP", detail, "set media.tcp there, for browsers whose UDP is blocked");
    }
    let mut failed = Vec::new();
    for address in addresses {
        if connect(*address).await.is_err() {
            failed.push(*address);
        }
    }
    if failed.len() < addresses.len() {
        return Finding::good(
            SERVER,
            "TCP",
            format!("{} of {} addresses answer", addresses.len() - failed.len(), addresses.len()),
        );
    }
    let remedy = format!("open TCP to {}, for browsers whose UDP is blocked", list(&failed));
    Finding::note(SERVER, "TCP", "no address for media over TCP answers".to_owned(), &remedy)
}

async fn turn(servers: &[IceServer], findings: &mut Vec<Finding>) {
    if servers.is_empty() {
        let detail = "the server names no STUN or TURN server".to_owned();
        let remedy = "set [[ice_servers]] there, for clients behind firewalls that let nothing else out";
        findings.push(Finding::note(SERVER, "TURN", detail, remedy));
    }
    for url in servers.iter().flat_map(|server| &server.urls) {
        findings.push(match IceUrl::parse(url) {
            None => {
                let detail = format!("{url} is no URL of a STUN or TURN server");
                Finding::problem(SERVER, "TURN", detail, "mend [[ice_servers]] in the server's configuration")
            }
            Some(parsed) => match parsed.reach().await {
                Ok(()) => Finding::good(SERVER, "TURN", format!("{url} answers")),
                Err(error) => {
                    let remedy = "see whether it runs, and whether its port is open from here";
                    Finding::problem(SERVER, "TURN", format!("{url}: {error:#}"), remedy)
                }
            },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_of_an_answer() {
        let sdp = "v=0\r\na=candidate:1 1 udp 2130706431 10.0.0.1 7882 typ host\r\n\
                   a=candidate:1 1 udp 2130706431 10.0.0.1 7882 typ host\r\n\
                   a=candidate:2 1 tcp 1671430143 ::1 7882 typ host tcptype passive\r\n\
                   a=candidate:broken\r\n";
        assert_eq!(candidates(sdp, "udp"), ["10.0.0.1:7882".parse::<SocketAddr>().unwrap()]);
        assert_eq!(candidates(sdp, "tcp"), ["[::1]:7882".parse::<SocketAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn what_fails_first_is_told_and_no_more() {
        let examined = async |server: &str| {
            let mut findings = Vec::new();
            let options = JoinOptions { server: server.to_owned(), ..Default::default() };
            examine(&options, &mut findings).await;
            findings.last().map(|finding| (finding.name.clone(), finding.status, findings.len())).unwrap()
        };
        assert_eq!(examined("http://127.0.0.1").await, ("address".to_owned(), Status::Problem, 1));
        assert_eq!(examined("ws://127.0.0.1:1").await, ("HTTP".to_owned(), Status::Problem, 2));
    }
}
