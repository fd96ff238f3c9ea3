//! Certificate and key for HTTPS, with errors that say which file is wrong and how; read again when they change.

use super::watched::Watch;
use crate::clock::unix_time;
use crate::files;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

/// Why HTTPS cannot be served. The cause stands in the text, and so is no `source`, which would be told once more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read the {what} {path}: {cause}")]
    Unreadable { what: &'static str, path: PathBuf, cause: io::Error },
    #[error("the {what} {path} is no PEM file with one: {cause}")]
    Malformed { what: &'static str, path: PathBuf, cause: pem::Error },
    #[error("the certificate {path} holds no certificate (a section BEGIN CERTIFICATE)")]
    NoCertificate { path: PathBuf },
    #[error("certificate {cert} and key {key} cannot be used together: {cause}")]
    Mismatch { cert: PathBuf, key: PathBuf, cause: rustls::Error },
}

/// Whoever renews certificates seldom tells.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Certificate and key in force. A new pair is for new connections; those that there are go on.
pub(crate) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the PEM files `cert` (chain) and `key`.
    pub(crate) fn open(cert: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let current = RwLock::new(load(cert, key)?);
        warn_of(cert);
        Ok(Arc::new(Self { cert: cert.to_owned(), key: key.to_owned(), current }))
    }

    /// For a new connection.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again. What was in force stays where they cannot be used. The file system may hang for as long
    /// as it likes: who waits for it is a thread that nobody else needs.
    pub(crate) async fn reload(&self) {
        let (cert, key) = (self.cert.clone(), self.key.clone());
        let read = move || load(&cert, &key).inspect(|_| warn_of(&cert));
        match files::aside(read).await {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                tracing::info!(certificate = %self.cert.display(), "certificate and key read again");
            }
            Err(error) => tracing::warn!(%error, "certificate and key cannot be used; the former ones stay in force"),
        }
    }

    /// Reads the files again whenever they have changed, for as long as the server runs. Half a change, one file
    /// before the other, is refused and then followed by the whole one.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut seen = self.stamps().await;
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = self.stamps().await;
            if now != seen {
                seen = now;
                self.reload().await;
            }
        }
    }

    /// What changes with the content of the files, or with who may read them.
    async fn stamps(&self) -> [Option<(i64, i64, u64)>; 2] {
        let paths = [self.cert.clone(), self.key.clone()];
        let stamp = |path| {
            let data = fs::metadata(path).ok()?;
            Some((data.ctime(), data.ctime_nsec(), data.ino()))
        };
        files::aside(move || paths.map(stamp)).await
    }
}

/// Bytes below TLS of which nothing has come out yet: more than the longest record (RFC 8446 section 5.2) and what is read
/// with it. A session would keep 64 kB of a handshake message that is not whole.
const MOST_SEALED: usize = 24 * 1024;

/// Ends a connection that sends only what is for TLS itself; to watch what is below TLS.
pub(super) struct Sealed(Arc<AtomicUsize>);

impl<S> Watch<S> for Sealed {
    fn on_read(&mut self, bytes: &[u8], _stream: &mut S) -> io::Result<()> {
        if self.0.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len() > MOST_SEALED {
            return Err(io::Error::other("too many bytes of TLS without any within"));
        }
        Ok(())
    }
}

/// Tells [`Sealed`] of what comes out, and gives back what a TLS session keeps of the longest record it has read: it does so
/// by itself only when it reads again, which one who waits for its answers to be read does not.
pub(super) struct Opened(Arc<AtomicUsize>);

/// Both watches of one connection.
pub(super) fn watches() -> (Sealed, Opened) {
    let sealed = Arc::new(AtomicUsize::new(0));
    (Sealed(Arc::clone(&sealed)), Opened(sealed))
}

impl<S: Unpin> Watch<TlsStream<S>> for Opened {
    fn on_read(&mut self, bytes: &[u8], stream: &mut TlsStream<S>) -> io::Result<()> {
        /// Not the end either.
        struct Nothing;

        impl io::Read for Nothing {
            fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::WouldBlock.into())
            }
        }

        if !bytes.is_empty() {
            self.0.store(0, Ordering::Relaxed);
        }
        let _ = stream.get_mut().1.read_tls(&mut Nothing);
        Ok(())
    }
}

/// When all certificates of a chain hold, in seconds since the Unix epoch. A client that knows another way up from one of
/// them may do without the rest, but few do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Validity {
    from: i64,
    until: i64,
}

impl Validity {
    /// Of the certificates in a PEM file; `None` where one cannot be read.
    pub(crate) fn of(cert: &Path) -> Option<Self> {
        let pem = files::read(cert, files::MAX_SETTINGS).ok()?;
        CertificateDer::pem_slice_iter(&pem)
            .map(|certificate| Self::of_one(&certificate.ok()?))
            .reduce(|chain, one| chain.zip(one).map(|(chain, one)| chain.and(one)))?
    }

    fn of_one(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let validity = certificate.validity();
        Some(Self { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() })
    }

    fn and(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }

    /// Whole days until the end, where the chain holds at `now`; else what is wrong.
    pub(crate) fn days_left(self, now: i64) -> Result<i64, &'static str> {
        if now < self.from {
            Err(
                "a certificate of http.tls_cert is not valid yet: clients refuse it; take another one, or set the clock",
            )
        } else if now > self.until {
            Err("a certificate of http.tls_cert has ended: clients refuse it; renew it, or set the clock")
        } else {
            Ok((self.until - now) / SECONDS_PER_DAY)
        }
    }
}

const SECONDS_PER_DAY: i64 = 86_400;
/// Automatic renewal (ACME) begins a month ahead; two weeks before the end something is wrong with it.
const DAYS_TO_RENEW: i64 = 14;

/// What an operator must know of the certificates in a file that can be used otherwise.
pub(crate) fn complaint(cert: &Path) -> Option<String> {
    complaint_at(Validity::of(cert)?, now())
}

fn complaint_at(validity: Validity, now: i64) -> Option<String> {
    match validity.days_left(now) {
        Err(wrong) => Some(wrong.into()),
        Ok(days) => (days < DAYS_TO_RENEW).then(|| {
            format!("a certificate of http.tls_cert ends in {days} days: renew it, for which no restart is needed")
        }),
    }
}

/// Seconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    i64::try_from(unix_time().as_secs()).unwrap_or(i64::MAX)
}

/// It is served all the same: what is wrong may be the clock.
fn warn_of(cert: &Path) {
    if let Some(complaint) = complaint(cert) {
        tracing::warn!(certificate = %cert.display(), "{complaint}");
    }
}

const CERTIFICATE: &str = "certificate (http.tls_cert)";
const KEY: &str = "private key (http.tls_key)";

/// Reads the PEM files `cert` (chain) and `key`.
pub(crate) fn load(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(&read(CERTIFICATE, cert)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|cause| TlsError::Malformed { what: CERTIFICATE, path: cert.to_owned(), cause })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: cert.to_owned() });
    }
    let private = PrivateKeyDer::from_pem_slice(&read(KEY, key)?).map_err(|cause| TlsError::Malformed {
        what: KEY,
        path: key.to_owned(),
        cause,
    })?;
    let mismatch = |cause| TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned(), cause };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(mismatch)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(mismatch)?;
    // WebSockets are upgraded from HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    files::read(path, files::MAX_SETTINGS).map_err(|cause| TlsError::Unreadable { what, path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::watched::Watched;
    use std::os::unix::fs::PermissionsExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn what_is_wrong_with_a_time_is_complained_about() {
        let (from, now) = (1_000_000, 2_000_000);
        for (from, days, expected) in [
            (now + 1, 400, Some("not valid yet")),
            (from, -1, Some("has ended")),
            (from, 0, Some("ends in 0 days")),
            (from, 13, Some("ends in 13 days")),
            (from, 14, None),
        ] {
            let complaint = complaint_at(Validity { from, until: now + days * SECONDS_PER_DAY + 60 }, now);
            assert_eq!(complaint.is_some(), expected.is_some(), "{complaint:?}");
            assert!(complaint.unwrap_or_default().contains(expected.unwrap_or_default()), "{days}");
        }
    }

    #[tokio::test]
    async fn who_may_read_the_files_is_a_change() {
        let folder = std::env::temp_dir().join(format!("sfu-tls-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let copy = |name: &str| {
            let (from, to) = (Path::new("tests/server/fixtures").join(name), folder.join(name));
            fs::copy(from, &to).unwrap();
            to
        };
        let tls = Tls::open(&copy("cert.pem"), &copy("key.pem")).unwrap();
        let before = tls.stamps().await;
        // The clock that stamps files may be coarse.
        std::thread::sleep(Duration::from_millis(50));
        fs::set_permissions(&tls.key, fs::Permissions::from_mode(0o400)).unwrap();
        let after = tls.stamps().await;
        fs::remove_dir_all(&folder).unwrap();
        assert!(before[0] == after[0] && before[1] != after[1]);
    }

    #[tokio::test]
    async fn what_only_tls_itself_would_keep_ends_the_connection() {
        let (sealed, opened) = watches();
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let mut server = Watched::new(server, sealed);
        client.write_all(&vec![22; 4 * MOST_SEALED]).await.unwrap();
        let mut bytes = vec![0; MOST_SEALED];
        server.read_exact(&mut bytes).await.unwrap();
        opened.0.store(0, Ordering::Relaxed);
        server.read_exact(&mut bytes).await.unwrap();
        assert!(server.read_exact(&mut bytes[..1]).await.is_err());
    }
}
