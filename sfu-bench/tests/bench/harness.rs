//! A server under test, the load tester as a child process, and what it found.

use serde_json::Value;
use sfu_bench::result::RunResult;
use sfu_bench::server_process::ServerProcess;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Long enough for a machine that has other things to do; a test that waits so long fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program under test.
const BENCH: &str = env!("CARGO_BIN_EXE_sfu-bench");

/// The server's program, which cargo puts beside ours.
pub(crate) fn server_program() -> PathBuf {
    let program = Path::new(BENCH).with_file_name("sfu");
    assert!(program.is_file(), "there is no {}: build it first, with `cargo build -p sfu`", program.display());
    program
}

/// A server that runs, on loopback only; it ends with this value.
pub(crate) struct Server(ServerProcess);

impl Server {
    /// A server that admits everybody.
    pub(crate) async fn start() -> Self {
        Self::admitting(&["--dev"]).await
    }

    /// A server that admits those of whom `admission` says so.
    pub(crate) async fn admitting(admission: &[&str]) -> Self {
        let cpu = sfu_net::affinity::allowed_cpus()[0];
        let arguments = [admission, &["--bind", "127.0.0.1"]].concat();
        Self(ServerProcess::start(&server_program(), cpu, &arguments).await.unwrap())
    }

    /// Where its signalling is.
    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    /// Where its HTTP interfaces are.
    pub(crate) fn http(&self) -> String {
        self.url().replacen("ws", "http", 1)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Sends a signal, such as "TERM".
    pub(crate) async fn signal(&self, name: &str) {
        signal(self.pid(), name).await;
    }

    /// Waits until a metric, summed over its labels, is as wanted.
    pub(crate) async fn wait_until(&self, metric: &str, wanted: impl Fn(f64) -> bool) {
        let url = format!("{}/metrics", self.http());
        let reached = async {
            while !wanted(sum(&sfu_client::signal::fetch(&url).await.unwrap(), metric)) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{metric} is not as wanted"));
    }
}

async fn signal(pid: u32, name: &str) {
    // The shell's own: a small machine has no program of this name.
    let kill = format!("kill -{name} {pid}");
    assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
}

/// Sum of a metric's samples; panics where there is none.
fn sum(metrics: &str, name: &str) -> f64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let value = rest.split_once("} ").map_or(rest, |(_, value)| value);
        value.trim().parse::<f64>().ok()
    };
    metrics.lines().filter_map(value).reduce(|sum, value| sum + value).expect("the server has the metric")
}

/// A folder that is gone when the test ends, for files with plain names.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The load tester at work.
pub(crate) struct Bench(Child);

impl Bench {
    /// Starts it with arguments that are parted by spaces; files are those of the current folder.
    pub(crate) fn start(arguments: &str) -> Self {
        Self::start_in(Path::new("."), arguments)
    }

    /// Starts it in a folder of its own.
    pub(crate) fn start_among(folder: &Folder, arguments: &str) -> Self {
        Self::start_in(&folder.0, arguments)
    }

    fn start_in(folder: &Path, arguments: &str) -> Self {
        let child = Command::new(BENCH)
            .args(arguments.split_whitespace())
            .env_remove("SFU_TOKEN")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        Self(child.unwrap())
    }

    /// Presses Ctrl-C.
    pub(crate) async fn interrupt(&self) {
        signal(self.0.id().expect("it has not been waited for"), "INT").await;
    }

    /// Waits until it has ended.
    pub(crate) async fn end(self) -> Ended {
        let output = timeout(PATIENCE, self.0.wait_with_output()).await.expect("it ends by itself").unwrap();
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        Ended { success: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) success: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// The result that was printed as JSON, which must be one that `compare` reads.
    pub(crate) fn result(&self) -> Found {
        let read: Result<RunResult, _> = serde_json::from_str(&self.out);
        assert!(read.is_ok(), "{}: {self:?}", read.unwrap_err());
        Found(serde_json::from_str(&self.out).unwrap())
    }

    /// The result of a run that came to its end.
    pub(crate) fn complete(&self) -> Found {
        assert!(self.success, "{self:?}");
        let found = self.result();
        assert_eq!(found.get("ended_early"), Value::Null, "{self:?}");
        found
    }
}

/// A result by the names that it has in JSON.
pub(crate) struct Found(Value);

impl Found {
    /// What stands at a path such as `server.rss`.
    pub(crate) fn get(&self, path: &str) -> Value {
        let at = format!("/{}", path.replace('.', "/"));
        self.0.pointer(&at).unwrap_or_else(|| panic!("no {path} in {self}")).clone()
    }

    pub(crate) fn number(&self, path: &str) -> f64 {
        self.get(path).as_f64().unwrap_or_else(|| panic!("{path} is no number in {self}"))
    }

    pub(crate) fn text(&self, path: &str) -> String {
        self.get(path).as_str().unwrap_or_else(|| panic!("{path} is no text in {self}")).to_owned()
    }

    pub(crate) fn assert_zero(&self, paths: &[&str]) {
        for path in paths {
            assert_eq!(self.number(path), 0.0, "{path} in {self}");
        }
    }

    /// Everybody was admitted and connected, and nothing was lost, doubled or strange.
    pub(crate) fn assert_flawless(&self) {
        self.assert_zero(&["join_failures", "connection_failures", "loss", "skipped", "audio_loss"]);
        self.assert_zero(&["duplicates", "foreign"]);
    }

    /// Each packet went to so many, as nearly as can be said with packets under way when the measuring begins and ends.
    pub(crate) fn assert_fan_out(&self, subscribers: u32) {
        let ratio = self.number("packets_out") / self.number("packets_in");
        assert_eq!(ratio.round(), f64::from(subscribers), "each packet goes to so many: {self}");
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}
