//! `sfu-client` as a program, and a server that it can only reach through a relay.

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use sfu_system_tests::{Background, Relay, Scenario, Server, binary, list};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The server, and where everybody is told that its media is: the relay lies between.
const BEHIND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const BEFORE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A server with these settings, and the relay before it.
pub(crate) fn server_behind_relay<'a>(scenario: &Scenario, settings: &[(&'a str, &'a str)]) -> Result<(Server, Relay)> {
    let (behind, before) = (BEHIND.to_string(), BEFORE.to_string());
    let places = [("SFU_MEDIA__BIND", &*behind), ("SFU_MEDIA__NODE_IPS", &*before), ("SFU_HTTP__BIND", &*behind)];
    let server = Server::start_configured(scenario.name(), 1, &[settings, &places].concat())?;
    let port = server.media_port();
    let relay = Relay::between((BEFORE, port).into(), (BEHIND, port).into())?;
    Ok((server, relay))
}

/// What the video of a report is.
pub(crate) fn video(report: &Value) -> Option<&Value> {
    list(report, "streams").iter().find(|stream| stream["kind"] == "video")
}

/// What a client has told, by the time of the day.
pub(crate) type Told = Vec<(Duration, Value)>;

/// A running `sfu-client`.
pub(crate) struct Client {
    program: Background,
    told: Arc<Mutex<Told>>,
    reading: JoinHandle<()>,
}

impl Client {
    pub(crate) fn start(arguments: &[&str]) -> Result<Self> {
        let mut program = Command::new(binary("sfu-client")?)
            .args(arguments)
            .arg("--json")
            .stdout(Stdio::piped())
            .spawn()
            .context("starting sfu-client")?;
        let lines = BufReader::new(program.stdout.take().context("it prints")?).lines();
        let told = Arc::<Mutex<Told>>::default();
        let heard = Arc::clone(&told);
        let reading = std::thread::spawn(move || {
            for report in lines.map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok()) {
                let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                heard.lock().unwrap_or_else(PoisonError::into_inner).push((at, report));
            }
        });
        Ok(Self { program: Background(program), told, reading })
    }

    /// Its newest report; null before there is any.
    pub(crate) fn newest(&self) -> Value {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.last().map_or(Value::Null, |(_, report)| report.clone())
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Result<Told> {
        drop(self.program);
        self.reading.join().map_err(|_| anyhow!("reading failed"))?;
        Ok(std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
