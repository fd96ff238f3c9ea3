//! The native signalling: join with an offer, then whatever the server tells. A lost socket is resumed while media goes
//! on.

use super::native_socket::{NativeSocket, join_uri};
use super::stream::Origin;
use anyhow::{Context, Result, bail};
use sfu_proto::v1::client_message::Body as Out;
use sfu_proto::v1::server_message::Body as In;
use sfu_proto::v1::{
    ClientMessage, EncoderDirective, EncoderDirectiveAck, Error as ServerError, ErrorCode, Join, Joined, Leave,
    LongTermReference, ParticipantInfo, Ping, Publish, ReferenceDirective, ReferenceDirectiveAck, Resume, RosterUpdate,
    SlotAssignment, Subscribe,
};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Longest wait for the answer to a join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval of pings where the server names none.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// First pause before a lost socket is taken up again; doubles each time.
const RESUME_PAUSE: Duration = Duration::from_millis(200);
/// Longest such pause.
const MAX_RESUME_PAUSE: Duration = Duration::from_secs(3);
/// Events that may wait; more than any server sends while the client is busy for a second.
const EVENT_QUEUE: usize = 256;

/// Where and as whom to join.
#[derive(Clone, Debug, Default)]
pub struct JoinOptions {
    /// `ws://host:port` or `wss://..`; the path is `/v1/join` where none is given.
    pub server: String,
    /// Room.
    pub room: String,
    /// Name to show.
    pub name: String,
    /// Join token; empty at a server that needs none.
    pub token: String,
}

impl JoinOptions {
    /// Joins `room` of `server` as `name`, without a token.
    pub fn new(server: &str, room: &str, name: &str) -> Self {
        Self { server: server.to_owned(), room: room.to_owned(), name: name.to_owned(), token: String::new() }
    }

    /// Host and port of the server, for choosing local addresses.
    ///
    /// # Errors
    /// Where `server` is no `ws` or `wss` URL.
    pub fn host_and_port(&self) -> Result<(String, u16)> {
        let origin = Origin::of(&join_uri(&self.server)?, "ws", "wss")?;
        Ok((origin.host, origin.port))
    }
}

/// What the server tells during a session.
#[derive(Clone, Debug)]
pub enum SignalEvent {
    /// Who is there has changed.
    Roster(RosterUpdate),
    /// What the slots carry.
    Slots(Vec<SlotAssignment>),
    /// What to encode.
    Directive(EncoderDirective),
    /// What became of long-term references.
    References(ReferenceDirective),
    /// The socket was lost and is back.
    Resumed,
    /// The session is over, and why.
    Ended(String),
}

/// A session.
pub struct NativeSession {
    /// The server's welcome.
    pub joined: Joined,
    events: mpsc::Receiver<SignalEvent>,
    commands: mpsc::Sender<Out>,
    task: JoinHandle<()>,
}

impl NativeSession {
    /// Joins with an offer; returns the session and the server's answer.
    ///
    /// # Errors
    /// Where the server cannot be reached or refuses; the text is the server's.
    pub async fn join(options: &JoinOptions, offer: String, publish: Vec<Publish>) -> Result<(Self, String)> {
        let mut socket = NativeSocket::connect(&options.server).await?;
        let join = Join {
            token: options.token.clone(),
            room: options.room.clone(),
            name: options.name.clone(),
            offer: Some(sfu_proto::v1::Offer { sdp: offer, publish }),
            client: super::USER_AGENT.to_owned(),
            ..Default::default()
        };
        socket.send(&ClientMessage { id: 1, body: Some(Out::Join(join)) }).await?;
        let mut early = Vec::new();
        let joined = timeout(JOIN_TIMEOUT, welcome(&mut socket, &mut early))
            .await
            .context("the server does not answer the join")??;
        let answer = joined.answer.clone().context("the server answered the join without an answer to the offer")?;
        let (events_out, events) = mpsc::channel(EVENT_QUEUE);
        let (commands, commands_in) = mpsc::channel(EVENT_QUEUE);
        let connection = Connection {
            server: options.server.clone(),
            session: joined.session.clone(),
            ping: non_zero(joined.ping_interval_ms).unwrap_or(PING_INTERVAL),
            resume_window: Duration::from_millis(joined.resume_window_ms.into()),
            events: events_out,
            commands: commands_in,
            next_id: 2,
        };
        let task = tokio::spawn(connection.run(socket, early));
        Ok((Self { joined, events, commands, task }, answer.sdp))
    }

    /// Opens the WebSocket of `server` (as [`JoinOptions::server`]), and closes it.
    ///
    /// # Errors
    /// Where the server cannot be reached or refuses it.
    pub async fn reach(server: &str) -> Result<()> {
        NativeSocket::connect(server).await?.close().await;
        Ok(())
    }

    /// What the server tells next; `None` after the end.
    pub async fn next_event(&mut self) -> Option<SignalEvent> {
        self.events.recv().await
    }

    /// Answers an encoder directive.
    pub async fn acknowledge(&self, ack: EncoderDirectiveAck) {
        // The task is gone only after the end.
        let _ = self.commands.send(Out::EncoderDirectiveAck(ack)).await;
    }

    /// Says what is wanted in a slot, and how large it is shown.
    pub async fn subscribe(&self, subscribe: Subscribe) {
        let _ = self.commands.send(Out::Subscribe(subscribe)).await;
    }

    /// Says that a picture is kept as a long-term reference.
    pub async fn keep(&self, reference: LongTermReference) {
        let _ = self.commands.send(Out::LongTermReference(reference)).await;
    }

    /// Answers a directive on references.
    pub async fn acknowledge_references(&self, ack: ReferenceDirectiveAck) {
        let _ = self.commands.send(Out::ReferenceDirectiveAck(ack)).await;
    }

    /// Leaves.
    pub async fn leave(self, reason: &str) {
        let leave = Leave { reason: reason.to_owned() };
        if self.commands.send(Out::Leave(leave)).await.is_ok() {
            // The task ends after the message is out.
            let _ = timeout(Duration::from_secs(2), self.task).await;
        }
    }
}

/// Waits for the answer to a join or resume; what comes before it is kept.
async fn welcome(socket: &mut NativeSocket, early: &mut Vec<In>) -> Result<Joined> {
    loop {
        let message = socket.receive().await?.context("the server closed the connection during the join")?;
        match message.body {
            Some(In::Joined(joined)) => return Ok(joined),
            Some(In::Error(error)) => bail!("the server refuses: {}", describe(&error)),
            Some(In::Left(left)) => bail!("the server ended the session: {}", left.message),
            Some(body) => early.push(body),
            None => {}
        }
    }
}

fn describe(error: &ServerError) -> String {
    let hint = match error.code() {
        ErrorCode::Unauthenticated | ErrorCode::Forbidden => " (make a token with `sfu token`, give it by --token)",
        _ => "",
    };
    format!("{}{hint}", error.message)
}

fn non_zero(millis: u32) -> Option<Duration> {
    (millis > 0).then(|| Duration::from_millis(millis.into()))
}

/// The task that owns the socket.
struct Connection {
    server: String,
    session: String,
    ping: Duration,
    resume_window: Duration,
    events: mpsc::Sender<SignalEvent>,
    commands: mpsc::Receiver<Out>,
    next_id: u32,
}

/// Why the socket is no longer served.
enum Over {
    Lost(String),
    Ended,
}

impl Connection {
    async fn run(mut self, mut socket: NativeSocket, early: Vec<In>) {
        for body in early {
            if self.handle(body).await.is_err() {
                return;
            }
        }
        loop {
            let reason = match self.serve(&mut socket).await {
                Over::Ended => return socket.close().await,
                Over::Lost(reason) => reason,
            };
            tracing::warn!(%reason, "signalling is lost, media goes on");
            match self.resume().await {
                Ok(resumed) => socket = resumed,
                Err(error) => {
                    let _ = self.events.send(SignalEvent::Ended(format!("signalling was lost: {error:#}"))).await;
                    return;
                }
            }
            let _ = self.events.send(SignalEvent::Resumed).await;
        }
    }

    async fn serve(&mut self, socket: &mut NativeSocket) -> Over {
        let mut pings = interval(self.ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let start = Instant::now();
        loop {
            let body = tokio::select! {
                message = socket.receive() => {
                    let body = match message {
                        Ok(Some(message)) => message.body,
                        Ok(None) => return Over::Lost("the server closed the connection".to_owned()),
                        Err(error) => return Over::Lost(format!("{error:#}")),
                    };
                    let Some(body) = body else { continue };
                    if self.handle(body).await.is_err() {
                        return Over::Ended;
                    }
                    continue;
                }
                command = self.commands.recv() => match command {
                    Some(body) => body,
                    None => Out::Leave(Leave::default()),
                },
                _ = pings.tick() => {
                    Out::Ping(Ping { timestamp: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX) })
                }
            };
            let leaving = matches!(body, Out::Leave(_));
            let id = self.next_id;
            self.next_id = self.next_id.wrapping_add(1).max(1);
            if let Err(error) = socket.send(&ClientMessage { id, body: Some(body) }).await {
                return if leaving { Over::Ended } else { Over::Lost(format!("{error:#}")) };
            }
            if leaving {
                return Over::Ended;
            }
        }
    }

    /// Takes one message; an error means that the session is over.
    async fn handle(&mut self, body: In) -> Result<()> {
        let event = match body {
            In::Roster(roster) => SignalEvent::Roster(roster),
            In::Slots(slots) => SignalEvent::Slots(slots.slots),
            In::EncoderDirective(directive) => SignalEvent::Directive(directive),
            In::ReferenceDirective(directive) => SignalEvent::References(directive),
            In::Left(left) => {
                let _ = self.events.send(SignalEvent::Ended(left.message)).await;
                bail!("the session is over");
            }
            In::Error(error) => {
                tracing::warn!(message = %describe(&error), "the server refused something");
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.events.send(event).await.context("nobody listens")
    }

    async fn resume(&mut self) -> Result<NativeSocket> {
        let end = Instant::now() + self.resume_window;
        let mut pause = RESUME_PAUSE;
        loop {
            match self.resume_once().await {
                Ok(socket) => return Ok(socket),
                Err(error) if Instant::now() + pause >= end => return Err(error),
                Err(error) => tracing::debug!(%error, "resuming failed"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(MAX_RESUME_PAUSE);
        }
    }

    async fn resume_once(&mut self) -> Result<NativeSocket> {
        let mut socket = NativeSocket::connect(&self.server).await?;
        let resume = Out::Resume(Resume { session: self.session.clone() });
        socket.send(&ClientMessage { id: 1, body: Some(resume) }).await?;
        let mut early = Vec::new();
        let joined = timeout(JOIN_TIMEOUT, welcome(&mut socket, &mut early)).await.context("no answer")??;
        self.session = joined.session;
        self.handle(In::Roster(whole_roster(joined.participants))).await?;
        self.handle(In::Slots(sfu_proto::v1::Slots { slots: joined.slots })).await?;
        for body in early {
            self.handle(body).await?;
        }
        Ok(socket)
    }
}

fn whole_roster(participants: Vec<ParticipantInfo>) -> RosterUpdate {
    RosterUpdate { participants, left: Vec::new() }
}
