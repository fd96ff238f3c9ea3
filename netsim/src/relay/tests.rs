//! Real sockets on loopback. Times are not asserted, only what arrives.

use super::*;
use crate::config::Loss;

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A socket that waits for packets, but not for ever.
fn endpoint() -> UdpSocket {
    let socket = UdpSocket::bind(loopback()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

fn config(server: &UdpSocket) -> RelayConfig {
    RelayConfig {
        listen: loopback(),
        to: server.local_addr().unwrap(),
        up: LinkConfig::default(),
        down: LinkConfig::default(),
        seed: 1,
        local_interfaces: false,
    }
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buf = [0; 2_000];
    let (len, from) = socket.recv_from(&mut buf).expect("a packet arrives");
    (buf[..len].to_vec(), from)
}

#[test]
fn both_ways_for_many_clients() {
    let server = endpoint();
    let mut config = config(&server);
    config.up.delay = Duration::from_millis(5);
    let relay = Relay::start(config).unwrap();
    let clients: Vec<_> = (0..20).map(|_| endpoint()).collect();
    for (i, client) in clients.iter().enumerate() {
        client.send_to(&[i as u8], relay.address()).unwrap();
    }
    let mut seen = HashMap::new();
    for _ in &clients {
        let (bytes, from) = receive(&server);
        seen.insert(from, bytes[0]);
        server.send_to(&[bytes[0], 1], from).unwrap();
    }
    assert_eq!(seen.len(), 20, "each client has an address of its own");
    for (i, client) in clients.iter().enumerate() {
        assert_eq!(receive(client), (vec![i as u8, 1], relay.address()));
    }
    let counts = relay.stop();
    assert_eq!((counts.clients, counts.up.delivered, counts.down.delivered), (20, 20, 20));
}

#[test]
fn the_server_sees_another_port_after_a_change() {
    let server = endpoint();
    let relay = Relay::start(config(&server)).unwrap();
    let client = endpoint();
    client.send_to(b"a", relay.address()).unwrap();
    let (_, before) = receive(&server);
    relay.change_ports();
    assert_eq!(relay.counts().unwrap().port_changes, 1);
    client.send_to(b"b", relay.address()).unwrap();
    let (bytes, after) = receive(&server);
    assert_eq!(bytes, b"b");
    assert_ne!(before, after);
    server.send_to(b"c", before).unwrap();
    server.send_to(b"d", after).unwrap();
    assert_eq!(receive(&client).0, b"d", "the old port is dead");
}

#[test]
fn links_can_change_under_way() {
    let server = endpoint();
    let relay = Relay::start(config(&server)).unwrap();
    let client = endpoint();
    let lossy = LinkConfig { loss: Loss::Random(1.0), ..LinkConfig::default() };
    relay.set_links(lossy, LinkConfig::default());
    client.send_to(b"lost", relay.address()).unwrap();
    while relay.counts().unwrap().up.lost == 0 {
        std::thread::yield_now();
    }
    relay.set_links(LinkConfig::default(), LinkConfig::default());
    client.send_to(b"found", relay.address()).unwrap();
    assert_eq!(receive(&server).0, b"found");
}

#[test]
fn addresses_of_others_are_refused() {
    let server = endpoint();
    let refused = |change: fn(&mut RelayConfig)| {
        let mut config = config(&server);
        change(&mut config);
        Relay::start(config).unwrap_err().to_string()
    };
    let error = refused(|config| config.to = "192.0.2.1:7881".parse().unwrap());
    assert!(error.starts_with("--to: 192.0.2.1 is no loopback address"), "{error}");
    let error = refused(|config| {
        config.to = "192.0.2.1:7881".parse().unwrap();
        config.local_interfaces = true;
    });
    assert!(error.contains("no address of an interface"), "{error}");
    assert!(refused(|config| config.listen = "0.0.0.0:0".parse().unwrap()).starts_with("--listen"));
    assert!(refused(|config| config.up.corrupt = 2.0).contains("no probability"));
    let taken = RelayConfig { listen: server.local_addr().unwrap(), ..config(&server) };
    assert!(Relay::start(taken).unwrap_err().to_string().starts_with("cannot bind 127.0.0.1:"));
}
