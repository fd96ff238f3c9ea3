//! One HTTP request at a time, each on its own connection: WHIP needs no more.

use super::USER_AGENT;
use super::stream::Origin;
use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION, USER_AGENT as USER_AGENT_HEADER};
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::time::Duration;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Largest answer that is read: SDP of a hundred sections takes a tenth.
const MAX_BODY: usize = 1 << 20;
/// Redirections that are followed.
const MAX_REDIRECTS: usize = 5;

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Where it came from, after redirections.
    pub(super) uri: Uri,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// Sends a request; follows redirections that keep the method (307, 308).
pub(super) async fn request(
    method: Method,
    uri: &Uri,
    token: Option<&str>,
    body: Option<(&str, String)>,
) -> Result<Answer> {
    let mut uri = uri.clone();
    for _ in 0..MAX_REDIRECTS {
        let answer = tokio::time::timeout(TIMEOUT, once(&method, &uri, token, body.clone()))
            .await
            .with_context(|| format!("{uri} does not answer"))??;
        let redirected = [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT].contains(&answer.status);
        match answer.headers.get(LOCATION) {
            Some(location) if redirected => uri = resolve(&uri, location.to_str().context("a bad redirection")?)?,
            _ => return Ok(answer),
        }
    }
    anyhow::bail!("{uri} redirects in circles")
}

/// Fetches a text, such as a server's metrics.
///
/// # Errors
/// Where `url` is none, nobody answers there, or the answer is no success.
pub async fn fetch(url: &str) -> Result<String> {
    let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
    let answer = request(Method::GET, &uri, None, None).await?;
    ensure!(answer.status.is_success(), "{url} answers {}", answer.status);
    Ok(answer.body)
}

async fn once(method: &Method, uri: &Uri, token: Option<&str>, body: Option<(&str, String)>) -> Result<Answer> {
    let stream = Origin::of(uri, "http", "https")?.connect().await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Drives the connection; its failure shows as the request's.
    tokio::spawn(connection);
    let authority = uri.authority().context("the URL names no host")?.as_str();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request =
        Request::builder().method(method).uri(path).header(HOST, authority).header(USER_AGENT_HEADER, USER_AGENT);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let mut content = Bytes::new();
    if let Some((kind, body)) = body {
        request = request.header(CONTENT_TYPE, kind);
        content = body.into();
    }
    let request = request.body(Full::new(content)).context("the token cannot stand in a header")?;
    let response = sender.send_request(request).await.with_context(|| format!("{uri} broke the connection off"))?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("{uri} answered unreadably: {error}"))?.to_bytes();
    let body = String::from_utf8(body.to_vec()).with_context(|| format!("{uri} answered with something binary"))?;
    Ok(Answer { uri: uri.clone(), status: parts.status, headers: parts.headers, body })
}

/// `reference` as seen from `base` (RFC 3986 section 5.2, without dot segments).
pub(super) fn resolve(base: &Uri, reference: &str) -> Result<Uri> {
    let scheme = base.scheme_str().unwrap_or("http");
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let text = if reference.contains("://") {
        reference.to_owned()
    } else if let Some(rest) = reference.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{reference}")
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{reference}")
    };
    let uri: Uri = text.parse().with_context(|| format!("{text} is no URL"))?;
    ensure!(uri.host().is_some(), "{text} names no host");
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved() {
        let base: Uri = "http://a.example:81/whip/room".parse().unwrap();
        let resolved = |reference: &str| resolve(&base, reference).unwrap().to_string();
        assert_eq!(resolved("/x/1"), "http://a.example:81/x/1");
        assert_eq!(resolved("x/1"), "http://a.example:81/whip/x/1");
        assert_eq!(resolved("//b.example/y"), "http://b.example/y");
        assert_eq!(resolved("https://b.example/y?z=1"), "https://b.example/y?z=1");
        assert!(resolve(&base, "http://").is_err());
    }
}
