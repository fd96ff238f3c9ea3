//! Certificate and key for HTTPS, with errors that say which file is wrong and how; read again when they change.

use super::watched::Watch;
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
        match aside(move || load(&cert, &key)).await {
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
        aside(move || paths.map(stamp)).await
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

/// Runs what may block on a thread that may.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime goes down, and with it whoever asked.
        Err(_) => std::future::pending().await,
    }
}

/// When the first certificate of the chain ends; seconds since the Unix epoch.
pub(crate) fn end_of(cert: &Path) -> Option<i64> {
    let first = CertificateDer::pem_slice_iter(&files::read(cert, files::MAX_SETTINGS).ok()?).next()?.ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&first).ok()?;
    Some(certificate.validity().not_after.timestamp())
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
