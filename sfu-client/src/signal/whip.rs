//! WHIP (RFC 9725) and WHEP: one request with the offer, the answer in its response, `DELETE` at the end.

use super::http::{Answer, request, resolve};
use super::stream::Origin;
use anyhow::{Context, Result, bail, ensure};
use hyper::header::{CONTENT_TYPE, LOCATION};
use hyper::{Method, StatusCode, Uri};

/// A session at a WHIP or WHEP server.
#[derive(Debug)]
pub struct WhipSession {
    /// Where it is ended; a server may give none.
    resource: Option<Uri>,
    token: Option<String>,
}

impl WhipSession {
    /// Host and port that `url` names, for choosing local addresses.
    ///
    /// # Errors
    /// Where it is no `http` or `https` URL.
    pub fn host_and_port(url: &str) -> Result<(String, u16)> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
        let origin = Origin::of(&uri, "http", "https")?;
        Ok((origin.host, origin.port))
    }

    /// Sends the offer; returns the session and the server's answer.
    ///
    /// # Errors
    /// Where the server cannot be reached, refuses, or answers with something else than SDP.
    pub async fn start(url: &str, token: Option<&str>, offer: String) -> Result<(Self, String)> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
        let answer = request(Method::POST, &uri, token, Some(("application/sdp", offer))).await?;
        ensure!(answer.status == StatusCode::CREATED, "{}", refusal(url, &answer));
        let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("application/sdp") {
            bail!("{url} answered with {kind:?}, not with SDP");
        }
        let location = answer.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let resource = location.map(|location| resolve(&answer.uri, location)).transpose()?;
        Ok((Self { resource, token: token.map(str::to_owned) }, answer.body))
    }

    /// Ends the session.
    ///
    /// # Errors
    /// Where the server cannot be reached or refuses.
    pub async fn stop(&self) -> Result<()> {
        let Some(resource) = &self.resource else { return Ok(()) };
        let answer = request(Method::DELETE, resource, self.token.as_deref(), None).await?;
        ensure!(answer.status.is_success(), "{}", refusal(&resource.to_string(), &answer));
        Ok(())
    }
}

/// Why a server refused, as a sentence.
fn refusal(url: &str, answer: &Answer) -> String {
    let hint = match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => " (give a token by --token)",
        StatusCode::NOT_FOUND => " (no such stream?)",
        StatusCode::CONFLICT => " (is somebody publishing there already?)",
        StatusCode::NOT_ACCEPTABLE => " (the server wants to make the offer itself, which this client does not do)",
        _ => "",
    };
    let detail: String = answer.body.trim().chars().take(300).collect();
    format!("{url} refuses: {}{hint} {detail}", answer.status).trim_end().to_owned()
}
