//! Listening for HTTP and HTTPS.

use crate::config::HttpConfig;
use crate::net::bind_tcp;
use anyhow::Context;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Bytes that the kernel keeps for a peer that we do not read, and doubles for its own bookkeeping (socket(7)).
const RECEIVE_BUFFER: usize = 64 * 1024;
/// The same for one that does not read.
const SEND_BUFFER: usize = 256 * 1024;
/// Bytes of that which may wait to be sent: the kernel asks for more below half of it, so that an answer is seen to move
/// although its reader is slow. Without it, a third of the buffer had to become free.
const NOT_SENT: u32 = 32 * 1024;

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
    bound_kernel_buffers(&listener);
    TcpListener::from_std(listener).context("cannot listen")
}

/// Binds the listener of the metrics and the admin API, where there is one.
pub(crate) fn bind_admin(config: &HttpConfig) -> anyhow::Result<Option<TcpListener>> {
    let Some(addr) = config.admin_addr() else { return Ok(None) };
    let listener = bind_tcp(addr).with_context(|| format!("cannot listen on {addr} (http.admin_listen)"))?;
    bound_kernel_buffers(&listener);
    TcpListener::from_std(listener).context("cannot listen").map(Some)
}

/// For the connections that come; without it the kernel would let each grow to megabytes.
fn bound_kernel_buffers(listener: &std::net::TcpListener) {
    let socket = SockRef::from(listener);
    let set = socket
        .set_recv_buffer_size(RECEIVE_BUFFER)
        .and_then(|()| socket.set_send_buffer_size(SEND_BUFFER))
        .and_then(|()| socket.set_tcp_notsent_lowat(NOT_SENT));
    if let Err(error) = set {
        tracing::debug!(%error, "buffers of HTTP");
    }
}
