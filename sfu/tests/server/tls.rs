//! HTTPS: whom it serves, and with which certificate.

use crate::harness::{FIXTURES, Server, TempFile, eventually, token};
use futures_util::FutureExt;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A connection, plain or over TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A connection whose server has this certificate.
async fn connect(server: &Server, certificate: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(server.http).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The status line of `/healthz`.
async fn ask(tls: &mut TlsStream<TcpStream>) -> String {
    tls.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        assert!(tls.read_buf(&mut answer).await.unwrap() > 0);
    }
    String::from_utf8(answer).unwrap().lines().next().unwrap().to_owned()
}

fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!("{FIXTURES}/{name}")).unwrap()
}

#[tokio::test]
async fn handshakes_that_never_come_keep_nobody_out_and_hold_no_end_up() {
    let server =
        Server::configured(&format!("[http]\ntls_cert = '{FIXTURES}/cert.pem'\ntls_key = '{FIXTURES}/key.pem'"));
    let _held: Vec<_> = (0..300).map(|_| std::net::TcpStream::connect(server.http).unwrap()).collect();
    let mut tls = connect(&server, &fixture("cert.pem")).await.unwrap();
    assert_eq!(ask(&mut tls).await, "HTTP/1.1 200 OK");
    drop(tls);
    server.signal("TERM");
    let log = server.wait_and_read_log();
    assert!(log.contains("stopped") && !log.contains("not waited for"), "it ends without them: {log}");
}

/// An address has a share of a core for handshakes. Whoever leaves before its handshake, or asks for none, takes nothing of
/// it, or one machine of an office could keep out all others with few packets.
#[tokio::test]
async fn those_who_come_and_go_leave_their_neighbours_the_share_of_their_address() {
    let limits = "[limits]\nexempt_addresses = []\naddress_cpu_percent = 1";
    let server = Server::configured(&format!(
        "{limits}\n[http]\ntls_cert = '{FIXTURES}/cert.pem'\ntls_key = '{FIXTURES}/key.pem'"
    ));
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        for _ in 0..30 {
            // They have left before it looks, however busy the machine is; the kernel keeps so many.
            server.signal("STOP");
            for _ in 0..100 {
                let mut stream = std::net::TcpStream::connect(server.http).unwrap();
                std::io::Write::write_all(&mut stream, sent).unwrap();
            }
            server.signal("CONT");
        }
        let mut tls = connect(&server, &fixture("cert.pem")).await.unwrap();
        assert_eq!(ask(&mut tls).await, "HTTP/1.1 200 OK");
    }
}

/// An invitation is no participant: with one, too, nobody holds more than 64 kB, whatever comes of head and body.
#[tokio::test]
async fn a_body_that_does_not_end_holds_little() {
    const WARM: usize = 100;
    const MANY: usize = 400;
    // Beside what each holds: pools and the allocator's reserve.
    const SLACK: u64 = 1_000;
    let tls = format!("[http]\ntls_cert = '{FIXTURES}/cert.pem'\ntls_key = '{FIXTURES}/key.pem'");
    let request = format!(
        "POST /whep/demo HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nX-Long: {}\r\n\
         Content-Type: application/sdp\r\nContent-Length: 16384\r\n\r\n{}",
        token(json!({})),
        "x".repeat(6_000),
        "v".repeat(16_000)
    );
    // At once, and in two pieces.
    for (config, first) in [("", 0), ("", 3_000), (&tls, 0), (&tls, 3_000)] {
        let server = Server::configured(config);
        let (mut held, mut before) = (Vec::new(), 0);
        for number in 0..WARM + MANY {
            if number == WARM {
                before = server.memory();
            }
            let mut stream: Box<dyn Stream> = if config.is_empty() {
                Box::new(TcpStream::connect(server.http).await.unwrap())
            } else {
                Box::new(connect(&server, &fixture("cert.pem")).await.unwrap())
            };
            let (first, rest) = request.as_bytes().split_at(first);
            stream.write_all(first).await.unwrap();
            stream.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            stream.write_all(rest).await.unwrap();
            stream.flush().await.unwrap();
            held.push(stream);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let grown = server.memory().saturating_sub(before);
        assert!(grown < 64 * MANY as u64 + SLACK, "{} kB each ({first} {config})", grown / MANY as u64);
        for stream in &mut held {
            assert!(stream.read_u8().now_or_never().is_none(), "nobody is refused ({config})");
        }
    }
}

/// What is for TLS itself is bounded; what is within is not taken for it.
#[tokio::test]
async fn a_connection_may_ask_for_as_long_as_it_likes() {
    let server =
        Server::configured(&format!("[http]\ntls_cert = '{FIXTURES}/cert.pem'\ntls_key = '{FIXTURES}/key.pem'"));
    let mut tls = connect(&server, &fixture("cert.pem")).await.unwrap();
    let field = format!("X-Long: {}\r\n", "a".repeat(6_000));
    for _ in 0..40 {
        tls.write_all(format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{field}\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            assert!(tls.read_buf(&mut answer).await.unwrap() > 0);
        }
    }
}

/// What TLS still has of an answer is not written yet.
#[tokio::test]
async fn who_reads_a_long_answer_steadily_gets_all_of_it() {
    const LENGTH: usize = 16 << 20;
    let file = TempFile::new("large.html", &"x".repeat(LENGTH));
    let (folder, name) = (file.0.parent().unwrap().display(), file.0.file_name().unwrap().to_str().unwrap());
    let server = Server::configured(&format!(
        "[http]\nrequest_timeout_seconds = 1\nidle_timeout_seconds = 1\nweb_dir = '{folder}'\n\
         tls_cert = '{FIXTURES}/cert.pem'\ntls_key = '{FIXTURES}/key.pem'\n"
    ));
    let mut tls = connect(&server, &fixture("cert.pem")).await.unwrap();
    tls.write_all(format!("GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let (mut read, mut piece) = (0, vec![0; 64 * 1_024]);
    // Longer than each of the timeouts.
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        read += tls.read(&mut piece).await.unwrap();
    }
    assert!(read < LENGTH / 2, "it is slow");
    while read < LENGTH {
        let more = tls.read(&mut piece).await.expect("the connection stays");
        assert!(more > 0, "cut after {read} bytes");
        read += more;
    }
}

#[tokio::test]
async fn a_new_certificate_comes_into_force_without_an_end_of_connections() {
    let cert = TempFile::new("cert.pem", &fixture("cert.pem"));
    let key = TempFile::new("key.pem", &fixture("key.pem"));
    let server = Server::configured(&format!("[http]\ntls_cert = '{}'\ntls_key = '{}'", cert.path(), key.path()));
    let mut before = connect(&server, &fixture("cert.pem")).await.unwrap();
    // Half a change is none.
    std::fs::write(key.path(), fixture("other-key.pem")).unwrap();
    server.signal("HUP");
    assert_eq!(ask(&mut before).await, "HTTP/1.1 200 OK");
    assert!(connect(&server, &fixture("cert.pem")).await.is_ok());
    std::fs::write(cert.path(), fixture("other-cert.pem")).unwrap();
    server.signal("HUP");
    eventually("the new certificate is shown", async || connect(&server, &fixture("other-cert.pem")).await.is_ok())
        .await;
    assert_eq!(ask(&mut before).await, "HTTP/1.1 200 OK");
    // Without a signal the files are looked at from time to time.
    std::fs::write(cert.path(), fixture("cert.pem")).unwrap();
    std::fs::write(key.path(), fixture("key.pem")).unwrap();
    eventually("the old one again", async || connect(&server, &fixture("cert.pem")).await.is_ok()).await;
    assert_eq!(ask(&mut before).await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_fifo_in_place_of_a_certificate_holds_nobody() {
    for name in ["cert.pem", "key.pem"] {
        let cert = TempFile::new("cert.pem", &fixture("cert.pem"));
        let key = TempFile::new("key.pem", &fixture("key.pem"));
        let server = Server::configured(&format!("[http]\ntls_cert = '{}'\ntls_key = '{}'", cert.path(), key.path()));
        let replaced = if name == "cert.pem" { &cert } else { &key };
        std::fs::remove_file(replaced.path()).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(replaced.path()).status().unwrap().success());
        // As many as there are threads of the control plane, and more.
        for _ in 0..4 {
            server.signal("HUP");
            let mut tls = connect(&server, &fixture("cert.pem")).await.unwrap();
            assert_eq!(ask(&mut tls).await, "HTTP/1.1 200 OK");
        }
        std::fs::remove_file(replaced.path()).unwrap();
        std::fs::write(cert.path(), fixture("other-cert.pem")).unwrap();
        std::fs::write(key.path(), fixture("other-key.pem")).unwrap();
        server.signal("HUP");
        eventually("a good pair is taken", async || connect(&server, &fixture("other-cert.pem")).await.is_ok()).await;
        server.signal("TERM");
        assert!(server.wait(), "{name}");
    }
}

#[tokio::test]
async fn without_a_certificate_a_hangup_ends_nothing() {
    let server = Server::configured("");
    server.signal("HUP");
    assert_eq!(server.get("/healthz").status, 200);
}
