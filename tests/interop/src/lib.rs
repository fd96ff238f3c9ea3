//! A small WHIP (RFC 9725) and WHEP server that shares no code with ours: HTTP, ICE-lite, DTLS, SRTP and RTP are
//! str0m's. Our programs are tested against it, so that they work with servers that are not ours.
//!
//! One task owns every session and the one UDP port; HTTP handlers send it requests. It has no authentication, no
//! simulcast selection, no congestion control, and is meant for loopback.

mod http;
mod hub;
mod session;

use anyhow::{Context, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, oneshot};

/// Requests that wait for the task of the sessions.
const WAITING_REQUESTS: usize = 64;

/// Serves on these sockets until the task is dropped.
///
/// # Errors
/// Where a socket fails.
pub async fn serve(http: TcpListener, media: UdpSocket) -> Result<()> {
    let (requests, inbox) = mpsc::channel(WAITING_REQUESTS);
    let hub = hub::Hub::new(media, inbox)?;
    tokio::select! {
        served = axum::serve(http, http::routes(requests)) => served.context("the HTTP side failed"),
        ended = hub.run() => ended,
    }
}

/// A server in a thread of its own, on free ports of 127.0.0.1; it ends with this value.
#[derive(Debug)]
pub struct Server {
    http: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Server {
    /// Starts it.
    ///
    /// # Errors
    /// Where the system gives no sockets or no thread.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (listener, media) = runtime.block_on(async { (TcpListener::bind(any).await, UdpSocket::bind(any).await) });
        let (listener, media) = (listener?, media?);
        let http = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("str0m-whip".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    served = serve(listener, media) => served,
                    // Sent or dropped: both mean the end.
                    _ = stopped => Ok(()),
                }
            })
        })?;
        Ok(Self { http, stop: Some(stop), thread: Some(thread) })
    }

    /// `http://…/KIND/{room}/{stream}`, where KIND is `whip` or `whep`.
    pub fn url(&self, kind: &str) -> String {
        format!("http://{}/{kind}/{{room}}/{{stream}}", self.http)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("str0m-whip: {error:#}");
        }
    }
}
