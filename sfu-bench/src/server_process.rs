//! A server that the bench starts itself, for trying out.

use anyhow::{Context, Result, bail};
use sfu_net::affinity;
use std::fs::File;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Lines of its log that are shown where it does not start.
const LOG_LINES: usize = 10;

/// A running `sfu` with one worker; it ends with this value.
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl ServerProcess {
    /// Starts `program`, pinned to `cpu`, and waits until it listens. `admission` are the arguments that say whom it
    /// admits, such as `--dev`. The system chooses the ports, so that nobody can take them in the meantime.
    ///
    /// # Errors
    /// Where there is no such program, or it does not listen; with what it said.
    pub async fn start(program: &Path, cpu: usize, admission: &[&str]) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let log = std::env::temp_dir().join(format!("sfu-bench-{}-{number}.log", std::process::id()));
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        command
            .args(admission)
            .args(["--workers", "1", "--log", "warn", "--http-port", "0", "--media-port", "0"])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        // A child inherits the affinity of the thread that starts it.
        let spawned = std::thread::spawn(move || {
            affinity::pin_current_thread(cpu)?;
            command.spawn()
        });
        let spawned = spawned.join().map_err(|_| anyhow::anyhow!("the thread that starts the server panicked"))?;
        if spawned.is_err() {
            // Nobody has written to it.
            let _ = std::fs::remove_file(&log);
        }
        let child = match spawned {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("there is no {}; build it with `cargo build --release`, or name it by --sfu", program.display())
            }
            other => other.with_context(|| format!("cannot start {} on CPU {cpu}", program.display()))?,
        };
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), log };
        server.wait_until_it_listens().await?;
        Ok(server)
    }

    /// URL of its signalling.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    async fn wait_until_it_listens(&mut self) -> Result<()> {
        let end = Instant::now() + START_LIMIT;
        loop {
            let over = self.child.try_wait()?.is_some() || Instant::now() >= end;
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            if let Some(address) = signalling(&said) {
                self.address = address;
                return Ok(());
            }
            if over {
                let lines: Vec<_> = said.trim().lines().collect();
                bail!("the server does not start: {}", lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Where the server says that its signalling is; the last line may not be whole yet.
fn signalling(said: &str) -> Option<SocketAddr> {
    let (whole, _) = said.rsplit_once('\n')?;
    let line = whole.lines().find(|line| line.contains("signalling"))?;
    line.rsplit_once("://")?.1.trim().parse().ok()
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended by itself, and its log may be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(program: &Path) -> String {
        let cpu = affinity::allowed_cpus()[0];
        ServerProcess::start(program, cpu, &[]).await.err().expect("no server").to_string()
    }

    #[tokio::test]
    async fn what_is_no_server_is_named() {
        assert!(refusal(Path::new("/no/such/sfu")).await.contains("--sfu"));
        let said = refusal(Path::new("/bin/false")).await;
        assert!(said.contains("does not start"), "{said}");
    }

    #[test]
    fn the_address_is_read_from_a_whole_line() {
        let said = "sfu 0.1.0 listens:\n  page, signalling, WHIP, WHEP   http://127.0.0.1:4711";
        assert_eq!(signalling(said), None, "there may be digits to come");
        assert_eq!(signalling(&format!("{said}\n  media")), Some(SocketAddr::from(([127, 0, 0, 1], 4711))));
    }
}
