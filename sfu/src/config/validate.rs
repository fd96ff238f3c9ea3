//! What the types alone cannot say: values that cannot work, by themselves or together.

use super::{BandwidthConfig, Config, HttpConfig, IceServerConfig, MediaConfig};
use crate::{net, text};
use std::net::{IpAddr, SocketAddr};

/// Refuses what cannot work.
pub(super) fn check(config: &Config) -> Result<(), String> {
    check_http(&config.http)?;
    check_media(&config.media)?;
    check_bandwidth(&config.bandwidth)?;
    check_listeners(config)?;
    config.auth.keys.iter().try_for_each(|(key, secret)| check_api_key(key, secret))?;
    config.ice_servers.iter().try_for_each(check_ice_server)?;
    crate::log::filter(&config.log.level).map(drop)
}

/// What can work, and is hardly meant so.
pub(crate) fn doubts(config: &Config) -> Vec<String> {
    let proxies = config.http.trusted_proxies.iter().map(|network| {
        let harm = "any of them may say who its client is, and the limits per address do not hold for it";
        ("http.trusted_proxies", network, harm)
    });
    let exempt = config.limits.exempt_addresses.iter().map(|network| {
        ("limits.exempt_addresses", network, "joins and handshakes of all of them are without the limits per address")
    });
    let wide = proxies.chain(exempt).filter(|(_, network, _)| network.is_too_wide_to_trust());
    wide.map(|(key, network, harm)| format!("{key}: {network} is much of the internet: {harm}; name fewer")).collect()
}

fn check_http(http: &HttpConfig) -> Result<(), String> {
    if http.tls() && (http.tls_cert.as_os_str().is_empty() || http.tls_key.as_os_str().is_empty()) {
        return Err("http.tls_cert and http.tls_key must both be given, or neither".into());
    }
    if !http.admin_listen.is_empty() && http.admin_addr().is_none() {
        return Err(format!("http.admin_listen: `{}` is no address with port", http.admin_listen));
    }
    if !http.web_dir.as_os_str().is_empty() && !http.web_dir.is_dir() {
        return Err(format!("http.web_dir: {} is no folder", http.web_dir.display()));
    }
    if http.proxy_protocol && http.trusted_proxies.is_empty() {
        return Err("http.proxy_protocol is for connections of http.trusted_proxies, and there are none".into());
    }
    Ok(())
}

fn check_media(media: &MediaConfig) -> Result<(), String> {
    if let Some(codec) = media.codecs.iter().find(|name| super::codec(name).is_none()) {
        return Err(format!(
            "media.codecs: `{codec}` is no codec that can be forwarded; known: opus, red, VP8, VP9, H264, H265, AV1"
        ));
    }
    let nobody = |ip: &&IpAddr| match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    if let Some(ip) = media.node_ips.iter().find(nobody) {
        return Err(format!("media.node_ips: {ip} is no address of one machine, which clients could reach"));
    }
    let last = net::worker_count(media, sfu_net::affinity::allowed_cpus().len()) - 1;
    net::worker_port(media.udp_port, last).map(drop).map_err(|error| error.to_string())
}

fn check_bandwidth(&BandwidthConfig { start_kbps, min_kbps, max_kbps, .. }: &BandwidthConfig) -> Result<(), String> {
    if min_kbps <= start_kbps && start_kbps <= max_kbps {
        return Ok(());
    }
    Err(format!(
        "bandwidth.start_kbps is {start_kbps}; it must be from bandwidth.min_kbps, {min_kbps}, to bandwidth.max_kbps, {max_kbps}"
    ))
}

/// Each listener needs a port of its own.
fn check_listeners(config: &Config) -> Result<(), String> {
    let Config { http, media, .. } = config;
    let mut listeners = vec![("http.port", SocketAddr::new(http.bind, http.port))];
    listeners.extend(http.admin_addr().map(|addr| ("http.admin_listen", addr)));
    listeners.extend(media.tcp.then(|| ("media.tcp_port", SocketAddr::new(media.bind, media.tcp_port))));
    for (index, (key, addr)) in listeners.iter().enumerate() {
        if let Some((other, _)) = listeners[..index].iter().find(|(_, other)| meet(*addr, *other)) {
            return Err(format!("{other} and {key} are both TCP port {}; each needs one of its own", addr.port()));
        }
    }
    Ok(())
}

/// Whether only one of two can listen. Port 0 is another one each time.
fn meet(a: SocketAddr, b: SocketAddr) -> bool {
    let (x, y) = (a.ip().to_canonical(), b.ip().to_canonical());
    // The unspecified address of IPv6 takes IPv4 too.
    let covers = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (x == y || covers(x, y) || covers(y, x))
}

/// Checks what browsers would refuse, and with it the whole connection (RFC 7064, RFC 7065, WebRTC section 4.4.1.6).
fn check_ice_server(server: &IceServerConfig) -> Result<(), String> {
    if server.urls.is_empty() {
        return Err("ice_servers: a server has no urls".into());
    }
    for url in &server.urls {
        let (scheme, host) = url.split_once(':').unwrap_or_default();
        let scheme = scheme.to_ascii_lowercase();
        let is_turn = matches!(scheme.as_str(), "turn" | "turns");
        let stray = |c: char| c.is_whitespace() || text::misleads(c);
        if !is_turn && !matches!(scheme.as_str(), "stun" | "stuns") || host.is_empty() || host.contains(stray) {
            let shown = text::escape(url);
            return Err(format!("ice_servers.urls: `{shown}` is not of the form stun:host:port or turn:host:port"));
        }
        if host.starts_with("//") {
            return Err(format!("ice_servers.urls: `{url}` has slashes, which these URLs do not have (RFC 7064)"));
        }
        if is_turn && (server.username.is_empty() || server.credential.is_empty()) {
            return Err(format!("ice_servers: `{url}` needs username and credential; browsers refuse TURN without"));
        }
    }
    Ok(())
}

/// Checks an API key and its secret, with which tokens are signed.
pub(crate) fn check_api_key(key: &str, secret: &str) -> Result<(), String> {
    let good_secret = "`openssl rand -base64 32` makes a good one";
    let shown = text::escape(key);
    if key.trim().is_empty() {
        return Err("auth.keys: an API key has no name".into());
    }
    if key.contains(text::misleads) {
        return Err(format!("auth.keys: the name of API key `{shown}` has control characters"));
    }
    if secret.len() < 32 {
        let text = "is shorter than 32 characters, which can be guessed";
        return Err(format!("the secret of API key `{shown}` {text}; {good_secret}"));
    }
    if secret.trim().is_empty() || secret.contains(text::misleads) {
        let text = "is nothing but spaces, or has control characters";
        return Err(format!("the secret of API key `{shown}` {text}; {good_secret}"));
    }
    Ok(())
}
