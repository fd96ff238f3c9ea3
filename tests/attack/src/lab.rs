//! The server under attack, the call on it, the attacker, and the judgement.

use crate::attacks::{Attack, Effort};
use crate::client::{Address, Target};
use crate::probe::{self, Growth};
use crate::row::Row;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sfu_net::affinity;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How long the server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);
/// From the start of the call's program to the time that is measured: its joins, and its own pause after them.
const SETTLE: Duration = Duration::from_secs(3);
/// The call's measured time goes on for so long after the attack.
const AFTER: Duration = Duration::from_secs(1);
/// What one may hold who has not joined ...
const MOST_UNJOINED: u64 = 64 * 1024;
/// ... and who has.
const MOST_JOINED: u64 = 1024 * 1024;
/// Memory that a server takes for its own ends under any load: pools, stacks of threads, the allocator's reserve.
const SLACK: u64 = 8_000_000;
/// The call's p99 may grow so many times.
const MOST_SLOWER: f64 = 3.0;
/// A newcomer may be served so much later than on the quiet server.
const MOST_DELAY_MS: f64 = 100.0;

/// Where the attacker's connections come from: another address than everybody else's.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 65);

/// Where attacks are tried.
pub(crate) struct Lab {
    binaries: PathBuf,
    folder: PathBuf,
    seconds: Duration,
    /// Of the server ...
    server_cpu: usize,
    /// ... and of everybody else.
    others_cpu: usize,
}

/// A running server; it ends with this value.
struct Server {
    child: Child,
    address: Address,
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Whoever wants the server's log looks while the program runs.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Lab {
    /// A lab with a certificate and a configuration of its own.
    pub(crate) fn new(binaries: &Path, seconds: Duration) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("sfu-attack-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let cpus = affinity::allowed_cpus();
        let [server_cpu, .., others_cpu] = cpus[..] else { bail!("the server and the others need a processor each") };
        let lab = Self { binaries: fs::canonicalize(binaries)?, folder, seconds, server_cpu, others_cpu };
        for program in ["sfu", "sfu-bench"].map(|name| lab.program(name)) {
            ensure!(program.is_file(), "there is no {}; scripts/attack builds it", program.display());
        }
        lab.make_certificate()?;
        let at = |name: &str| lab.folder.join(name).display().to_string();
        let config = format!(
            "[http]\nbind = \"127.0.0.1\"\nport = 0\ntls_cert = \"{}\"\ntls_key = \"{}\"\n\
             [media]\nbind = \"127.0.0.1\"\nudp_port = 0\ntcp_port = 0\nworkers = 1\n\
             [limits]\nexempt_addresses = [\"127.0.0.1/32\"]\n\
             [auth.keys]\nattack = \"a-secret-for-the-attack-lab-only-32\"\n",
            at("cert.pem"),
            at("key.pem")
        );
        fs::write(lab.folder.join("sfu.toml"), config)?;
        Ok(lab)
    }

    fn program(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    fn make_certificate(&self) -> Result<()> {
        let status = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(&self.folder)
            .stderr(Stdio::null())
            .status()
            .context("openssl cannot be started; scripts/attack installs it")?;
        ensure!(status.success(), "openssl made no certificate");
        Ok(())
    }

    /// The call without an attack: of three runs the one with the middle p99, since one late wake-up makes a p99 of few
    /// seconds.
    pub(crate) async fn quiet(&self) -> Result<Row> {
        let mut rows = Vec::new();
        for _ in 0..3 {
            let row = self.measure(None).await?;
            ensure!(row.faults.is_empty(), "the call fails without an attack: {}", row.faults.join(", "));
            rows.push(row);
        }
        rows.sort_by(|a, b| a.p99_ms.total_cmp(&b.p99_ms));
        Ok(rows.swap_remove(1))
    }

    /// The call under an attack, judged beside the quiet one.
    pub(crate) async fn attacked(&self, attack: &Attack, quiet: &Row) -> Result<Row> {
        let mut row = self.measure(Some(attack.name)).await?;
        if row.memory > row.memory_allowed {
            row.faults.push("the server's memory grew more than attackers may hold".to_owned());
        }
        if row.loss > 0.0 {
            row.faults.push("packets of the call were lost or left out".to_owned());
        }
        if row.p99_ms > MOST_SLOWER * quiet.p99_ms {
            row.faults.push(format!("the call's p99 grew to {:.1} times its quiet value", row.p99_ms / quiet.p99_ms));
        }
        if row.newcomer_ms > quiet.newcomer_ms + MOST_DELAY_MS {
            row.faults.push("a well-behaved newcomer had to wait".to_owned());
        }
        if let Some(most) = attack.most_ping_ms.filter(|most| row.ping_ms > quiet.ping_ms + most) {
            row.faults.push(format!("a bystander's ping took more than {most} ms longer"));
        }
        if let Some(most) = attack.most_cores.filter(|most| row.cores > quiet.cores + most) {
            row.faults.push(format!("it cost the server more than {most} of a core"));
        }
        Ok(row)
    }

    /// A fresh server with a call on it, and an attack while the call is measured.
    async fn measure(&self, attack: Option<&str>) -> Result<Row> {
        let server = self.start_server().await?;
        let pid = server.child.id().context("the server has ended")?;
        let call = self.start_call(&server, pid)?;
        // Once the call stands, everything that the server needs for it is there.
        sleep(SETTLE).await;
        let (memory, connections) = (Growth::start(pid, probe::rss)?, Growth::start(pid, probe::descriptors)?);
        let bystanders =
            Address { token: self.token("bystander")?, source: Ipv4Addr::LOCALHOST.into(), ..server.address.clone() };
        let bystanders = Arc::new(Target::new(bystanders)?);
        let waits = (probe::newcomer(Arc::clone(&bystanders)), probe::bystander(&bystanders).await?);
        let effort = match attack {
            Some(name) => self.attack(name, &server.address).await,
            None => {
                sleep(self.seconds).await;
                Ok(Effort::default())
            }
        };
        let (memory, connections) = (memory.end().await?, connections.end().await?);
        let (newcomer_ms, ping_ms) = (waits.0.end().await?, waits.1.end().await?);
        let figures = figures(call).await?;
        let effort = effort.with_context(|| format!("the server's last words: {}", self.last_words()))?;
        let number = |path: &str| {
            let number = figures.pointer(path).and_then(Value::as_f64).filter(|number| number.is_finite());
            number.with_context(|| format!("the call's figures lack {path}"))
        };
        let mut faults = effort.faults;
        if number("/packets_out")? <= 0.0 || number("/connection_failures")? > 0.0 {
            faults.push("the call itself broke".to_owned());
        }
        ensure!(
            number("/latency_ms/count")? > 0.0 && number("/audio_latency_ms/count")? > 0.0,
            "no latency was measured"
        );
        Ok(Row {
            name: attack.unwrap_or("(quiet)").to_owned(),
            effort: effort.text,
            memory,
            memory_allowed: SLACK + (connections + effort.unconnected) * MOST_UNJOINED + effort.joined * MOST_JOINED,
            loss: number("/loss")?.max(number("/audio_loss")?).max(number("/skipped")?),
            p99_ms: number("/latency_ms/p99")?.max(number("/audio_latency_ms/p99")?),
            newcomer_ms,
            ping_ms,
            cores: number("/server/cores")?,
            faults,
        })
    }

    async fn start_server(&self) -> Result<Server> {
        let log = self.folder.join("server.log");
        let output = File::create(&log)?;
        let mut command = Command::new(self.program("sfu"));
        command.arg("--config").arg(self.folder.join("sfu.toml")).stdout(output.try_clone()?).stderr(output);
        let mut child = spawn_on(command, self.server_cpu)?;
        let token = self.token("attacker")?;
        let end = Instant::now() + START_LIMIT;
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if let Some((https, tcp)) = addresses(&said) {
                let certificate = self.folder.join("cert.pem");
                let (bench, source) = (self.program("sfu-bench"), ATTACKER.into());
                let address = Address { https, source, tcp, token, certificate, log, bench };
                return Ok(Server { child, address });
            }
            if child.try_wait()?.is_some() || Instant::now() > end {
                bail!("the server does not start: {said}");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// An invitation to any room; one of another name is another token.
    fn token(&self, name: &str) -> Result<String> {
        let mut command = std::process::Command::new(self.program("sfu"));
        command.args(["token", "--room", "*", "--name", name, "--config"]).arg(self.folder.join("sfu.toml"));
        let output = command.output()?;
        ensure!(output.status.success(), "no token: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Three rooms of four with audio and video.
    fn start_call(&self, server: &Server, pid: u32) -> Result<Child> {
        let seconds = (self.seconds + AFTER).as_secs().to_string();
        let mut command = Command::new(self.program("sfu-bench"));
        command
            .args(["run", "--server", &format!("wss://localhost:{}", server.address.https.port())])
            .args(["--rooms", "3", "--publishers", "4", "--subscribers", "0", "--mesh", "--bitrate", "500000"])
            .args(["--settle", "2", "--duration", &seconds, "--server-pid", &pid.to_string(), "--json"])
            .args(["--cpus", &self.others_cpu.to_string()])
            .env("SFU_TOKEN", self.token("call")?)
            .env("SSL_CERT_FILE", self.folder.join("cert.pem"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        spawn_on(command, self.others_cpu)
    }

    /// Runs an attack in a process of its own.
    async fn attack(&self, name: &str, address: &Address) -> Result<Effort> {
        let mut command = Command::new("nice");
        command
            .args(["-n", "19"])
            .arg(std::env::current_exe()?)
            .args(["--seconds", &self.seconds.as_secs().to_string()])
            .args(["--attacker", name, &serde_json::to_string(address)?])
            .env("SSL_CERT_FILE", self.folder.join("cert.pem"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = spawn_on(command, self.others_cpu)?.wait_with_output().await?;
        let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        eprint!("{complaint}");
        serde_json::from_str(&said).with_context(|| format!("the attack {name} could not be made: {complaint}"))
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// Starts a program, which ends with the value. A child inherits the affinity of the thread that starts it.
fn spawn_on(mut command: Command, cpu: usize) -> Result<Child> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let runtime = tokio::runtime::Handle::current();
    let spawned = std::thread::spawn(move || {
        let _runtime = runtime.enter();
        affinity::pin_current_thread(cpu)?;
        command.spawn()
    });
    let child = spawned.join().map_err(|_| anyhow::anyhow!("the thread that starts a program panicked"))?;
    child.context("a program cannot be started")
}

async fn figures(call: Child) -> Result<Value> {
    let output = call.wait_with_output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| format!("the call gave no figures: {text}"))
}

/// Addresses of HTTPS and of ICE-TCP, from what the server announces.
fn addresses(said: &str) -> Option<(SocketAddr, SocketAddr)> {
    let https = said.lines().find_map(|line| line.split_once("https://"))?.1.trim().parse().ok()?;
    let media = said.lines().find_map(|line| line.split_once(" and TCP "))?.1;
    let port = media.split_whitespace().next()?.parse().ok()?;
    Some((https, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announcement_is_read() {
        let said = "sfu 0.1.0 listens:\n  page, signalling, WHIP, WHEP   https://127.0.0.1:45589\n  \
                    media                          UDP 60853 and TCP 46821 at 127.0.0.1\n";
        let (https, tcp) = addresses(said).unwrap();
        assert_eq!((https.port(), tcp.port()), (45_589, 46_821));
        assert_eq!(addresses("sfu 0.1.0 listens:\n"), None);
    }
}
