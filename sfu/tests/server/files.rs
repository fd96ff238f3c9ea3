//! The page, health and metrics.

use crate::harness::{Server, TempFile};
use serde_json::json;

#[test]
fn the_page_is_served() {
    let server = Server::dev();
    let page = server.get("/?room=demo&token=x");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
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

#[test]
fn a_folder_can_stand_in_for_the_page() {
    let file = TempFile::new("page.html", "<p>mine</p>");
    let folder = file.0.parent().unwrap().to_str().unwrap();
    let name = file.0.file_name().unwrap().to_str().unwrap();
    let server = Server::configured(&format!("[http]\nweb_dir = \"{folder}\""));
    assert_eq!(server.get(&format!("/{name}")).body, "<p>mine</p>");
    assert_eq!(server.get("/%2e%2e/etc/passwd").status, 404);
}
