//! Who the client is where a reverse proxy stands in front: the PROXY protocol (versions 1 and 2 of
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>), `X-Forwarded-For` or `Forwarded` (RFC 7239), all
//! believed only where they come from a configured proxy (`http.trusted_proxies`).
//!
//! Which of them a proxy writes is configured too: guessing would let a client choose its address.

use crate::config::{ForwardedHeader, HttpConfig, Network};
use crate::text::number;
use axum::http::HeaderMap;
use axum::http::header::FORWARDED;
use std::io::{self, Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest header of version 1, with CR LF.
const MAX_V1: usize = 107;
/// Begin of a header of version 2.
const V2: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest rest of a header of version 2: addresses, and what extends them, such as the client's certificate.
const MAX_V2: usize = 16 * 1024;
/// What is looked at of it: the source, up to an IPv6 address, and the destination.
const LOOKED_AT: usize = 36;

/// Where a request comes from, as far as it can be known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClientAddr(pub(crate) IpAddr);

/// Where a connection comes from, as far as it is known before its first request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) address: ClientAddr,
    /// Whether it began with a PROXY header that names nobody: then it is a proxy's that does not read HTTP, whose
    /// client wrote all header fields itself.
    pub(super) is_hidden: bool,
}

/// The configured proxies.
#[derive(Clone, Debug)]
pub(crate) struct Proxies {
    networks: Vec<Network>,
    header: ForwardedHeader,
    proxy_protocol: bool,
}

impl Proxies {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        Self {
            networks: config.trusted_proxies.clone(),
            header: config.forwarded_header,
            proxy_protocol: config.proxy_protocol,
        }
    }

    /// Whether `ip` is one of them.
    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(ip))
    }

    /// Whether connections from `ip` begin with a PROXY header.
    pub(crate) fn speak_proxy_protocol(&self, ip: IpAddr) -> bool {
        self.proxy_protocol && self.trusts(ip)
    }

    /// The client of a request that came from `origin`.
    pub(super) fn client_of(&self, origin: Origin, headers: &HeaderMap) -> ClientAddr {
        if origin.is_hidden { origin.address } else { self.client_behind(origin.address, headers) }
    }

    /// The client behind `peer`: the last in the list of addresses that is no proxy of ours, since whatever stands
    /// before it could have been written by anybody.
    pub(crate) fn client_behind(&self, peer: ClientAddr, headers: &HeaderMap) -> ClientAddr {
        if !self.trusts(peer.0) {
            return peer;
        }
        let (name, read): (_, fn(&str) -> Option<IpAddr>) = match self.header {
            ForwardedHeader::XForwardedFor => ("x-forwarded-for", address),
            ForwardedHeader::Forwarded => (FORWARDED.as_str(), forwarded_for),
        };
        // A value that is no text is a hop that nothing is known of.
        let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
        let hops: Vec<Option<IpAddr>> = values.flat_map(|value| split_unquoted(value, ',')).map(read).collect();
        let mut client = peer;
        for hop in hops.into_iter().rev() {
            // One who is hidden (`unknown`, `_name`) ends what can be known.
            let Some(ip) = hop else { break };
            client = ClientAddr(ip.to_canonical());
            if !self.trusts(ip) {
                break;
            }
        }
        client
    }
}

/// The `for` of one element of Forwarded.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = split_unquoted(element, ';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address(node)
}

/// Splits at a separator that stands in no quoted string (RFC 9110 section 5.6.4): a proxy may quote what its client said.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        let literal = escaped;
        escaped = quoted && !literal && c == '\\';
        quoted ^= c == '"' && !literal;
        c == separator && !quoted
    })
}

/// An address with or without port (which may be hidden, RFC 7239 section 6), brackets, zone and quotes.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        // An IPv6 address without brackets has more than one colon, and no port.
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (text, None),
        },
    };
    let is_port = |port: &str| port.starts_with('_') || number::<u16>(port).is_some();
    let address = host.split('%').next()?;
    if port.is_none_or(is_port) { address.parse().ok() } else { None }
}

/// Reads a PROXY header: the client's address; `None` where the proxy speaks for itself.
pub(super) async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut begin = [0; V2.len()];
    stream.read_exact(&mut begin).await?;
    if begin == V2 { read_v2(stream).await } else { read_v1(stream, begin.to_vec()).await }
}

/// `PROXY TCP4 SOURCE DESTINATION PORT PORT`, CR LF; or `PROXY UNKNOWN`, whatever, CR LF.
async fn read_v1(stream: &mut (impl AsyncRead + Unpin), mut line: Vec<u8>) -> io::Result<Option<IpAddr>> {
    // Byte by byte: what follows is TLS's or HTTP's.
    while !line.ends_with(b"\r\n") {
        if line.len() >= MAX_V1 {
            return Err(invalid());
        }
        line.push(stream.read_u8().await?);
    }
    let text = std::str::from_utf8(&line).ok().and_then(|text| text.strip_suffix("\r\n")).ok_or_else(invalid)?;
    let mut words = text.split(' ');
    match (words.next(), words.next()) {
        (Some("PROXY"), Some("UNKNOWN")) => Ok(None),
        (Some("PROXY"), Some(family @ ("TCP4" | "TCP6"))) => {
            let address = |word: Option<&str>| word.and_then(|word| word.parse::<IpAddr>().ok());
            let (source, destination) = (address(words.next()), address(words.next()));
            let ports = [words.next(), words.next()].map(|word| word.and_then(port));
            let of_family = |ip: &IpAddr| ip.is_ipv4() == (family == "TCP4");
            let source = source.filter(of_family).filter(|_| destination.is_some_and(|ip| of_family(&ip)));
            let is_whole = ports.iter().all(Option::is_some) && words.next().is_none();
            source.filter(|_| is_whole).map(Some).ok_or_else(invalid)
        }
        _ => Err(invalid()),
    }
}

/// A port as the specification writes it: without zeros before it.
fn port(text: &str) -> Option<u16> {
    number(text).filter(|_| text == "0" || !text.starts_with('0'))
}

/// Version and command (1), family and protocol (1), length (2), addresses, extensions.
async fn read_v2(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if head[0] >> 4 != 2 || len > MAX_V2 {
        return Err(invalid());
    }
    let mut rest = [0; LOOKED_AT];
    let rest = &mut rest[..len.min(LOOKED_AT)];
    stream.read_exact(rest).await?;
    skip(stream, len - rest.len()).await?;
    match (head[0] & 0xf, head[1] >> 4) {
        (0, _) | (1, 0 | 3) => Ok(None),
        (1, 1) if len >= 12 => Ok(rest.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into())),
        (1, 2) if len >= 36 => Ok(rest.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into())),
        _ => Err(invalid()),
    }
}

/// Reads so many bytes and keeps none.
async fn skip(stream: &mut (impl AsyncRead + Unpin), mut bytes: usize) -> io::Result<()> {
    let mut piece = [0; 64];
    while bytes > 0 {
        let len = bytes.min(piece.len());
        bytes -= stream.read_exact(&mut piece[..len]).await?;
    }
    Ok(())
}

fn invalid() -> Error {
    Error::new(ErrorKind::InvalidData, "a trusted proxy must begin with a PROXY header (http.proxy_protocol)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(forwarded_header: ForwardedHeader) -> Proxies {
        let trusted_proxies = ["10.0.0.0/8", "::1"].map(|text| text.parse().unwrap()).to_vec();
        Proxies::new(&HttpConfig { trusted_proxies, forwarded_header, ..HttpConfig::default() })
    }

    /// The client of a proxy that writes `name`, and passes on what the client wrote itself.
    fn client(peer: &str, name: &'static str, value: &str) -> String {
        let (header, foreign) = match name {
            "forwarded" => (ForwardedHeader::Forwarded, ("x-forwarded-for", "198.51.100.1")),
            _ => (ForwardedHeader::XForwardedFor, ("forwarded", "for=198.51.100.1")),
        };
        let fields = [(name, value), foreign].map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let headers = HeaderMap::from_iter(fields);
        proxies(header).client_behind(ClientAddr(peer.parse().unwrap()), &headers).0.to_string()
    }

    #[test]
    fn only_a_configured_proxy_is_believed() {
        for (peer, name, value, expected) in [
            ("10.1.2.3", "x-forwarded-for", "192.0.2.1", "192.0.2.1"),
            ("192.0.2.9", "x-forwarded-for", "192.0.2.1", "192.0.2.9"),
            ("192.0.2.9", "forwarded", "for=192.0.2.1", "192.0.2.9"),
            // What a client wrote itself stands to the left.
            ("10.1.2.3", "x-forwarded-for", "203.0.113.7, 192.0.2.1, 10.9.9.9", "192.0.2.1"),
            ("10.1.2.3", "x-forwarded-for", "203.0.113.7, garbage", "10.1.2.3"),
            ("10.1.2.3", "forwarded", "for=\"[2001:db8::1]:4711\";proto=https;by=10.1.2.3", "2001:db8::1"),
            ("::1", "forwarded", "proto=https; For=192.0.2.1:80", "192.0.2.1"),
            ("10.1.2.3", "forwarded", "for=203.0.113.7, for=_hidden", "10.1.2.3"),
            // What a proxy quotes may be its client's.
            ("10.1.2.3", "forwarded", "for=192.0.2.1;host=\"x,for=203.0.113.7\"", "192.0.2.1"),
            ("10.1.2.3", "forwarded", "host=\"x;for=203.0.113.7\";for=192.0.2.1", "192.0.2.1"),
            ("10.1.2.3", "forwarded", "for=192.0.2.1;host=\"x\\\",for=203.0.113.7\"", "192.0.2.1"),
            ("10.1.2.3", "forwarded", "for=\"192.0.2.1:_port\"", "192.0.2.1"),
            ("10.1.2.3", "forwarded", "for=\"[2001:db8::1]:_x\"", "2001:db8::1"),
            ("10.1.2.3", "forwarded", "for=\"192.0.2.1:port\"", "10.1.2.3"),
            ("10.1.2.3", "x-forwarded-for", "192.0.2.1:+80", "10.1.2.3"),
            ("10.1.2.3", "x-forwarded-for", "2001:db8::1%eth0", "2001:db8::1"),
        ] {
            assert_eq!(client(peer, name, value), expected, "{name}: {value}");
        }
    }

    #[test]
    fn who_is_hidden_by_a_proxy_header_is_no_http_proxys_client() {
        let headers = HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), "192.0.2.1".parse().unwrap())]);
        for (address, is_hidden, expected) in
            [("10.1.2.3", true, "10.1.2.3"), ("10.1.2.3", false, "192.0.2.1"), ("192.0.2.9", false, "192.0.2.9")]
        {
            let origin = Origin { address: ClientAddr(address.parse().unwrap()), is_hidden };
            let client = proxies(ForwardedHeader::XForwardedFor).client_of(origin, &headers);
            assert_eq!(client.0.to_string(), expected);
        }
    }

    async fn header(mut bytes: &[u8]) -> Result<(Option<IpAddr>, &[u8]), ErrorKind> {
        let source = read_header(&mut bytes).await.map_err(|error| error.kind())?;
        Ok((source, bytes))
    }

    #[tokio::test]
    async fn both_versions_are_read_and_nothing_after_them() {
        let v4 = Some("192.0.2.1".parse().unwrap());
        assert_eq!(header(b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\nGET").await, Ok((v4, &b"GET"[..])));
        let v6 = Some("2001:db8::1".parse().unwrap());
        assert_eq!(header(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n").await, Ok((v6, &b""[..])));
        assert_eq!(header(b"PROXY UNKNOWN\r\nx").await, Ok((None, &b"x"[..])));
        let v2 = |command: u8, family: u8, rest: &[u8]| {
            [&V2[..], &[command, family], &u16::try_from(rest.len()).unwrap().to_be_bytes(), rest, b"GET"].concat()
        };
        let addresses = [192, 0, 2, 1, 10, 0, 0, 1, 0, 1, 0, 2, 0xff, 0xff];
        assert_eq!(header(&v2(0x21, 0x11, &addresses)).await, Ok((v4, &b"GET"[..])));
        assert_eq!(header(&v2(0x20, 0, &[])).await, Ok((None, &b"GET"[..])));
        let extended = [&addresses[..], &[7; MAX_V2]].concat();
        assert_eq!(header(&v2(0x21, 0x11, &extended[..MAX_V2])).await, Ok((v4, &b"GET"[..])));
        assert_eq!(header(&v2(0x21, 0x11, &extended[..=MAX_V2])).await, Err(ErrorKind::InvalidData));
        for bad in [
            "TCP4 192.0.2.1 10.0.0.1 1 99999",
            "TCP4 192.0.2.1 10.0.0.1 +1 2",
            "TCP4 192.0.2.1 10.0.0.1 1 02",
            "TCP4 192.0.2.1 10.0.0.1 1 2 ",
            "TCP4 192.0.2.1 10.0.0.1 1",
            "TCP4 192.0.2.1 10.0.0.1 1 2 3",
            "TCP4 ::1 10.0.0.1 1 2",
            "TCP6 ::1 10.0.0.1 1 2",
            "TCP4 192.0.2.1 nowhere 1 2",
        ] {
            assert_eq!(header(format!("PROXY {bad}\r\n").as_bytes()).await, Err(ErrorKind::InvalidData), "{bad}");
        }
        for bad in [v2(0x21, 0x11, &[1]), v2(0x11, 0x11, &addresses), v2(0x2f, 0x11, &addresses)] {
            assert_eq!(header(&bad).await, Err(ErrorKind::InvalidData));
        }
    }

    #[tokio::test]
    async fn garbage_is_refused_in_bounds() {
        assert_eq!(header(&[b'x'; 1_000]).await, Err(ErrorKind::InvalidData));
        assert_eq!(header(b"GET / HTTP/1.1\r\n").await, Err(ErrorKind::InvalidData));
        assert_eq!(header(b"PROXY TCP4 nobody\r\n").await, Err(ErrorKind::InvalidData));
        assert_eq!(header(b"PROXY").await, Err(ErrorKind::UnexpectedEof));
    }
}
