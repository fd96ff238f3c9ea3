//! What a `--dev` server asks of a request, since it asks for no token: pages from elsewhere that are open in a browser
//! on this machine must not use it, neither by its address (Origin, RFC 6454) nor by a name of theirs that leads to it
//! (DNS rebinding, shown by Host).

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;

/// Refuses what comes from elsewhere.
pub(super) async fn check(request: Request, next: Next) -> Response {
    if is_local(request.headers()) {
        return next.run(request).await;
    }
    let text = "With --dev, requests must name this server by address or as localhost (Host), and come from no page of \
                another site (Origin).\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

fn is_local(headers: &HeaderMap) -> bool {
    let authority = |name| {
        let value = headers.get(name)?;
        Some(value.to_str().ok().and_then(|text| text.parse::<Authority>().ok()))
    };
    let host = match authority(header::HOST) {
        // HTTP/1.0: no browser.
        None => return !headers.contains_key(header::ORIGIN),
        Some(None) => return false,
        Some(Some(host)) => host.host().to_ascii_lowercase(),
    };
    if ip(&host).is_none() && !is_this_machine(&host) {
        return false;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    // `null`, as of a sandboxed frame, is nobody's.
    let origin = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
    let Some(origin) = origin.as_ref().filter(|uri| uri.scheme().is_some()).and_then(Uri::host) else { return false };
    let origin = origin.to_ascii_lowercase();
    origin == host || is_this_machine(&origin)
}

fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Browsers take these for their own machine, whatever DNS says (RFC 6761 6.3).
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost") || ip(host).is_some_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_pages_and_names_are_told_from_local_ones() {
        for (host, origin, expected) in [
            ("localhost:7880", "", true),
            ("localhost:7880", "http://localhost:7880", true),
            ("127.0.0.1:7880", "http://localhost:5173", true),
            ("[::1]:7880", "http://[::1]:7880", true),
            ("192.168.1.5:7880", "http://192.168.1.5:7880", true),
            ("192.168.1.5:7880", "", true),
            ("localhost:7880", "https://evil.example", false),
            ("localhost:7880", "http://localhost.evil.example", false),
            ("127.0.0.1:7880", "http://192.168.1.6", false),
            ("localhost:7880", "null", false),
            ("localhost:7880", "localhost", false),
            ("evil.example:7880", "http://evil.example:7880", false),
            ("evil.example:7880", "", false),
            ("", "", false),
        ] {
            let mut headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
            if !origin.is_empty() {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(is_local(&headers), expected, "{host} {origin}");
        }
        assert!(is_local(&HeaderMap::new()));
    }
}
