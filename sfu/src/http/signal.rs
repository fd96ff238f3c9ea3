//! Signalling over WebSocket: `/v1/join`, binary protobuf or proto3 JSON by subprotocol.
//!
//! A connection that the client closes with code 1000 or 1001 (a page that goes away) has left; any other end counts
//! as lost and may be resumed.

use super::problem::Problem;
use super::proxy::ClientAddr;
use super::websocket::{self, WebSocket};
use crate::control::{Access, Control, ControlError, Entered, JoinRequest, Next, Outgoing, Rate, Session};
use crate::net::Ticket;
use crate::text::json_error;
use axum::Extension;
use axum::extract::{Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::{FutureExt, SinkExt, StreamExt};
use prost::Message as _;
use sfu_proto::v1::client_message::Body as Request;
use sfu_proto::v1::server_message::Body as Reply;
use sfu_proto::v1::{ClientMessage, Join};
use sfu_proto::{SUBPROTOCOL_JSON, SUBPROTOCOL_PROTO};
use sfu_room::Subscription;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::{Duration, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{Error as SocketError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

/// How long a new connection may take to say what it wants.
const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to read one message.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest frame that is sent.
const LONGEST_FRAME: usize = 16 * 1024;
/// Each further so many bytes of a message count as another one against `limits.messages_per_second`.
const COUNTS_AS_ONE: usize = 16 * 1024;
/// How long words that were sent before the connection broke are looked for.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(200);
/// So many bad messages in a row are no accident.
const MAX_ERRORS: u32 = 20;

/// How messages are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Encoding {
    Proto,
    Json,
}

impl Encoding {
    fn encoded(self, message: &Outgoing) -> &[u8] {
        match self {
            Self::Proto => message.proto(),
            Self::Json => message.json().as_bytes(),
        }
    }

    fn opcode(self) -> Data {
        match self {
            Self::Proto => Data::Binary,
            Self::Json => Data::Text,
        }
    }
}

/// Takes a connection over, unless there are too many.
pub(crate) async fn upgrade(
    State(control): State<Arc<Control>>,
    Extension(ticket): Extension<Ticket>,
    Extension(client): Extension<ClientAddr>,
    mut request: HttpRequest,
) -> Result<Response, Problem> {
    let limits = &control.config.limits;
    if control.connections.load(Ordering::Relaxed) >= limits.connections {
        let text = "The server has its maximum of connections; try later.";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, text));
    }
    let known = [SUBPROTOCOL_PROTO, SUBPROTOCOL_JSON];
    let (answer, subprotocol, socket) = websocket::accept(&mut request, &known, &ticket, limits.message_bytes)?;
    let encoding = if subprotocol == SUBPROTOCOL_PROTO { Encoding::Proto } else { Encoding::Json };
    let counted = Counted::new(Arc::clone(&control));
    ticket.upgrade(FIRST_MESSAGE_TIMEOUT);
    tokio::spawn(async move {
        let _counted = counted;
        match socket.await {
            Ok(socket) => Connection { socket, encoding, control, ticket, client }.run().await,
            Err(error) => tracing::debug!(%error, "WebSocket"),
        }
    });
    Ok(answer)
}

/// Counts a connection for as long as it lives, however it ends.
struct Counted(Arc<Control>);

impl Counted {
    fn new(control: Arc<Control>) -> Self {
        control.connections.fetch_add(1, Ordering::Relaxed);
        Self(control)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Connection {
    socket: WebSocket,
    encoding: Encoding,
    control: Arc<Control>,
    ticket: Ticket,
    client: ClientAddr,
}

/// What came in.
enum Incoming {
    Request(ClientMessage, Size),
    /// Not readable; why, and with which code it ends a connection.
    Unreadable(String, CloseCode, Size),
    /// Breaks the rules of WebSocket, so that nothing more can be read. Answered with this code and reason.
    Violation(CloseCode, &'static str),
    /// Answered by the WebSocket layer.
    Control,
    /// The client has left.
    Left,
    /// The connection was lost.
    Lost,
}

/// Bytes of a message.
#[derive(Clone, Copy, Debug)]
struct Size(usize);

impl Size {
    /// As how many messages it counts: to read a long one costs more.
    fn cost(self) -> usize {
        1 + self.0 / COUNTS_AS_ONE
    }
}

/// How a session's connection ended.
#[derive(PartialEq, Eq)]
enum End {
    /// The session goes on without it, for a while.
    Lost,
    /// The session is over, or another connection has it.
    Over,
}

impl Connection {
    async fn run(&mut self) {
        let ticket = self.ticket.clone();
        let entered = tokio::select! {
            entered = self.begin() => entered,
            () = ticket.over() => {
                // Told only where it need not be waited for.
                let close = self.close(CloseCode::Policy, "no Join or Resume came in time");
                let _ = timeout(Duration::ZERO, close).await;
                return;
            }
        };
        let Some((session, joined)) = entered else { return };
        let told = self.send_bytes(&joined).await;
        // A room's whole roster is not kept for as long as the session lasts.
        drop(joined);
        if told.is_err() || self.talk(&session).await == End::Lost {
            self.control.detach(&session);
        }
    }

    /// From the first message to the session, and what the client is told of it. Whoever was refused has heard why.
    async fn begin(&mut self) -> Option<(Session, Vec<u8>)> {
        let ClientMessage { id, body } = self.first().await?;
        match enter(&self.control, body, self.client).await {
            Ok((session, joined)) => {
                self.ticket.join();
                Some((session, self.encoding.encoded(&Outgoing::reply(id, joined)).to_vec()))
            }
            Err(error) => {
                // Nothing better can be done for a client that does not read its refusal.
                let _ = self.send(&Outgoing::reply(id, Reply::Error(error.into()))).await;
                self.close(CloseCode::Policy, "not joined").await;
                None
            }
        }
    }

    /// The first request.
    async fn first(&mut self) -> Option<ClientMessage> {
        loop {
            match self.receive().await {
                Incoming::Request(request, _) => return Some(request),
                Incoming::Control => {}
                Incoming::Unreadable(why, code, _) => {
                    let error = ControlError::bad_message(why);
                    let _ = self.send(&Outgoing::new(Reply::Error(error.into()))).await;
                    self.close(code, "unreadable").await;
                    return None;
                }
                Incoming::Violation(code, reason) => {
                    self.close(code, reason).await;
                    return None;
                }
                Incoming::Lost if self.ticket.is_exhausted() => {
                    let text = format!(
                        "The first message may have at most {} bytes (limits.join_bytes), a third of that in fragments; join \
                         with fewer sections, and offer more of them afterwards.",
                        self.control.config.limits.join_bytes
                    );
                    let _ = self.send(&Outgoing::new(Reply::Error(ControlError::limit(text).into()))).await;
                    self.close(CloseCode::Size, "too much before joining").await;
                    return None;
                }
                Incoming::Left | Incoming::Lost => return None,
            }
        }
    }

    /// Carries messages both ways until the connection ends.
    async fn talk(&mut self, session: &Session) -> End {
        let control = Arc::clone(&self.control);
        let silence = control.config.signal.silence_limit();
        let limits = &control.config.limits;
        let now = control.clock.now();
        let mut messages = Rate::new(limits.messages_per_second, now);
        let mut errors = 0;
        let deadline = tokio::time::sleep(silence);
        tokio::pin!(deadline);
        loop {
            let incoming = tokio::select! {
                next = session.next() => match self.forward(next).await {
                    Some(End::Lost) => return self.last_words(session).await,
                    Some(End::Over) => return End::Over,
                    None => continue,
                },
                incoming = self.receive() => incoming,
                () = &mut deadline => return End::Lost,
            };
            // Frames that say nothing keep no session alive.
            if !matches!(incoming, Incoming::Control) {
                deadline.as_mut().reset(tokio::time::Instant::now() + silence);
            }
            let (id, result) = match incoming {
                Incoming::Request(request, size) => {
                    let result = if messages.take(size.cost(), control.clock.now()) {
                        handle(session, &request, self.client).await
                    } else {
                        Err(control.count(too_fast()))
                    };
                    (request.id, result)
                }
                Incoming::Unreadable(why, _, size) => {
                    messages.take(size.cost(), control.clock.now());
                    (0, Err(ControlError::bad_message(why)))
                }
                Incoming::Violation(code, reason) => {
                    self.close(code, reason).await;
                    return End::Lost;
                }
                Incoming::Control if messages.take(1, control.clock.now()) => continue,
                Incoming::Control => (0, Err(too_fast())),
                Incoming::Left => {
                    session.leave();
                    return End::Over;
                }
                Incoming::Lost => return End::Lost,
            };
            errors = if result.is_ok() { 0 } else { errors + 1 };
            if errors > MAX_ERRORS {
                self.close(CloseCode::Policy, "too many bad messages").await;
                return End::Lost;
            }
            if let Some(reply) = reply(id, result) {
                session.send(reply);
            }
        }
    }

    /// The client takes nothing more. It may have said that it leaves before it went: a page that is closed with
    /// something unread resets the connection.
    async fn last_words(&mut self, session: &Session) -> End {
        let left = async {
            loop {
                match self.receive().await {
                    Incoming::Left => return true,
                    Incoming::Request(request, _) if matches!(request.body, Some(Request::Leave(_))) => return true,
                    Incoming::Lost | Incoming::Violation(..) => return false,
                    Incoming::Request(..) | Incoming::Unreadable(..) | Incoming::Control => {}
                }
            }
        };
        if timeout(LAST_WORDS_TIMEOUT, left).await.unwrap_or(false) {
            session.leave();
            return End::Over;
        }
        End::Lost
    }

    /// Sends what the session has for the client.
    async fn forward(&mut self, next: Next) -> Option<End> {
        match next {
            Next::Message(message) => self.send(&message).await.err(),
            Next::Closed => {
                self.close(CloseCode::Normal, "the session is over").await;
                Some(End::Over)
            }
            Next::Superseded => {
                self.close(CloseCode::Policy, "another connection resumed the session").await;
                Some(End::Over)
            }
            Next::Overflow => {
                self.close(CloseCode::Again, "reads too slowly; resume").await;
                Some(End::Lost)
            }
        }
    }

    async fn send(&mut self, message: &Outgoing) -> Result<(), End> {
        self.send_bytes(self.encoding.encoded(message)).await
    }

    /// Sends a message in fragments, so that what waits to be written is never long: the library keeps the memory that its
    /// longest frame took.
    async fn send_bytes(&mut self, message: &[u8]) -> Result<(), End> {
        let pieces = async {
            let (mut opcode, mut rest) = (self.encoding.opcode(), message);
            loop {
                let (piece, after) = rest.split_at(rest.len().min(LONGEST_FRAME));
                let frame = Frame::message(piece.to_vec(), OpCode::Data(opcode), after.is_empty());
                self.socket.send(Message::Frame(frame)).await?;
                if after.is_empty() {
                    return Ok::<_, SocketError>(());
                }
                (opcode, rest) = (Data::Continue, after);
            }
        };
        match timeout(SEND_TIMEOUT, pieces).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(End::Lost),
        }
    }

    async fn receive(&mut self) -> Incoming {
        let message = match self.socket.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                tracing::debug!(%error, "connection");
                return violation(&error).map_or(Incoming::Lost, |(code, reason)| Incoming::Violation(code, reason));
            }
            None => return Incoming::Lost,
        };
        let size = Size(message.len());
        let decoded = match (message, self.encoding) {
            (Message::Text(text), Encoding::Json) => serde_json::from_str::<ClientMessage>(&text)
                .map_err(|error| (json_error(&error.to_string()), CloseCode::Invalid)),
            (Message::Binary(bytes), Encoding::Proto) => {
                ClientMessage::decode(bytes).map_err(|error| (error.to_string(), CloseCode::Invalid))
            }
            (Message::Text(_) | Message::Binary(_), _) => {
                Err(("the frame is not of the kind that was agreed on".into(), CloseCode::Unsupported))
            }
            (Message::Ping(_) | Message::Pong(_) | Message::Frame(_), _) => return Incoming::Control,
            (Message::Close(frame), _) => {
                // The library has an answer ready (RFC 6455 section 5.5.1). Nobody waits for a client that takes none.
                let _ = self.socket.flush().now_or_never();
                let left = frame.is_some_and(|frame| matches!(frame.code, CloseCode::Normal | CloseCode::Away));
                return if left { Incoming::Left } else { Incoming::Lost };
            }
        };
        match decoded {
            Ok(message) => Incoming::Request(message, size),
            Err((why, code)) => Incoming::Unreadable(format!("The message cannot be read: {why}."), code, size),
        }
    }

    async fn close(&mut self, code: CloseCode, reason: &'static str) {
        let frame = CloseFrame { code, reason: reason.into() };
        // Nothing is lost if the client is gone already.
        let _ = timeout(SEND_TIMEOUT, self.socket.send(Message::Close(Some(frame)))).await;
        let _ = timeout(SEND_TIMEOUT, SinkExt::close(&mut self.socket)).await;
    }
}

/// How a connection is closed that can be read no further (RFC 6455 section 7.4.1): code and reason. `None` where there
/// is nobody to be told.
fn violation(error: &SocketError) -> Option<(CloseCode, &'static str)> {
    match error {
        SocketError::Capacity(_) => Some((CloseCode::Size, "larger than limits.message_bytes")),
        SocketError::Io(error) if error.kind() == ErrorKind::InvalidData => {
            Some((CloseCode::Policy, "a message in too many frames"))
        }
        SocketError::Utf8(_) => Some((CloseCode::Invalid, "not UTF-8")),
        SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::ReceivedAfterClosing) => {
            None
        }
        SocketError::Protocol(_) => Some((CloseCode::Protocol, "not as RFC 6455 says")),
        _ => None,
    }
}

async fn enter(
    control: &Arc<Control>,
    first: Option<Request>,
    client: ClientAddr,
) -> Result<(Session, Reply), ControlError> {
    match first {
        Some(Request::Join(request)) => {
            let Entered { session, joined, .. } = join(control, request, client).await?;
            Ok((session, Reply::Joined(joined)))
        }
        Some(Request::Resume(resume)) => {
            control.await_resume(&resume.session, Some(client.0)).await?;
            let (session, joined) = control.resume(&resume.session, Some(client.0))?;
            Ok((session, Reply::Joined(joined)))
        }
        _ => Err(ControlError::bad_message("The first message must be Join or Resume.")),
    }
}

async fn join(control: &Arc<Control>, join: Join, client: ClientAddr) -> Result<Entered, ControlError> {
    let permit = control.auth.admit(&join.token, &join.room, None)?;
    control.join_in_turn(&permit, join_request(join, client)).await
}

/// What a Join asks of the control plane.
pub(crate) fn join_request(join: Join, client: ClientAddr) -> JoinRequest {
    JoinRequest {
        room: join.room,
        name: join.name,
        metadata: join.metadata,
        client: join.client,
        offer: join.offer,
        manual_subscribe: join.manual_subscribe,
        access: Access::Signal,
        subscription: Subscription::Auto,
        address: Some(client.0),
    }
}

fn too_fast() -> ControlError {
    ControlError::too_fast("Too many messages in a short time (limits.messages_per_second); slow down.")
}

/// Carries out a request of who has joined. Nothing is sent meanwhile: a turn that came would wait for a client that
/// does not read.
async fn handle(session: &Session, request: &ClientMessage, client: ClientAddr) -> Result<Option<Reply>, ControlError> {
    match &request.body {
        Some(body) => session.handle_in_turn(body, client.0).await,
        None => Err(ControlError::bad_message("The message has no body, or one that this server does not know.")),
    }
}

/// The answer to a request. One without an id hears of failures only.
fn reply(id: u32, result: Result<Option<Reply>, ControlError>) -> Option<Arc<Outgoing>> {
    match result {
        Ok(Some(body)) if id != 0 || matches!(body, Reply::Pong(_)) => Some(Outgoing::reply(id, body)),
        Ok(_) => None,
        Err(error) => Some(Outgoing::reply(id, Reply::Error(error.into()))),
    }
}
