//! Certificate and key for HTTPS, with errors that say which file is wrong and how.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Why HTTPS cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read the {what} {path}: {source}")]
    Unreadable { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the {what} {path} is no PEM file with one: {source}")]
    Malformed { what: &'static str, path: PathBuf, source: pem::Error },
    #[error("the certificate {path} holds no certificate (a section BEGIN CERTIFICATE)")]
    NoCertificate { path: PathBuf },
    #[error("certificate {cert} and key {key} cannot be used together: {source}")]
    Mismatch { cert: PathBuf, key: PathBuf, source: rustls::Error },
}

const CERTIFICATE: &str = "certificate (http.tls_cert)";
const KEY: &str = "private key (http.tls_key)";

/// Reads the PEM files `cert` (chain) and `key`.
pub(crate) fn load(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(&read(CERTIFICATE, cert)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Malformed { what: CERTIFICATE, path: cert.to_owned(), source })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: cert.to_owned() });
    }
    let private = PrivateKeyDer::from_pem_slice(&read(KEY, key)?).map_err(|source| TlsError::Malformed {
        what: KEY,
        path: key.to_owned(),
        source,
    })?;
    let mismatch = |source| TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned(), source };
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
    fs::read(path).map_err(|source| TlsError::Unreadable { what, path: path.to_owned(), source })
}
