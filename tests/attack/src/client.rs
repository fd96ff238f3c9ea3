//! Plain clients of the server under attack: TLS, HTTP, WebSocket, with nothing that a well-behaved client would keep.

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// A client's patience with a handshake or an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read.
const MOST_ANSWER: usize = 256 * 1024;

/// Where the server under attack is, and what the attacker has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) https: SocketAddr,
    /// From where the client comes.
    pub(crate) source: IpAddr,
    /// ICE-TCP.
    pub(crate) tcp: SocketAddr,
    /// An invitation to any room.
    pub(crate) token: String,
    /// The certificate that signs the server's.
    pub(crate) certificate: PathBuf,
    /// What the server writes.
    pub(crate) log: PathBuf,
    /// Our program `sfu-bench`.
    pub(crate) bench: PathBuf,
}

/// The server under attack, as strangers see it.
pub(crate) struct Target {
    pub(crate) address: Address,
    tls: TlsConnector,
}

/// A WebSocket to the signalling.
pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

impl Target {
    pub(crate) fn new(address: Address) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&address.certificate)?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { address, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// URL of the signalling.
    pub(crate) fn signalling(&self) -> String {
        format!("wss://localhost:{}/v1/join", self.address.https.port())
    }

    /// A TCP connection from the client's own address.
    pub(crate) async fn tcp(&self, to: SocketAddr) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.address.source, 0).into())?;
        Ok(socket.connect(to).await?)
    }

    /// A TLS connection.
    pub(crate) async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let connected = async {
            let stream = self.tcp(self.address.https).await?;
            self.tls.connect(ServerName::try_from("localhost")?, stream).await.context("TLS")
        };
        timeout(PATIENCE, connected).await?
    }

    /// Status and body of a request.
    pub(crate) async fn request(&self, head: &str, body: &str) -> Result<(u16, String)> {
        let mut stream = self.connect().await?;
        let length = body.len();
        let request =
            format!("{head}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let mut limited = (&mut stream).take(MOST_ANSWER as u64);
        timeout(PATIENCE, limited.read_to_end(&mut answer)).await?.ok();
        let text = String::from_utf8_lossy(&answer);
        let status = text.split_whitespace().nth(1).and_then(|status| status.parse().ok()).context("no HTTP answer")?;
        Ok((status, text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()))
    }

    /// A WebSocket that has said nothing yet.
    pub(crate) async fn socket(&self) -> Result<Socket> {
        let stream = self.connect().await?;
        let mut request = self.signalling().into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", sfu_proto::SUBPROTOCOL_JSON.parse()?);
        Ok(timeout(PATIENCE, tokio_tungstenite::client_async(request, stream)).await??.0)
    }

    /// A WebSocket that has joined a room, with the server's welcome; `more` are further fields of the join.
    pub(crate) async fn join(&self, room: &str, more: Value) -> Result<(Socket, Value)> {
        let mut socket = self.socket().await?;
        let mut join = json!({ "token": self.address.token, "room": room });
        if let (Value::Object(join), Value::Object(more)) = (&mut join, more) {
            join.extend(more);
        }
        say(&mut socket, &json!({ "id": 1, "join": join })).await?;
        let mut welcome = timeout(PATIENCE, hear(&mut socket)).await??;
        match welcome.get_mut("joined") {
            Some(joined) => Ok((socket, joined.take())),
            None => bail!("not joined: {welcome}"),
        }
    }
}

/// Sends one message.
pub(crate) async fn say(socket: &mut Socket, message: &Value) -> Result<()> {
    Ok(socket.send(Message::text(message.to_string())).await?)
}

/// The next message.
pub(crate) async fn hear(socket: &mut Socket) -> Result<Value> {
    loop {
        match socket.next().await.context("the server closed the connection")?? {
            Message::Text(text) => return Ok(serde_json::from_str(&text)?),
            Message::Close(frame) => bail!("the server closed the connection: {frame:?}"),
            _ => {}
        }
    }
}
