//! The media ports: ICE checks over UDP and TCP, and strangers.

use crate::harness::{PUBLISHER, Server, token};
use serde_json::json;
use sfu_rtc::ice::stun::{IceRole, StunClass, StunKey, StunMessage, StunWriter};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// What an answer says of our transport.
struct Remote {
    ufrag: String,
    pwd: String,
    udp: SocketAddr,
    tcp: SocketAddr,
}

impl Remote {
    /// Of a new WHIP session.
    fn new(server: &Server) -> Self {
        let bearer = format!("Bearer {}", token(json!({ "sub": "cam" })));
        let headers = [("Content-Type", "application/sdp"), ("Authorization", &bearer)];
        let answer = server.request("POST", "/whip/demo/cam", &headers, PUBLISHER).body;
        let value = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let candidate = |protocol: &str| {
            let line = answer.lines().find(|l| l.starts_with("a=candidate:") && l.contains(protocol)).unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            SocketAddr::new(words[4].parse().unwrap(), words[5].parse().unwrap())
        };
        Self {
            ufrag: value("a=ice-ufrag:"),
            pwd: value("a=ice-pwd:"),
            udp: candidate(" udp "),
            tcp: candidate(" tcp "),
        }
    }

    /// The same, with a password that is not the transport's.
    fn guessed(&self) -> Self {
        Self { pwd: "0123456789012345678901".into(), ufrag: self.ufrag.clone(), ..*self }
    }

    /// A check that the transport answers. No two have the same number.
    fn check(&self, number: u8) -> Vec<u8> {
        StunWriter::new(StunClass::Request, &[number; 12])
            .username(&self.ufrag, "Qw3x")
            .role(IceRole::Controlling(1))
            .priority(1)
            .use_candidate()
            .finish(&StunKey::new(&self.pwd))
    }
}

/// Waits until the check with this number, which came from `from`, is answered. The server's own checks and its
/// ClientHello come too, and again.
fn until_answered(number: u8, from: SocketAddr, mut next: impl FnMut() -> Vec<u8>) {
    loop {
        let datagram = next();
        if let Some(answer) = StunMessage::parse(&datagram).filter(|message| message.class != StunClass::Request) {
            let told = (answer.class, answer.transaction, answer.mapped);
            assert_eq!(told, (StunClass::Success, [number; 12], Some(from)));
            return;
        }
    }
}

fn frame(datagram: &[u8]) -> Vec<u8> {
    [&u16::try_from(datagram.len()).unwrap().to_be_bytes(), datagram].concat()
}

fn next_frame(tcp: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 2];
    tcp.read_exact(&mut header).unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes(header))];
    tcp.read_exact(&mut body).unwrap();
    body
}

#[test]
fn checks_are_answered_over_udp_and_tcp() {
    let server = Server::dev();
    let remote = Remote::new(&server);
    let udp = UdpSocket::bind((remote.udp.ip(), 0)).unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    udp.send_to(&remote.check(1), remote.udp).unwrap();
    let mut buf = [0; 2_000];
    until_answered(1, udp.local_addr().unwrap(), || {
        let (len, from) = udp.recv_from(&mut buf).unwrap();
        assert_eq!(from, remote.udp, "the answer comes from where the check went");
        buf[..len].to_vec()
    });

    let mut tcp = TcpStream::connect(remote.tcp).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // After an empty frame, and in two parts, as TCP may cut it.
    let check = frame(&remote.check(2));
    tcp.write_all(&frame(&[])).unwrap();
    tcp.write_all(&check[..7]).unwrap();
    tcp.write_all(&check[7..]).unwrap();
    for _ in 0..2 {
        until_answered(2, tcp.local_addr().unwrap(), || next_frame(&mut tcp));
        tcp.write_all(&check).unwrap();
    }
}

#[test]
fn tcp_connections_that_belong_to_nobody_are_closed() {
    let server = Server::dev();
    let remote = Remote::new(&server);
    let unknown = StunWriter::new(StunClass::Request, &[1; 12]).username("????", "x").finish(&StunKey::new("pwd"));
    // A real fragment, and another password.
    let forged = frame(&remote.guessed().check(1));
    let firsts = [frame(b"GET / HTTP/1.1"), frame(&[0; 20]), frame(&unknown), forged, vec![0xff; 5_000]];
    for first in &firsts {
        let mut tcp = TcpStream::connect(remote.tcp).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        tcp.write_all(first).unwrap();
        let end = tcp.read(&mut [0; 100]);
        assert!(!matches!(end, Ok(1..)), "{first:?} was answered");
        assert!(!matches!(&end, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock), "{first:?} was kept");
    }
    let counted = format!("sfu_closed_tcp_connections_total{{reason=\"no_authentic_check\"}} {}", firsts.len());
    assert!(server.get("/metrics").body.contains(&counted), "{counted}");
}

/// Somebody who has joined opens more of them than a worker takes.
#[test]
fn tcp_connections_that_are_not_in_use_keep_nobody_out() {
    let server = Server::configured("[limits]\ntcp_connections = 64\n");
    let remote = Remote::new(&server);
    let connect = |number| {
        let mut tcp = TcpStream::connect(remote.tcp).unwrap();
        tcp.write_all(&frame(&remote.check(number))).unwrap();
        tcp
    };
    let _held: Vec<TcpStream> = (3..203).map(connect).collect();
    let open = || {
        let metrics = server.get("/metrics").body;
        let values = metrics.lines().filter_map(|line| line.strip_prefix("sfu_tcp_connections{"));
        values.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    while open() < 64 {
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut tcp = TcpStream::connect(remote.tcp).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    tcp.write_all(&frame(&remote.check(2))).unwrap();
    until_answered(2, tcp.local_addr().unwrap(), || next_frame(&mut tcp));
}

#[test]
fn tcp_connections_that_prove_nothing_are_closed_in_time_whatever_they_send() {
    let server = Server::configured("[limits]\ntcp_check_seconds = 1\n");
    let mut tcp = TcpStream::connect(Remote::new(&server).tcp).unwrap();
    tcp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    // The length of a frame, which comes byte by byte.
    tcp.write_all(&1_000u16.to_be_bytes()).unwrap();
    loop {
        // Until the server has closed it; then writing or reading fails.
        let wrote = tcp.write_all(&[0]);
        let read = tcp.read(&mut [0; 100]);
        let waits = matches!(&read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        if wrote.is_err() || !waits {
            assert!(!matches!(read, Ok(1..)), "it was answered");
            return;
        }
    }
}

/// Forged packets of every kind leave nothing behind: the process does not grow, and goes on serving.
#[test]
fn a_million_forged_packets_leave_no_trace() {
    let server = Server::dev();
    let remote = Remote::new(&server);
    let wrong = remote.guessed();
    let socket = UdpSocket::bind((remote.udp.ip(), 0)).unwrap();
    let mut kinds = [
        wrong.check(1),
        b"\x16\xfe\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x30\x01\x00\x00\x24".repeat(4),
        [&[0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9][..], &[7; 1_000]].concat(),
        [&[0x80, 200, 0, 6, 0, 0, 0, 9][..], &[7; 20]].concat(),
        vec![0x55; 64],
    ];
    let mut send = |count: u32| {
        for i in 0..count {
            let kind = usize::try_from(i).unwrap() % kinds.len();
            // New sources and transactions all the time, as an attacker would try.
            kinds[kind][8..12].copy_from_slice(&i.to_be_bytes());
            let _ = socket.send_to(&kinds[kind], remote.udp);
        }
    };
    send(100_000);
    let before = server.memory();
    send(1_000_000);
    assert_eq!(server.get("/healthz").status, 200);
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 4_096, "grew by {grown} kB");
    let metrics = server.get("/metrics").body;
    let dropped: u64 = metrics
        .lines()
        .filter(|line| line.starts_with("sfu_dropped_packets_total"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert!(dropped > 100_000, "only {dropped} were counted");
}
