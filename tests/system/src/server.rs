//! The server as a child process.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::programs::{binary, run_to_end};
use crate::scenario::results_folder;

/// How long the server may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// A running `sfu --dev`; it ends with this value.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    command: Command,
    http: u16,
    media: u16,
}

impl Server {
    /// Starts the server with two workers on free ports; its log goes to `test-results/NAME.log`.
    pub fn start(name: &str) -> Result<Self> {
        Self::start_with(name, 2)
    }

    /// The same with another number of workers.
    pub fn start_with(name: &str, workers: usize) -> Result<Self> {
        Self::start_configured(name, workers, &[])
    }

    /// The same with settings, as the environment names them (`SFU_QOS__PLANNER`).
    pub fn start_configured(name: &str, workers: usize, settings: &[(&str, &str)]) -> Result<Self> {
        let (http, media) = (free_tcp_port()?, free_media_ports()?);
        let log = File::create(results_folder()?.join(format!("{name}.log")))?;
        let mut command = Command::new(binary("sfu")?);
        command
            .args(["--dev", "--http-port", &http.to_string(), "--media-port", &media.to_string()])
            .args(["--workers", &workers.to_string()])
            .envs(settings.iter().copied())
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn().context("starting the server")?;
        let mut server = Server { name: name.to_owned(), child, command, http, media };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    /// Ends it by a signal (as `kill` takes it) and starts it again on the same ports; it remembers nothing.
    pub fn restart(&mut self, signal: &str) -> Result<()> {
        // The shell's own: a small machine has no program of this name.
        let sent = Command::new("sh").args(["-c", &format!("kill {signal} {}", self.child.id())]).status()?;
        ensure!(sent.success(), "the server has ended before");
        self.child.wait()?;
        self.child = self.command.spawn().context("starting the server again")?;
        self.wait_until_it_answers()
    }

    /// A token for any room, with further arguments of `sfu token`.
    pub fn token(&self, arguments: &[&str]) -> Result<String> {
        let output = run_to_end("sfu", &[&["token", "--dev", "--room", "*"], arguments].concat())?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Where the page and the HTTP interfaces are.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// The first UDP port for media; worker `n` has this port plus `n`.
    pub fn media_port(&self) -> u16 {
        self.media
    }

    /// Packets that all workers together dropped for this reason, as /metrics names it.
    pub fn dropped(&self, reason: &str) -> Result<u64> {
        self.sum("sfu_dropped_packets_total", &format!("reason=\"{reason}\""))
    }

    /// Rounds of all workers in which something that was received went on late.
    pub fn late_rounds(&self) -> Result<u64> {
        self.sum("sfu_worker_late_rounds_total", "")
    }

    /// A metric of all workers together.
    pub fn total(&self, name: &str) -> Result<u64> {
        self.sum(name, "")
    }

    /// The samples of a metric that have this label, together.
    fn sum(&self, name: &str, label: &str) -> Result<u64> {
        let metrics = self.get("/metrics")?;
        let samples = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        let counts: Vec<&str> =
            samples.filter(|line| line.contains(label)).filter_map(|line| line.rsplit(' ').next()).collect();
        ensure!(!counts.is_empty(), "no worker tells of {name} {label}");
        Ok(counts.into_iter().map(str::parse::<u64>).sum::<Result<u64, _>>()?)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at once: {status}; see its log in test-results");
            }
            if self.is_healthy() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the server does not answer on {}", self.url())
    }

    fn is_healthy(&self) -> bool {
        self.get("/healthz").is_ok_and(|reply| reply.starts_with("HTTP/1.1 200"))
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http))?;
        stream.set_read_timeout(Some(START_PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply)
    }

    /// What the server counted goes to `test-results/NAME.metrics`, beside its log.
    fn keep_metrics(&self) -> Result<()> {
        std::fs::write(results_folder()?.join(format!("{}.metrics", self.name)), self.get("/metrics")?)?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that ended the server itself has nothing to keep.
        let _ = self.keep_metrics();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_tcp_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A port whose neighbour is free too, for two workers, and which is free for TCP as well.
fn free_media_ports() -> Result<u16> {
    for _ in 0..50 {
        let first = UdpSocket::bind(("0.0.0.0", 0))?;
        let port = first.local_addr()?.port();
        let Some(next) = port.checked_add(1) else { continue };
        if UdpSocket::bind(("0.0.0.0", next)).is_ok() && TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no two neighbouring ports are free")
}
