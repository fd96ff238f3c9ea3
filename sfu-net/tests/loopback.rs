//! Batches over real sockets on loopback.

use sfu_net::{RecvBatch, UdpConfig, UdpSocket};
use sfu_rtc::net::{NetworkPath, Protocol, TransmitBatch};
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

fn bind(addr: &str, config: &UdpConfig) -> UdpSocket {
    UdpSocket::bind(addr.parse().unwrap(), config).unwrap()
}

fn batch_to(remote: SocketAddr, local: IpAddr, sizes: &[usize]) -> TransmitBatch {
    let mut batch = TransmitBatch::default();
    for (i, &size) in sizes.iter().enumerate() {
        let path = NetworkPath { remote, local, protocol: Protocol::Udp };
        batch
            .push(path, |buf| {
                buf.resize(buf.len() + size, i as u8);
                Ok::<_, Infallible>(())
            })
            .unwrap();
    }
    batch
}

/// Everything that waits on the socket: sender and content.
fn drain(socket: &UdpSocket) -> Vec<(NetworkPath, Vec<u8>)> {
    let mut batch = RecvBatch::default();
    let mut all = Vec::new();
    loop {
        match socket.recv(&mut batch) {
            Ok(()) => all.extend(batch.iter_mut().map(|(path, bytes)| (*path, bytes.to_vec()))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

fn sizes_arrive_as_sent(sender: &str, receiver: &str, to: &str, config: &UdpConfig) {
    let mut sender = bind(sender, config);
    let receiver = bind(receiver, config);
    let to = SocketAddr::new(to.parse().unwrap(), receiver.local_addr().port());
    let sizes = [1_000, 1_000, 1_000, 300, 1_200, 50, 50];
    let batch = batch_to(to, to.ip(), &sizes);
    let progress = sender.send(&batch, 0);
    assert!(!progress.blocked);
    let got = drain(&receiver);
    assert_eq!(got.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>(), sizes);
    for (i, (path, bytes)) in got.iter().enumerate() {
        assert!(bytes.iter().all(|&b| b == i as u8));
        assert_eq!((path.local, path.remote.port()), (to.ip(), sender.local_addr().port()));
    }
    assert_eq!(sender.send_stats().datagrams, sizes.len() as u64);
}

#[test]
fn media_can_be_thrown_away_on_arrival() {
    let mut sender = bind("127.0.0.1:0", &UdpConfig::default());
    let receiver = bind("127.0.0.1:0", &UdpConfig::default());
    receiver.drop_media().unwrap();
    let to = receiver.local_addr();
    let mut batch = TransmitBatch::default();
    for first in 0..=255 {
        let path = NetworkPath { remote: to, local: to.ip(), protocol: Protocol::Udp };
        let write = |buf: &mut Vec<u8>| -> Result<(), Infallible> {
            buf.extend([first; 20]);
            Ok(())
        };
        batch.push(path, write).unwrap();
    }
    sender.send(&batch, 0);
    let kept: Vec<u8> = drain(&receiver).iter().map(|(_, bytes)| bytes[0]).collect();
    assert!(kept.iter().copied().eq((0..=127).chain(192..=255)), "{kept:?}");
}

#[test]
fn with_offload() {
    let config = UdpConfig::default();
    sizes_arrive_as_sent("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1", &config);
    sizes_arrive_as_sent("0.0.0.0:0", "0.0.0.0:0", "127.0.0.1", &config);
}

#[test]
fn without_offload() {
    let config = UdpConfig { gro: false, gso: false, ..UdpConfig::default() };
    sizes_arrive_as_sent("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1", &config);
}

#[test]
fn both_families_on_one_socket() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let config = UdpConfig::default();
    sizes_arrive_as_sent("[::]:0", "[::]:0", "127.0.0.1", &config);
    sizes_arrive_as_sent("[::]:0", "[::]:0", "::1", &config);
}

#[test]
fn an_unreachable_destination_does_not_stop_the_others() {
    let mut sender = bind("127.0.0.1:0", &UdpConfig::default());
    let receiver = bind("127.0.0.1:0", &UdpConfig::default());
    let mut batch = TransmitBatch::default();
    // A socket bound to loopback cannot reach a documentation address; nothing leaves the machine.
    for remote in ["192.0.2.1:9".parse().unwrap(), receiver.local_addr()] {
        let path = NetworkPath { remote, local: IpAddr::from([127, 0, 0, 1]), protocol: Protocol::Udp };
        batch
            .push(path, |buf| {
                buf.extend([7; 10]);
                Ok::<_, Infallible>(())
            })
            .unwrap();
    }
    let progress = sender.send(&batch, 0);
    assert_eq!((progress.blocked, progress.next), (false, 2));
    assert_eq!(sender.send_stats().refused, 1);
    assert_eq!(drain(&receiver).len(), 1);
}
