//! A server that the bench starts itself, for trying out.

use anyhow::{Context, Result, bail};
use sfu_net::affinity;
use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the server may take to answer its first request.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Ports that are tried until one is free for UDP and TCP.
const PORTS: usize = 50;
/// Lines of its log that are shown where it does not start.
const LOG_LINES: usize = 10;

/// A running `sfu --dev` with one worker; it ends with this value.
pub struct ServerProcess {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl ServerProcess {
    /// Starts `program` on free ports, pinned to `cpu`, and waits until it answers.
    ///
    /// # Errors
    /// Where there is no such program, or it does not answer; with what it said.
    pub async fn start(program: &Path, cpu: usize) -> Result<Self> {
        let (port, media) = (free_tcp_port()?, free_media_port()?);
        let log = std::env::temp_dir().join(format!("sfu-bench-{}-{port}.log", std::process::id()));
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        command
            .args(["--dev", "--workers", "1", "--log", "warn"])
            .args(["--http-port", &port.to_string(), "--media-port", &media.to_string()])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        // A child inherits the affinity of the thread that starts it.
        let spawned = std::thread::spawn(move || {
            affinity::pin_current_thread(cpu)?;
            command.spawn()
        });
        let spawned = spawned.join().map_err(|_| anyhow::anyhow!("the thread that starts the server panicked"))?;
        let child = match spawned {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("there is no {}; build it with `cargo build --release`, or name it by --sfu", program.display())
            }
            other => other.with_context(|| format!("cannot start {} on CPU {cpu}", program.display()))?,
        };
        let mut server = Self { child, port, log };
        server.wait_until_it_answers().await?;
        Ok(server)
    }

    /// URL of its signalling.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    async fn wait_until_it_answers(&mut self) -> Result<()> {
        let end = Instant::now() + START_LIMIT;
        let health = format!("http://127.0.0.1:{}/healthz", self.port);
        while sfu_client::signal::fetch(&health).await.is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() >= end {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                let lines: Vec<_> = said.trim().lines().collect();
                bail!("the server does not start: {}", lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended by itself, and its log may be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}

fn free_tcp_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A port that is free for UDP and TCP.
fn free_media_port() -> Result<u16> {
    for _ in 0..PORTS {
        let port = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.local_addr()?.port();
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free for UDP and TCP")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(program: &Path) -> String {
        let cpu = affinity::allowed_cpus()[0];
        ServerProcess::start(program, cpu).await.err().expect("no server").to_string()
    }

    #[tokio::test]
    async fn what_is_no_server_is_named() {
        assert!(refusal(Path::new("/no/such/sfu")).await.contains("--sfu"));
        let said = refusal(Path::new("/bin/false")).await;
        assert!(said.contains("does not start"), "{said}");
    }
}
