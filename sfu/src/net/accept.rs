//! Accepting ICE-TCP connections (RFC 6544): the first frame must be an authentic check. Its user name fragment names the
//! worker that gets the connection; no worker hears of others.

use super::connections::{Connections, Ticket};
use super::frame::{self, HEADER, MAX_FRAME};
use super::reception::{Reception, abort};
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
    let mut reception = Reception::new(listener, Arc::clone(&connections));
    loop {
        let (stream, address) = match reception.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "ICE-TCP connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let ticket = connections.seat(Some(address.ip()));
        let (workers, connections) = (Arc::clone(&workers), Arc::clone(&connections));
        tokio::spawn(async move {
            if let Err(error) = introduce(stream, ticket, &workers, &connections).await {
                tracing::debug!(%error, "ICE-TCP connection refused");
            }
        });
    }
}

/// Gives the connection, once its first frame has come, to its worker.
async fn introduce(
    mut stream: TcpStream,
    ticket: Ticket,
    workers: &[WorkerHandle],
    connections: &Connections,
) -> io::Result<()> {
    let introduced = tokio::select! {
        introduced = first_check(&mut stream, workers) => introduced.inspect_err(|_| connections.count_refused()),
        () = ticket.over() => Err(io::ErrorKind::TimedOut.into()),
    };
    match introduced {
        Ok((worker, read)) => {
            stream.set_nodelay(true)?;
            worker.take_connection(Accepted { stream: stream.into_std()?, read, ticket })
        }
        Err(error) => {
            abort(&stream);
            Err(error)
        }
    }
}

/// Reads the first frame: for whom it is, and what was read.
async fn first_check<'a>(
    stream: &mut TcpStream,
    workers: &'a [WorkerHandle],
) -> io::Result<(&'a WorkerHandle, Vec<u8>)> {
    let mut read = Vec::with_capacity(HEADER + MAX_FRAME);
    let len = loop {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        // RFC 4571 section 2 allows frames without content.
        let empty = read.chunks_exact(HEADER).take_while(|header| *header == [0; HEADER]).count();
        read.drain(..empty * HEADER);
        if let Some(len) = frame::first(&read).map_err(|_| invalid())? {
            break len;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let worker = worker_of(&read[HEADER..HEADER + len], workers)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the first frame is no authentic check"))?;
    Ok((worker, read))
}

/// The worker that the user name fragment of an authentic check names.
fn worker_of<'a>(stun: &[u8], workers: &'a [WorkerHandle]) -> Option<&'a WorkerHandle> {
    let first = ufrag_of(stun)?.chars().next()?;
    workers.iter().find(|worker| ice_char(worker.index()) == first).filter(|worker| worker.authenticate(stun))
}
