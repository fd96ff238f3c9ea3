//! A server under test, an HTTP client and a signalling client.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Long enough for a busy machine; a test that waits so long fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until it holds, however fast or slow this machine is.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, asking).await.is_ok(), "{what} in time");
}

/// API key and secret of servers that ask for tokens.
pub(crate) const KEY: &str = "key";
pub(crate) const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/fixtures");
pub(crate) const SECRET: &str = "a-secret-for-tests-0123456789abcdef";

/// Two cameras' worth of a browser: sends sound (mid 0) and simulcast picture (mid 1), with one slot for sound (2) and
/// two for picture (3, 4).
pub(crate) const OFFER: &str = include_str!("../../../sfu-rtc/src/sdp/fixtures/chromium-simulcast.sdp");
/// The same kind of peer before and after an ICE restart.
pub(crate) const BEFORE_RESTART: &str = include_str!("../../../sfu-rtc/src/sdp/fixtures/chromium-restart-0.sdp");
pub(crate) const AFTER_RESTART: &str = include_str!("../../../sfu-rtc/src/sdp/fixtures/chromium-restart-1.sdp");
/// A WHEP player's offer.
pub(crate) const PLAYER: &str = include_str!("../../../sfu-rtc/src/sdp/fixtures/chromium-whep.sdp");
/// A WHIP publisher's offer.
pub(crate) const PUBLISHER: &str = include_str!("../../../sfu-rtc/src/sdp/fixtures/obs.sdp");

/// The program with these arguments, not started yet.
pub(crate) fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sfu"));
    command.args(args).env_remove("SFU_CONFIG");
    command
}

/// A file that is gone when the test ends.
pub(crate) struct TempFile(pub(crate) std::path::PathBuf);

impl TempFile {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sfu-test-{}-{number}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A server that runs.
pub(crate) struct Server {
    child: Child,
    pub(crate) http: SocketAddr,
    /// The listener for metrics and admin API, where it has one.
    operator: Option<SocketAddr>,
    /// Reads what the server logs.
    log: std::thread::JoinHandle<String>,
    _config: Option<TempFile>,
}

impl Server {
    /// `sfu --dev` on free ports.
    pub(crate) fn dev() -> Self {
        Self::start(&["--dev", "--http-port", "0", "--media-port", "0", "--workers", "2"], None)
    }

    /// A server that asks for tokens, with further lines of configuration.
    pub(crate) fn configured(more: &str) -> Self {
        Self::logged("info", more)
    }

    /// The same with this level of logging.
    pub(crate) fn logged(level: &str, more: &str) -> Self {
        let text = format!("[auth.keys]\n{KEY} = \"{SECRET}\"\n{more}");
        let config = TempFile::new("config.toml", &text);
        let args = ["--config", config.path(), "--bind", "127.0.0.1", "--http-port", "0", "--media-port", "0"];
        let args: Vec<&str> = args.into_iter().chain(["--workers", "1", "--log", level]).collect();
        let mut server = Self::start(&args, None);
        server._config = Some(config);
        server
    }

    fn start(args: &[&str], config: Option<TempFile>) -> Self {
        let mut child = program(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut http, mut operator) = (None, None);
        while let Some(line) = lines.next().filter(|line| !line.as_ref().unwrap().contains("  media ")) {
            let line = line.unwrap();
            let addr = line.rsplit_once("://").and_then(|(_, addr)| addr.parse().ok());
            *if line.contains("signalling") { &mut http } else { &mut operator } = addr;
        }
        // A full pipe would stop the server.
        std::thread::spawn(move || lines.for_each(drop));
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = Vec::new();
            let _ = stderr.read_to_end(&mut log);
            String::from_utf8_lossy(&log).into_owned()
        });
        Self { child, http: http.expect("the server says where it listens"), operator, log, _config: config }
    }

    /// Ends the server; what it has logged.
    pub(crate) fn stop_and_read_log(mut self) -> String {
        self.child.kill().unwrap();
        self.wait_and_read_log()
    }

    /// Waits for the end; what the server has logged.
    pub(crate) fn wait_and_read_log(mut self) -> String {
        self.child.wait().unwrap();
        std::mem::replace(&mut self.log, std::thread::spawn(String::new)).join().unwrap()
    }

    /// Sends a signal, such as "TERM".
    pub(crate) fn signal(&self, name: &str) {
        // The shell's own: a small machine has no program of this name.
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Resident memory in kB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Waits for the end; whether it was a good one.
    pub(crate) fn wait(mut self) -> bool {
        self.child.wait().unwrap().success()
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], "")
    }

    /// One HTTP request.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        request(self.http, method, path, headers, body)
    }

    /// One HTTP request to the listener for metrics and admin API.
    pub(crate) fn operator(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        request(self.operator.expect("a listener of its own"), method, path, headers, "")
    }

    /// A WebSocket with this subprotocol.
    pub(crate) async fn connect(&self, subprotocol: &str) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
        let mut request = format!("ws://{}/v1/join", self.http).into_client_request().unwrap();
        if !subprotocol.is_empty() {
            request.headers_mut().insert("Sec-WebSocket-Protocol", subprotocol.parse().unwrap());
        }
        tokio_tungstenite::connect_async(request).await.map(|(socket, _)| socket)
    }

    /// A signalling client that has not joined.
    pub(crate) async fn client(&self) -> Client {
        Client { socket: self.connect("sfu.v1.json").await.unwrap(), next_id: 1 }
    }

    /// A client that has joined `room` with the usual offer, publishing sound and picture; Joined.
    pub(crate) async fn join(&self, room: &str, more: Value) -> (Client, Value) {
        let mut client = self.client().await;
        let mut join = join_with_media(room);
        merge(&mut join, more);
        let joined = client.request(json!({ "join": join })).await;
        let joined = joined.get("joined").unwrap_or_else(|| panic!("not joined: {joined}")).clone();
        (client, joined)
    }
}

/// One HTTP request.
fn request(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    // A server that refuses early may not read all of it.
    let _ = stream.write_all(text.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Response::parse(&String::from_utf8_lossy(&answer))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Body of a Join with the usual offer.
pub(crate) fn join_with_media(room: &str) -> Value {
    let publish = json!([{ "mid": "0", "label": "voice" }, { "mid": "1", "source": "SOURCE_CAMERA" }]);
    json!({ "room": room, "name": "Somebody", "offer": { "sdp": OFFER, "publish": publish } })
}

fn merge(into: &mut Value, more: Value) {
    if let Value::Object(more) = more {
        more.into_iter().for_each(|(name, value)| into[name] = value);
    }
}

/// A token with these claims over the usual ones.
pub(crate) fn token(more: Value) -> String {
    use std::time::{SystemTime, UNIX_EPOCH};
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({
        "iss": KEY, "sub": "alice", "exp": now + 600, "room": "demo",
        "grants": { "publish": true, "subscribe": true, "data": true },
    });
    merge(&mut claims, more);
    sign(&claims, SECRET)
}

pub(crate) fn sign(claims: &Value, secret: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).unwrap()
}

/// A token for the admin API.
pub(crate) fn admin_token() -> String {
    token(json!({ "sub": "admin", "room": "", "grants": { "admin": true } }))
}

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|s| s.parse().ok()).unwrap_or(0);
        let header = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_lowercase(), v.to_owned()));
        Self { status, headers: lines.filter_map(header).collect(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The sentence of a refusal.
    pub(crate) fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// A signalling client that speaks JSON.
pub(crate) struct Client {
    pub(crate) socket: Socket,
    next_id: u32,
}

impl Client {
    /// Sends a message without waiting.
    pub(crate) async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    /// Sends a request and waits for its reply.
    pub(crate) async fn request(&mut self, mut body: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        body["id"] = id.into();
        self.send(body).await;
        loop {
            let message = self.next().await.expect("a reply comes");
            if message["replyTo"] == id {
                return message;
            }
        }
    }

    /// The code of the error with which a request fails.
    pub(crate) async fn refusal(&mut self, body: Value) -> String {
        let reply = self.request(body).await;
        let error = reply.get("error").unwrap_or_else(|| panic!("not refused: {reply}"));
        assert!(error["message"].as_str().unwrap().ends_with('.'), "a sentence helps: {error}");
        error["code"].as_str().unwrap().to_owned()
    }

    /// The next message; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("something comes in time")? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The body of the next message of this kind.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        self.expect_where(kind, |_| true).await
    }

    /// The body of the next message of this kind that fits.
    pub(crate) async fn expect_where(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("{kind} never came"));
            if let Some(body) = message.get(kind)
                && fits(body)
            {
                return body.clone();
            }
        }
    }

    /// Goes away without a word, as when the network fails.
    pub(crate) fn vanish(self) {
        drop(self.socket);
    }

    /// Closes as a page does that is left.
    pub(crate) async fn close(mut self) {
        let frame = CloseFrame { code: CloseCode::Away, reason: "".into() };
        let _ = self.socket.close(Some(frame)).await;
    }
}
