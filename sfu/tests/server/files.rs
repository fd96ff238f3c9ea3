//! The page, health and metrics.

use crate::harness::{Server, TempFile};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn the_page_is_served() {
    let server = Server::dev();
    let page = server.get("/?room=demo&token=x");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let etag = page.header("etag").unwrap();
    assert_eq!(server.request("GET", "/", &[("If-None-Match", etag)], "").status, 304);
    assert_eq!(server.get("/no-such-file.js").status, 404);
    assert_eq!(server.get("/../Cargo.toml").status, 404);
    assert_eq!(server.request("POST", "/", &[], "").status, 405);
}

#[tokio::test]
async fn metrics_count() {
    let server = Server::dev();
    assert_eq!(server.get("/healthz").body, "ok\n");
    let (_client, _) = server.join("demo", json!({})).await;
    let metrics = server.get("/metrics").body;
    for line in ["sfu_rooms 1", "sfu_participants 1", "sfu_signalling_connections 1", "sfu_worker_up{worker=\"1\"} 1"] {
        assert!(metrics.lines().any(|l| l == line), "{line} in\n{metrics}");
    }
    for name in ["sfu_dropped_packets_total{worker=\"0\",reason=\"srtp_auth\"}", "sfu_dtls_seconds_bucket"] {
        assert!(metrics.contains(name), "{name}");
    }
    let mut families = std::collections::HashSet::new();
    for line in metrics.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next()) {
            assert!(families.insert(name.to_owned()), "{name} is there twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
            assert!(families.contains(name) || families.contains(base), "{line} has no TYPE");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[tokio::test]
async fn https_works() {
    use std::sync::Arc;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/fixtures");
    let http = format!("[http]\ntls_cert = \"{fixtures}/cert.pem\"\ntls_key = \"{fixtures}/key.pem\"");
    let server = Server::configured(&http);
    // A connection that never speaks TLS keeps nobody else waiting.
    let _idle = std::net::TcpStream::connect(server.http).unwrap();
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(include_bytes!("fixtures/cert.pem")).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(server.http).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    tls.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = tls.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_folder_can_stand_in_for_the_page() {
    let file = TempFile::new("page.html", "<p>mine</p>");
    let folder = file.0.parent().unwrap().to_str().unwrap();
    let name = file.0.file_name().unwrap().to_str().unwrap();
    let server = Server::configured(&format!("[http]\nweb_dir = \"{folder}\""));
    assert_eq!(server.get(&format!("/{name}")).body, "<p>mine</p>");
    assert_eq!(server.get("/%2e%2e/etc/passwd").status, 404);
}
