//! The UDP relay of netsim as a child process.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

use crate::programs::binary;

/// A running `netsim relay` on this machine; it ends with this value.
#[derive(Debug)]
pub struct Relay {
    child: Child,
    control: ChildStdin,
    address: SocketAddr,
}

impl Relay {
    /// Relays a free port to `server_port`.
    pub fn start(server_port: u16) -> Result<Self> {
        Self::between((own_address(), 0).into(), (Ipv4Addr::LOCALHOST, server_port).into())
    }

    /// Relays what clients send to `listen`, to `server`.
    pub fn between(listen: SocketAddr, server: SocketAddr) -> Result<Self> {
        let mut child = Command::new(binary("netsim")?)
            .args(["relay", "--exit-on-eof", "--local-interfaces", "--to", &server.to_string()])
            .args(["--listen", &listen.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the relay")?;
        let control = child.stdin.take().context("the relay takes lines")?;
        let mut first = String::new();
        BufReader::new(child.stdout.take().context("the relay prints lines")?).read_line(&mut first)?;
        let address = first.split_whitespace().next_back().and_then(|address| address.parse().ok());
        let address = address.with_context(|| format!("no address in the relay's first line: {first}"))?;
        Ok(Relay { child, control, address })
    }

    /// From now on every packet takes so many milliseconds more, each way.
    pub fn delay(&mut self, milliseconds: u32) -> Result<()> {
        self.set(&format!("--delay {milliseconds}ms"))
    }

    /// From now on the links are so, as `netsim relay --help` says: `--rate-down 400kbit`.
    pub fn set(&mut self, options: &str) -> Result<()> {
        writeln!(self.control, "set {options}").context("the relay has ended")
    }

    /// Where clients send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nothing through, or everything again.
    pub fn cut(&mut self, is_cut: bool) -> Result<()> {
        let loss = if is_cut { "100%" } else { "0%" };
        self.set(&format!("--loss {loss}"))
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

/// The address of this machine on the way out, else loopback: Firefox does not pair loopback with its other addresses.
fn own_address() -> IpAddr {
    let on_the_way_out = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // An address for documentation (RFC 5737); nothing is sent to it.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    on_the_way_out().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}
