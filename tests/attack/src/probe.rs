//! What is watched while an attack runs: the server's memory and sockets, and how long well-behaved clients wait.

use crate::client::{Socket, Target, hear, say};
use anyhow::{Context, Result};
use serde_json::json;
use sfu_bench::measure::process::ProcessSample;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// How often memory and descriptors are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Pause between two joins of the newcomer, far below the rate that one address may have.
const JOIN_EVERY: Duration = Duration::from_millis(300);
/// Pause between two pings of the bystander.
const PING_EVERY: Duration = Duration::from_millis(50);
/// What is not answered counts as so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// A task that finds the largest of what it sees, until it is asked for it.
pub(crate) struct Watcher {
    stop: oneshot::Sender<()>,
    task: JoinHandle<f64>,
}

impl Watcher {
    fn start<F: Future<Output = f64> + Send>(pause: Duration, mut look: impl FnMut() -> F + Send + 'static) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut largest: f64 = 0.0;
            loop {
                largest = largest.max(look().await);
                tokio::select! {
                    () = sleep(pause) => {}
                    _ = &mut stopped => return largest,
                }
            }
        });
        Self { stop, task }
    }

    /// The largest of what was seen.
    pub(crate) async fn end(self) -> Result<f64> {
        // The task ends only after this.
        let _ = self.stop.send(());
        Ok(self.task.await?)
    }
}

/// Watches by how much a figure of a process grows.
pub(crate) struct Growth {
    before: u64,
    largest: Watcher,
}

impl Growth {
    /// Of what `read` tells of process `pid`, from now on.
    pub(crate) fn start(pid: u32, read: fn(u32) -> Result<u64>) -> Result<Self> {
        let look = move || async move { read(pid).map_or(0.0, |value| value as f64) };
        Ok(Self { before: read(pid)?, largest: Watcher::start(LOOK_EVERY, look) })
    }

    /// The most by which it had grown.
    pub(crate) async fn end(self) -> Result<u64> {
        Ok((self.largest.end().await? as u64).saturating_sub(self.before))
    }
}

/// Resident memory of process `pid` now, in bytes.
pub(crate) fn rss(pid: u32) -> Result<u64> {
    Ok(ProcessSample::read(pid).context("the server's memory cannot be read")?.rss)
}

/// Descriptors that process `pid` has open now: one for each connection that it has accepted, in whatever state.
pub(crate) fn descriptors(pid: u32) -> Result<u64> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).context("the server's descriptors cannot be read")?;
    Ok(open.count() as u64)
}

/// A client that comes anew again and again, and joins a room of its own; in milliseconds.
pub(crate) fn newcomer(target: Arc<Target>) -> Watcher {
    Watcher::start(JOIN_EVERY, move || {
        let target = Arc::clone(&target);
        async move { served(target.join("newcomers", json!({}))).await }
    })
}

/// A participant of a room that nobody attacks, who pings; in milliseconds.
pub(crate) async fn bystander(target: &Target) -> Result<Watcher> {
    let socket = Arc::new(tokio::sync::Mutex::new(target.join("bystanders", json!({})).await?.0));
    Ok(Watcher::start(PING_EVERY, move || {
        let socket = Arc::clone(&socket);
        async move { served(ping(&mut *socket.lock().await)).await }
    }))
}

async fn ping(socket: &mut Socket) -> Result<()> {
    say(socket, &json!({ "id": 2, "ping": {} })).await?;
    while hear(socket).await?.get("pong").is_none() {}
    Ok(())
}

/// How long it took in milliseconds, with or without success within the time that anybody would wait.
async fn served<T>(request: impl Future<Output = Result<T>>) -> f64 {
    let begun = Instant::now();
    let served = matches!(timeout(PATIENCE, request).await, Ok(Ok(_)));
    let took = if served { begun.elapsed() } else { PATIENCE };
    took.as_secs_f64() * 1e3
}
