//! The UDP relay of netsim as a child process.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

use crate::programs::binary;

/// A running `netsim relay` on loopback; it ends with this value.
#[derive(Debug)]
pub struct Relay {
    child: Child,
    control: ChildStdin,
    port: u16,
}

impl Relay {
    /// Relays a free port to `server_port`.
    pub fn start(server_port: u16) -> Result<Self> {
        let mut child = Command::new(binary("netsim")?)
            .args(["relay", "--exit-on-eof", "--to", &format!("127.0.0.1:{server_port}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the relay")?;
        let control = child.stdin.take().context("the relay takes lines")?;
        let mut first = String::new();
        BufReader::new(child.stdout.take().context("the relay prints lines")?).read_line(&mut first)?;
        let port = first.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        let port = port.with_context(|| format!("no port in the relay's first line: {first}"))?;
        Ok(Relay { child, control, port })
    }

    /// Where clients send to, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on the server sees every client at another port.
    pub fn change_ports(&mut self) -> Result<()> {
        writeln!(self.control, "port").context("the relay has ended")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
