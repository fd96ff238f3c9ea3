//! Listening for HTTP and HTTPS.

use crate::config::HttpConfig;
use anyhow::Context;
use axum::Router;
use axum::serve::{Listener, ListenerExt};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;
/// TLS handshakes under way at once; each may last as long as the next constant.
const MAX_HANDSHAKES: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Binds the HTTP port. Says what to do where it is taken.
pub(crate) fn bind(config: &HttpConfig) -> anyhow::Result<TcpListener> {
    let addr = SocketAddr::new(config.bind, config.port);
    let listener = bind_tcp(addr).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "TCP port {} of {} is taken: another program (maybe another sfu) listens there. \
             End it, or choose another port with --http-port or http.port",
            config.port,
            config.bind
        ),
        io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "TCP port {} needs privileges; choose one from 1024 up with --http-port or http.port",
            config.port
        ),
        _ => anyhow::Error::new(error).context(format!("cannot listen on {addr} (http.bind, http.port)")),
    })?;
    TcpListener::from_std(listener).context("cannot listen")
}

/// A listening socket. An unspecified IPv6 address takes IPv4 too, and stands for IPv4 alone where there is no IPv6.
pub(crate) fn bind_tcp(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listen = |addr: SocketAddr| {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(addr.ip() != Ipv6Addr::UNSPECIFIED)?;
        }
        // A restarted server shall not wait for the connections of the one before to time out.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(std::net::TcpListener::from(socket))
    };
    listen(addr).or_else(|error| match ipv4_instead(addr, &error) {
        Some(v4) => listen(v4),
        None => Err(error),
    })
}

/// The IPv4 address to take in place of `addr` on a machine without IPv6.
pub(crate) fn ipv4_instead(addr: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let no_ipv6 = matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL));
    (no_ipv6 && addr.ip() == Ipv6Addr::UNSPECIFIED)
        .then(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), addr.port()))
}

/// Serves until `stop` comes.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    app: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    match tls {
        None => axum::serve(listener.tap_io(|stream| no_delay(stream)), app).with_graceful_shutdown(stop).await,
        Some(config) => axum::serve(TlsListener::new(listener, config)?, app).with_graceful_shutdown(stop).await,
    }
}

/// Signalling is small messages, each of which somebody waits for.
fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
}

/// Accepts connections whose TLS handshake is done; handshakes go on side by side.
struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    local: SocketAddr,
}

impl TlsListener {
    fn new(listener: TcpListener, config: Arc<ServerConfig>) -> io::Result<Self> {
        let local = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(MAX_HANDSHAKES);
        tokio::spawn(accept(listener, TlsAcceptor::from(config), sender));
        Ok(Self { ready, local })
    }
}

async fn accept(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let (stream, remote) = Listener::accept(&mut listener).await;
        no_delay(&stream);
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                // The receiver is gone only when the server stops.
                let _ = ready.send((stream, remote)).await;
            }
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The task that accepts never ends before this does.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.local)
    }
}
