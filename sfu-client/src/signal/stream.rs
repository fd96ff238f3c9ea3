//! TCP, with TLS where the URL says so.

use anyhow::{Context, Result, bail};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// A connection that gets no answer for this long gets none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What HTTP and WebSocket run on.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Host and port of a server, and whether it speaks TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    pub(super) host: String,
    pub(super) port: u16,
    tls: bool,
}

impl Origin {
    /// From a URL whose scheme is one of `plain` and `tls`.
    pub(super) fn of(uri: &hyper::Uri, plain: &str, tls: &str) -> Result<Self> {
        let secure = match uri.scheme_str() {
            Some(scheme) if scheme == plain => false,
            Some(scheme) if scheme == tls => true,
            _ => bail!("the URL {uri} must begin with {plain}:// or {tls}://"),
        };
        // URLs write IPv6 addresses in brackets, name resolution does not.
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            bail!("the URL {uri} names no host");
        }
        Ok(Self { host: host.to_owned(), port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }), tls: secure })
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<Box<dyn Io>> {
        let attempt = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            // Signalling is small messages that wait for each other.
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        };
        let at = format!("{}:{}", self.host, self.port);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, attempt)
            .await
            .with_context(|| format!("{at} does not answer"))?
            .with_context(|| format!("cannot connect to {at}; is the server running?"))?;
        if !self.tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(self.host.clone()).with_context(|| format!("{} is no host name", self.host))?;
        let stream = TlsConnector::from(Arc::new(tls_config()?))
            .connect(name, stream)
            .await
            .with_context(|| format!("no TLS connection with {at}"))?;
        Ok(Box::new(stream))
    }
}

/// Trusts what the system trusts.
fn tls_config() -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        bail!("this system has no trusted certificates; install ca-certificates");
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_of_urls() {
        let of = |uri: &str| Origin::of(&uri.parse().unwrap(), "http", "https");
        let origin = |host: &str, port, tls| Origin { host: host.to_owned(), port, tls };
        assert_eq!(of("http://a.example/whip/x").unwrap(), origin("a.example", 80, false));
        assert_eq!(of("https://a.example").unwrap(), origin("a.example", 443, true));
        assert_eq!(of("http://[::1]:7880/").unwrap(), origin("::1", 7880, false));
        assert!(of("ws://a.example").is_err());
        assert!(of("/path").is_err());
    }
}
