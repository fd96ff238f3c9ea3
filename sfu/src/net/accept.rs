//! Accepting ICE-TCP connections (RFC 6544): the first frame must be a STUN binding request; its user name fragment
//! names the worker that gets the connection, and that authenticates it.

use super::connections::{Connections, Ticket};
use super::frame::{self, HEADER, MAX_FRAME};
use super::tcp::Accepted;
use crate::worker_thread::WorkerHandle;
use sfu_rtc::ice::{ice_char, ufrag_of};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// Wait after a failed accept, for instance when file descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections for as long as the server runs. Each has a seat among `connections` until an authentic check
/// came from it; the worker takes the seat over with the connection.
pub(crate) async fn accept_tcp(listener: TcpListener, workers: Vec<WorkerHandle>, connections: Arc<Connections>) {
    let workers: Arc<[WorkerHandle]> = workers.into();
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "ICE-TCP connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let ticket = connections.seat(Some(address.ip()));
        let workers = Arc::clone(&workers);
        tokio::spawn(async move {
            let handed_over = tokio::select! {
                handed_over = hand_over(stream, ticket.clone(), &workers) => handed_over,
                () = ticket.over() => Err(io::ErrorKind::TimedOut.into()),
            };
            if let Err(error) = handed_over {
                tracing::debug!(%error, "ICE-TCP connection refused");
            }
        });
    }
}

/// Reads the first frame and gives the connection, with what was read, to its worker.
async fn hand_over(mut stream: TcpStream, ticket: Ticket, workers: &[WorkerHandle]) -> io::Result<()> {
    let mut read = Vec::with_capacity(HEADER + MAX_FRAME);
    let len = loop {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        if let Some(len) = frame::first(&read).map_err(|_| invalid())? {
            break len;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let worker = worker_of(&read[HEADER..HEADER + len], workers)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the first frame names no worker"))?;
    stream.set_nodelay(true)?;
    worker.take_connection(Accepted { stream: stream.into_std()?, read, ticket });
    Ok(())
}

/// The worker that the user name fragment of a binding request names.
fn worker_of<'a>(stun: &[u8], workers: &'a [WorkerHandle]) -> Option<&'a WorkerHandle> {
    let first = ufrag_of(stun)?.chars().next()?;
    workers.iter().find(|worker| ice_char(worker.index()) == first)
}
