//! The accept loop of HTTP and HTTPS, and one task per connection.
//!
//! Nothing is waited for before the next connection is accepted: TLS handshakes and heads that do not come hold a seat
//! in the table of [`Connections`], and nothing else.

use super::metered::Metered;
use super::problem::Problem;
use super::proxy::{self, ClientAddr, Origin, Proxies};
use super::tls::{Tls, watches};
use super::watched::{Stream, Watched};
use crate::control::Turns;
use crate::net::{Connections, Reception, RequestUnderWay, Ticket};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConnection;

/// Bytes of a request that are read ahead, and of an answer that wait to be written. A head that does not fit is
/// refused by the library, which knows no more than a status; so there is some room above [`LONGEST_HEAD`].
const BUFFER: usize = 12 * 1024;
/// Bytes of a request's target and header fields.
const LONGEST_HEAD: usize = 8 * 1024;
/// Plain text that waits to be sealed, per TLS connection.
const TLS_BUFFER: usize = 4 * 1024;
/// Wait after a failed accept, for instance when file descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What is served where.
pub(crate) struct Site {
    pub(crate) listener: TcpListener,
    /// `None`: plain HTTP.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) app: Router,
    pub(crate) connections: Arc<Connections>,
    pub(crate) proxies: Proxies,
    pub(crate) turns: Arc<Turns>,
}

/// Serves until `stop` turns true, and then until the requests under way are answered.
pub(crate) async fn serve(site: Site, mut stop: watch::Receiver<bool>) {
    let Site { listener, tls, app, connections, proxies, turns } = site;
    let mut builder = http1::Builder::new();
    // The table of connections keeps the time.
    builder.header_read_timeout(None).max_buf_size(BUFFER);
    let app = TowerToHyperService::new(app);
    let door = Arc::new(Door { tls, turns, app, proxies, builder, stop: stop.clone() });
    let mut reception = Reception::new(listener, Arc::clone(&connections));
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = reception.accept() => accepted,
            Some(_) = open.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let address = (!door.proxies.trusts(peer.ip())).then_some(peer.ip());
                let ticket = connections.seat(address);
                let door = Arc::clone(&door);
                open.spawn(async move {
                    // Signalling is small messages, each of which somebody waits for.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY");
                    }
                    let stream = Watched::new(stream, Metered(ticket.clone()));
                    tokio::select! {
                        () = ticket.over() => {}
                        () = door.welcome(stream, peer, &ticket) => {}
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(reception);
    while open.join_next().await.is_some() {}
}

/// Whether a client that has said something will say no more.
async fn has_left(stream: &Watched<TcpStream, Metered>) -> bool {
    stream.get_ref().ready(Interest::READABLE).await.map_or(true, |ready| ready.is_read_closed())
}

/// What every connection of a site needs.
struct Door {
    tls: Option<Arc<Tls>>,
    turns: Arc<Turns>,
    app: TowerToHyperService<Router>,
    proxies: Proxies,
    builder: http1::Builder,
    stop: watch::Receiver<bool>,
}

impl Door {
    async fn welcome(&self, mut stream: Watched<TcpStream, Metered>, peer: SocketAddr, ticket: &Ticket) {
        let mut origin = Origin { address: ClientAddr(peer.ip().to_canonical()), is_hidden: false };
        if self.proxies.speak_proxy_protocol(peer.ip()) {
            let Some(header) = self.unless_stopped(proxy::read_header(&mut stream)).await else { return };
            match header {
                Ok(Some(source)) => {
                    origin.address = ClientAddr(source.to_canonical());
                    ticket.counts_for(origin.address.0);
                }
                Ok(None) => origin.is_hidden = true,
                Err(error) => return tracing::debug!(%error, "PROXY header"),
            }
            ticket.begin();
        }
        // Nothing is made for those who say nothing.
        let said = self.unless_stopped(stream.get_ref().readable()).await;
        if said.is_some_and(|said| said.is_ok()) {
            Box::pin(self.receive(stream, origin, ticket)).await;
        }
    }

    /// A client has said something.
    async fn receive(&self, stream: Watched<TcpStream, Metered>, origin: Origin, ticket: &Ticket) {
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let (sealed, opened) = watches();
                let account = self.turns.stranger(origin.address.0);
                let handshake = async {
                    // Its turn comes too late.
                    if has_left(&stream).await {
                        return Err(io::ErrorKind::ConnectionAborted.into());
                    }
                    self.turns.count_connection(account);
                    let limit = |connection: &mut ServerConnection| connection.set_buffer_limit(Some(TLS_BUFFER));
                    TlsAcceptor::from(tls.current()).accept_with(Watched::new(stream, sealed), limit).await
                };
                // Boxed, its room is given back; else every connection would keep it as long as it lasts.
                let handshake = Box::pin(self.turns.drive(account, handshake));
                let Some(handshake) = self.unless_stopped(handshake).await else { return };
                match handshake {
                    Ok(stream) => Box::new(Watched::new(stream, opened)),
                    Err(error) => return tracing::debug!(%error, "TLS handshake"),
                }
            }
        };
        self.speak(stream, origin, ticket).await;
    }

    /// What comes of `work`, before there is a request to be answered; `None` once the server stops.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut stop = self.stop.clone();
        tokio::select! {
            result = work => Some(result),
            _ = stop.wait_for(|stop| *stop) => None,
        }
    }

    async fn speak(&self, stream: Box<dyn Stream>, origin: Origin, ticket: &Ticket) {
        let service = service_fn(|request| self.answer(request, origin, ticket));
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let mut stop = self.stop.clone();
        let stopped = async { drop(stop.wait_for(|stop| *stop).await) };
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = stopped => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "HTTP connection");
        }
    }

    async fn answer(
        &self,
        mut request: hyper::Request<Incoming>,
        origin: Origin,
        ticket: &Ticket,
    ) -> Result<hyper::Response<Answer>, Infallible> {
        let under_way = ticket.begin_request();
        let client = self.proxies.client_of(origin, request.headers());
        if !self.proxies.trusts(client.0) {
            ticket.counts_for(client.0);
        }
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(ticket.clone());
        let response = self.app.call(request).await?;
        under_way.is_answered();
        Ok(response.map(|body| Answer { body, _under_way: under_way }))
    }
}

/// Refuses what HTTP forbids and the library lets through: a request without one Host (RFC 9112 section 3.2), codings
/// that nobody would undo (section 6.1), and a head that is too long.
pub(super) async fn refuse_malformed(request: Request, next: Next) -> Response {
    match refusal(&request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

fn refusal(request: &Request) -> Option<Problem> {
    let headers = request.headers();
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if fields + target > LONGEST_HEAD {
        let text = format!("Target and header fields have more than {LONGEST_HEAD} bytes.");
        return Some(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text));
    }
    if request.version() == Version::HTTP_11 && headers.get_all(header::HOST).iter().count() != 1 {
        return Some(Problem::new(StatusCode::BAD_REQUEST, "A request has one Host header field."));
    }
    let coding = headers
        .get(header::TRANSFER_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    coding.then(|| Problem::new(StatusCode::NOT_IMPLEMENTED, "The only transfer coding is chunked."))
}

/// The body of an answer, which is made when it has been handed out.
struct Answer {
    body: Body,
    _under_way: RequestUnderWay,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
