//! Links between real UDP sockets.
//!
//! ```text
//! client --> listening socket --> uplink --> a socket per client --> server
//! client <-- listening socket <-- downlink <-- the same socket  <-- server
//! ```
//! Every client has links and a socket of its own, so that the server sees each at an address of its own. That socket
//! can be exchanged in mid-call: the server then sees the client at another port, as after a change of its NAT's binding.

use crate::config::LinkConfig;
use crate::link::{Link, LinkStats};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most clients at once; what further ones send is dropped and counted.
const MAX_CLIENTS: usize = 1024;
/// A client that has been silent for so long is forgotten, with its socket.
const IDLE: Duration = Duration::from_secs(60);
/// How often threads that wait for packets look whether to stop.
const STOP_CHECK: Duration = Duration::from_millis(100);
/// Largest UDP payload.
const MAX_DATAGRAM: usize = 65_535;

/// What a relay does.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Where clients send to; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The server.
    pub to: SocketAddr,
    /// From clients to the server.
    pub up: LinkConfig,
    /// From the server to clients.
    pub down: LinkConfig,
    /// Decides everything random. Each client has its own sequence.
    pub seed: u64,
    /// Whether addresses other than loopback are allowed where they belong to an interface of this network namespace.
    pub local_interfaces: bool,
}

/// What was relayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RelayCounts {
    /// From clients to the server.
    pub up: LinkStats,
    /// From the server to clients.
    pub down: LinkStats,
    /// Clients seen.
    pub clients: u64,
    /// How often clients were given another port.
    pub port_changes: u64,
    /// Datagrams of clients beyond the most at once.
    pub refused: u64,
    /// Datagrams that a socket did not take.
    pub unsent: u64,
}

/// A relay that runs on threads of its own until it is stopped or dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    events: Sender<Event>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<RelayCounts>>,
}

impl Relay {
    /// Opens the sockets and starts.
    pub fn start(config: RelayConfig) -> io::Result<Self> {
        check_address("listen", config.listen.ip(), config.local_interfaces)?;
        check_address("to", config.to.ip(), config.local_interfaces)?;
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        config.up.check().and(config.down.check()).map_err(invalid)?;
        let bind = |error: io::Error| io::Error::new(error.kind(), format!("cannot bind {}: {error}", config.listen));
        let socket = Arc::new(UdpSocket::bind(config.listen).map_err(bind)?);
        let address = socket.local_addr()?;
        let (events, received) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let front = Reader { socket: socket.clone(), events: events.clone(), stop: stop.clone() };
        front.spawn(|from, bytes, at| Event::FromClient { from, bytes, at })?;
        let worker = Worker::new(config, socket, events.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("netsim".into()).spawn(move || worker.run(&received))?;
        Ok(Self { address, events, stop, thread: Some(thread) })
    }

    /// Where clients send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives every client another port towards the server.
    pub fn change_ports(&self) {
        self.tell(Event::ChangePorts);
    }

    /// Changes the links of all clients, present and future.
    pub fn set_links(&self, up: LinkConfig, down: LinkConfig) {
        self.tell(Event::SetLinks(Box::new((up, down))));
    }

    /// What was relayed so far; `None` if the relay has died.
    pub fn counts(&self) -> Option<RelayCounts> {
        let (answer, counts) = channel();
        self.tell(Event::Counts(answer));
        counts.recv().ok()
    }

    /// Ends the relay; what is under way is gone.
    pub fn stop(mut self) -> RelayCounts {
        self.end()
    }

    fn tell(&self, event: Event) {
        // Nobody listens only where the thread has died, which shows in `counts`.
        let _ = self.events.send(event);
    }

    fn end(&mut self) -> RelayCounts {
        self.stop.store(true, Ordering::Relaxed);
        self.tell(Event::Stop);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end();
    }
}

/// A relay that damages traffic is no toy for others' networks: only addresses of this machine are allowed.
fn check_address(name: &str, ip: IpAddr, local_interfaces: bool) -> io::Result<()> {
    // Only an address of an interface of this namespace can be bound.
    let is_local = || UdpSocket::bind((ip, 0)).is_ok() && !ip.is_unspecified() && !ip.is_multicast();
    if ip.is_loopback() || (local_interfaces && is_local()) {
        return Ok(());
    }
    let reason = match local_interfaces {
        true => "is no address of an interface of this network namespace",
        false => "is no loopback address; --local-interfaces allows addresses of this network namespace",
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("--{name}: {ip} {reason}")))
}

enum Event {
    FromClient { from: SocketAddr, bytes: Vec<u8>, at: Instant },
    FromServer { client: SocketAddr, socket: u64, bytes: Vec<u8>, at: Instant },
    ChangePorts,
    SetLinks(Box<(LinkConfig, LinkConfig)>),
    Counts(Sender<RelayCounts>),
    Stop,
}

/// Reads one socket on a thread of its own.
struct Reader {
    socket: Arc<UdpSocket>,
    events: Sender<Event>,
    stop: Arc<AtomicBool>,
}

impl Reader {
    fn spawn(self, event: impl Fn(SocketAddr, Vec<u8>, Instant) -> Event + Send + 'static) -> io::Result<()> {
        self.socket.set_read_timeout(Some(STOP_CHECK))?;
        let run = move || {
            let mut buf = vec![0; MAX_DATAGRAM];
            while !self.stop.load(Ordering::Relaxed) {
                // An error is a timeout, or the ICMP answer to something sent before; neither ends the socket.
                let Ok((len, from)) = self.socket.recv_from(&mut buf) else { continue };
                if self.events.send(event(from, buf[..len].to_vec(), Instant::now())).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("netsim-read".into()).spawn(run).map(drop)
    }
}

struct Client {
    up: Link,
    down: Link,
    socket: Arc<UdpSocket>,
    /// Tells what arrives on this socket from what arrives on one that was exchanged.
    number: u64,
    stop: Arc<AtomicBool>,
    heard: Instant,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The thread that owns the links.
struct Worker {
    config: RelayConfig,
    start: Instant,
    front: Arc<UdpSocket>,
    events: Sender<Event>,
    stop: Arc<AtomicBool>,
    clients: HashMap<SocketAddr, Client>,
    next_socket: u64,
    /// Of this relay, and of clients that are gone.
    counts: RelayCounts,
    next_sweep: Instant,
}

impl Worker {
    fn new(config: RelayConfig, front: Arc<UdpSocket>, events: Sender<Event>, stop: Arc<AtomicBool>) -> Self {
        let start = Instant::now();
        Self {
            config,
            start,
            front,
            events,
            stop,
            clients: HashMap::new(),
            next_socket: 0,
            counts: RelayCounts::default(),
            next_sweep: start + IDLE,
        }
    }

    fn run(mut self, received: &Receiver<Event>) -> RelayCounts {
        loop {
            let wait = self.next_timeout().map_or(IDLE, |at| at.saturating_sub(self.start.elapsed()));
            match received.recv_timeout(wait) {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // What came meanwhile, so that a burst is not sent packet by packet.
            received.try_iter().for_each(|event| self.handle(event));
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            self.deliver();
            self.forget_silent_clients();
        }
        self.total()
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::FromClient { from, bytes, at } => self.take_from_client(from, bytes, at),
            Event::FromServer { client, socket, bytes, at } => {
                let now = at.saturating_duration_since(self.start);
                let client = self.clients.get_mut(&client).filter(|client| client.number == socket);
                if let Some(client) = client {
                    client.down.send(now, bytes);
                }
            }
            Event::ChangePorts => self.change_ports(),
            Event::SetLinks(links) => {
                let now = self.start.elapsed();
                (self.config.up, self.config.down) = *links;
                for client in self.clients.values_mut() {
                    client.up.set_config(now, self.config.up.clone());
                    client.down.set_config(now, self.config.down.clone());
                }
            }
            Event::Counts(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.total());
            }
            Event::Stop => {}
        }
    }

    fn take_from_client(&mut self, from: SocketAddr, bytes: Vec<u8>, at: Instant) {
        if !self.clients.contains_key(&from) {
            let client = (self.clients.len() < MAX_CLIENTS).then(|| self.new_client(from, at).ok()).flatten();
            let Some(client) = client else {
                self.counts.refused += 1;
                return;
            };
            self.clients.insert(from, client);
        }
        if let Some(client) = self.clients.get_mut(&from) {
            client.heard = at;
            client.up.send(at.saturating_duration_since(self.start), bytes);
        }
    }

    fn new_client(&mut self, from: SocketAddr, at: Instant) -> io::Result<Client> {
        let (socket, number, stop) = self.open_socket(from)?;
        let seed = self.config.seed.wrapping_add(self.counts.clients.wrapping_mul(2));
        self.counts.clients += 1;
        Ok(Client {
            up: Link::new(self.config.up.clone(), seed),
            down: Link::new(self.config.down.clone(), seed.wrapping_add(1)),
            socket,
            number,
            stop,
            heard: at,
        })
    }

    /// A socket towards the server, for one client.
    fn open_socket(&mut self, client: SocketAddr) -> io::Result<(Arc<UdpSocket>, u64, Arc<AtomicBool>)> {
        let any: IpAddr = match self.config.to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        // From now on only the server can send to it.
        socket.connect(self.config.to)?;
        let (socket, stop) = (Arc::new(socket), Arc::new(AtomicBool::new(false)));
        self.next_socket += 1;
        let number = self.next_socket;
        let reader = Reader { socket: socket.clone(), events: self.events.clone(), stop: stop.clone() };
        reader.spawn(move |_, bytes, at| Event::FromServer { client, socket: number, bytes, at })?;
        Ok((socket, number, stop))
    }

    fn change_ports(&mut self) {
        let addresses: Vec<_> = self.clients.keys().copied().collect();
        for address in addresses {
            let Ok((socket, number, stop)) = self.open_socket(address) else { continue };
            if let Some(client) = self.clients.get_mut(&address) {
                client.stop.store(true, Ordering::Relaxed);
                (client.socket, client.number, client.stop) = (socket, number, stop);
                self.counts.port_changes += 1;
            }
        }
    }

    fn deliver(&mut self) {
        let now = self.start.elapsed();
        for (address, client) in &mut self.clients {
            while let Some(bytes) = client.up.poll(now) {
                self.counts.unsent += u64::from(client.socket.send(&bytes).is_err());
            }
            while let Some(bytes) = client.down.poll(now) {
                self.counts.unsent += u64::from(self.front.send_to(&bytes, address).is_err());
            }
        }
    }

    fn next_timeout(&self) -> Option<Duration> {
        let links = self.clients.values().flat_map(|client| [&client.up, &client.down]);
        links.filter_map(Link::next_timeout).min()
    }

    fn forget_silent_clients(&mut self) {
        let now = Instant::now();
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + IDLE;
        let counts = &mut self.counts;
        self.clients.retain(|_, client| {
            let keep = now.saturating_duration_since(client.heard) < IDLE;
            if !keep {
                counts.up += client.up.stats();
                counts.down += client.down.stats();
            }
            keep
        });
    }

    fn total(&self) -> RelayCounts {
        let mut counts = self.counts;
        for client in self.clients.values() {
            counts.up += client.up.stats();
            counts.down += client.down.stats();
        }
        counts
    }
}

#[cfg(test)]
mod tests;
