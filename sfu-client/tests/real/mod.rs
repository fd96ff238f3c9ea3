//! The real server as a child process.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long the server may take to answer its first request.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running `sfu --dev`; it ends with this value.
pub(crate) struct Server {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Server {
    /// Starts the server on free ports.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_with(name, 1, &[])
    }

    /// Starts it with so many workers and these environment variables.
    pub(crate) fn start_with(name: &str, workers: usize, variables: &[(&str, &str)]) -> Self {
        let folder = root().join("test-results");
        fs::create_dir_all(&folder).unwrap();
        let log = folder.join(format!("client-{name}.log"));
        let output = File::create(&log).unwrap();
        let (port, media) = (free_tcp_port(), free_media_port());
        let child = Command::new(server_program())
            .args(["--dev", "--workers", &workers.to_string()])
            .envs(variables.iter().copied())
            .args(["--http-port", &port.to_string(), "--media-port", &media.to_string()])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut server = Self { child, port, log };
        let end = Instant::now() + START_LIMIT;
        while server.get("/healthz").is_none() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "the server does not start: {}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Its URL with a scheme and a path.
    pub(crate) fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://127.0.0.1:{}{path}", self.port)
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A response with status 200.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        self.request("GET", path, "", "", "200")
    }

    /// The body of a response with this status. `fields` are further ones of the head.
    pub(crate) fn request(&self, method: &str, path: &str, fields: &str, body: &str, status: &str) -> Option<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        let fields = format!("{fields}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all([&head, &fields, body].concat().as_bytes()).ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        let (head, body) = response.split_once("\r\n\r\n")?;
        head.starts_with(&format!("HTTP/1.1 {status}")).then(|| body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The server's program; built first, so that the test neither skips nor runs a stale one. `SFU_BINARIES` names a
/// folder to take it from instead.
pub(crate) fn server_program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        if let Some(folder) = std::env::var_os("SFU_BINARIES") {
            return PathBuf::from(folder).join("sfu");
        }
        build(&[]);
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
        target.join("debug/sfu")
    };
    PROGRAM.get_or_init(build).clone()
}

/// Has cargo build the programs, all together as the other tests do: by themselves they would have other features, and so
/// be built once more.
pub(crate) fn build(what: &[&str]) {
    const PROGRAMS: [&str; 8] = ["-p", "sfu", "-p", "sfu-client", "-p", "sfu-bench", "-p", "netsim"];
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo says of this test would make it build again whatever asks for that, such as ring.
    let of_test = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    std::env::vars().map(|(name, _)| name).filter(|name| of_test(name)).for_each(|name| {
        cargo.env_remove(name);
    });
    let built = cargo.args(["build", "--locked"]).args(PROGRAMS).args(what).current_dir(root()).status().unwrap();
    assert!(built.success(), "the programs do not build");
}

fn free_tcp_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A port that is free for UDP and TCP.
fn free_media_port() -> u16 {
    let any = (Ipv4Addr::UNSPECIFIED, 0);
    let mut sockets = (0..50).map(|_| UdpSocket::bind(any).unwrap().local_addr().unwrap().port());
    sockets.find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()).expect("a free port")
}
