//! Sockets: what is bound, what of it is offered to clients, how connections are taken from the kernel, ICE over TCP, and
//! the table of connections of those who have not joined. The system calls themselves are in the crate `sfu_net`.

mod accept;
mod bind;
mod candidates;
mod connections;
mod frame;
mod reception;
mod tcp;

pub(crate) use accept::accept_tcp;
pub(crate) use bind::bind_tcp;
pub(crate) use candidates::{advertised, candidates};
pub(crate) use connections::{ConnectionTables, Connections, RequestUnderWay, Ticket};
pub(crate) use reception::{Reception, abort};
pub(crate) use tcp::{Accepted, TcpPool};
#[cfg(fuzzing)]
pub(crate) use tcp::{Connection, Drained};

use crate::config::MediaConfig;
use anyhow::{Context, bail};
use bind::ipv4_instead;
use sfu_net::{UdpConfig, UdpSocket};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// A worker is named by one character of 64 in the ICE user name fragment.
pub(crate) const MAX_WORKERS: usize = 64;

/// Binds the UDP socket of worker `index`. Says what to do where the port is taken.
pub(crate) fn bind_udp(config: &MediaConfig, index: usize) -> anyhow::Result<UdpSocket> {
    let port = worker_port(config.udp_port, index)?;
    let udp = UdpConfig {
        recv_buffer: config.socket_buffer,
        send_buffer: config.socket_buffer,
        timestamps: true,
        ..UdpConfig::default()
    };
    let addr = SocketAddr::new(config.bind, port);
    let bound = UdpSocket::bind(addr, &udp).or_else(|error| match ipv4_instead(addr, &error) {
        Some(v4) => UdpSocket::bind(v4, &udp),
        None => Err(error),
    });
    bound.map_err(|error| explain(error, "UDP", addr, "--media-port or media.udp_port"))
}

/// Binds the port of ICE-TCP.
pub(crate) fn bind_media_tcp(config: &MediaConfig) -> anyhow::Result<TcpListener> {
    let addr = SocketAddr::new(config.bind, config.tcp_port);
    bind_tcp(addr)
        .map_err(|error| explain(error, "TCP", addr, "--media-port or media.tcp_port (media.tcp = false does without)"))
}

/// Worker threads on a machine with so many cores.
pub(crate) fn worker_count(config: &MediaConfig, cpus: usize) -> usize {
    if config.workers == 0 { cpus.clamp(1, MAX_WORKERS) } else { config.workers }
}

/// The UDP port of worker `index`; 0 stays 0.
pub(crate) fn worker_port(first: u16, index: usize) -> anyhow::Result<u16> {
    if first == 0 {
        return Ok(0);
    }
    let port = u16::try_from(index).ok().and_then(|index| first.checked_add(index));
    match port {
        Some(port) => Ok(port),
        None => bail!("media.udp_port = {first} leaves no port for worker {index}; choose a lower one"),
    }
}

fn explain(error: io::Error, protocol: &str, addr: SocketAddr, option: &str) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{protocol} port {} of {} is taken: another program (maybe another sfu) uses it. \
             End it, or choose another port with {option}",
            addr.port(),
            addr.ip()
        ),
        _ => Err::<(), _>(error).context(format!("cannot bind {protocol} {addr}")).expect_err("it is an error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_follow_one_another() {
        assert_eq!(worker_port(7881, 3).unwrap(), 7884);
        assert_eq!(worker_port(0, 3).unwrap(), 0);
        assert!(worker_port(65_535, 1).is_err());
    }

    #[test]
    fn a_taken_port_is_named() {
        let config = MediaConfig { bind: [127, 0, 0, 1].into(), udp_port: 0, ..MediaConfig::default() };
        let first = bind_udp(&config, 0).unwrap();
        let port = first.local_addr().port();
        let error = bind_udp(&MediaConfig { udp_port: port, ..config }, 0).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--media-port"), "{error}");
    }
}
