//! `sfu doctor`: looks at the machine and says what would be offered, what is wrong, and what to mend.

use super::serve::open_files_wanted;
use super::{ConfigArgs, print};
use crate::clock::unix_time;
use crate::config::{Config, doubts};
use crate::http::tls::{self, Validity};
use crate::net::{self, bind_media_tcp, bind_udp};
use clap::Args;
use sfu_net::{UdpConfig, UdpSocket};
use sfu_rtc::net::{NetworkPath, Protocol, TransmitBatch};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

/// 2026-01-01. A clock before it is wrong, and then every token looks expired or not yet valid.
const NOT_BEFORE: u64 = 1_767_225_600;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// The report so far.
#[derive(Default)]
struct Findings {
    problems: u32,
}

impl Findings {
    fn good(&self, text: impl AsRef<str>) {
        print(format!("  ok     {}", text.as_ref()));
    }

    fn note(&self, text: impl AsRef<str>) {
        print(format!("  note   {}", text.as_ref()));
    }

    fn problem(&mut self, text: impl AsRef<str>) {
        self.problems += 1;
        print(format!("  FIX    {}", text.as_ref()));
    }
}

pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    let mut findings = Findings::default();
    print("Addresses");
    addresses(&config, &mut findings);
    print("Ports");
    ports(&config, &mut findings);
    print("System");
    system(&config, &mut findings);
    print("Access");
    access(&config, &mut findings);
    if findings.problems == 0 {
        print("\nAll is well.");
        return Ok(ExitCode::SUCCESS);
    }
    print(format!("\n{} to fix.", findings.problems));
    Ok(ExitCode::FAILURE)
}

fn addresses(config: &Config, findings: &mut Findings) {
    let machine = sfu_net::interfaces::local_addresses().unwrap_or_default();
    let offered = net::advertised(&config.media, &machine);
    if offered.is_empty() {
        findings.problem("no address to offer to clients; name one with --node-ip");
    }
    for ip in &offered {
        let text = format!("clients are offered {ip}");
        if ip.is_loopback() {
            findings.note(format!("{text}, which only this machine can reach"));
        } else if !config.media.node_ips.contains(ip) && is_private(*ip) {
            findings.note(format!(
                "{text}, a private address; for clients from outside name the public one with --node-ip"
            ));
        } else {
            findings.good(text);
        }
    }
    for ip in config.media.node_ips.iter().filter(|ip| !machine.contains(ip)) {
        findings.note(format!("{ip} is not this machine's own: the NAT in front must forward the ports below to it"));
    }
}

fn ports(config: &Config, findings: &mut Findings) {
    match net::bind_tcp((config.http.bind, config.http.port).into()) {
        Ok(_) => findings.good(format!("TCP {} for page and signalling can be bound", config.http.port)),
        Err(error) => findings.problem(format!(
            "TCP {} for page and signalling: {error}; end the program that has it (`ss -ltnp`) or use --http-port",
            config.http.port
        )),
    }
    let workers = net::worker_count(&config.media, sfu_net::affinity::allowed_cpus().len());
    let mut first = None;
    for index in 0..workers {
        match bind_udp(&config.media, index) {
            Ok(socket) => {
                findings.good(format!("UDP {} for worker {index} can be bound", socket.local_addr().port()));
                first.get_or_insert(socket);
            }
            Err(error) => findings.problem(format!("{error:#}")),
        }
    }
    if config.media.tcp {
        match bind_media_tcp(&config.media) {
            Ok(_) => findings.good(format!("TCP {} for ICE over TCP can be bound", config.media.tcp_port)),
            Err(error) => findings.problem(format!("{error:#}")),
        }
    }
    if let Some(socket) = first {
        buffers(config, &socket, findings);
    }
}

fn buffers(config: &Config, socket: &UdpSocket, findings: &mut Findings) {
    // The kernel doubles what is asked for, for its own bookkeeping (socket(7)).
    let (receive, send) = socket.buffer_sizes();
    let (receive, send) = (receive / 2, send / 2);
    let wanted = config.media.socket_buffer;
    for (name, granted, sysctl) in [("receive", receive, "rmem_max"), ("send", send, "wmem_max")] {
        if granted >= wanted {
            findings.good(format!("UDP {name} buffer of {granted} bytes"));
        } else {
            findings.problem(format!(
                "UDP {name} buffer: {granted} bytes of {wanted} granted; `sysctl -w net.core.{sysctl}={wanted}`, or run as root"
            ));
        }
    }
}

fn system(config: &Config, findings: &mut Findings) {
    let now = unix_time().as_secs();
    if now < NOT_BEFORE {
        findings.problem("the clock is years behind, so tokens will be refused; set it (for instance with chrony)");
    } else {
        findings.good(format!("the clock shows {now} s since 1970"));
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    match segmentation_offload() {
        Ok(true) => findings.good(format!("Linux {}: UDP_SEGMENT sends many packets at once", kernel.trim())),
        Ok(false) => findings.note(format!("Linux {}: no UDP_SEGMENT (4.18); sending costs more CPU", kernel.trim())),
        Err(error) => findings.problem(format!("UDP over loopback: {error}")),
    }
    let wanted = u64::try_from(open_files_wanted(&config.limits)).unwrap_or(u64::MAX);
    match sfu_net::raise_open_files() {
        Ok(limit) if limit < wanted => findings.note(format!(
            "at most {limit} open files, so that fewer connections are taken than configured; \
             `ulimit -Hn {wanted}` or LimitNOFILE= allows more"
        )),
        Ok(limit) => findings.good(format!("at most {limit} open files")),
        Err(error) => findings.note(format!("the limit of open files is unknown: {error}")),
    }
    findings.good(format!("{} cores may be used", sfu_net::affinity::allowed_cpus().len()));
}

fn access(config: &Config, findings: &mut Findings) {
    if config.auth.open {
        findings.note("--dev: anybody who reaches the server can join");
    } else if config.auth.keys.is_empty() {
        findings.problem("no API key is configured, so nobody can join; add one to [auth.keys]");
    } else {
        findings.good(format!("{} API keys", config.auth.keys.len()));
    }
    doubts(config).into_iter().for_each(|doubt| findings.problem(doubt));
    if config.http.tls() {
        match tls::load(&config.http.tls_cert, &config.http.tls_key) {
            Ok(_) => certificate(&config.http.tls_cert, findings),
            Err(error) => findings.problem(error.to_string()),
        }
    } else if !config.http.bind.is_loopback() {
        findings.note(
            "no TLS: browsers give camera and microphone to https:// and localhost only; \
             set http.tls_cert and http.tls_key, or put a TLS proxy in front",
        );
    }
}

fn certificate(cert: &Path, findings: &mut Findings) {
    match (tls::complaint(cert), Validity::of(cert).map(|validity| validity.days_left(tls::now()))) {
        (Some(complaint), _) => findings.problem(complaint),
        (None, Some(Ok(days))) => findings.good(format!("certificate and key can be used for {days} more days")),
        _ => findings.note("certificate and key can be used; when the certificates end cannot be read"),
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// Whether the kernel takes a run of datagrams in one send.
fn segmentation_offload() -> io::Result<bool> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut socket = UdpSocket::bind(loopback, &UdpConfig::default())?;
    let path = NetworkPath { remote: socket.local_addr(), local: loopback.ip(), protocol: Protocol::Udp };
    let mut batch = TransmitBatch::default();
    for _ in 0..2 {
        let written: Result<(), Infallible> = batch.push(path, |buf| {
            buf.resize(buf.len() + 100, 0);
            Ok(())
        });
        let Ok(()) = written;
    }
    socket.send(&batch, 0);
    let stats = socket.send_stats();
    Ok(stats.datagrams == 2 && stats.messages == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_can_be_asked() {
        assert!(segmentation_offload().is_ok());
    }
}
