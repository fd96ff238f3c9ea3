//! What a server says when it begins: where it is, and with `--dev` how to try it.

use super::{dev, print};
use crate::clock::unix_time;
use crate::config::Config;
use crate::control::auth::{Claims, GrantClaims, sign};
use crate::worker_thread::WorkerHandle;
use sfu_rtc::ice::CandidateProtocol;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// How long the link of a --dev server can be used.
const LINK_HOURS: u64 = 24;

pub(super) fn announce(
    config: &Config,
    http: SocketAddr,
    admin: Option<SocketAddr>,
    workers: &[WorkerHandle],
) -> anyhow::Result<()> {
    let scheme = if config.http.tls() { "https" } else { "http" };
    print(format!("sfu {} listens:", env!("CARGO_PKG_VERSION")));
    print(format!("  page, signalling, WHIP, WHEP   {scheme}://{http}"));
    if let Some(admin) = admin {
        let scheme = if admin.ip().is_loopback() { "http" } else { scheme };
        print(format!("  metrics, admin API             {scheme}://{admin}"));
    }
    print(format!("  media                          {}", media(workers)));
    if config.auth.open {
        let host = if http.ip().is_loopback() || http.ip().is_unspecified() { "localhost".into() } else { host(http) };
        let base = format!("{scheme}://{host}:{}", http.port());
        print(format!("\nOpen {base}/ in two tabs of a browser, and you are in a call with yourself."));
        print(format!("  ready-made link   {base}/?room=demo&token={}", invitation()?));
        print(format!("  API key, secret   {}, {}", dev::DEV_KEY, dev::DEV_SECRET));
        print(format!("  WHIP, WHEP        {base}/whip/demo/cam, {base}/whep/demo/cam"));
        if !http.ip().is_loopback() {
            print("\nNote: with --dev anybody who reaches this address can join, and the secret is known to all.");
        }
    } else if config.auth.keys.is_empty() {
        print("\nNote: no API key is configured ([auth.keys]), so nobody can join. `sfu --dev` needs none.");
    }
    Ok(())
}

/// Ports and addresses that clients are offered.
fn media(workers: &[WorkerHandle]) -> String {
    let all = || workers.iter().flat_map(|worker| worker.candidates());
    let ports = |protocol| {
        let ports: BTreeSet<u16> = all().filter(|c| c.protocol == protocol).map(|c| c.address.port()).collect();
        ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
    };
    let (udp, tcp) = (ports(CandidateProtocol::Udp), ports(CandidateProtocol::TcpPassive));
    let tcp = if tcp.is_empty() { tcp } else { format!(" and TCP {tcp}") };
    let ips: BTreeSet<IpAddr> = all().map(|candidate| candidate.address.ip()).collect();
    let ips: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
    format!("UDP {udp}{tcp} at {}", ips.join(", "))
}

/// The address as a URL has it.
fn host(addr: SocketAddr) -> String {
    match addr.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// A token that names nobody, so that many tabs can use the one link.
fn invitation() -> anyhow::Result<String> {
    let claims = Claims {
        iss: dev::DEV_KEY.into(),
        sub: String::new(),
        exp: unix_time().as_secs() + LINK_HOURS * 3_600,
        nbf: None,
        room: "demo".into(),
        name: None,
        metadata: None,
        grants: GrantClaims { publish: true, subscribe: true, data: true, moderate: true, ..GrantClaims::default() },
        room_options: None,
    };
    Ok(sign(&claims, dev::DEV_SECRET)?)
}
